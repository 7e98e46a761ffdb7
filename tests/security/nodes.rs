//! Nodes of a cluster with TLS believe only certificates of their authority, and only about the ids that they name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tern_jepsen::certificates::{Authority, Validity};
use tern_jepsen::cluster::{Cluster, RunDirectory};
use tern_jepsen::wait;

use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

/// Settings for every node, with its number in the names of its files.
fn arguments(directory: &Path) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    let pairs = [
        ("--tls-node-ca", file("authority.pem")),
        ("--tls-node-certificate", file("node{node}.pem")),
        ("--tls-node-key", file("node{node}.key")),
        ("--tls-reload-interval", "100ms".to_owned()),
    ];
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

struct Secured {
    cluster: Cluster,
    authority: Authority,
    directory: RunDirectory,
}

impl Secured {
    async fn start() -> anyhow::Result<Secured> {
        let (authority, directory) = (Authority::create()?, RunDirectory::create()?);
        authority.write(&directory.path().join("authority.pem"))?;
        for number in 1..=3 {
            authority.issue(directory.path(), &format!("node{number}"), &[&format!("node-{number}.tern")], Validity::Good)?;
        }
        let arguments = arguments(directory.path());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(Secured { cluster: Cluster::start_with(TERN, 3, &arguments).await?, authority, directory })
    }

    fn issue(&self, number: u64, subject: &str, validity: Validity) -> TestResult {
        self.authority.issue(self.directory.path(), &format!("node{number}"), &[subject], validity)?;
        Ok(())
    }

    fn log(&self, number: u64) -> anyhow::Result<String> {
        let path = self.cluster.run_directory().join(format!("node{number}.log"));
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Waits until a node says this in its log, after the first `from` bytes.
    async fn says(&self, number: u64, from: usize, words: &str) -> TestResult {
        wait::until(&format!("node {number} to say {words:?}"), LIMIT, || async {
            let log = self.log(number).map_err(|error| format!("{error:#}"))?;
            let new = log.get(from..).unwrap_or_default();
            if new.contains(words) { Ok(()) } else { Err(new.to_owned()) }
        })
        .await?;
        Ok(())
    }

    fn write(&self, through: u64, name: &'static str) -> impl Future<Output = TestResult> {
        let client = self.cluster.client(through);
        let batch: Value = (0..100).map(|n| element(name, &[("n", &n.to_string())], recent_second(), n)).collect();
        async move {
            expect_status(&client.ingest(&batch).await?, 204);
            Ok(())
        }
    }

    async fn reads(&self, through: u64, name: &str) -> TestResult {
        let counted = self.cluster.client(through).number(&format!("count({name})"), recent_second() as f64 + 30.0).await?;
        assert_eq!(counted, Some(100.0), "{name} through node {through}");
        Ok(())
    }

    fn finish(mut self) -> TestResult {
        self.cluster.finish()?;
        self.directory.succeeded();
        Ok(())
    }
}

#[tokio::test]
async fn nodes_write_and_read_over_tls_and_nobody_speaks_in_the_clear() -> TestResult {
    let _turn = turn().await;
    let secured = Secured::start().await?;
    secured.write(1, "secret").await?;
    for number in 1..=3 {
        secured.reads(number, "secret").await?;
    }
    let mut stream = TcpStream::connect(secured.cluster.node(1)?.grpc.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let mut answer = Vec::new();
    // A reset is as good an end as any other.
    let _ = stream.read_to_end(&mut answer);
    // 21: an alert of TLS. HTTP/2 would have begun with its settings.
    assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    secured.finish()
}

#[tokio::test]
async fn a_node_needs_a_certificate_that_names_it_is_valid_and_comes_from_the_authority() -> TestResult {
    let _turn = turn().await;
    let mut secured = Secured::start().await?;
    secured.cluster.kill(3)?;
    let said = secured.log(3)?.len();
    secured.issue(3, "node-2.tern", Validity::Good)?;
    secured.cluster.start_node(3)?;
    secured.says(3, said, "this is node 3, but the certificate names node-2.tern").await?;
    secured.cluster.kill(3)?;
    secured.write(1, "meanwhile").await?;

    // A certificate that only the others can see through: the node starts, and nobody speaks to it.
    let heard = secured.log(1)?.len();
    secured.issue(3, "node-3.tern", Validity::Expired)?;
    secured.cluster.start_node(3)?;
    secured.says(1, heard, "xpired").await?;
    assert_eq!(secured.cluster.client(3).get("/-/ready", &[]).await?.status, 503);

    let heard = secured.log(1)?.len();
    let stranger = Authority::create()?;
    stranger.issue(secured.directory.path(), "node3", &["node-3.tern"], Validity::Good)?;
    secured.says(3, said, "new certificates between nodes are in use").await?;
    secured.says(1, heard, "BadSignature").await?;
    assert_eq!(secured.cluster.client(3).get("/-/ready", &[]).await?.status, 503);

    // The running node takes up a good one by itself.
    secured.issue(3, "node-3.tern", Validity::Good)?;
    secured.cluster.wait_node_ready(3).await?;
    secured.reads(3, "meanwhile").await?;

    // One that does not name it is refused while it runs, and the one before stays in use.
    let said = secured.log(3)?.len();
    secured.issue(3, "node-1.tern", Validity::Good)?;
    secured.says(3, said, "the ones before stay in use").await?;
    secured.write(3, "afterwards").await?;
    secured.finish()
}

#[tokio::test]
async fn a_new_node_asks_for_its_id_with_any_certificate_and_needs_its_own_to_take_part() -> TestResult {
    let _turn = turn().await;
    let mut secured = Secured::start().await?;
    secured.write(2, "before").await?;
    secured.issue(4, "newcomer.example", Validity::Good)?;
    let number = secured.cluster.join(1).await?;
    secured.says(number, 0, "but the certificate names no node; issue one with the subject alternative name DNS:node-").await?;
    secured.cluster.kill(number)?;
    let log = secured.log(number)?;
    let id = log.split("this is node ").nth(1).and_then(|rest| rest.split(',').next()).context("its id")?;
    secured.issue(number, &format!("node-{id}.tern"), Validity::Good)?;
    secured.cluster.start_node(number)?;
    secured.cluster.wait_node_ready(number).await?;
    secured.reads(number, "before").await?;
    let members = secured.cluster.status(1).await?["members"].clone();
    assert!(members.as_array().is_some_and(|members| members.iter().any(|member| member["id"].as_u64() == id.parse().ok())), "{members}");

    // Somebody of another cluster does not even get an id.
    let before = secured.cluster.status(1).await?["members"].as_array().map(Vec::len);
    let stranger = Authority::create()?;
    stranger.issue(secured.directory.path(), "node5", &["newcomer.example"], Validity::Good)?;
    let heard = secured.log(1)?.len();
    secured.cluster.join(1).await?;
    secured.says(1, heard, "BadSignature").await?;
    assert_eq!(json!(secured.cluster.status(1).await?["members"].as_array().map(Vec::len)), json!(before));
    secured.finish()
}

#[tokio::test]
async fn a_cluster_in_the_clear_is_refused_off_loopback() -> TestResult {
    let run = |arguments: &[&str]| std::process::Command::new(TERN).arg("server").args(arguments).output();
    let peers = "1=10.123.0.1:9301/10.123.0.1:9201,2=10.123.0.2:9301/10.123.0.2:9201";
    for arguments in [&["--http", "10.123.0.1:9201", "--node-id", "1", "--peers", peers][..], &["--http", "0.0.0.0:9201", "--join", "a:1"]]
    {
        let refused = run(arguments)?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("tls.node_certificate") && said.contains("cluster.insecure"), "{said}");
    }
    // Told so it goes on, to an address that this machine does not have.
    let directory = RunDirectory::create()?;
    let data = directory.path().display().to_string();
    let told = ["--http", "10.123.0.1:9201", "--node-id", "1", "--peers", peers, "--cluster-insecure", "true", "--data-dir", &data];
    let said = String::from_utf8_lossy(&run(&told)?.stderr).into_owned();
    assert!(said.contains("listen on 10.123.0.1:9201"), "{said}");
    let mut directory = directory;
    directory.succeeded();
    Ok(())
}
