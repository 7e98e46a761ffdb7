//! Native histograms written through remote write 1.0 and 2.0 come back from every node, also after a restart of all.

use prost::Message;
use serde_json::{Value, json};
use tern_jepsen::client::{Client, RemoteWriteVersion};

use crate::support::*;

pub const SCRAPES: i64 = 20;
pub const STEP_S: i64 = 15;

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub count: Option<u64>,
    #[prost(double, tag = "3")]
    pub sum: f64,
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    #[prost(uint64, optional, tag = "6")]
    pub zero_count: Option<u64>,
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesV1 {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestV1 {
    #[prost(message, repeated, tag = "1")]
    series: Vec<SeriesV1>,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    series: Vec<SeriesV2>,
}

/// A counter: each scrape sees one observation in (0.5, 1], two in (1, 2] and four in (2, 4] more.
pub fn exponential(scrape: i64, start_s: i64) -> Histogram {
    let seen = scrape as u64 + 1;
    Histogram {
        count: Some(7 * seen),
        sum: 14.0 * seen as f64,
        zero_count: Some(0),
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_deltas: vec![seen as i64, seen as i64, 2 * seen as i64],
        timestamp: (start_s + scrape * STEP_S) * 1000,
        ..Histogram::default()
    }
}

/// The same observations in buckets of the sender's own.
pub fn custom(scrape: i64, start_s: i64) -> Histogram {
    Histogram { schema: -53, custom_values: vec![1.0, 2.0, 4.0], ..exponential(scrape, start_s) }
}

fn compressed(request: &impl Message) -> anyhow::Result<Vec<u8>> {
    Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?)
}

pub fn request_v1(name: &str, instance: i64, histograms: Vec<Histogram>) -> anyhow::Result<Vec<u8>> {
    let label = |name: &str, value: &str| Label { name: name.to_string(), value: value.to_string() };
    let labels = vec![label("__name__", name), label("instance", &instance.to_string())];
    compressed(&RequestV1 { series: vec![SeriesV1 { labels, histograms }] })
}

fn request_v2(name: &str, instance: i64, histograms: Vec<Histogram>) -> anyhow::Result<Vec<u8>> {
    let symbols = ["", "__name__", name, "instance", &instance.to_string()].map(str::to_string).to_vec();
    compressed(&RequestV2 { symbols, series: vec![SeriesV2 { labels: vec![1, 2, 3, 4], histograms }] })
}

async fn instant(client: &Client, query: &str, at_s: i64) -> anyhow::Result<Value> {
    Ok(client.get("/api/v1/query", &[("query", query), ("time", &at_s.to_string())]).await?.data()?["result"].clone())
}

/// What a node says about everything that was written.
async fn answers(client: &Client, start_s: i64) -> anyhow::Result<Vec<Value>> {
    let end_s = start_s + (SCRAPES - 1) * STEP_S;
    let mut all = Vec::new();
    for query in [
        "exponential{instance=\"0\"}",
        "custom{instance=\"5\"}",
        "exponential{instance=\"0\"}[5m]",
        "histogram_quantile(0.5, sum(rate(exponential[5m])))",
        "histogram_count(sum(rate(custom[5m])))",
        "histogram_quantile(0.9, sum(custom))",
        "count(exponential) + count(custom)",
    ] {
        all.push(instant(client, query, end_s).await?);
    }
    let (start, end) = (start_s.to_string(), end_s.to_string());
    let parameters = [("query", "sum(custom)"), ("start", &start), ("end", &end), ("step", "15")];
    all.push(client.get("/api/v1/query_range", &parameters).await?.data()?["result"].clone());
    Ok(all)
}

#[tokio::test]
async fn native_histograms_come_back_from_every_node() -> TestResult {
    let _turn = turn().await;
    let mut cluster = three_nodes().await?;
    let start_s = recent_second() - 1000;
    for instance in 0..6 {
        let writer = cluster.client(1 + instance as u64 % 3);
        let all = |make: fn(i64, i64) -> Histogram| (0..SCRAPES).map(|scrape| make(scrape, start_s)).collect::<Vec<_>>();
        let answer = writer.remote_write(RemoteWriteVersion::V1, request_v1("exponential", instance, all(exponential))?).await?;
        expect_status(&answer, 204);
        let answer = writer.remote_write(RemoteWriteVersion::V2, request_v2("custom", instance, all(custom))?).await?;
        expect_status(&answer, 204);
        assert_eq!(answer.header("x-prometheus-remote-write-histograms-written"), Some(SCRAPES.to_string().as_str()));
        assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), Some("0"));
    }
    refusals(&cluster.client(1), start_s).await?;
    let before = answers(&cluster.client(1), start_s).await?;
    check(&before, start_s);
    for node in [2, 3] {
        assert_eq!(answers(&cluster.client(node), start_s).await?, before, "node {node}");
    }
    cluster.wait_replicas_equal().await?;
    cluster.kill_all()?;
    for node in [1, 2, 3] {
        cluster.start_node(node)?;
    }
    cluster.wait_ready().await?;
    for node in [1, 2, 3] {
        assert_eq!(answers(&cluster.client(node), start_s).await?, before, "node {node} after the restart");
    }
    cluster.finish()?;
    Ok(())
}

/// A histogram whose buckets hold less than it counts is refused by both versions, and so is another value at a known time.
async fn refusals(writer: &Client, start_s: i64) -> TestResult {
    let broken = Histogram { count: Some(1000), ..exponential(0, start_s) };
    let answer = writer.remote_write(RemoteWriteVersion::V1, request_v1("broken", 0, vec![broken.clone()])?).await?;
    expect_status(&answer, 400);
    assert!(answer.text().contains("observation count"), "{}", answer.text());
    let answer = writer.remote_write(RemoteWriteVersion::V2, request_v2("broken", 0, vec![broken])?).await?;
    expect_status(&answer, 400);
    assert_eq!(answer.header("x-prometheus-remote-write-histograms-written"), Some("0"));
    let another = Histogram { sum: 1.0, ..exponential(3, start_s) };
    let answer = writer.remote_write(RemoteWriteVersion::V1, request_v1("exponential", 0, vec![another])?).await?;
    expect_status(&answer, 400);
    let again = writer.remote_write(RemoteWriteVersion::V1, request_v1("exponential", 0, vec![exponential(3, start_s)])?).await?;
    expect_status(&again, 204);
    Ok(())
}

fn check(answers: &[Value], start_s: i64) {
    let end_s = start_s + (SCRAPES - 1) * STEP_S;
    let seen = SCRAPES;
    let buckets = json!([[0, "0.5", "1", seen.to_string()], [0, "1", "2", (2 * seen).to_string()], [0, "2", "4", (4 * seen).to_string()]]);
    let whole = json!({"count": (7 * seen).to_string(), "sum": (14 * seen).to_string(), "buckets": buckets});
    assert_eq!(answers[0][0]["histogram"], json!([end_s, whole]), "exponential");
    assert_eq!(answers[1][0]["histogram"][1]["buckets"][1], json!([0, "1", "2", (2 * seen).to_string()]), "custom");
    assert_eq!(answers[2][0]["histograms"].as_array().map(Vec::len), Some(SCRAPES as usize), "raw range");
    let number = |value: &Value| value[0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    // Half of seven observations lie below a point in the bucket (2, 4]; seven observations each 15 s in six series.
    assert!((2.0..=4.0).contains(&number(&answers[3])), "quantile {}", answers[3]);
    assert!((number(&answers[4]) - 6.0 * 7.0 / 15.0).abs() < 0.2, "rate {}", answers[4]);
    assert!((number(&answers[5]) - 3.65).abs() < 0.01, "0.9 of 7 is 6.3: 3.3 of the 4 in (2, 4], so 3.65; got {}", answers[5]);
    assert_eq!(number(&answers[6]), 12.0);
    assert_eq!(answers[7][0]["histograms"].as_array().map(Vec::len), Some(SCRAPES as usize), "range query");
}
