//! Clients that write and read through any node, as gateways do, and remember what they were told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use raft::{Node, ReadError, ShardId, WriteError, runtime};
use storage::batch::{BatchBuilder, ConflictPolicy};
use storage::{HashKey, PartOutcome, UNKNOWN_SERIES, labels};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::oracle::{Content, Oracle, Sample, content};
use crate::randomness::Chance;
use crate::reachable::{Directory, Reachable};
use crate::register::Register;
use crate::trace::{Trace, tell};

const SERIES_EACH: usize = 4;
const SAMPLES_MAX: usize = 6;
const FIRST_MS: i64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(2);
/// Batches without a known outcome that a client keeps to send again.
const UNSURE_MAX: usize = 8;

/// See the module's story.
pub struct Client {
    pub id: u64,
    pub shards: u32,
    pub directory: Directory,
    pub oracle: Arc<Mutex<Oracle>>,
    pub chance: Chance,
    pub trace: Trace,
    next: i64,
    unsure: VecDeque<(ShardId, Vec<Sample>)>,
    register: Register,
}

/// How a series is named in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Labels,
    /// By its id, where the local replica knows it.
    Id,
}

impl Client {
    pub fn new(id: u64, shards: u32, directory: Directory, oracle: Arc<Mutex<Oracle>>, chance: Chance, trace: Trace) -> Self {
        let register = Register::new(id, trace.clone());
        Self { id, shards, directory, oracle, chance, trace, next: 0, unsure: VecDeque::new(), register }
    }

    pub async fn run(mut self, until: CancellationToken) {
        let mut most = 60;
        while !until.is_cancelled() {
            tokio::time::sleep(self.chance.milliseconds(1, most)).await;
            if self.chance.per_mille(20) {
                most = self.chance.between(5, 300);
            }
            let reachable: Vec<Reachable> = self.directory.lock().values().cloned().collect();
            let Some(through) = self.chance.pick(&reachable).cloned() else { continue };
            let shard = self.chance.below(self.shards as usize) as ShardId;
            match self.chance.below(12) {
                0..=2 => self.read(through, shard).await,
                3 if !self.unsure.is_empty() => self.repeat(through).await,
                4..=5 => self.register.change(through).await,
                6 => self.register.read(through).await,
                _ => self.write(through, shard).await,
            }
        }
    }

    async fn write(&mut self, through: Reachable, shard: ShardId) {
        let samples = self.new_samples();
        self.oracle.lock().attempts(shard, &samples);
        self.send(through, shard, samples).await;
    }

    async fn repeat(&mut self, through: Reachable) {
        if let Some((shard, samples)) = self.unsure.pop_front() {
            self.send(through, shard, samples).await;
        }
    }

    fn new_samples(&mut self) -> Vec<Sample> {
        let count = 1 + self.chance.below(SAMPLES_MAX);
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            self.next += 1;
            let series = format!("{}-{}", self.id, self.chance.below(SERIES_EACH));
            samples.push(Sample {
                series,
                timestamp: FIRST_MS + self.next * 15_000,
                value: (self.id * 1_000_000) as f64 + self.next as f64,
            });
        }
        samples
    }

    async fn send(&mut self, through: Reachable, shard: ShardId, samples: Vec<Sample>) {
        let naming = if self.chance.per_mille(500) { Naming::Id } else { Naming::Labels };
        let (node, batch) = (Arc::clone(&through.node), samples.clone());
        let sent = runtime::spawn_on(&through.host, async move {
            let payload = encode(&node, shard, &batch, naming);
            node.write(shard, payload, Instant::now() + PATIENCE).await.map(|written| written.outcome)
        });
        let what = format!("client {} shard {shard} {} samples up to {}", self.id, samples.len(), self.next);
        match sent.await {
            Ok(Ok(outcome)) => self.acknowledge(shard, &samples, &outcome, &what),
            Ok(Err(error)) => self.doubt(shard, samples, &what, &error),
            Err(_) => self.doubt(shard, samples, &what, &WriteError::ShuttingDown),
        }
    }

    fn acknowledge(&self, shard: ShardId, samples: &[Sample], outcome: &PartOutcome, what: &str) {
        tell!(self.trace, "{what}: written, {} new {} known", outcome.accepted, outcome.duplicates);
        if outcome.accepted + outcome.duplicates != samples.len() as u64 || outcome.conflicts + outcome.unknown_series > 0 {
            self.trace.violated(format!("{what}: {outcome:?}"));
        }
        self.oracle.lock().acknowledged(shard, samples);
    }

    fn doubt(&mut self, shard: ShardId, samples: Vec<Sample>, what: &str, error: &WriteError) {
        tell!(self.trace, "{what}: {error}");
        self.oracle.lock().refused += 1;
        self.unsure.push_back((shard, samples));
        if self.unsure.len() > UNSURE_MAX {
            self.unsure.pop_front();
        }
    }

    async fn read(&mut self, through: Reachable, shard: ShardId) {
        let count = self.oracle.lock().count(shard);
        let reading = runtime::spawn_on(&through.host, strong_read(through.node, shard));
        match reading.await {
            Ok(Ok(content)) => {
                let mut oracle = self.oracle.lock();
                oracle.reads += 1;
                tell!(self.trace, "client {} reads shard {shard}: {} series, {count} samples due", self.id, content.len());
                if let Err(reason) = oracle.check(shard, count, &content) {
                    self.trace.violated(format!("client {}: {reason}", self.id));
                }
            }
            Ok(Err(error)) => tell!(self.trace, "client {} reads shard {shard}: {error}", self.id),
            Err(_) => tell!(self.trace, "client {} reads shard {shard}: the node ended", self.id),
        }
    }
}

/// Everything a shard holds, after a barrier.
pub async fn strong_read(node: Arc<Node>, shard: ShardId) -> Result<Content, ReadError> {
    node.barrier(shard, Instant::now() + PATIENCE).await?;
    let replica = node.replica(shard).ok_or(ReadError::NoReplica { shard })?;
    // A disk that fails at this moment ends the process soon.
    content(&replica).map_err(|_| ReadError::ShuttingDown)
}

fn encode(node: &Node, shard: ShardId, samples: &[Sample], naming: Naming) -> Bytes {
    let key = HashKey(node.meta().hash_key);
    let replica = node.replica(shard).filter(|_| naming == Naming::Id);
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    for sample in samples {
        let canonical = canonical(&sample.series);
        let mut ids = Vec::new();
        if let Some(replica) = &replica {
            replica.lookup(&[labels::hash(&key, &canonical)], &mut ids);
        }
        match ids.first() {
            Some(&id) if id != UNKNOWN_SERIES => builder.push(id, sample.timestamp, sample.value),
            _ => drop(builder.push_new(&canonical, sample.timestamp, sample.value)),
        }
    }
    Bytes::from(builder.encode())
}

fn canonical(series: &str) -> Vec<u8> {
    let mut canonical = Vec::new();
    let labels = &mut vec![("__name__", "m"), ("series", series)];
    labels::canonicalize(labels, &mut canonical).expect("two labels with values");
    canonical
}
