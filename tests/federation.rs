//! `/federate`: the newest samples as a page that another system scrapes.

use anyhow::Context;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use prost::encoding::decode_varint;
use serde_json::json;
use tern_jepsen::client::{Client, RemoteWriteVersion};
use tern_jepsen::cluster::Cluster;

use crate::native_histograms::{Span, custom, exponential, request_v1};
use crate::support::*;

#[tokio::test]
async fn the_newest_sample_of_each_series_is_on_the_page() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--external-labels", "region=eu,job=none"]).await?;
    let client = cluster.client(1);
    let at = recent_second();
    let body = json!([
        element("up", &[("job", "b"), ("instance", "i:1")], at - 15, 0),
        element("up", &[("job", "b"), ("instance", "i:1")], at, 1),
        element("up", &[("path", "/\"x\\\n")], at, 0.25),
        element("http.requests", &[("status.code", "200")], at, 7),
        element("old", &[], at - 400, 1),
        element("unselected", &[], at, 1),
    ]);
    expect_status(&client.ingest(&body).await?, 204);
    let selectors = [("match[]", "{__name__=~\"up|http.*|old\"}"), ("match[]", "up{job=\"b\"}")];
    let page = client.get("/federate", &selectors).await?;
    expect_status(&page, 200);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores"));
    let ms = at * 1000;
    let expected = [
        "# TYPE http_requests untyped".to_string(),
        format!("http_requests{{status_code=\"200\",instance=\"\",job=\"none\",region=\"eu\"}} 7 {ms}"),
        "# TYPE up untyped".to_string(),
        format!("up{{instance=\"i:1\",job=\"b\",region=\"eu\"}} 1 {ms}"),
        format!("up{{path=\"/\\\"x\\\\\\n\",instance=\"\",job=\"none\",region=\"eu\"}} 0.25 {ms}"),
    ];
    assert_eq!(page.text().lines().collect::<Vec<_>>(), expected);

    // Scraped, or imported as here, it gives the same samples under the labels that were added.
    expect_status(&client.post("/api/v1/import/prometheus", &[("content-type", "text/plain")], page.text()).await?, 204);
    assert_eq!(client.number("up{region=\"eu\",instance=\"i:1\"}", at as f64).await?, Some(1.0));

    let bad = client.get("/federate", &[("match[]", "up{")]).await?;
    expect_status(&bad, 400);
    assert!(!bad.text().starts_with('{'), "plain text: {}", bad.text());
    let none = client.get("/federate", &[("match[]", "absent")]).await?;
    assert_eq!((none.status, none.text().as_str()), (200, ""));
    cluster.finish()?;
    Ok(())
}

/// As much of `io.prometheus.client.MetricFamily` as is looked at here.
#[derive(Clone, PartialEq, Message)]
struct Family {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, optional, tag = "5")]
    untyped: Option<Untyped>,
    #[prost(int64, tag = "6")]
    timestamp_ms: i64,
    #[prost(message, optional, tag = "7")]
    histogram: Option<FamilyHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Untyped {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct FamilyHistogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(message, repeated, tag = "12")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_deltas: Vec<i64>,
}

const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;q=0.3";

async fn families(client: &Client, selector: &str) -> anyhow::Result<Vec<Family>> {
    let path = format!("/federate?match[]={}", utf8_percent_encode(selector, NON_ALPHANUMERIC));
    let answer = client.send("GET", &path, &[("accept", PROTOBUF)], "").await?;
    expect_status(&answer, 200);
    let content_type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores";
    assert_eq!(answer.header("content-type"), Some(content_type));
    let mut rest = &answer.body[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        let length = decode_varint(&mut rest)? as usize;
        let (family, behind) = rest.split_at_checked(length).context("a family is cut off")?;
        families.push(Family::decode(family)?);
        rest = behind;
    }
    Ok(families)
}

#[tokio::test]
async fn native_histograms_are_on_protobuf_pages_only() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    expect_status(&client.ingest(&json!([element("seen", &[("instance", "i")], at, 3)])).await?, 204);
    let newest = exponential(0, at);
    for body in [request_v1("seen", 1, vec![newest.clone()])?, request_v1("custom", 1, vec![custom(0, at)])?] {
        expect_status(&client.remote_write(RemoteWriteVersion::V1, body).await?, 204);
    }
    let everything = "{__name__=~\"seen|custom\"}";
    let found = families(&client, everything).await?;
    let metric = |untyped, histogram| Metric { untyped, timestamp_ms: at * 1000, histogram };
    let histogram = FamilyHistogram {
        count: 7,
        sum: newest.sum,
        schema: 0,
        positive_spans: newest.positive_spans,
        positive_deltas: newest.positive_deltas,
    };
    let family = |kind, metric| Family { name: "seen".into(), kind, metrics: vec![metric] };
    // Custom buckets have no place in this format either.
    assert_eq!(found, [family(3, metric(Some(Untyped { value: 3.0 }), None)), family(4, metric(None, Some(histogram)))]);
    let text = client.get("/federate", &[("match[]", everything)]).await?.text();
    assert_eq!(text, format!("# TYPE seen untyped\nseen{{instance=\"i\"}} 3 {}\n", at * 1000));
    cluster.finish()?;
    Ok(())
}
