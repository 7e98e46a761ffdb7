//! Five nodes, three replicas of each shard: no node holds everything, and every node gives the same answer to the last digit.

use serde_json::{Value, json};
use tern_jepsen::client::Client;
use tern_jepsen::cluster::Cluster;

use crate::support::*;

const QUERIES: [&str; 16] = [
    "requests_total",
    "rate(requests_total[1m])",
    "sum(rate(requests_total[1m]))",
    "avg by (job) (requests_total)",
    "stddev by (job) (rate(requests_total[2m]))",
    "stdvar(requests_total)",
    "min by (job) (requests_total) + on (job) max by (job) (requests_total)",
    "count(requests_total > 100)",
    "group by (job) (requests_total)",
    "count_values by (job) (\"value\", requests_total % 7)",
    "topk(3, rate(requests_total[1m]))",
    "bottomk by (job) (2, requests_total)",
    "quantile by (job) (0.9, requests_total)",
    "histogram_quantile(0.9, sum by (le) (rate(latency_bucket[1m])))",
    "max_over_time(sum(requests_total)[2m:15s])",
    "absent(requests_total{job=\"none\"})",
];

#[tokio::test]
async fn shards_evaluate_their_share_and_every_node_answers_alike() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start(TERN, 5).await?;
    let end = recent_second() / 15 * 15;
    for sample in 0..40_i64 {
        expect_status(&cluster.client(1).ingest(&samples_at(end - 600 + sample * 15, sample)).await?, 204);
    }
    for query in QUERIES {
        let expected = answers(&cluster.client(1), query, end).await?;
        assert!(!expected[0]["result"].as_array().is_none_or(Vec::is_empty), "{query}: no answer");
        for (node, client) in cluster.clients() {
            let got = answers(&client, query, end).await?;
            assert_eq!(got, expected, "node {node}: {query}");
        }
    }
    // What fails, fails with the same words everywhere.
    for (node, client) in cluster.clients() {
        let parameters = [("query", "topk(NaN, requests_total)"), ("time", &end.to_string())];
        let refused = client.get("/api/v1/query", &parameters).await?;
        assert_eq!(refused.json()?["error"], "Parameter value is NaN", "node {node}: {}", refused.text());
    }
    cluster.finish()?;
    Ok(())
}

/// A range and an instant.
async fn answers(client: &Client, query: &str, end: i64) -> anyhow::Result<[Value; 2]> {
    let (start, end) = ((end - 480).to_string(), end.to_string());
    let range = client.get("/api/v1/query_range", &[("query", query), ("start", &start), ("end", &end), ("step", "60")]).await?;
    let instant = client.get("/api/v1/query", &[("query", query), ("time", &end)]).await?;
    Ok([range.data()?, instant.data()?])
}

/// One sample of every series: counters of 60 instances, and a histogram of ten.
fn samples_at(at: i64, sample: i64) -> Value {
    let counters = (0..60).map(|instance: i64| {
        let (job, instance_name) = (["a", "b", "c"][instance as usize % 3], instance.to_string());
        let value = (sample * (instance + 1)) as f64 * 1.1;
        element("requests_total", &[("job", job), ("instance", &instance_name)], at, value)
    });
    let buckets = (0..40).map(|number: i64| {
        let (le, instance) = (["0.1", "1", "10", "+Inf"][number as usize % 4], (number / 4).to_string());
        element("latency_bucket", &[("le", le), ("instance", &instance)], at, sample * (number % 4 + 1) * (number / 4 + 1))
    });
    json!(counters.chain(buckets).collect::<Vec<_>>())
}
