//! What dashboards ask: ten queries over the last hour in steps of a minute, two of one moment, and the look-ups behind menus and completion.
//!
//! Answers are compared with those of the first system. Prometheus is the reference; VictoriaMetrics computes `rate` differently by design,
//! so its differences are no faults.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tern_jepsen::client::{Client, parse_sample, parse_samples};

const SPAN_SECONDS: i64 = 3600;
const STEP_SECONDS: &str = "60";
/// Relative difference below which two values are the same: summation order may differ.
const TOLERANCE: f64 = 1e-9;

/// One question, in the terms of the Prometheus API.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// `query_range` over the last hour.
    Range(&'static str),
    /// `query` at the end of it.
    Instant(&'static str),
    /// Names of labels of the last hour.
    LabelNames,
    /// Values of a label in the last hour, of the series that a selector matches, if there is one.
    LabelValues(&'static str, Option<&'static str>),
    /// Label sets of the last hour.
    Series(&'static str),
}

impl std::fmt::Display for Question {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Question::Range(query) | Question::Instant(query) => write!(formatter, "{query}"),
            Question::LabelNames => write!(formatter, "/api/v1/labels"),
            Question::LabelValues(name, None) => write!(formatter, "/api/v1/label/{name}/values"),
            Question::LabelValues(name, Some(selector)) => write!(formatter, "/api/v1/label/{name}/values?match[]={selector}"),
            Question::Series(selector) => write!(formatter, "/api/v1/series?match[]={selector}"),
        }
    }
}

pub const QUESTIONS: [(&str, Question); 17] = [
    ("cpu by dc", Question::Range("sum by (dc) (rate(node_cpu_seconds_total[5m]))")),
    ("cpu busy", Question::Range(r#"100 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) * 100"#)),
    ("top network", Question::Range("topk(10, sum by (instance) (rate(node_network_receive_bytes_total[5m])))")),
    ("latency p99", Question::Range("histogram_quantile(0.99, sum by (le, path) (rate(http_request_duration_seconds_bucket[5m])))")),
    ("load", Question::Range("avg by (env) (node_load1)")),
    ("memory share", Question::Range("node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes")),
    ("disk reads", Question::Range(r#"sum by (device) (increase(node_disk_read_bytes_total{dc="dc1"}[15m]))"#)),
    ("hottest", Question::Range("max by (instance) (max_over_time(node_hwmon_temp_celsius[10m]))")),
    ("full disks", Question::Range("count by (dc) (node_filesystem_free_bytes / node_filesystem_size_bytes < 0.5)")),
    (
        "packets p95",
        Question::Range(r#"quantile by (dc) (0.95, rate(node_network_transmit_packets_total{instance=~"node-00[0-4].*"}[5m]))"#),
    ),
    ("cpu now", Question::Instant("sum by (dc) (rate(node_cpu_seconds_total[5m]))")),
    ("one series now", Question::Instant(r#"node_load1{instance="node-0003.example.net:9100"}"#)),
    ("label names", Question::LabelNames),
    ("metric names", Question::LabelValues("__name__", None)),
    ("instances", Question::LabelValues("instance", None)),
    ("instances of a metric", Question::LabelValues("instance", Some("node_load1"))),
    ("series of a metric", Question::Series("node_cpu_seconds_total")),
];

/// Series by their labels, as text.
type Matrix = BTreeMap<String, Vec<(i64, f64)>>;

/// The answer to one query and how long it took.
#[derive(Clone, Debug)]
pub struct QueryAnswer {
    pub median: Duration,
    matrix: Matrix,
}

impl QueryAnswer {
    pub fn series(&self) -> usize {
        self.matrix.len()
    }
}

/// Asks every question `runs` times; keeps the median time.
pub async fn run_all(address: &str, end_ms: i64, runs: usize) -> anyhow::Result<Vec<QueryAnswer>> {
    let client = Client::new(address);
    let mut answers = Vec::with_capacity(QUESTIONS.len());
    for (name, question) in QUESTIONS {
        answers.push(run(&client, question, end_ms, runs).await.with_context(|| format!("query {name:?}"))?);
    }
    Ok(answers)
}

async fn run(client: &Client, question: Question, end_ms: i64, runs: usize) -> anyhow::Result<QueryAnswer> {
    // On whole minutes, since VictoriaMetrics moves the ends of the range there.
    let end = end_ms / 60_000 * 60;
    let (start_text, end_text) = ((end - SPAN_SECONDS).to_string(), end.to_string());
    let range = [("start", start_text.as_str()), ("end", &end_text)];
    let (path, parameters) = match question {
        Question::Range(query) => ("/api/v1/query_range".to_owned(), [&range[..], &[("query", query), ("step", STEP_SECONDS)]].concat()),
        Question::Instant(query) => ("/api/v1/query".to_owned(), vec![("query", query), ("time", end_text.as_str())]),
        Question::LabelNames => ("/api/v1/labels".to_owned(), range.to_vec()),
        Question::LabelValues(name, selector) => {
            let selector = selector.map(|selector| ("match[]", selector));
            (format!("/api/v1/label/{name}/values"), range.into_iter().chain(selector).collect())
        }
        Question::Series(selector) => ("/api/v1/series".to_owned(), [&range[..], &[("match[]", selector)]].concat()),
    };
    let mut times = Vec::with_capacity(runs);
    let mut data = Value::Null;
    for _ in 0..runs.max(1) {
        let began = Instant::now();
        let answer = client.get(&path, &parameters).await?;
        times.push(began.elapsed());
        data = answer.data()?;
    }
    times.sort_unstable();
    Ok(QueryAnswer { median: times[times.len() / 2], matrix: matrix_of(&data)? })
}

/// Series with their points; for look-ups the items, without points.
fn matrix_of(data: &Value) -> anyhow::Result<Matrix> {
    if let Some(items) = data.as_array() {
        return Ok(items.iter().map(|item| (item.to_string(), Vec::new())).collect());
    }
    let series = data["result"].as_array().context("result is not a list")?;
    let points = |one: &Value| match one.get("values") {
        Some(values) => parse_samples(values),
        None => Ok(vec![parse_sample(&one["value"])?]),
    };
    series.iter().map(|one| Ok((one["metric"].to_string(), points(one)?))).collect()
}

/// For each query: `None` when both answers are the same, or what differs first.
pub fn differences(reference: &[QueryAnswer], answers: &[QueryAnswer]) -> Vec<Option<String>> {
    reference.iter().zip(answers).map(|(expected, got)| difference(&expected.matrix, &got.matrix)).collect()
}

fn difference(expected: &Matrix, got: &Matrix) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("{} series instead of {}", got.len(), expected.len()));
    }
    for ((expected_labels, expected_points), (labels, points)) in expected.iter().zip(got) {
        if expected_labels != labels {
            return Some(format!("{labels} instead of {expected_labels}"));
        }
        if expected_points.len() != points.len() {
            return Some(format!("{labels}: {} points instead of {}", points.len(), expected_points.len()));
        }
        for (expected_point, point) in expected_points.iter().zip(points) {
            if expected_point.0 != point.0 || !same(expected_point.1, point.1) {
                return Some(format!("{labels}: {point:?} instead of {expected_point:?}"));
            }
        }
    }
    None
}

fn same(expected: f64, got: f64) -> bool {
    expected == got || (expected.is_nan() && got.is_nan()) || (expected - got).abs() <= TOLERANCE * expected.abs().max(got.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(points: &[(i64, f64)]) -> Matrix {
        BTreeMap::from([("{}".to_owned(), points.to_vec())])
    }

    #[test]
    fn rounding_is_no_difference() {
        assert_eq!(difference(&matrix(&[(1, 0.1 + 0.2)]), &matrix(&[(1, 0.3)])), None);
    }

    #[test]
    fn another_value_another_time_and_a_missing_point_are_differences() {
        let expected = matrix(&[(1, 1.0), (2, 2.0)]);
        for got in [matrix(&[(1, 1.0), (2, 2.1)]), matrix(&[(1, 1.0), (3, 2.0)]), matrix(&[(1, 1.0)]), Matrix::new()] {
            assert!(difference(&expected, &got).is_some(), "{got:?}");
        }
    }
}
