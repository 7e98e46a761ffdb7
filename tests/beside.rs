//! What stands beside samples, and taking samples away: exemplars, metadata, deletions, snapshots of a node.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use serde_json::{Value, json};
use tern_jepsen::client::{Answer, Client, RemoteWriteVersion};
use tern_jepsen::cluster::Cluster;

use crate::support::*;

const ADMIN: [&str; 2] = ["--web-enable-admin-api", "true"];

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct MetricMetadata {
    #[prost(int32, tag = "1")]
    metric_type: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

/// `prometheus.WriteRequest`
#[derive(Clone, PartialEq, Message)]
struct RequestV1 {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MetadataV2 {
    #[prost(int32, tag = "1")]
    metric_type: i32,
    #[prost(uint32, tag = "3")]
    help: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ExemplarV2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<MetadataV2>,
}

/// `io.prometheus.write.v2.Request`
#[derive(Clone, PartialEq, Message)]
struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    series: Vec<SeriesV2>,
}

fn snappy(message: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).expect("a small message")
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.into(), value: value.into() }
}

/// A counter with an exemplar, and a histogram's metadata.
fn first_request(at_ms: i64) -> RequestV1 {
    let exemplar = Exemplar { labels: vec![label("trace_id", "one")], value: 0.5, timestamp: at_ms };
    RequestV1 {
        series: vec![Series {
            labels: vec![label("__name__", "orders_total"), label("shop", "a")],
            samples: vec![Sample { value: 1.0, timestamp: at_ms }],
            exemplars: vec![exemplar],
        }],
        metadata: vec![MetricMetadata { metric_type: 1, family: "orders_total".into(), help: "Orders.".into(), unit: String::new() }],
    }
}

/// A bucket of a histogram with one exemplar of this trace.
fn second_request(sample_ms: i64, exemplar_ms: i64, trace: &str) -> Vec<u8> {
    let symbols = ["", "__name__", "latency_seconds_bucket", "le", "1", "trace_id", trace, "Latency."];
    snappy(&RequestV2 {
        symbols: symbols.map(str::to_string).to_vec(),
        series: vec![SeriesV2 {
            labels: vec![1, 2, 3, 4],
            samples: vec![Sample { value: 2.0, timestamp: sample_ms }],
            exemplars: vec![ExemplarV2 { labels: vec![5, 6], value: 0.25, timestamp: exemplar_ms }],
            metadata: Some(MetadataV2 { metric_type: 3, help: 7 }),
        }],
    })
}

fn expect_exemplars_written(answer: &Answer, status: u16, written: &str) {
    expect_status(answer, status);
    assert_eq!(answer.header("x-prometheus-remote-write-exemplars-written"), Some(written), "{}", answer.text());
}

async fn expect_beside(client: &Client, at: i64) -> anyhow::Result<()> {
    let query = r#"rate(orders_total[1m]) + ignoring(le) latency_seconds_bucket{le="1"}"#;
    let (start, end) = ((at - 60).to_string(), (at + 60).to_string());
    let found = client.get("/api/v1/query_exemplars", &[("query", query), ("start", &start), ("end", &end)]).await?.data()?;
    let expected = json!([
        {
            "seriesLabels": {"__name__": "latency_seconds_bucket", "le": "1"},
            "exemplars": [{"labels": {"trace_id": "two"}, "value": "0.25", "timestamp": at}],
        },
        {
            "seriesLabels": {"__name__": "orders_total", "shop": "a"},
            "exemplars": [{"labels": {"trace_id": "one"}, "value": "0.5", "timestamp": at}],
        },
    ]);
    assert_eq!(found, expected);
    let metadata = client.get("/api/v1/metadata", &[]).await?.data()?;
    let expected = json!({
        "latency_seconds": [{"type": "histogram", "help": "Latency.", "unit": ""}],
        "orders_total": [{"type": "counter", "help": "Orders.", "unit": ""}],
    });
    assert_eq!(metadata, expected);
    let one = client.get("/api/v1/metadata", &[("metric", "orders_total"), ("limit_per_metric", "1")]).await?.data()?;
    assert_eq!(one.as_object().map(serde_json::Map::len), Some(1), "{one}");
    Ok(())
}

#[tokio::test]
async fn exemplars_and_metadata_of_both_versions_are_on_all_nodes_also_after_a_restart() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let at = recent_second();
    let writer = cluster.client(1);
    let v1 = writer.remote_write(RemoteWriteVersion::V1, snappy(&first_request(at * 1000))).await?;
    expect_status(&v1, 204);
    assert_eq!(v1.header("x-prometheus-remote-write-exemplars-written"), None, "a header of version 2");
    let second = second_request(at * 1000, at * 1000, "two");
    expect_exemplars_written(&writer.remote_write(RemoteWriteVersion::V2, second.clone()).await?, 204, "1");
    // The same again is stored already, an older one is refused, a long one is no exemplar.
    expect_exemplars_written(&cluster.client(2).remote_write(RemoteWriteVersion::V2, second).await?, 204, "1");
    let older = second_request(at * 1000, at * 1000 - 1, "older");
    expect_exemplars_written(&cluster.client(2).remote_write(RemoteWriteVersion::V2, older).await?, 400, "0");
    let long = second_request(at * 1000, at * 1000 + 1, &"x".repeat(129));
    expect_exemplars_written(&cluster.client(3).remote_write(RemoteWriteVersion::V2, long).await?, 204, "0");
    for (_, client) in cluster.clients() {
        expect_beside(&client, at).await?;
        expect_status(&client.get("/api/v1/query_exemplars", &[("query", "1 + 1")]).await?, 204);
        expect_status(&client.get("/api/v1/query_exemplars", &[("query", "sum(")]).await?, 400);
    }
    // One node has them from its files alone, the others from files or the log.
    expect_status(&cluster.client(2).post("/debug/flush", &[], "").await?, 204);
    cluster.kill_all()?;
    for number in cluster.numbers() {
        cluster.start_node(number)?;
    }
    cluster.wait_ready().await?;
    for (_, client) in cluster.clients() {
        expect_beside(&client, at).await?;
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn imported_pages_bring_metadata_and_exemplars() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let at = recent_second();
    let plain = "# HELP orders_total Orders.\n# TYPE orders_total counter\norders_total{shop=\"a\"} 1\n";
    let import = "/api/v1/import/prometheus";
    expect_status(&cluster.client(1).post(import, &[("content-type", "text/plain")], plain).await?, 204);
    let open = format!(
        "# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\n# HELP latency_seconds Latency.\n\
         latency_seconds_bucket{{le=\"1\"}} 2 {at} # {{trace_id=\"two\"}} 0.25 {at}\n\
         latency_seconds_bucket{{le=\"+Inf\"}} 3 {at} # {{}} 7\n# EOF\n"
    );
    let headers = [("content-type", "application/openmetrics-text; version=1.0.0")];
    expect_status(&cluster.client(2).post(&format!("{import}/metrics/job/batch"), &headers, open).await?, 204);
    let expected = json!({
        "latency_seconds": [{"type": "histogram", "help": "Latency.", "unit": "seconds"}],
        "orders_total": [{"type": "counter", "help": "Orders.", "unit": ""}],
    });
    for (number, client) in cluster.clients() {
        assert_eq!(client.get("/api/v1/metadata", &[]).await?.data()?, expected, "node {number}");
        let found = client.get("/api/v1/query_exemplars", &[("query", "latency_seconds_bucket")]).await?.data()?;
        let series = |le: &str, labels: Value, value: &str| {
            json!({
                "seriesLabels": {"__name__": "latency_seconds_bucket", "job": "batch", "le": le},
                "exemplars": [{"labels": labels, "value": value, "timestamp": at}],
            })
        };
        assert_eq!(found, json!([series("+Inf", json!({}), "7"), series("1", json!({"trace_id": "two"}), "0.25")]), "node {number}");
    }
    let broken = format!("a 1 {at} # trace_id=\"x\" 1\n# EOF\n");
    expect_status(&cluster.client(3).post(import, &headers, broken).await?, 400);
    cluster.finish()?;
    Ok(())
}

async fn admin(client: &Client, call: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    Ok(client.post(&format!("/api/v1/admin/tsdb/{call}"), &headers, pairs.join("&")).await?)
}

/// Series of one name, spread over the shards, with a sample at each of the seconds.
fn spread(name: &str, seconds: &[i64], value: i64) -> Value {
    let numbers = 0..40;
    numbers.flat_map(|n| seconds.iter().map(move |&at| element(name, &[("n", &n.to_string())], at, value))).collect()
}

async fn count(client: &Client, query: &str, at: i64) -> anyhow::Result<f64> {
    Ok(client.number(&format!("sum(count_over_time({query}[10m]))"), at as f64).await?.unwrap_or(0.0))
}

#[tokio::test]
async fn deleted_series_are_gone_on_all_nodes_and_what_comes_later_stays() -> TestResult {
    let _turn = turn().await;
    let mut cluster = Cluster::start_with(TERN, 3, &ADMIN).await?;
    let at = recent_second();
    for name in ["gone", "cut", "kept"] {
        expect_status(&cluster.client(1).ingest(&spread(name, &[at - 30, at - 20, at - 10], 1)).await?, 204);
    }
    // Node 1 has them in files, node 2 in memory; node 3 meets the deletions in the log.
    expect_status(&cluster.client(1).post("/debug/flush", &[], "").await?, 204);
    cluster.kill(3)?;
    let (start, end) = ((at - 25).to_string(), (at - 15).to_string());
    expect_status(&admin(&cluster.client(2), "delete_series", &[("match[]", "gone")]).await?, 204);
    let range = [("match[]", "cut{n=~\".*\"}"), ("start", &start), ("end", &end)];
    expect_status(&admin(&cluster.client(1), "delete_series", &range).await?, 204);
    expect_status(&cluster.client(1).ingest(&spread("gone", &[at - 20], 7)).await?, 204);
    cluster.start_node(3)?;
    cluster.wait_node_ready(3).await?;
    for round in ["caught up", "cleaned", "restarted"] {
        for (number, client) in cluster.clients() {
            let counts = [count(&client, "gone", at).await?, count(&client, "cut", at).await?, count(&client, "kept", at).await?];
            assert_eq!(counts, [40.0, 80.0, 120.0], "node {number}, {round}");
            assert_eq!(client.number("sum(gone)", at as f64).await?, Some(280.0), "node {number}, {round}");
        }
        cluster.wait_replicas_equal().await?;
        match round {
            "caught up" => {
                for (_, client) in cluster.clients() {
                    expect_status(&admin(&client, "clean_tombstones", &[]).await?, 204);
                }
            }
            "cleaned" => {
                cluster.kill_all()?;
                for number in cluster.numbers() {
                    cluster.start_node(number)?;
                }
                cluster.wait_ready().await?;
            }
            _ => {}
        }
    }
    expect_status(&admin(&cluster.client(3), "delete_series", &[("match[]", "gone"), ("match[]", "cut")]).await?, 204);
    for (number, client) in cluster.clients() {
        let series = client.get("/api/v1/series", &[("match[]", "{__name__=~\".+\"}")]).await?.data()?;
        let names: Vec<_> = series.as_array().into_iter().flatten().map(|labels| labels["__name__"].clone()).collect();
        assert_eq!(names, vec![json!("kept"); 40], "node {number}");
    }
    cluster.kill(1)?;
    cluster.kill(3)?;
    let refused = admin(&cluster.client(2), "delete_series", &[("match[]", "kept")]).await?;
    expect_status(&refused, 503);
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_node_continues_from_its_snapshot_and_the_admin_calls_are_off_by_default() -> TestResult {
    let _turn = turn().await;
    let mut cluster = Cluster::start_with(TERN, 1, &ADMIN).await?;
    let at = recent_second();
    expect_status(&cluster.client(1).ingest(&json!([element("before", &[], at, 1)])).await?, 204);
    expect_status(&admin(&cluster.client(1), "delete_series", &[]).await?, 400);
    let mut names = Vec::new();
    for skip_head in ["true", "false"] {
        expect_status(&cluster.client(1).ingest(&json!([element("before", &[("skip", skip_head)], at, 1)])).await?, 204);
        let data = admin(&cluster.client(1), "snapshot", &[("skip_head", skip_head)]).await?.data()?;
        names.push(data["name"].as_str().unwrap_or_default().to_string());
    }
    expect_status(&cluster.client(1).ingest(&json!([element("after", &[], at, 1)])).await?, 204);
    let folder = cluster.data_directory(1)?.to_path_buf();
    for (name, series) in names.iter().zip([2.0, 3.0]) {
        cluster.kill(1)?;
        let aside = folder.with_extension(name);
        std::fs::rename(folder.join("snapshots").join(name), &aside)?;
        let used = folder.with_extension(format!("{name}.used"));
        std::fs::rename(&folder, &used)?;
        std::fs::rename(&aside, &folder)?;
        cluster.start_node(1)?;
        cluster.wait_node_ready(1).await?;
        assert_eq!(cluster.client(1).number("count(before)", at as f64).await?, Some(series), "{name}");
        assert_eq!(cluster.client(1).number("after", at as f64).await?, None, "{name}");
        expect_status(&cluster.client(1).ingest(&json!([element("later", &[], at, 1)])).await?, 204);
        cluster.kill(1)?;
        std::fs::rename(&folder, folder.with_extension(format!("{name}.restored")))?;
        std::fs::rename(&used, &folder)?;
        cluster.start_node(1)?;
        cluster.wait_node_ready(1).await?;
    }
    cluster.finish()?;

    let closed = one_node().await?;
    let answer = admin(&closed.client(1), "delete_series", &[("match[]", "up")]).await?;
    expect_status(&answer, 500);
    assert_eq!(answer.json()?, json!({"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"}));
    closed.finish()?;
    Ok(())
}
