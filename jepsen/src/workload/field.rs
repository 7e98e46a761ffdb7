//! What the loads of a run share: the nodes to ask, the clock of the record, and the record.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use crate::checker::logs::Named;
use crate::client::{Answer, Client};
use crate::history::{Action, Operation, Outcome};
use crate::wait;

/// How long a client turns away from a node that failed it, as a load balancer does.
const SHUNNED_FOR: Duration = Duration::from_secs(3);

/// Shared by all loads.
pub struct Field {
    targets: RwLock<Vec<(u64, Client)>>,
    began: Instant,
    stop: AtomicBool,
    operations: Mutex<Vec<Operation>>,
    /// Writes of any load that were acknowledged, and samples in them.
    acknowledged: AtomicU64,
    samples: AtomicU64,
    entries: Mutex<NamedEntries>,
}

/// Entries of the Raft logs that acknowledgements named, and answers that contradict each other.
#[derive(Clone, Debug, Default)]
pub struct NamedEntries {
    pub terms: Named,
    pub contradictions: Vec<String>,
}

impl NamedEntries {
    /// Takes the header `X-Tern-Log` of an answer: `SHARD/TERM/INDEX …`.
    fn take(&mut self, header: &str) {
        for entry in header.split_ascii_whitespace() {
            let numbers: Vec<u64> = entry.split('/').filter_map(|number| number.parse().ok()).collect();
            let [shard, term, index] = numbers[..] else {
                self.contradictions.push(format!("an answer names the entry {entry:?}"));
                continue;
            };
            // Group 0 is not a shard's.
            let known = *self.terms.entry((shard + 1, index)).or_insert(term);
            if known != term {
                self.contradictions.push(format!("entry {index} of shard {shard} was acknowledged in term {known} and in term {term}"));
            }
        }
    }
}

impl Field {
    pub fn new(targets: Vec<(u64, Client)>) -> Arc<Field> {
        Arc::new(Field {
            targets: RwLock::new(targets),
            began: Instant::now(),
            stop: AtomicBool::new(false),
            operations: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            entries: Mutex::default(),
        })
    }

    /// Members have changed.
    pub fn set_targets(&self, targets: Vec<(u64, Client)>) {
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = targets;
    }

    pub fn targets(&self) -> Vec<(u64, Client)> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nanoseconds since the start, on the clock of the record.
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    pub fn record(&self, process: u64, node: u64, invoke_ns: u64, action: Action) {
        let operation = Operation { process, node, invoke_ns, complete_ns: self.now_ns(), action };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    pub fn take_operations(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn count_acknowledged(&self, samples: u64) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// (writes, samples) acknowledged so far.
    pub fn acknowledged(&self) -> (u64, u64) {
        (self.acknowledged.load(Ordering::Relaxed), self.samples.load(Ordering::Relaxed))
    }

    /// What an acknowledgement said about the logs.
    pub fn name_entries(&self, answer: &Answer) {
        if let Some(header) = answer.header("x-tern-log") {
            self.entries.lock().unwrap_or_else(PoisonError::into_inner).take(header);
        }
    }

    pub fn named_entries(&self) -> NamedEntries {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps in short pieces, so that a stop is noticed.
    pub async fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            wait::pace(left.min(Duration::from_millis(200))).await;
        }
    }

    /// Repeats what may fail while a run is being healed: final reads.
    pub async fn insist<T, F, R>(&self, what: &str, limit: Duration, attempt: F) -> anyhow::Result<T>
    where
        F: Fn() -> R,
        R: Future<Output = anyhow::Result<T>>,
    {
        Ok(wait::until(what, limit, || async { attempt().await.map_err(|error| format!("{error:#}")) }).await?)
    }
}

/// A client's choice of nodes: any, but not those that failed it a moment ago.
#[derive(Default)]
pub struct Chooser {
    shunned: Vec<(u64, Instant)>,
}

impl Chooser {
    pub fn choose(&mut self, field: &Field, dice: &mut StdRng) -> Option<(u64, Client)> {
        let now = Instant::now();
        self.shunned.retain(|(_, until)| *until > now);
        let targets = field.targets();
        let liked: Vec<&(u64, Client)> =
            targets.iter().filter(|(node, _)| self.shunned.iter().all(|(shunned, _)| shunned != node)).collect();
        match liked.is_empty() {
            false => Some(liked[dice.random_range(0..liked.len())].clone()),
            true if targets.is_empty() => None,
            true => Some(targets[dice.random_range(0..targets.len())].clone()),
        }
    }

    pub fn learn(&mut self, node: u64, outcome: Outcome) {
        if outcome != Outcome::Ok {
            self.shunned.push((node, Instant::now() + SHUNNED_FOR));
        }
    }
}
