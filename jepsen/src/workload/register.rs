//! Registers: keys of the configuration API, read, written, compared and set, created and deleted by several clients at once.
//!
//! The set of keys changes every half minute, so that the history of each stays short enough to be searched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use tokio::task::JoinHandle;

use super::field::{Chooser, Field};
use crate::client::{Answer, Client, outcome_of};
use crate::history::{Action, Outcome, RegisterCall};

const KEYS: u64 = 6;
const EPOCH_NS: u64 = 30_000_000_000;
const FIRST_PROCESS: u64 = 3000;
const PAUSE: Duration = Duration::from_millis(60);

/// Starts `clients` clients, which end when the field is stopped.
pub fn start(field: &Arc<Field>, clients: u64, seed: u64) -> Vec<JoinHandle<()>> {
    let values = Arc::new(AtomicU64::new(1));
    let one = |number: u64| Registers {
        field: field.clone(),
        values: values.clone(),
        process: FIRST_PROCESS + number,
        dice: StdRng::seed_from_u64(seed ^ 4 << 32 ^ number),
    };
    (0..clients).map(|number| tokio::spawn(one(number).run())).collect()
}

struct Registers {
    field: Arc<Field>,
    /// Every value is written once in a run.
    values: Arc<AtomicU64>,
    process: u64,
    dice: StdRng,
}

impl Registers {
    async fn run(mut self) {
        let mut chooser = Chooser::default();
        // What was read last, to compare with.
        let mut known: Option<(String, u64, u64)> = None;
        while !self.field.is_stopped() {
            let Some((node, target)) = chooser.choose(&self.field, &mut self.dice) else { continue };
            let key = format!("jepsen/{}/{}", self.field.now_ns() / EPOCH_NS, self.dice.random_range(0..KEYS));
            let value = self.values.fetch_add(1, Ordering::Relaxed);
            let swap = known.take().filter(|_| self.dice.random_range(0..3) > 0);
            let (key, call) = match (swap, self.dice.random_range(0..10)) {
                (Some((key, expected, expected_version)), _) => (key, RegisterCall::Swap { expected_version, expected, value }),
                (None, 0..5) => (key, RegisterCall::Get { found: None }),
                (None, 5..7) => (key, RegisterCall::Put { value }),
                (None, 7..9) => (key, RegisterCall::Create { value }),
                (None, _) => (key, RegisterCall::Delete),
            };
            let (outcome, found) = self.call(node, &target, &key, call).await;
            known = found.map(|(value, version)| (key, value, version));
            chooser.learn(node, outcome);
            self.field.pause(PAUSE).await;
        }
    }

    /// Makes the call and records it. Also answers what a read found.
    async fn call(&self, node: u64, target: &Client, key: &str, mut call: RegisterCall) -> (Outcome, Option<(u64, u64)>) {
        let invoke_ns = self.field.now_ns();
        let result = send(target, key, &call).await;
        let mut outcome = outcome_of(&result);
        let mut version = None;
        let mut found_now = None;
        if let RegisterCall::Get { found } = &mut call {
            match &result {
                Ok(answer) if answer.status == 200 => *found = content(answer),
                Ok(answer) if answer.status == 404 => *found = None,
                // Says nothing.
                _ => return (Outcome::Info, None),
            }
            // An answer that cannot be read is no answer.
            if found.is_none() && outcome == Outcome::Ok {
                return (Outcome::Info, None);
            }
            (outcome, found_now) = (Outcome::Ok, *found);
        } else if let Ok(answer) = &result {
            version = data(answer)["version"].as_u64();
            let is_conditional = matches!(call, RegisterCall::Swap { .. } | RegisterCall::Create { .. });
            // Refused for another reason than the condition: not understood, and so not to be judged.
            if is_conditional && outcome == Outcome::Fail && answer.status != 412 {
                outcome = Outcome::Info;
            }
        } else if outcome == Outcome::Fail {
            // Never sent: no call at all.
            return (Outcome::Info, None);
        }
        self.field.record(self.process, node, invoke_ns, Action::Register { key: key.to_owned(), outcome, version, call });
        (if outcome == Outcome::Fail { Outcome::Ok } else { outcome }, found_now)
    }
}

async fn send(target: &Client, key: &str, call: &RegisterCall) -> Result<Answer, reqwest::Error> {
    let path = format!("/api/v1/kv/{key}");
    let expected;
    let (method, headers, value) = match call {
        RegisterCall::Get { .. } => (Method::GET, vec![], None),
        RegisterCall::Put { value } => (Method::PUT, vec![], Some(value)),
        RegisterCall::Create { value } => (Method::PUT, vec![("if-none-match", "*")], Some(value)),
        RegisterCall::Swap { expected_version, value, .. } => {
            expected = format!("\"{expected_version}\"");
            (Method::PUT, vec![("if-match", expected.as_str())], Some(value))
        }
        RegisterCall::Delete => (Method::DELETE, vec![], None),
    };
    target.request(method, &path, &headers, value.map(|value| value.to_string().into_bytes()).unwrap_or_default()).await
}

fn data(answer: &Answer) -> serde_json::Value {
    answer.json().map(|mut envelope| envelope["data"].take()).unwrap_or_default()
}

fn content(answer: &Answer) -> Option<(u64, u64)> {
    let data = data(answer);
    Some((data["value"].as_str()?.parse().ok()?, data["version"].as_u64()?))
}
