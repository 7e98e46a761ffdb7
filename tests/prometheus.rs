//! A real Prometheus writes through the load balancer while nodes restart; afterwards both have the same.
//!
//! `make test` runs this shortened; `make acceptance` for ten minutes, by the variable `TERN_ACCEPTANCE_SECONDS`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use tern_jepsen::client::Client;
use tern_jepsen::cluster::{Cluster, RunDirectory};
use tern_jepsen::{peers, wait};

use crate::support::*;

const SECONDS_DEFAULT: u64 = 30;
/// How long Prometheus may take to send what it has kept back, after the last restart.
const DELIVERY_LIMIT: Duration = Duration::from_secs(90);

/// How often each series has a sample, by its labels.
type Counts = BTreeMap<String, u64>;

#[tokio::test]
async fn prometheus_writes_while_nodes_restart() -> TestResult {
    for program in ["prometheus", "prometheus-node-exporter", "haproxy"] {
        if peers::installed(program).is_none() {
            eprintln!("\n*** SKIPPED: {program} is not installed. apt-get install prometheus prometheus-node-exporter haproxy ***\n");
            return Ok(());
        }
    }
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let mut directory = RunDirectory::create()?;
    let addresses = [1, 2, 3].map(|number| cluster.node(number).map(|node| node.http.address()).unwrap_or_default());
    let balancer = peers::haproxy(directory.path(), &balancer_configuration(), &addresses).await?;
    let node_exporter = peers::node_exporter(directory.path()).await?;
    let began_ms = now_ms();
    let configuration = prometheus_configuration(&balancer.address(), &node_exporter.address(), &addresses);
    let prometheus = peers::prometheus(directory.path(), &configuration).await?;

    let restarts = restart_for(&mut cluster, &balancer.client(), acceptance_seconds()).await?;
    let end_ms = now_ms();
    let (span_seconds, end) = ((end_ms - began_ms) / 1000 + 60, end_ms as f64 / 1000.0);
    let expected = counts(&prometheus.client(), span_seconds, end).await?;
    let samples: u64 = expected.values().sum();
    assert!(expected.len() > 300 && samples > 3000, "Prometheus itself has too little: {} series, {samples} samples", expected.len());
    let got = wait::until("Tern to have what Prometheus has", DELIVERY_LIMIT, || async {
        let got = counts(&balancer.client(), span_seconds, end).await.map_err(|error| format!("{error:#}"))?;
        first_difference(&expected, &got).map_or(Ok(got), Err)
    })
    .await?;
    println!(
        "{restarts} restarts in {} s: {} series, {samples} samples, the same in Prometheus and Tern",
        (end_ms - began_ms) / 1000,
        got.len()
    );
    for (node, client) in cluster.clients() {
        let own = counts(&client, span_seconds, end).await?;
        assert_eq!(first_difference(&expected, &own), None, "node {node}");
    }
    let failed = prometheus.client().number("sum(prometheus_remote_storage_samples_failed_total)", end).await?;
    assert_eq!(failed.unwrap_or(0.0), 0.0, "Prometheus gave samples up");
    cluster.finish()?;
    directory.succeeded();
    Ok(())
}

fn balancer_configuration() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy.cfg")
}

fn acceptance_seconds() -> u64 {
    std::env::var("TERN_ACCEPTANCE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS_DEFAULT)
}

fn prometheus_configuration(balancer: &str, node_exporter: &str, nodes: &[String; 3]) -> String {
    format!(
        r#"
global: {{ scrape_interval: 1s }}
scrape_configs:
  - job_name: node
    static_configs: [{{ targets: ["{node_exporter}"] }}]
  - job_name: tern
    static_configs: [{{ targets: ["{}", "{}", "{}"] }}]
remote_write:
  - url: http://{balancer}/api/v1/write
    queue_config: {{ batch_send_deadline: 500ms, max_backoff: 1s }}
"#,
        nodes[0], nodes[1], nodes[2]
    )
}

/// Restarts nodes one after the other, by SIGTERM and by kill -9 in turn, at least each once. Returns how many.
async fn restart_for(cluster: &mut Cluster, balancer: &Client, seconds: u64) -> anyhow::Result<usize> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut restarts = 0;
    while Instant::now() < until || restarts < 3 {
        wait_new_samples(balancer).await?;
        let number = restarts as u64 % 3 + 1;
        if restarts % 2 == 0 {
            cluster.terminate(number).await?
        } else {
            cluster.kill(number)?
        }
        wait_new_samples(balancer).await.context("while a node is down")?;
        cluster.start_node(number)?;
        cluster.wait_node_ready(number).await?;
        restarts += 1;
    }
    Ok(restarts)
}

/// Waits until a sample arrives that was scraped after this call.
async fn wait_new_samples(balancer: &Client) -> anyhow::Result<()> {
    let now = now_ms() as f64 / 1000.0;
    wait::until("new samples from Prometheus", DELIVERY_LIMIT, || async {
        let newest = balancer.number("max(timestamp(node_load1))", now_ms() as f64 / 1000.0).await;
        match newest.map_err(|error| format!("{error:#}"))? {
            Some(newest) if newest > now => Ok(()),
            newest => Err(format!("newest {newest:?}, now {now}")),
        }
    })
    .await?;
    Ok(())
}

/// `count_over_time` of every series. By metric name, since the function drops the name and series would become the same.
async fn counts(client: &Client, span_seconds: i64, end: f64) -> anyhow::Result<Counts> {
    let names = client.get("/api/v1/label/__name__/values", &[]).await?.data()?;
    let mut counts = Counts::new();
    for name in names.as_array().context("names are not a list")?.iter().filter_map(|name| name.as_str()) {
        let data = client.instant(&format!("count_over_time({name}[{span_seconds}s])"), end).await?;
        for series in data["result"].as_array().context("result is not a list")? {
            let count = series["value"][1].as_str().and_then(|count| count.parse().ok()).context("a count")?;
            counts.insert(format!("{name}{}", series["metric"]), count);
        }
    }
    Ok(counts)
}

fn first_difference(expected: &Counts, got: &Counts) -> Option<String> {
    for (series, count) in expected {
        if got.get(series) != Some(count) {
            return Some(format!(
                "{series}: {:?} instead of {count} ({} series instead of {})",
                got.get(series),
                got.len(),
                expected.len()
            ));
        }
    }
    got.keys().find(|series| !expected.contains_key(*series)).map(|series| format!("{series} is not in Prometheus"))
}
