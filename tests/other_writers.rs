//! Writers that speak neither Prometheus' protocols nor ours: OpenTelemetry and InfluxDB's clients. What they send can be queried.

use serde_json::{Value, json};
use tern_jepsen::client::Client;

use crate::support::*;

/// One gauge and one counter of a service, at a time in seconds, in OTLP's JSON.
fn otlp_request(at: i64, temporality: u32) -> Value {
    let nanoseconds = (at * 1_000_000_000).to_string();
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let point = |value: f64| json!({"timeUnixNano": nanoseconds, "asDouble": value, "attributes": [text("http.method", "GET")]});
    let metrics = json!([
        {"name": "queue.size", "gauge": {"dataPoints": [point(7.0)]}},
        {"name": "http.requests", "description": "Requests.", "sum": {
            "isMonotonic": true, "aggregationTemporality": temporality, "dataPoints": [point(12.0)]}},
        {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": nanoseconds, "count": "3", "sum": 0.7, "bucketCounts": ["1", "2"], "explicitBounds": [0.1]}]}},
    ]);
    let resource = json!({"attributes": [text("service.name", "shop"), text("service.instance.id", "one"), text("host.name", "h")]});
    json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]})
}

/// The same gauge as protobuf, written by hand: every length below is that of the bytes behind it.
fn otlp_protobuf(at: i64, value: f64) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let fixed = |number: u8, bits: u64| [&[number << 3 | 1][..], &bits.to_le_bytes()].concat();
    let point = [fixed(3, at as u64 * 1_000_000_000), fixed(4, value.to_bits())].concat();
    let metric = [field(1, b"protobuf.gauge"), field(5, &field(1, &point))].concat();
    field(1, &field(2, &field(2, &metric)))
}

async fn post_otlp(client: &Client, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let answer = client.post(path, &[("content-type", "application/json")], body.to_string()).await?;
    Ok((answer.status, answer.json()?))
}

#[tokio::test]
async fn opentelemetry_metrics_become_series() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let at = recent_second();
    let client = cluster.client(1);
    assert_eq!(post_otlp(&client, "/api/v1/otlp/v1/metrics", &otlp_request(at, 2)).await?, (200, json!({})));
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = cluster.client(2).post("/otlp/v1/metrics", &protobuf, otlp_protobuf(at, 0.25)).await?;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-protobuf")), "{}", answer.text());

    let client = cluster.client(3);
    for (query, expected) in [
        (r#"queue_size{job="shop",instance="one",http_method="GET"}"#, 7.0),
        (r#"http_requests_total{job="shop"}"#, 12.0),
        (r#"latency_seconds_bucket{le="0.1"}"#, 1.0),
        (r#"latency_seconds_bucket{le="+Inf"}"#, 3.0),
        ("latency_seconds_sum", 0.7),
        (r#"target_info{job="shop",instance="one",host_name="h"}"#, 1.0),
        ("protobuf_gauge", 0.25),
    ] {
        assert_eq!(client.number(query, at as f64).await?, Some(expected), "{query}");
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn what_opentelemetry_cannot_have_stored_is_told() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let (status, body) = post_otlp(&client, "/opentelemetry/v1/metrics", &otlp_request(at, 1)).await?;
    let reason = "invalid temporality and type combination for metric \"http.requests\"";
    assert_eq!((status, body), (200, json!({"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": reason}})));
    assert_eq!(client.number("queue_size", at as f64).await?, Some(7.0));

    let future = otlp_request(at + 86_400, 2);
    let (status, body) = post_otlp(&client, "/api/v1/otlp/v1/metrics", &future).await?;
    assert_eq!(status, 400, "{body}");
    let (status, body) = post_otlp(&client, "/api/v1/otlp/v1/metrics", &json!({"resourceMetrics": 7})).await?;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().is_some_and(|text| text.contains("line 1 column")), "{body}");
    let answer = client.post("/api/v1/otlp/v1/metrics", &[("content-type", "application/x-protobuf")], vec![0x0a, 0xff]).await?;
    expect_status(&answer, 400);
    let answer = client.post("/api/v1/otlp/v1/metrics", &[("content-type", "text/plain")], "x").await?;
    expect_status(&answer, 415);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn line_protocol_becomes_series() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let text = format!("cpu,host=a usage_idle=99.5,cores=8i,name=\"x\" {at}\nmem free=1u {at}\n");
    expect_status(&client.post("/write?db=telegraf&precision=s", &[], text.clone()).await?, 204);
    expect_status(&client.post("/influx/api/v2/write?org=o&bucket=b", &[], text).await?, 204);
    for (query, expected) in [
        (r#"cpu_usage_idle{host="a",db="telegraf"}"#, 99.5),
        (r#"cpu_cores{host="a",db=""}"#, 8.0),
        (r#"mem_free{db="telegraf"}"#, 1.0),
        (r#"count({__name__=~"cpu_.+"})"#, 4.0),
    ] {
        assert_eq!(client.number(query, at as f64).await?, Some(expected), "{query}");
    }

    let bad = format!("good f=1 {at}\nbad f=many {at}\n");
    let answer = client.post("/write", &[], bad.clone()).await?;
    expect_status(&answer, 400);
    assert!(answer.json()?["error"].as_str().is_some_and(|text| text.starts_with("line 2: ")), "{}", answer.text());
    let answer = client.post("/api/v2/write", &[], bad).await?;
    expect_status(&answer, 400);
    assert_eq!(answer.json()?["code"], "invalid");
    let answer = client.post("/write", &[], format!("good f=1 {at}\ngood f=1 {}\n", at + 86_400)).await?;
    expect_status(&answer, 400);
    assert!(answer.text().contains("line 2"), "{}", answer.text());
    assert_eq!(client.number("good_f", at as f64).await?, None, "something of a refused request was written");

    expect_status(&client.get("/ping", &[]).await?, 204);
    assert_eq!(client.get("/health", &[]).await?.json()?["status"], "pass");
    let databases = client.get("/query", &[("q", "SHOW DATABASES")]).await?.json()?;
    assert_eq!(databases["results"][0]["series"][0]["columns"], json!(["name"]));
    cluster.finish()?;
    Ok(())
}
