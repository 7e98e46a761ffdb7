//! Deleting among writes: a client appends to a series of its own, deletes ranges of what was acknowledged, and reads.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::field::{Chooser, Field};
use crate::client::{Client, outcome_of};
use crate::history::{Action, Outcome};

const METRIC: &str = "jepsen_prune";
const START_BEFORE_NOW_SECONDS: u64 = 48 * 3600;
const FIRST_PROCESS: u64 = 4000;
const PAUSE: Duration = Duration::from_millis(200);
const BATCH: u64 = 50;
/// Numbers that a read covers, back from the newest.
const WINDOW: u64 = 3000;

/// Starts `clients` clients, which end when the field is stopped.
pub fn start(field: &Arc<Field>, clients: u64, seed: u64) -> Vec<JoinHandle<()>> {
    let now_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let one = |number: u64| Pruner {
        field: field.clone(),
        number,
        start_seconds: now_seconds - START_BEFORE_NOW_SECONDS,
        written: 0,
        pruned: 0,
        dice: StdRng::seed_from_u64(seed ^ 5 << 32 ^ number),
    };
    (0..clients).map(|number| tokio::spawn(one(number).run())).collect()
}

struct Pruner {
    field: Arc<Field>,
    number: u64,
    start_seconds: u64,
    /// Numbers below this have been attempted.
    written: u64,
    /// Numbers below this may have been deleted, and are not touched again.
    pruned: u64,
    dice: StdRng,
}

impl Pruner {
    async fn run(mut self) {
        let mut chooser = Chooser::default();
        while !self.field.is_stopped() {
            let Some((node, target)) = chooser.choose(&self.field, &mut self.dice) else { continue };
            let outcome = match self.dice.random_range(0..4) {
                0 => self.write(node, &target).await,
                1 if self.written > self.pruned + 2 * BATCH => self.delete(node, &target).await,
                _ => self.read(node, &target).await.map_or(Outcome::Info, |()| Outcome::Ok),
            };
            chooser.learn(node, outcome);
            self.field.pause(PAUSE).await;
        }
    }

    async fn write(&mut self, node: u64, target: &Client) -> Outcome {
        let (first, invoke_ns) = (self.written, self.field.now_ns());
        self.written += BATCH;
        let labels = json!({"client": self.number.to_string()});
        let sample = |number: u64| json!({"name": METRIC, "labels": labels, "timestamp": self.start_seconds + number, "value": number});
        let outcome = outcome_of(&target.ingest(&(first..first + BATCH).map(sample).collect::<Value>()).await);
        if outcome == Outcome::Ok {
            self.field.count_acknowledged(BATCH);
        }
        self.field.record(FIRST_PROCESS + self.number, node, invoke_ns, Action::PruneWrite { outcome, first, count: BATCH });
        outcome
    }

    async fn delete(&mut self, node: u64, target: &Client) -> Outcome {
        let first = self.dice.random_range(self.pruned..self.written - BATCH);
        let count = self.dice.random_range(1..=BATCH);
        self.pruned = first + count;
        let invoke_ns = self.field.now_ns();
        let second = |number: u64| (self.start_seconds + number).to_string();
        let selector = format!("{METRIC}{{client=\"{}\"}}", self.number);
        let (start, end) = (second(first), second(first + count - 1));
        let parameters = [("match[]", selector.as_str()), ("start", &start), ("end", &end)];
        let outcome = outcome_of(&target.send_form("POST", "/api/v1/admin/tsdb/delete_series", &parameters).await);
        // A refusal that is not about the cluster's state would hide that nothing is being tested.
        let outcome = if outcome == Outcome::Fail { Outcome::Info } else { outcome };
        self.field.record(FIRST_PROCESS + self.number, node, invoke_ns, Action::PruneDelete { outcome, first, count });
        outcome
    }

    async fn read(&mut self, node: u64, target: &Client) -> anyhow::Result<()> {
        ensure!(self.written > 0, "nothing to read yet");
        let first = self.written.saturating_sub(WINDOW);
        let count = self.written - first;
        let invoke_ns = self.field.now_ns();
        let query = format!("{METRIC}{{client=\"{}\"}}[{count}s]", self.number);
        let series = target.samples(&query, (self.start_seconds + self.written - 1) as f64).await?;
        let mut present: Vec<(u64, u64)> = Vec::new();
        for (timestamp_ms, _) in series.iter().flat_map(|one| &one.samples) {
            let number = (*timestamp_ms as u64 / 1000).saturating_sub(self.start_seconds);
            match present.last_mut() {
                Some((_, end)) if *end + 1 == number => *end = number,
                _ => present.push((number, number)),
            }
        }
        self.field.record(FIRST_PROCESS + self.number, node, invoke_ns, Action::PruneRead { first, count, present });
        Ok(())
    }
}
