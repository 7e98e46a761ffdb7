//! The native API: push, range, instant, in all the spellings that README promises.

use serde_json::{Value, json};
use tern_jepsen::client::Client;

use crate::support::*;

async fn range(client: &Client, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
    let answer = client.get("/query/range", parameters).await?;
    anyhow::ensure!(answer.status == 200, "status {}: {:.500}", answer.status, answer.text());
    answer.json()
}

/// Three services in two environments, one value a minute for five minutes: value = service number * 10 + minute.
async fn load(client: &Client, end: i64) -> anyhow::Result<()> {
    let mut elements = Vec::new();
    for (number, service) in ["auth", "cart", "pay"].into_iter().enumerate() {
        for minute in 0..5_i64 {
            let labels = [("service", service), ("env", if number == 2 { "dev" } else { "prod" })];
            elements.push(element("http_requests", &labels, end - (4 - minute) * 60, number as i64 * 10 + minute));
        }
    }
    expect_status(&client.ingest(&Value::Array(elements)).await?, 204);
    Ok(())
}

#[tokio::test]
async fn a_range_by_labels_in_every_spelling() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let end = recent_second();
    load(&client, end).await?;
    let (start, end_text) = ((end - 240).to_string(), end.to_string());
    let values: Vec<Value> = (0..5).map(|minute| json!([end - (4 - minute) * 60, minute])).collect();
    let expected = json!([{"metric": "http_requests", "labels": {"env": "prod", "service": "auth"}, "values": values}]);
    for labels in ["{service:auth}", r#"{"service":"auth"}"#, r#"{service="auth"}"#, "{service=auth}", r#"{service=~"au.*",env!="dev"}"#] {
        let parameters = [("metric", "http_requests"), ("labels", labels), ("start", &start), ("end", &end_text), ("step", "60s")];
        assert_eq!(range(&client, &parameters).await?["series"], expected, "{labels}");
    }
    let all = range(&client, &[("metric", "http_requests"), ("start", &start), ("end", &end_text), ("step", "1m")]).await?;
    assert_eq!(all["series"].as_array().map(Vec::len), Some(3));
    let relative = range(&client, &[("metric", "http_requests"), ("start", "-10m"), ("end", "now"), ("step", "60")]).await?;
    assert_eq!(relative["series"].as_array().map(Vec::len), Some(3));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn series_are_aggregated_on_request() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let end = recent_second();
    load(&client, end).await?;
    let at = end.to_string();
    for (aggregate, expected) in [
        ("sum", 4.0 + 14.0 + 24.0),
        ("avg", 14.0),
        ("min", 4.0),
        ("max", 24.0),
        ("count", 3.0),
        ("p50", 14.0),
        ("p95", 23.0),
        ("p99", 23.8),
    ] {
        let parameters = [("metric", "http_requests"), ("start", &at), ("end", &at), ("step", "60s"), ("agg", aggregate)];
        let answer = range(&client, &parameters).await?;
        let got = answer["series"][0]["values"][0][1].as_f64().unwrap_or(f64::NAN);
        assert!((got - expected).abs() < 1e-9, "{aggregate}: {got} instead of {expected}: {answer}");
    }
    let by = [("metric", "http_requests"), ("start", &at), ("end", &at), ("step", "60s"), ("agg", "sum"), ("by", "env")];
    let answer = range(&client, &by).await?;
    let mut sums: Vec<(String, f64)> = Vec::new();
    for series in answer["series"].as_array().into_iter().flatten() {
        sums.push((series["labels"]["env"].as_str().unwrap_or_default().to_owned(), series["values"][0][1].as_f64().unwrap_or(f64::NAN)));
    }
    sums.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(sums, [("dev".to_owned(), 24.0), ("prod".to_owned(), 18.0)]);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn an_instant_query_gives_one_number_several_or_none() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let now = now_ms() / 1000;
    load(&client, now).await?;
    let one = client.get("/query/instant", &[("expr", "avg(http_requests{env='prod'})")]).await?;
    expect_status(&one, 200);
    assert_eq!(one.json()?["value"].as_f64(), Some(9.0), "{}", one.text());
    assert!(one.json()?["timestamp"].is_number(), "{}", one.text());
    let several = client.get("/query/instant", &[("expr", "http_requests")]).await?;
    expect_status(&several, 200);
    assert_eq!(several.json()?["results"].as_array().map(Vec::len), Some(3), "{}", several.text());
    let none = client.get("/query/instant", &[("expr", "absent_metric")]).await?;
    expect_status(&none, 404);
    assert!(none.json()?["error"].is_string() && none.json()?["hint"].is_string(), "{}", none.text());
    let broken = client.get("/query/instant", &[("expr", "avg(")]).await?;
    expect_status(&broken, 400);
    assert!(broken.json()?["error"].is_string() && broken.json()?["hint"].is_string(), "{}", broken.text());
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn timestamps_and_values_in_every_spelling() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let rfc3339 = utc_text(at);
    let body = json!([
        element("seconds", &[], at, 1),
        element("fraction", &[], at as f64 + 0.25, 2),
        element("milliseconds", &[], at * 1000, 3),
        element("rfc", &[], rfc3339, 4),
        {"name": "absent_time", "value": 5},
        element("infinite", &[], at, "+Inf"),
        element("negative", &[], at, "-Inf"),
        element("not_a_number", &[], at, "NaN"),
    ]);
    expect_status(&client.ingest(&body).await?, 204);
    let end = now_ms() as f64 / 1000.0;
    let stamped = |name: &'static str| {
        let client = client.clone();
        async move { client.samples(&format!("{name}[5m]"), end).await.map(|series| series[0].samples[0]) }
    };
    assert_eq!(stamped("seconds").await?, (at * 1000, 1.0));
    assert_eq!(stamped("fraction").await?, (at * 1000 + 250, 2.0));
    assert_eq!(stamped("milliseconds").await?, (at * 1000, 3.0));
    assert_eq!(stamped("rfc").await?, (at * 1000, 4.0));
    let (now, value) = stamped("absent_time").await?;
    assert!(value == 5.0 && (now_ms() - now).abs() < 60_000, "stamped {now}");
    assert_eq!(stamped("infinite").await?.1, f64::INFINITY);
    assert_eq!(stamped("negative").await?.1, f64::NEG_INFINITY);
    assert!(stamped("not_a_number").await?.1.is_nan());
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn lines_of_json_and_compressed_bodies_are_taken() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let lines = format!("{}\n{}\n", element("line", &[("n", "1")], at, 1), element("line", &[("n", "2")], at, 2));
    expect_status(&client.post("/ingest/metrics", &[("content-type", "application/x-ndjson")], lines).await?, 204);
    assert_eq!(client.number("sum(line)", at as f64).await?, Some(3.0));
    let json_type = ("content-type", "application/json");
    let plain = json!([element("zipped", &[], at, 7)]).to_string();
    let gzip = gzipped(plain.as_bytes());
    expect_status(&client.post("/ingest/metrics", &[json_type, ("content-encoding", "gzip")], gzip).await?, 204);
    assert_eq!(client.number("zipped", at as f64).await?, Some(7.0));
    let zstd = zstd::encode_all(plain.replace("zipped", "zstd").as_bytes(), 1)?;
    expect_status(&client.post("/ingest/metrics", &[json_type, ("content-encoding", "zstd")], zstd).await?, 204);
    assert_eq!(client.number("zstd", at as f64).await?, Some(7.0));
    cluster.finish()?;
    Ok(())
}

fn gzipped(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

fn utc_text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a time of this century").to_string()
}
