//! Writes samples whose values follow from their place, and reads them back all the time.
//!
//! A few clients write batches through changing nodes and in all three formats; a batch that was not acknowledged is sent again until
//! it is, as real senders do (each attempt is an operation of its own). Readers ask for the newest stretch meanwhile. At the end every node is
//! asked for everything. [`crate::checker::sample_set`] judges the record.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::values;
use crate::client::{Client, RemoteWriteVersion, outcome_of};
use crate::history::{Action, Operation, Outcome, Sample, SeriesSamples};
use crate::remote_write::{TimeSeries, encode_v1, encode_v2};
use crate::wait;

const METRIC: &str = "sample_set";
/// Distance between samples of a series: small, so that much can be written without going into the future.
const STEP_MS: i64 = 50;
/// Where the timestamps begin, before now.
const START_BEFORE_NOW_MS: i64 = 3_600_000;
const SERIES_PER_CLIENT: usize = 8;
const SAMPLES_PER_BATCH: i64 = 20;
/// Pause of a client between two batches, and before it tries again.
const WRITE_PAUSE: Duration = Duration::from_millis(20);
const READ_PAUSE: Duration = Duration::from_millis(200);
/// How far back the reads during the run look.
const RECENT_MS: i64 = 30_000;
/// How long the final reads may take to succeed, each.
const FINAL_READ_LIMIT: Duration = Duration::from_secs(60);

/// What the tasks of a run share.
struct Shared {
    nodes: Vec<(u64, Client)>,
    began: Instant,
    start_ms: i64,
    stop: AtomicBool,
    /// For each writing client the newest timestamp that it has tried to write.
    frontiers_ms: Vec<AtomicI64>,
    acknowledged_batches: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl Shared {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn record(&self, operation: Operation) {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }
}

/// A load that is running.
pub struct SampleSetLoad {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// What a load has done, complete with final reads.
pub struct Recording {
    pub operations: Vec<Operation>,
}

impl SampleSetLoad {
    /// Starts `writers` clients and as many readers on the nodes given.
    pub fn start(nodes: Vec<(u64, Client)>, writers: usize) -> SampleSetLoad {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let start_ms = now_ms - START_BEFORE_NOW_MS;
        let shared = Arc::new(Shared {
            nodes,
            began: Instant::now(),
            start_ms,
            stop: AtomicBool::new(false),
            frontiers_ms: (0..writers).map(|_| AtomicI64::new(start_ms)).collect(),
            acknowledged_batches: AtomicU64::new(0),
            operations: Mutex::new(Vec::new()),
        });
        let mut tasks = Vec::new();
        for client in 0..writers {
            tasks.push(tokio::spawn(write_until_stopped(shared.clone(), client)));
            tasks.push(tokio::spawn(read_until_stopped(shared.clone(), client)));
        }
        SampleSetLoad { shared, tasks }
    }

    /// Nanoseconds since the start, on the clock of the record.
    pub fn now_ns(&self) -> u64 {
        self.shared.now_ns()
    }

    /// Waits until `batches` more batches have been acknowledged than now.
    pub async fn wait_acknowledged(&self, batches: u64, limit: Duration) -> anyhow::Result<()> {
        let goal = self.shared.acknowledged_batches.load(Ordering::Relaxed) + batches;
        wait::until(&format!("{batches} more acknowledged batches"), limit, || async {
            let now = self.shared.acknowledged_batches.load(Ordering::Relaxed);
            if now >= goal { Ok(()) } else { Err(format!("{} still to come", goal - now)) }
        })
        .await?;
        Ok(())
    }

    /// Stops, reads everything back from each of `nodes`, and returns the record.
    pub async fn finish(self, nodes: &[(u64, Client)]) -> anyhow::Result<Recording> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.context("a task of the load")??;
        }
        for (node, client) in nodes {
            for writer in 0..self.shared.frontiers_ms.len() {
                read_everything(&self.shared, *node, client, writer).await?;
            }
        }
        let operations = std::mem::take(&mut *self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Recording { operations })
    }
}

impl Recording {
    /// The longest time within `[from_ns, to_ns]` in which no write of one and the same client was acknowledged, over all clients: how long
    /// the client that was hit hardest could not write.
    pub fn longest_outage(&self, from_ns: u64, to_ns: u64) -> Duration {
        let writers = self.operations.iter().filter(|operation| matches!(operation.action, Action::Write { .. }));
        let mut processes: Vec<u64> = writers.map(|operation| operation.process).collect();
        processes.sort_unstable();
        processes.dedup();
        let longest = processes.into_iter().map(|process| self.longest_gap(process, from_ns, to_ns)).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    fn longest_gap(&self, process: u64, from_ns: u64, to_ns: u64) -> u64 {
        let acknowledged = self
            .operations
            .iter()
            .filter(|operation| operation.process == process && matches!(operation.action, Action::Write { outcome: Outcome::Ok, .. }));
        let mut times: Vec<u64> = acknowledged.map(|operation| operation.complete_ns).filter(|&at| at > from_ns && at < to_ns).collect();
        times.extend([from_ns, to_ns]);
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    /// Writes that the server refused for certain although it was reached; a healthy run has none.
    pub fn refused(&self) -> usize {
        let refused = |operation: &&Operation| matches!(operation.action, Action::Write { outcome: Outcome::Fail, .. });
        self.operations.iter().filter(refused).count()
    }
}

fn series_name(client: usize, index: usize) -> String {
    format!("{client}/{index}")
}

fn labels_of(client: usize, index: usize) -> Vec<(String, String)> {
    [("__name__", METRIC.to_owned()), ("client", client.to_string()), ("index", index.to_string())]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
}

/// The only value that is ever written at a place.
pub fn value_of(client: usize, index: usize, timestamp_ms: i64) -> f64 {
    values::value_of(index, (client as u64) << 48 ^ (index as u64) << 56, (timestamp_ms / STEP_MS) as u64)
}

async fn write_until_stopped(shared: Arc<Shared>, client: usize) -> anyhow::Result<()> {
    for batch in 0.. {
        let first_ms = shared.start_ms + batch * SAMPLES_PER_BATCH * STEP_MS;
        let data = batch_of(client, first_ms);
        shared.frontiers_ms[client].store(first_ms + (SAMPLES_PER_BATCH - 1) * STEP_MS, Ordering::Relaxed);
        for attempt in client.. {
            if shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let (node, target) = &shared.nodes[(batch as usize + attempt) % shared.nodes.len()];
            let invoke_ns = shared.now_ns();
            let outcome = send(target, client, &data).await;
            let action = Action::Write { outcome, data: data.clone() };
            shared.record(Operation { process: client as u64, node: *node, invoke_ns, complete_ns: shared.now_ns(), action });
            wait::pace(WRITE_PAUSE).await;
            if outcome == Outcome::Ok {
                shared.acknowledged_batches.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
    }
    Ok(())
}

fn batch_of(client: usize, first_ms: i64) -> Vec<SeriesSamples> {
    let timestamps = || (0..SAMPLES_PER_BATCH).map(|offset| first_ms + offset * STEP_MS);
    let samples = |index| timestamps().map(|timestamp_ms| (timestamp_ms, value_of(client, index, timestamp_ms))).collect();
    (0..SERIES_PER_CLIENT).map(|index| SeriesSamples { series: series_name(client, index), samples: samples(index) }).collect()
}

/// Each client speaks another of the three formats.
async fn send(target: &Client, client: usize, data: &[SeriesSamples]) -> Outcome {
    let labels: Vec<Vec<(String, String)>> = (0..data.len()).map(|index| labels_of(client, index)).collect();
    let series = labels.iter().zip(data).map(|(labels, one)| TimeSeries { labels, samples: &one.samples });
    let result = match client % 3 {
        0 => target.remote_write(RemoteWriteVersion::V1, encode_v1(series)).await,
        1 => target.remote_write(RemoteWriteVersion::V2, encode_v2(series)).await,
        _ => target.ingest(&native_body(client, data)).await,
    };
    outcome_of(&result)
}

fn native_body(client: usize, data: &[SeriesSamples]) -> Value {
    let mut elements = Vec::new();
    for (index, one) in data.iter().enumerate() {
        for (timestamp_ms, value) in &one.samples {
            let labels = json!({"client": client.to_string(), "index": index.to_string()});
            elements.push(json!({"name": METRIC, "labels": labels, "timestamp": timestamp_ms, "value": value}));
        }
    }
    Value::Array(elements)
}

async fn read_until_stopped(shared: Arc<Shared>, writer: usize) -> anyhow::Result<()> {
    for turn in writer.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let (node, target) = &shared.nodes[turn % shared.nodes.len()];
        // A read that fails promises nothing; the final reads must succeed.
        let _ = read(&shared, *node, target, writer, RECENT_MS).await;
        wait::pace(READ_PAUSE).await;
    }
    Ok(())
}

async fn read_everything(shared: &Shared, node: u64, target: &Client, writer: usize) -> anyhow::Result<()> {
    let what = format!("node {node} to return everything of client {writer}");
    wait::until(&what, FINAL_READ_LIMIT, || async {
        let span_ms = shared.frontiers_ms[writer].load(Ordering::Relaxed) - shared.start_ms + STEP_MS;
        read(shared, node, target, writer, span_ms).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    Ok(())
}

/// Asks for the newest `span_ms` of one client's series and records the answer.
async fn read(shared: &Shared, node: u64, target: &Client, writer: usize, span_ms: i64) -> anyhow::Result<()> {
    let invoke_ns = shared.now_ns();
    let end_ms = shared.frontiers_ms[writer].load(Ordering::Relaxed);
    let query = format!("{METRIC}{{client=\"{writer}\"}}[{span_ms}ms]");
    let answered = target.samples(&query, end_ms as f64 / 1000.0).await?;
    let complete_ns = shared.now_ns();
    let mut data: Vec<SeriesSamples> = Vec::with_capacity(answered.len());
    for one in answered {
        data.push(SeriesSamples { series: answered_name(&one.labels)?, samples: checked(one.samples)? });
    }
    let series = (0..SERIES_PER_CLIENT).map(|index| series_name(writer, index)).collect();
    // Range selectors leave their left end open.
    let action = Action::Read { series, start_ms: end_ms - span_ms + 1, end_ms, data };
    shared.record(Operation { process: 1000 + writer as u64, node, invoke_ns, complete_ns, action });
    Ok(())
}

fn answered_name(labels: &Value) -> anyhow::Result<String> {
    let client = labels["client"].as_str().with_context(|| format!("no client in {labels}"))?;
    let index = labels["index"].as_str().with_context(|| format!("no index in {labels}"))?;
    Ok(format!("{client}/{index}"))
}

fn checked(samples: Vec<Sample>) -> anyhow::Result<Vec<Sample>> {
    ensure!(samples.is_sorted_by_key(|sample| sample.0), "samples are not sorted by time");
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::sample_set::{Verdict, check};
    use crate::peers;

    /// The harness itself, on a system known to be right: one writer in the format that Prometheus takes.
    #[tokio::test]
    async fn a_prometheus_is_found_to_lose_nothing() {
        if peers::installed("prometheus").is_none() {
            eprintln!("skipped: prometheus is not installed");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let prometheus = peers::prometheus(directory.path(), "global: {}\n").await.unwrap();
        let nodes = vec![(1, prometheus.client())];
        let load = SampleSetLoad::start(nodes.clone(), 1);
        load.wait_acknowledged(20, Duration::from_secs(30)).await.unwrap();
        let recording = load.finish(&nodes).await.unwrap();
        let report = check(&recording.operations);
        assert_eq!(report.verdict(), Verdict::Valid, "{report}");
        assert!(report.acknowledged >= 20 * 160 && report.reads > 0, "{report}");

        // And it does notice when an answer is short of one sample.
        let mut damaged = recording.operations;
        let last_read = damaged.iter_mut().rev().find_map(|operation| match &mut operation.action {
            Action::Read { data, .. } => Some(data),
            _ => None,
        });
        last_read.unwrap()[0].samples.remove(7);
        assert_eq!(check(&damaged).lost.count, 1);
    }

    #[test]
    fn the_longest_gap_of_the_unluckiest_client_is_the_outage() {
        let write = |process, complete_ns| Operation {
            process,
            node: 1,
            invoke_ns: complete_ns,
            complete_ns,
            action: Action::Write { outcome: Outcome::Ok, data: vec![] },
        };
        let recording = Recording { operations: vec![write(1, 10), write(1, 20), write(1, 30), write(2, 12), write(2, 29)] };
        assert_eq!(recording.longest_outage(10, 32), Duration::from_nanos(17));
    }
}
