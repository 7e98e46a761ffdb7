//! Samples by the million: every client writes the same numbered samples to all its series, so that each batch touches all shards.
//!
//! Some batches are given up while their outcome is unknown, some are sent again although they were acknowledged, some come after their
//! successors. Readers ask for the newest stretch, for old ones, and for counts. [`crate::checker::streams`] judges.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::field::{Chooser, Field};
use super::values;
use crate::client::{Client, RemoteWriteVersion, outcome_of};
use crate::history::{Action, Outcome, Sample, StreamSeries};
use crate::remote_write::{TimeSeries, encode_v1, encode_v2};

const METRIC: &str = "jepsen_stream";
/// Distance between samples of a series.
pub const STEP_MS: i64 = 10;
/// Where the timestamps begin, before now: so far back that no jump of a clock puts them into the future.
const START_BEFORE_NOW_MS: i64 = 24 * 3_600_000;
/// Series of each client: enough to touch every shard.
pub const SERIES: u32 = 16;
/// Numbers in a batch, at most: with all series about 500 samples.
const NUMBERS_MAX: u64 = 31;
/// Numbers that a reader asks for.
const RECENT: u64 = 300;
/// Numbers in one request of the final read: about 80 000 samples.
const FINAL_CHUNK: u64 = 5_000;
const READ_PAUSE: Duration = Duration::from_millis(250);
const FINAL_READ_LIMIT: Duration = Duration::from_secs(120);
/// Of a hundred batches: sent again after their acknowledgement, sent after their successor, given up while unknown.
const PERCENT_AGAIN: u32 = 4;
const PERCENT_LATE: u32 = 4;
const PERCENT_GIVEN_UP: u32 = 25;

/// The load.
pub struct Streams {
    field: Arc<Field>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    start_ms: i64,
    clients: u32,
    /// Samples a second of each client.
    rate: f64,
    /// By client: numbers below this have been attempted.
    frontiers: Vec<AtomicU64>,
}

impl Streams {
    /// Starts `clients` writers and as many readers; all writers together aim at `rate` samples a second.
    pub fn start(field: &Arc<Field>, clients: u32, rate: f64, seed: u64) -> Streams {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let start_ms = (now_ms - START_BEFORE_NOW_MS) / 1000 * 1000;
        let frontiers = (0..clients).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { start_ms, clients, rate: rate / f64::from(clients), frontiers });
        let mut tasks = Vec::new();
        for client in 0..clients {
            let dice = |salt: u64| StdRng::seed_from_u64(seed ^ salt << 32 ^ u64::from(client));
            tasks.push(tokio::spawn(write_until_stopped(field.clone(), shared.clone(), client, dice(1))));
            tasks.push(tokio::spawn(read_until_stopped(field.clone(), shared.clone(), client, dice(2))));
        }
        Streams { field: field.clone(), shared, tasks }
    }

    /// Waits until all clients have noticed that the field was stopped.
    pub async fn ended(&mut self) {
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }

    /// Reads everything from every node.
    pub async fn read_everything(&self) -> anyhow::Result<()> {
        for (node, target) in self.field.targets() {
            for client in 0..self.shared.clients {
                let end = self.shared.frontiers[client as usize].load(Ordering::Relaxed);
                for first in (0..end).step_by(FINAL_CHUNK as usize) {
                    let what = format!("node {node} to return all samples of client {client}");
                    let count = FINAL_CHUNK.min(end - first);
                    self.field
                        .insist(&what, FINAL_READ_LIMIT, || read(&self.field, &self.shared, node, &target, client, first, count))
                        .await?;
                }
            }
        }
        Ok(())
    }
}

fn timestamp_of(start_ms: i64, number: u64) -> i64 {
    start_ms + number as i64 * STEP_MS
}

/// The only value that is ever written at a place.
pub fn value_of(client: u32, index: u32, number: u64) -> f64 {
    values::value_of(index as usize, u64::from(client) << 40 ^ u64::from(index) << 56, number)
}

/// A batch: numbers `first..first + count` of all series.
#[derive(Clone, Copy)]
struct Batch {
    first: u64,
    count: u64,
}

async fn write_until_stopped(field: Arc<Field>, shared: Arc<Shared>, client: u32, mut dice: StdRng) {
    let mut chooser = Chooser::default();
    let mut next = 0;
    let mut late = None;
    let mut due = Instant::now();
    while !field.is_stopped() {
        let batch = Batch { first: next, count: dice.random_range(1..=NUMBERS_MAX) };
        next += batch.count;
        shared.frontiers[client as usize].store(next, Ordering::Relaxed);
        if late.is_none() && dice.random_range(0..100) < PERCENT_LATE {
            late = Some(batch);
            continue;
        }
        let mut samples = 0;
        for batch in [Some(batch), late.take()].into_iter().flatten() {
            write_batch(&field, &shared, client, batch, &mut chooser, &mut dice).await;
            samples += batch.count * u64::from(SERIES);
        }
        due = due.max(Instant::now() - Duration::from_secs(1)) + Duration::from_secs_f64(samples as f64 / shared.rate);
        field.pause(due.saturating_duration_since(Instant::now())).await;
    }
}

/// Sends until it is acknowledged, as real senders do (each attempt is an operation of its own), or given up.
async fn write_batch(field: &Field, shared: &Shared, client: u32, batch: Batch, chooser: &mut Chooser, dice: &mut StdRng) {
    let mut copies = if dice.random_range(0..100) < PERCENT_AGAIN { 2 } else { 1 };
    let form = dice.random_range(0..3);
    while copies > 0 && !field.is_stopped() {
        let Some((node, target)) = chooser.choose(field, dice) else { return };
        let invoke_ns = field.now_ns();
        let outcome = send(field, &target, shared.start_ms, client, batch, form).await;
        chooser.learn(node, outcome);
        let Batch { first, count } = batch;
        field.record(u64::from(client), node, invoke_ns, Action::StreamWrite { outcome, client, first, count });
        match outcome {
            Outcome::Ok => {
                copies -= 1;
                field.count_acknowledged(count * u64::from(SERIES));
            }
            Outcome::Info if dice.random_range(0..100) < PERCENT_GIVEN_UP => return,
            Outcome::Info | Outcome::Fail => field.pause(Duration::from_millis(100)).await,
        }
    }
}

async fn send(field: &Field, target: &Client, start_ms: i64, client: u32, batch: Batch, form: u32) -> Outcome {
    let numbers = batch.first..batch.first + batch.count;
    let samples: Vec<Vec<Sample>> = (0..SERIES)
        .map(|index| numbers.clone().map(|number| (timestamp_of(start_ms, number), value_of(client, index, number))).collect())
        .collect();
    let result = match form {
        2 => target.post("/ingest/metrics", &[("content-type", "application/json")], native_body(client, &samples)).await,
        form => {
            let labels: Vec<Vec<(String, String)>> = (0..SERIES).map(|index| labels_of(client, index)).collect();
            let series = labels.iter().zip(&samples).map(|(labels, samples)| TimeSeries { labels, samples });
            let (version, body) = match form {
                0 => (RemoteWriteVersion::V1, encode_v1(series)),
                _ => (RemoteWriteVersion::V2, encode_v2(series)),
            };
            target.remote_write(version, body).await
        }
    };
    let outcome = outcome_of(&result);
    if let (Outcome::Ok, Ok(answer)) = (outcome, &result) {
        field.name_entries(answer);
    }
    outcome
}

fn labels_of(client: u32, index: u32) -> Vec<(String, String)> {
    let pairs = [("__name__", METRIC.to_owned()), ("client", client.to_string()), ("index", index.to_string())];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn native_body(client: u32, samples: &[Vec<Sample>]) -> String {
    let mut elements = Vec::new();
    for (index, samples) in samples.iter().enumerate() {
        let labels = json!({"client": client.to_string(), "index": index.to_string()});
        elements.extend(
            samples.iter().map(|(timestamp, value)| json!({"name": METRIC, "labels": labels, "timestamp": timestamp, "value": value})),
        );
    }
    Value::Array(elements).to_string()
}

async fn read_until_stopped(field: Arc<Field>, shared: Arc<Shared>, client: u32, mut dice: StdRng) {
    let mut chooser = Chooser::default();
    while !field.is_stopped() {
        field.pause(READ_PAUSE).await;
        let Some((node, target)) = chooser.choose(&field, &mut dice) else { continue };
        let frontier = shared.frontiers[client as usize].load(Ordering::Relaxed);
        if frontier == 0 {
            continue;
        }
        let recent = frontier.saturating_sub(RECENT);
        let first = if dice.random_range(0..4) == 0 { dice.random_range(0..frontier) } else { recent };
        let count = RECENT.min(frontier - first);
        // A read that fails promises nothing; the final reads must succeed.
        let result = match dice.random_range(0..3) {
            0 => count_samples(&field, &shared, node, &target, client, first, frontier - first).await,
            _ => read(&field, &shared, node, &target, client, first, count).await,
        };
        chooser.learn(node, if result.is_ok() { Outcome::Ok } else { Outcome::Info });
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<AnsweredSeries<'a>>,
}

#[derive(Deserialize)]
struct AnsweredSeries<'a> {
    metric: Metric,
    #[serde(borrow)]
    values: Vec<(f64, Cow<'a, str>)>,
}

#[derive(Deserialize)]
struct Metric {
    index: String,
}

/// Range selectors leave their left end open, so the range is as long as the numbers are many.
fn selection(client: u32, count: u64) -> String {
    format!("{METRIC}{{client=\"{client}\"}}[{}ms]", count as i64 * STEP_MS)
}

async fn read(field: &Field, shared: &Shared, node: u64, target: &Client, client: u32, first: u64, count: u64) -> anyhow::Result<()> {
    let invoke_ns = field.now_ns();
    let time = (timestamp_of(shared.start_ms, first + count - 1) as f64 / 1000.0).to_string();
    let answer = target.get("/api/v1/query", &[("query", &selection(client, count)), ("time", &time)]).await?;
    ensure!(answer.status == 200, "status {}: {:.300}", answer.status, answer.text());
    let envelope: Envelope = serde_json::from_slice(&answer.body)?;
    let mut series = Vec::with_capacity(envelope.data.result.len());
    for one in envelope.data.result {
        series.push(condense(shared.start_ms, client, one.metric.index.parse()?, first..first + count, &one.values)?);
    }
    field.record(1000 + u64::from(client), node, invoke_ns, Action::StreamRead { client, first, count, series });
    Ok(())
}

/// Runs of what is as expected; the rest one by one.
fn condense(
    start_ms: i64,
    client: u32,
    index: u32,
    range: std::ops::Range<u64>,
    values: &[(f64, Cow<'_, str>)],
) -> anyhow::Result<StreamSeries> {
    let mut series = StreamSeries { index, ..StreamSeries::default() };
    let mut last = None;
    for (seconds, text) in values {
        let timestamp_ms = (seconds * 1000.0).round() as i64;
        let number = u64::try_from((timestamp_ms - start_ms) / STEP_MS).unwrap_or(u64::MAX);
        let value: f64 = text.parse()?;
        if !range.contains(&number) || timestamp_of(start_ms, number) != timestamp_ms {
            series.strangers.push(timestamp_ms);
            continue;
        }
        ensure!(last.is_none_or(|last| last <= number), "samples of series {index} are not sorted by time");
        if last == Some(number) {
            series.twice.push(number);
            continue;
        }
        last = Some(number);
        if value.to_bits() != value_of(client, index, number).to_bits() {
            series.wrong.push((number, value.to_bits()));
        }
        match series.present.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => series.present.push((number, number)),
        }
    }
    Ok(series)
}

async fn count_samples(
    field: &Field,
    shared: &Shared,
    node: u64,
    target: &Client,
    client: u32,
    first: u64,
    count: u64,
) -> anyhow::Result<()> {
    let invoke_ns = field.now_ns();
    let query = format!("sum(count_over_time({}))", selection(client, count));
    let found = target.number(&query, timestamp_of(shared.start_ms, first + count - 1) as f64 / 1000.0).await?.unwrap_or(0.0) as u64;
    field.record(1000 + u64::from(client), node, invoke_ns, Action::StreamCount { client, first, count, found });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_condenses_to_runs_and_oddities() {
        let at = |number: u64| timestamp_of(5000, number) as f64 / 1000.0;
        let right = |number: u64| Cow::Owned(value_of(3, 1, number).to_string());
        let values = [
            (at(4), right(4)),
            (at(5), right(5)),
            (at(7), Cow::Borrowed("1e9")),
            (at(7), right(7)),
            (at(9) + 0.001, right(9)),
            (at(20), right(20)),
        ];
        let series = condense(5000, 3, 1, 4..12, &values).unwrap();
        assert_eq!(series.present, [(4, 5), (7, 7)]);
        assert_eq!((series.wrong.len(), series.twice.len(), series.strangers.len()), (1, 1, 2), "{series:?}");
        let unsorted = [(at(5), right(5)), (at(4), right(4))];
        assert!(condense(5000, 3, 1, 4..12, &unsorted).is_err());
    }

    #[test]
    fn every_kind_of_value_survives_its_text() {
        for index in 0..4 {
            for number in [0, 1, 99, 123_456] {
                let value = value_of(7, index, number);
                assert_eq!(value.to_string().parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
        }
    }
}
