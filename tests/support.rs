//! What all tests of the built binary share.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tern_jepsen::client::Answer;
use tern_jepsen::cluster::Cluster;
use tokio::sync::{Mutex, MutexGuard};

/// What a test returns: `?` everywhere, and the message when it fails.
pub type TestResult = anyhow::Result<()>;

/// The binary that cargo built for this test run.
pub const TERN: &str = env!("CARGO_BIN_EXE_tern");

/// Clusters take turns under `cargo test`, which runs tests as threads of one process. (nextest does the same by its configuration.)
static TURN: Mutex<()> = Mutex::const_new(());

pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

pub async fn one_node() -> anyhow::Result<Cluster> {
    Cluster::start(TERN, 1).await
}

pub async fn three_nodes() -> anyhow::Result<Cluster> {
    Cluster::start(TERN, 3).await
}

/// Network namespaces and disks of one's own need it.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A whole second a minute ago: a time that no limit on old or future samples touches, and that prints without a fraction.
pub fn recent_second() -> i64 {
    now_ms() / 1000 - 60
}

/// One element of `POST /ingest/metrics`.
pub fn element(name: &str, labels: &[(&str, &str)], timestamp: impl Into<Value>, value: impl Into<Value>) -> Value {
    let labels: serde_json::Map<String, Value> = labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({"name": name, "labels": labels, "timestamp": timestamp.into(), "value": value.into()})
}

/// Owned labels for the encoders of remote write, sorted.
pub fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    labels.sort();
    labels
}

/// Fails with the whole answer unless it has this status.
#[track_caller]
pub fn expect_status(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "headers {:?}, body: {:.1000}", answer.headers, answer.text());
}
