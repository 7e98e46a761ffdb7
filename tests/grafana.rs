//! The calls that Grafana's Prometheus data source makes, as it makes them (forms by POST, gzip, `limit=40000`, `match[]`), and what it expects of the
//! answers: its health check, dashboards, the query builder, exemplars, and the list of alert rules.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, ensure};
use prost::Message;
use serde_json::{Value, json};

use crate::support::*;

/// Grafana's limit on lists of series, labels and values.
const LIMIT: &str = "40000";

/// Speaks as Grafana does. Answers are decompressed by hand, to see that they were compressed.
struct Grafana {
    http: reqwest::Client,
    url: String,
}

impl Grafana {
    fn new(address: &str) -> anyhow::Result<Grafana> {
        let http = reqwest::Client::builder().no_proxy().no_gzip().build()?;
        Ok(Grafana { http, url: format!("http://{address}") })
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/x-www-form-urlencoded");
        let body = reqwest::Url::parse_with_params("http://form/", form)?.query().unwrap_or_default().to_owned();
        Grafana::data(request.body(body)).await.with_context(|| format!("POST {path} {form:?}"))
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.url)).query(parameters);
        Grafana::data(request).await.with_context(|| format!("GET {path} {parameters:?}"))
    }

    /// `data` of an answer that is well and compressed.
    async fn data(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let response = request.header("accept-encoding", "gzip").send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let bytes = response.bytes().await?;
        let text = match header("content-encoding").as_str() {
            "gzip" => {
                let mut text = String::new();
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text)?;
                text
            }
            // A body of a few bytes may stay as it is.
            "" if bytes.len() < 1024 => String::from_utf8(bytes.to_vec())?,
            encoding => anyhow::bail!("{} bytes with encoding {encoding:?}", bytes.len()),
        };
        ensure!(status == 200, "status {status}: {text}");
        ensure!(header("content-type").starts_with("application/json"), "content type {:?}", header("content-type"));
        let mut envelope: Value = serde_json::from_str(&text)?;
        ensure!(envelope["status"] == "success", "{text}");
        Ok(envelope["data"].take())
    }
}

/// The times of the samples, and of the questions about them.
struct Window {
    start: String,
    end: String,
    second: i64,
}

#[tokio::test]
async fn grafana_finds_everything_it_asks_for() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let second = recent_second() / 15 * 15;
    let window = Window { start: (second - 60).to_string(), end: second.to_string(), second };
    write(&cluster.client(1), second).await?;
    for number in cluster.numbers() {
        let grafana = Grafana::new(&cluster.node(number)?.http.address())?;
        connection_test(&grafana).await?;
        panels(&grafana, &window).await?;
        query_builder(&grafana, &window).await?;
        exemplars(&grafana, &window).await?;
        metadata(&grafana).await?;
        alert_list(&grafana).await?;
    }
    cluster.finish()?;
    Ok(())
}

/// 30 services with five samples each; one series has an exemplar, and the metric has metadata.
async fn write(client: &tern_jepsen::client::Client, second: i64) -> TestResult {
    let times = (0..5).map(|tick| second - 60 + tick * 15);
    let elements: Vec<Value> = times
        .flat_map(|at| {
            (0..30).map(move |service| {
                let value = (at - second + 60) * service;
                element("web_requests_total", &[("service", &format!("service-{service:02}")), ("cluster", "prod")], at, value)
            })
        })
        .collect();
    expect_status(&client.ingest(&Value::Array(elements)).await?, 204);
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
    let body = snap::raw::Encoder::new().compress_vec(&exemplar_and_metadata(second).encode_to_vec())?;
    expect_status(&client.post("/api/v1/write", &headers, body).await?, 204);
    Ok(())
}

/// "Save & test": one query whose answer is known, and what the server is, which decides what Grafana dares to ask.
async fn connection_test(grafana: &Grafana) -> TestResult {
    let data = grafana.post("/api/v1/query", &[("query", "1+1"), ("time", "4")]).await?;
    assert_eq!(data, json!({"resultType": "scalar", "result": [4, "2"]}));
    let build = grafana.get("/api/v1/status/buildinfo", &[]).await?;
    let version = build["version"].as_str().context("no version")?;
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).with_context(|| format!("version {version}"))?;
    assert!(major >= 3, "Grafana would think this an old Prometheus: {version}");
    // Something in here would make Grafana think that rules can be edited through Mimir's API.
    assert!(build["features"].as_object().is_none_or(|features| features.is_empty()), "{build}");
    Ok(())
}

/// A graph, a table, and a stat panel.
async fn panels(grafana: &Grafana, window: &Window) -> TestResult {
    let query = "sum by (service) (rate(web_requests_total{cluster=\"prod\"}[1m]))";
    let form = [("query", query), ("start", &window.start), ("end", &window.end), ("step", "15")];
    let data = grafana.post("/api/v1/query_range", &form).await?;
    assert_eq!(data["resultType"], "matrix");
    let series = data["result"].as_array().context("no result")?;
    assert_eq!(series.len(), 30);
    for one in series {
        assert!(one["metric"]["service"].is_string(), "{one}");
        let values = one["values"].as_array().context("no values")?;
        let times: Vec<i64> = values.iter().filter_map(|pair| pair[0].as_i64()).collect();
        assert_eq!(times, (0..4).rev().map(|back| window.second - back * 15).collect::<Vec<_>>(), "{one}");
        assert!(values.iter().all(|pair| pair[1].as_str().is_some_and(|text| text.parse::<f64>().is_ok())), "{one}");
    }
    let data = grafana.post("/api/v1/query", &[("query", "topk(3, web_requests_total)"), ("time", &window.end)]).await?;
    assert_eq!(data["resultType"], "vector");
    let services: Vec<&str> =
        data["result"].as_array().context("no result")?.iter().filter_map(|one| one["metric"]["service"].as_str()).collect();
    assert_eq!(services, ["service-29", "service-28", "service-27"]);
    let refused = grafana.post("/api/v1/query", &[("query", "web_requests_total{"), ("time", &window.end)]).await;
    let refused = format!("{:#}", refused.err().context("a query that cannot be parsed was answered")?);
    assert!(
        refused.contains("status 400") && refused.contains("\"errorType\":\"bad_data\"") && refused.contains("parse error"),
        "{refused}"
    );
    Ok(())
}

/// Completion of names, labels and values, by both methods.
async fn query_builder(grafana: &Grafana, window: &Window) -> TestResult {
    let selector = "{__name__=\"web_requests_total\", cluster=\"prod\"}";
    let asked = [("match[]", selector), ("start", &window.start), ("end", &window.end), ("limit", LIMIT)];
    let expected = json!(["__name__", "cluster", "service"]);
    assert_eq!(grafana.get("/api/v1/labels", &asked).await?, expected);
    assert_eq!(grafana.post("/api/v1/labels", &asked).await?, expected);
    let values = grafana.get("/api/v1/label/service/values", &asked).await?;
    assert_eq!(values, Value::from((0..30).map(|service| format!("service-{service:02}")).collect::<Vec<_>>()));
    let names = grafana.get("/api/v1/label/__name__/values", &[("start", &window.start), ("end", &window.end), ("limit", LIMIT)]).await?;
    assert_eq!(names, json!(["web_errors_total", "web_requests_total"]));
    let none = grafana.get("/api/v1/label/service/values", &[("match[]", "no_such_metric"), ("limit", LIMIT)]).await?;
    assert_eq!(none, json!([]), "Grafana iterates over it: it must not be null");
    for series in [grafana.get("/api/v1/series", &asked).await?, grafana.post("/api/v1/series", &asked).await?] {
        let series: Vec<BTreeMap<String, String>> = serde_json::from_value(series)?;
        assert_eq!(series.len(), 30);
        assert!(series.iter().all(|labels| labels.keys().eq(["__name__", "cluster", "service"])), "{series:?}");
    }
    Ok(())
}

async fn exemplars(grafana: &Grafana, window: &Window) -> TestResult {
    let query = "rate(web_errors_total[1m])";
    let data = grafana.post("/api/v1/query_exemplars", &[("query", query), ("start", &window.start), ("end", &window.end)]).await?;
    let expected = json!([{
        "seriesLabels": {"__name__": "web_errors_total", "service": "auth"},
        "exemplars": [{"labels": {"trace_id": "abc123"}, "value": "0.25", "timestamp": window.second}],
    }]);
    assert_eq!(data, expected);
    let none =
        grafana.post("/api/v1/query_exemplars", &[("query", "no_such_metric"), ("start", &window.start), ("end", &window.end)]).await?;
    assert_eq!(none, json!([]));
    Ok(())
}

async fn metadata(grafana: &Grafana) -> TestResult {
    let expected = json!({"web_errors_total": [{"type": "counter", "help": "Requests that failed.", "unit": ""}]});
    assert_eq!(grafana.get("/api/v1/metadata", &[("metric", "web_errors_total")]).await?, expected);
    let all = grafana.get("/api/v1/metadata", &[("limit", LIMIT)]).await?;
    let all: BTreeMap<String, Vec<BTreeMap<String, String>>> = serde_json::from_value(all)?;
    assert!(all.contains_key("web_errors_total"), "{all:?}");
    Ok(())
}

/// No rules yet; the shapes must be there.
async fn alert_list(grafana: &Grafana) -> TestResult {
    assert!(grafana.get("/api/v1/rules", &[]).await?["groups"].is_array());
    assert!(grafana.get("/api/v1/alerts", &[]).await?["alerts"].is_array());
    let alertmanagers = grafana.get("/api/v1/alertmanagers", &[]).await?;
    assert!(alertmanagers["activeAlertmanagers"].is_array() && alertmanagers["droppedAlertmanagers"].is_array(), "{alertmanagers}");
    Ok(())
}

/// A remote write 1.0 request, as far as this test needs one.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
}

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
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    /// 1 is a counter.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    metric: String,
    #[prost(string, tag = "4")]
    help: String,
}

fn exemplar_and_metadata(second: i64) -> WriteRequest {
    let labels = |pairs: &[(&str, &str)]| {
        let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
        pairs.iter().map(label).collect()
    };
    let timestamp_ms = second * 1000;
    WriteRequest {
        series: vec![TimeSeries {
            labels: labels(&[("__name__", "web_errors_total"), ("service", "auth")]),
            samples: vec![Sample { value: 3.0, timestamp_ms }],
            exemplars: vec![Exemplar { labels: labels(&[("trace_id", "abc123")]), value: 0.25, timestamp_ms }],
        }],
        metadata: vec![Metadata { kind: 1, metric: "web_errors_total".to_owned(), help: "Requests that failed.".to_owned() }],
    }
}
