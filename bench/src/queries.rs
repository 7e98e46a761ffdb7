//! Ten queries of the kinds that dashboards ask, over the last hour in steps of a minute.
//!
//! Answers are compared with those of the first system. Prometheus is the reference; VictoriaMetrics computes `rate` differently by design,
//! so its differences are no faults.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tern_jepsen::client::{Client, parse_samples};

const SPAN_SECONDS: i64 = 3600;
const STEP_SECONDS: &str = "60";
/// Relative difference below which two values are the same: summation order may differ.
const TOLERANCE: f64 = 1e-9;

pub const QUERIES: [(&str, &str); 10] = [
    ("cpu by dc", "sum by (dc) (rate(node_cpu_seconds_total[5m]))"),
    ("cpu busy", r#"100 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) * 100"#),
    ("top network", "topk(10, sum by (instance) (rate(node_network_receive_bytes_total[5m])))"),
    ("latency p99", "histogram_quantile(0.99, sum by (le, path) (rate(http_request_duration_seconds_bucket[5m])))"),
    ("load", "avg by (env) (node_load1)"),
    ("memory share", "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"),
    ("disk reads", r#"sum by (device) (increase(node_disk_read_bytes_total{dc="dc1"}[15m]))"#),
    ("hottest", "max by (instance) (max_over_time(node_hwmon_temp_celsius[10m]))"),
    ("full disks", "count by (dc) (node_filesystem_free_bytes / node_filesystem_size_bytes < 0.5)"),
    ("packets p95", r#"quantile by (dc) (0.95, rate(node_network_transmit_packets_total{instance=~"node-00[0-4].*"}[5m]))"#),
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

/// Runs every query `runs` times; keeps the median time.
pub async fn run_all(address: &str, end_ms: i64, runs: usize) -> anyhow::Result<Vec<QueryAnswer>> {
    let client = Client::new(address);
    let mut answers = Vec::with_capacity(QUERIES.len());
    for (name, query) in QUERIES {
        answers.push(run(&client, query, end_ms, runs).await.with_context(|| format!("query {name:?}"))?);
    }
    Ok(answers)
}

async fn run(client: &Client, query: &str, end_ms: i64, runs: usize) -> anyhow::Result<QueryAnswer> {
    // On whole minutes, since VictoriaMetrics moves the ends of the range there.
    let end = end_ms / 60_000 * 60;
    let (start_text, end_text) = ((end - SPAN_SECONDS).to_string(), end.to_string());
    let parameters = [("query", query), ("start", &start_text), ("end", &end_text), ("step", STEP_SECONDS)];
    let mut times = Vec::with_capacity(runs);
    let mut data = Value::Null;
    for _ in 0..runs.max(1) {
        let began = Instant::now();
        let answer = client.get("/api/v1/query_range", &parameters).await?;
        times.push(began.elapsed());
        data = answer.data()?;
    }
    times.sort_unstable();
    Ok(QueryAnswer { median: times[times.len() / 2], matrix: matrix_of(&data)? })
}

fn matrix_of(data: &Value) -> anyhow::Result<Matrix> {
    let series = data["result"].as_array().context("result is not a list")?;
    series.iter().map(|one| Ok((one["metric"].to_string(), parse_samples(&one["values"])?))).collect()
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
