//! Three nodes are one database: written anywhere, there for everyone at once; without a quorum, an honest refusal.

use serde_json::{Value, json};
use tern_jepsen::client::{Client, RemoteWriteVersion};
use tern_jepsen::cluster::Cluster;
use tern_jepsen::remote_write::{TimeSeries, encode_v1, encode_v2};

use crate::support::*;

/// The value that `/query/range` gives at one time.
async fn native_value(client: &Client, metric: &str, at: i64) -> anyhow::Result<Value> {
    let time = at.to_string();
    let answer = client.get("/query/range", &[("metric", metric), ("start", &time), ("end", &time), ("step", "1s")]).await?;
    anyhow::ensure!(answer.status == 200, "status {}: {:.300}", answer.status, answer.text());
    Ok(answer.json()?["series"][0]["values"][0][1].clone())
}

/// The value that `/api/v1/query_range` gives at one time.
async fn prometheus_value(client: &Client, metric: &str, at: i64) -> anyhow::Result<Value> {
    let time = at.to_string();
    let parameters = [("query", metric), ("start", &time), ("end", &time), ("step", "1")];
    let data = client.get("/api/v1/query_range", &parameters).await?.data()?;
    Ok(data["result"][0]["values"][0][1].clone())
}

#[tokio::test]
async fn what_node_1_has_acknowledged_nodes_2_and_3_return_at_once() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let writer = cluster.client(1);
    let begin = recent_second() - 600;
    // Every round asks at once for a value that did not exist before, so a stale answer cannot hide.
    for round in 0..60_i64 {
        let at = begin + round;
        let metric = format!("round_{}", round % 5);
        let series = labels(&[("__name__", &metric)]);
        let samples = [(at * 1000, round as f64)];
        let one = [TimeSeries { labels: &series, samples: &samples }];
        let answer = match round % 3 {
            0 => writer.remote_write(RemoteWriteVersion::V1, encode_v1(one)).await?,
            1 => writer.remote_write(RemoteWriteVersion::V2, encode_v2(one)).await?,
            _ => writer.ingest(&json!([element(&metric, &[], at, round)])).await?,
        };
        expect_status(&answer, 204);
        for node in [2, 3] {
            let reader = cluster.client(node);
            assert_eq!(native_value(&reader, &metric, at).await?, json!(round), "node {node}, native, round {round}");
            assert_eq!(prometheus_value(&reader, &metric, at).await?, json!(round.to_string()), "node {node}, round {round}");
        }
    }
    cluster.wait_replicas_equal().await?;
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn series_of_all_shards_come_in_one_answer_from_every_node() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let at = recent_second();
    let elements: Vec<Value> = (0..500).map(|number| element("spread", &[("n", &number.to_string())], at, number)).collect();
    expect_status(&cluster.client(2).ingest(&Value::Array(elements)).await?, 204);
    for (node, client) in cluster.clients() {
        assert_eq!(client.number("count(spread)", at as f64).await?, Some(500.0), "node {node}");
        assert_eq!(client.number("sum(spread)", at as f64).await?, Some(124_750.0), "node {node}");
    }
    let shards = cluster.status(1).await?["groups"].as_array().map_or(0, Vec::len);
    assert!(shards > 2, "there should be several shards, groups: {shards}");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn without_a_quorum_writes_and_strong_reads_are_refused_and_eventual_reads_warn() -> TestResult {
    let _turn = turn().await;
    // Longer than a client of these tests waits: raft.quorum_wait must end what has no majority.
    let mut cluster = Cluster::start_with(TERN, 3, &["--ingest-timeout", "10m", "--query-barrier-timeout", "10m"]).await?;
    let at = recent_second();
    expect_status(&cluster.client(1).ingest(&json!([element("before", &[], at, 1)])).await?, 204);
    // The survivor must have applied it, or an eventual read might rightly be empty.
    assert_eq!(cluster.client(1).number("before", at as f64).await?, Some(1.0));
    cluster.kill(2)?;
    cluster.kill(3)?;
    let alone = cluster.client(1);

    let write = alone.ingest(&json!([element("during", &[], at, 1)])).await?;
    expect_status(&write, 503);
    let retry_after = write.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(retry_after.is_some(), "no Retry-After: {:?}", write.headers);
    assert!(write.json()?["error"].is_string() && write.json()?["hint"].is_string(), "{}", write.text());
    let series = labels(&[("__name__", "during")]);
    let body = encode_v1([TimeSeries { labels: &series, samples: &[(at * 1000, 1.0)] }]);
    let remote_write = alone.remote_write(RemoteWriteVersion::V1, body).await?;
    expect_status(&remote_write, 503);
    assert!(remote_write.header("retry-after").is_some(), "no Retry-After: {:?}", remote_write.headers);

    let time = at.to_string();
    expect_status(&alone.get("/api/v1/query", &[("query", "before"), ("time", &time)]).await?, 503);
    let native = [("metric", "before"), ("start", time.as_str()), ("end", &time), ("step", "1s")];
    expect_status(&alone.get("/query/range", &native).await?, 503);
    let eventual = alone.get("/api/v1/query", &[("query", "before"), ("time", &time), ("consistency", "eventual")]).await?;
    expect_status(&eventual, 200);
    assert_eq!(eventual.json()?["data"]["result"][0]["value"][1], "1", "{}", eventual.text());
    assert!(eventual.json()?["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty()), "no warning: {}", eventual.text());
    expect_status(&alone.get("/-/healthy", &[]).await?, 200);

    cluster.start_node(2)?;
    cluster.wait_node_ready(2).await?;
    expect_status(&cluster.client(1).ingest(&json!([element("after", &[], at, 1)])).await?, 204);
    assert_eq!(cluster.client(2).number("before + after", at as f64).await?, Some(2.0));
    cluster.finish()?;
    Ok(())
}
