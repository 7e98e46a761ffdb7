//! Sessions: a client appends to a series of its own and asks for the newest sample, strongly at any node and eventually at one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinHandle;

use super::field::{Chooser, Field};
use crate::client::{Client, outcome_of};
use crate::history::{Action, Level, Outcome};

const METRIC: &str = "jepsen_session";
const START_BEFORE_NOW_SECONDS: u64 = 24 * 3600;
/// Process numbers of sessions in the record.
const FIRST_PROCESS: u64 = 2000;
const PAUSE: Duration = Duration::from_millis(100);

/// Tells which process of a node is running now.
pub type Generation = Arc<dyn Fn(u64) -> Option<u64> + Send + Sync>;

/// Starts `sessions` clients, which end when the field is stopped.
pub fn start(field: &Arc<Field>, generation: &Generation, sessions: u64, seed: u64) -> Vec<JoinHandle<()>> {
    let now_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let session = |number: u64| Session {
        field: field.clone(),
        generation: generation.clone(),
        number,
        start_seconds: now_seconds - START_BEFORE_NOW_SECONDS,
        next: 0,
        dice: StdRng::seed_from_u64(seed ^ 3 << 32 ^ number),
    };
    (0..sessions).map(|number| tokio::spawn(session(number).run())).collect()
}

struct Session {
    field: Arc<Field>,
    generation: Generation,
    number: u64,
    start_seconds: u64,
    /// The number to be written next; one a second of data time.
    next: u64,
    dice: StdRng,
}

impl Session {
    async fn run(mut self) {
        let mut chooser = Chooser::default();
        while !self.field.is_stopped() {
            let Some((node, target)) = chooser.choose(&self.field, &mut self.dice) else { continue };
            let outcome = match self.dice.random_range(0..3) {
                0 => self.write(node, &target).await,
                1 => self.read(node, &target, Level::Strong).await,
                _ => self.read(node, &target, Level::Eventual).await,
            };
            chooser.learn(node, outcome);
            self.field.pause(PAUSE).await;
        }
    }

    /// A number whose outcome is unknown is not written again: the next one is larger.
    async fn write(&mut self, node: u64, target: &Client) -> Outcome {
        let (number, invoke_ns) = (self.next, self.field.now_ns());
        self.next += 1;
        let labels = json!({"session": self.number.to_string()});
        let sample = json!([{"name": METRIC, "labels": labels, "timestamp": self.start_seconds + number, "value": number}]);
        let outcome = outcome_of(&target.ingest(&sample).await);
        if outcome == Outcome::Ok {
            self.field.count_acknowledged(1);
        }
        self.field.record(FIRST_PROCESS + self.number, node, invoke_ns, Action::SessionWrite { outcome, number });
        outcome
    }

    async fn read(&mut self, node: u64, target: &Client, level: Level) -> Outcome {
        let before = (self.generation)(node);
        let invoke_ns = self.field.now_ns();
        let Ok(newest) = self.newest(target, level).await else { return Outcome::Info };
        // Between two processes of a node nobody can say which one answered.
        let Some(generation) = before.filter(|before| (self.generation)(node) == Some(*before)) else { return Outcome::Ok };
        self.field.record(FIRST_PROCESS + self.number, node, invoke_ns, Action::SessionRead { level, generation, newest });
        Outcome::Ok
    }

    async fn newest(&self, target: &Client, level: Level) -> anyhow::Result<Option<u64>> {
        let query = format!("max(max_over_time({METRIC}{{session=\"{}\"}}[2d]))", self.number);
        let time = (self.start_seconds + self.next + 1).to_string();
        let consistency = match level {
            Level::Strong => "strong",
            Level::Eventual => "eventual",
        };
        let answer = target.get("/api/v1/query", &[("query", &query), ("time", &time), ("consistency", consistency)]).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let data = answer.data()?;
        let value = data["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        Ok(value.map(|value| value as u64))
    }
}
