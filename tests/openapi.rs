//! Tern's answers against two descriptions: its own (`/api/v1/openapi.yaml`) and Prometheus' of its API (`prometheus-openapi-3.1.yaml`).
//! Every path and method that they list is called, with good parameters and with bad ones, and the status and the body must be as described.
//!
//! Prometheus' description lies beside the repository; where it is missing the test says so and holds the answers only against Tern's.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tern_jepsen::client::{Answer, Client};
use tern_jepsen::cluster::Cluster;

use crate::schema::Description;
use crate::support::*;

const DESCRIPTION: &str = "../shared/reference/prometheus-openapi-3.1.yaml";

/// One call: the path as the description has it, the method, parameters as `name=value&…`, and the status.
struct Call(&'static str, &'static str, &'static str, u16);

const fn get(path: &'static str, parameters: &'static str, status: u16) -> Call {
    Call(path, "get", parameters, status)
}

const fn post(path: &'static str, parameters: &'static str, status: u16) -> Call {
    Call(path, "post", parameters, status)
}

/// `NOW` and `AGO` stand for the time of the newest and of the oldest sample.
#[rustfmt::skip]
const CALLS: &[Call] = &[
    get("/query", "query=up&time=NOW", 200),
    get("/query", "query=up&time=NOW&stats=all", 200),
    get("/query", "query=up&time=NOW&stats=true&limit=1&timeout=10s&lookback_delta=1m", 200),
    get("/query", "query=up[5m]&time=NOW", 200),
    get("/query", "query=42", 200),
    get("/query", "query=sum(", 400),
    get("/query", "query=up&time=soon", 400),
    get("/query", "query=up&timeout=soon", 400),
    get("/query", "query=up&lookback_delta=soon", 400),
    get("/query", "query=up&limit=-1", 400),
    get("/query", "query=up * on() group_left() up&time=NOW", 422),
    post("/query", "query=rate(requests_total[5m])&time=NOW", 200),
    post("/query", "query=)", 400),
    get("/query_range", "query=up&start=AGO&end=NOW&step=15", 200),
    get("/query_range", "query=up&start=AGO&end=NOW&step=15s&stats=all&limit=1", 200),
    get("/query_range", "query=1&start=AGO&end=NOW&step=1m", 200),
    get("/query_range", "query=up&start=NOW&end=AGO&step=15", 400),
    get("/query_range", "query=up&start=AGO&end=NOW&step=0", 400),
    get("/query_range", "query=up&start=AGO&end=NOW", 400),
    get("/query_range", "query=up&start=0&end=NOW&step=1", 400),
    get("/query_range", "query=up[5m]&start=AGO&end=NOW&step=15", 400),
    post("/query_range", "query=sum by (job) (up)&start=AGO&end=NOW&step=15", 200),
    post("/query_range", "query=up&end=NOW&step=15", 400),
    get("/query_exemplars", "query=requests_total&start=AGO&end=NOW", 200),
    get("/query_exemplars", "query=sum(", 400),
    post("/query_exemplars", "query=requests_total", 200),
    get("/format_query", "query=sum(up)by(job)", 200),
    get("/format_query", "query=sum(", 400),
    post("/format_query", "query=1+1", 200),
    get("/parse_query", "query=histogram_quantile(0.9, sum by (le) (rate(x[5m]))) > bool 3", 200),
    get("/parse_query", "query=", 400),
    post("/parse_query", "query=up", 200),
    get("/labels", "", 200),
    get("/labels", "match[]=up&match[]={job=\"b\"}&start=AGO&end=NOW&limit=2", 200),
    get("/labels", "match[]={job=~\".*\"}", 400),
    get("/labels", "match[]={", 400),
    get("/labels", "limit=x", 400),
    get("/labels", "start=x", 400),
    post("/labels", "match[]=up", 200),
    get("/label/job/values", "", 200),
    get("/label/job/values", "match[]=up&limit=1", 200),
    get("/label/U__http_2e_status/values", "", 200),
    get("/label/job/values", "end=x", 400),
    get("/label/job/values", "match[]={}", 400),
    get("/search/metric_names", "", 200),
    get("/search/metric_names", "search[]=req&sort_by=score&include_score=true&start=AGO&end=NOW", 200),
    get("/search/metric_names", "include_metadata=true", 200),
    get("/search/metric_names", "include_metadata=perhaps", 400),
    get("/search/metric_names", "limit=0", 400),
    post("/search/metric_names", "search[]=up", 200),
    get("/search/label_names", "search[]=jo", 200),
    get("/search/label_names", "sort_by=age", 400),
    post("/search/label_names", "", 200),
    get("/search/label_values", "label=job", 200),
    get("/search/label_values", "", 400),
    post("/search/label_values", "label=job&search[]=a&fuzz_alg=jarowinkler", 200),
    get("/series", "match[]=up", 200),
    get("/series", "match[]=up&match[]=requests_total&start=AGO&end=NOW&limit=1", 200),
    get("/series", "", 400),
    get("/series", "match[]={job=\"\"}", 400),
    post("/series", "match[]=up", 200),
    get("/metadata", "", 200),
    get("/metadata", "limit=x", 400),
    get("/metadata", "metric=up&limit=1&limit_per_metric=1", 200),
    get("/scrape_pools", "", 200),
    get("/scrape_pools/config", "", 400),
    get("/scrape_pools/config", "scrapePool=none", 400),
    get("/targets", "", 200),
    get("/targets", "state=active&scrapePool=a", 200),
    get("/targets/metadata", "", 200),
    get("/targets/relabel_steps", "", 400),
    get("/targets/relabel_steps", "scrapePool=a&labels={", 400),
    get("/rules", "", 200),
    get("/rules", "type=alert&rule_name[]=a&rule_group[]=b&file[]=c&exclude_alerts=true&group_limit=1", 200),
    get("/rules", "type=other", 400),
    get("/rules", "group_next_token=abc", 400),
    get("/rules", "match[]={", 400),
    get("/alerts", "", 200),
    get("/alertmanagers", "", 200),
    get("/status/config", "", 200),
    get("/status/runtimeinfo", "", 200),
    get("/status/buildinfo", "", 200),
    get("/status/flags", "", 200),
    get("/status/tsdb", "", 200),
    get("/status/tsdb", "limit=2", 200),
    get("/status/tsdb", "limit=0", 400),
    get("/status/tsdb", "limit=10001", 400),
    get("/status/tsdb/blocks", "", 200),
    get("/status/walreplay", "", 200),
    get("/status/self_metrics", "", 200),
    get("/status/self_metrics", "metric_name_pattern=tern_query.*", 200),
    get("/status/self_metrics", "metric_name_pattern=(", 400),
    get("/notifications", "", 200),
    get("/features", "", 200),
];

/// What only Tern's own description has.
const OWN_CALLS: &[Call] = &[
    get("/series/count", "", 200),
    get("/series/count", "match[]=up", 200),
    get("/series/count", "match[]={", 400),
    get("/status/cluster", "", 200),
    get("/status/active_queries", "", 200),
    get("/status/top_queries", "topN=3&maxLifetime=1h", 200),
    get("/status/top_queries", "maxLifetime=soon", 400),
    get("/status/metric_names_stats", "limit=1", 200),
    get("/status/tsdb", "focusLabel=job&match[]=up", 200),
    get("/admin/cluster/members", "", 200),
    get("/kv/none", "", 404),
];

/// What the descriptions list and is not called here, with the reason.
const NOT_CALLED: [(&str, &str); 17] = [
    ("/kv/{key}", "changes documents; has tests of its own"),
    ("/openapi.yaml", "is no JSON; read at the start"),
    ("/admin/cluster/remove", "changes the cluster; has tests of its own"),
    ("/admin/cluster/replace", "changes the cluster; has tests of its own"),
    ("/admin/cluster/transfer-leader", "changes the cluster; has tests of its own"),
    ("/import", "lines; has tests of its own"),
    ("/import/csv", "lines; has tests of its own"),
    ("/import/prometheus", "lines; has tests of its own"),
    ("/import/prometheus/{path}", "lines; has tests of its own"),
    ("/export", "lines; has tests of its own"),
    ("/export/csv", "lines; has tests of its own"),
    ("/admin/tsdb/delete_series", "changes data; has tests of its own"),
    ("/admin/tsdb/clean_tombstones", "changes data; has tests of its own"),
    ("/admin/tsdb/snapshot", "writes files; has tests of its own"),
    ("/read", "a protobuf body; has tests of its own"),
    ("/write", "a protobuf body; has tests of its own"),
    ("/otlp/v1/metrics", "a protobuf body; has tests of its own"),
];

#[tokio::test]
async fn every_answer_is_as_described() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--features", "search-api"]).await?;
    let client = cluster.client(1);
    let at = recent_second();
    load(&client, at).await?;
    let own = own_description(&client).await?;
    let mut findings = judge(&own, &client, &[CALLS, OWN_CALLS], at).await?;
    match std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DESCRIPTION)) {
        Ok(text) => findings.extend(judge(&Description::read(&text)?, &client, &[CALLS], at).await?),
        Err(error) => println!("without Prometheus' description: {DESCRIPTION}: {error}"),
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    cluster.finish()?;
    Ok(())
}

/// As it is served, with the headers that Prometheus has.
async fn own_description(client: &Client) -> anyhow::Result<Description> {
    let served = client.get("/api/v1/openapi.yaml", &[]).await?;
    expect_status(&served, 200);
    assert_eq!(served.header("content-type"), Some("application/yaml; charset=utf-8"));
    assert_eq!(served.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    assert!(served.text().starts_with("openapi: 3.1.0\n"));
    let newer = client.get("/api/v1/openapi.yaml", &[("openapi_version", "3.2")]).await?;
    assert!(newer.text().starts_with("openapi: 3.2.0\n") && newer.text().contains("/notifications/live:"));
    Description::read(&served.text())
}

async fn judge(description: &Description, client: &Client, calls: &[&[Call]], at: i64) -> anyhow::Result<Vec<String>> {
    let calls: Vec<&Call> = calls.iter().flat_map(|calls| calls.iter()).collect();
    let mut findings = uncalled(description, &calls);
    for call in calls {
        findings.extend(check(description, client, call, at).await?);
    }
    Ok(findings)
}

/// Two metrics of two jobs, in memory and sealed.
async fn load(client: &Client, at: i64) -> anyhow::Result<()> {
    let series = [("up", "a"), ("up", "b"), ("requests_total", "a"), ("requests_total", "b")];
    let elements = |from: i64| -> Vec<Value> {
        let all = (0..4).flat_map(|step| series.map(|(name, job)| element(name, &[("job", job)], from + step * 15, step)));
        all.collect()
    };
    expect_status(&client.ingest(&json!(elements(at - 120))).await?, 204);
    expect_status(&client.post("/debug/flush", &[], "").await?, 204);
    expect_status(&client.ingest(&json!(elements(at - 45))).await?, 204);
    Ok(())
}

/// Paths and methods that neither list names, and paths that no description has.
fn uncalled(description: &Description, calls: &[&Call]) -> Vec<String> {
    let called: BTreeSet<(String, &str)> = calls.iter().map(|call| (described(call.0), call.1)).collect();
    let operations = description.operations();
    let is_known = |(path, method): &&(String, String)| {
        called.contains(&(path.clone(), method.as_str())) || NOT_CALLED.iter().any(|(other, _)| other == path)
    };
    let missing = operations.iter().filter(|operation| !is_known(operation)).map(|(path, method)| format!("{method} {path} is not called"));
    let paths: BTreeSet<&str> = operations.iter().map(|(path, _)| path.as_str()).collect();
    let unknown = called.iter().filter(|(path, _)| !paths.contains(path.as_str())).map(|(path, _)| format!("{path} is not described"));
    missing.chain(unknown).collect()
}

/// `/label/job/values` is described as `/label/{name}/values`, `/kv/none` as `/kv/{key}`.
fn described(path: &str) -> String {
    if path.starts_with("/kv/") {
        return "/kv/{key}".to_owned();
    }
    match path.strip_prefix("/label/").and_then(|rest| rest.split_once('/')) {
        Some((_, rest)) => format!("/label/{{name}}/{rest}"),
        None => path.to_owned(),
    }
}

async fn check(description: &Description, client: &Client, call: &Call, at: i64) -> anyhow::Result<Vec<String>> {
    let Call(path, method, parameters, status) = call;
    let parameters = parameters.replace("NOW", &at.to_string()).replace("AGO", &(at - 120).to_string());
    let answer = send(client, method, path, &parameters).await?;
    let named = |finding: String| format!("{method} {path}?{parameters}: {finding}");
    if answer.status != *status {
        return Ok(vec![named(format!("status {} instead of {status}: {:.300}", answer.status, answer.text()))]);
    }
    let content_type = answer.header("content-type").unwrap_or_default();
    if content_type.starts_with("application/x-ndjson") {
        return Ok(check_lines(&answer)?.into_iter().map(named).collect());
    }
    let schema = description.response(&described(path), method, *status)?;
    let body = answer.json()?;
    let mut findings = description.findings(schema, &body);
    if content_type != "application/json" {
        findings.push(format!("content type {content_type:?}"));
    }
    if *status != 200 && body["status"] != "error" {
        findings.push(format!("an error that says {}", body["status"]));
    }
    Ok(findings.into_iter().map(named).collect())
}

/// The description does not reach into lines: results first, a trailer last.
fn check_lines(answer: &Answer) -> anyhow::Result<Vec<String>> {
    let lines = answer.text().lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let Some((trailer, batches)) = lines.split_last() else { return Ok(vec!["no line".to_owned()]) };
    let mut findings = Vec::new();
    if trailer["status"] != "success" || !trailer["has_more"].is_boolean() {
        findings.push(format!("trailer {trailer}"));
    }
    if batches.is_empty() || !batches.iter().all(|batch| batch["results"].is_array()) {
        findings.push(format!("batches {batches:?}"));
    }
    Ok(findings)
}

async fn send(client: &Client, method: &str, path: &str, parameters: &str) -> anyhow::Result<Answer> {
    let pairs: Vec<(&str, &str)> = parameters.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let path = format!("/api/v1{path}");
    if method == "get" {
        return Ok(client.get(&path, &pairs).await?);
    }
    Ok(client.send_form(method, &path, &pairs).await?)
}
