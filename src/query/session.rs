//! What every read begins with: a place among the running ones, a deadline, a cancel flag that falls when the client goes,
//! and for strong reads the barrier on each shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use raft::{Node, ReadError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::QueryFailure;
use crate::config::Consistency;
use crate::self_metrics::SelfMetrics;

/// Reads that may wait for a place, for each one that has a place.
const WAITING_FACTOR: usize = 20;

/// Bounds how many reads run at once.
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: Semaphore,
    metrics: Arc<SelfMetrics>,
}

impl Gate {
    pub fn new(concurrency: usize, metrics: Arc<SelfMetrics>) -> Gate {
        Gate { places: Arc::new(Semaphore::new(concurrency)), waiting: Semaphore::new(concurrency * WAITING_FACTOR), metrics }
    }

    pub async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, QueryFailure> {
        let start = Instant::now();
        let too_many = || QueryFailure::Unavailable("too many queries are waiting (query.concurrency); try again".to_string());
        let _waiting = self.waiting.try_acquire().map_err(|_| too_many())?;
        let place = tokio::time::timeout_at(deadline.into(), self.places.clone().acquire_owned()).await;
        self.metrics.query.waiting.observe_since(start);
        match place {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(too_many()),
            Err(_) => Err(QueryFailure::Timeout("query timed out in query queue".to_string())),
        }
    }
}

/// Raises the flag when dropped before [`Cancel::done`]: the handler's future is dropped when its client goes.
pub struct Cancel {
    flag: Arc<AtomicBool>,
    is_done: bool,
}

impl Cancel {
    pub fn new() -> Cancel {
        Cancel { flag: Arc::new(AtomicBool::new(false)), is_done: false }
    }

    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if !self.is_done {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

/// Makes the local replicas as fresh as the consistency asks; what cannot be promised comes back as warnings. Shards without
/// a local replica are made fresh by the peer that reads them.
pub async fn freshen(node: &Node, consistency: Consistency, timeout: Duration, metrics: &SelfMetrics) -> Result<Vec<String>, QueryFailure> {
    let shards = node.shard_map().shard_count();
    if shards == 0 {
        return Err(QueryFailure::Unavailable("the cluster is still forming; try again".to_string()));
    }
    if consistency == Consistency::Eventual {
        return Ok(stale_warnings(node));
    }
    let start = Instant::now();
    let deadline = start + timeout;
    let local = (0..shards).filter(|&shard| node.replica(shard).is_some());
    let barriers = join_all(local.map(|shard| node.barrier(shard, deadline.into()))).await;
    metrics.query.barrier.observe_since(start);
    barriers
        .into_iter()
        .collect::<Result<Vec<()>, ReadError>>()
        .map_err(|error| QueryFailure::Unavailable(format!("{error}; ask with consistency=eventual for what this node has")))?;
    Ok(Vec::new())
}

/// One for each local replica that hears of no leader.
fn stale_warnings(node: &Node) -> Vec<String> {
    let groups = node.status().groups;
    let leaderless = groups.iter().filter(|group| group.leader.is_none() && group.group != raft::META_GROUP);
    leaderless
        .map(|group| {
            let shard = group.group - 1;
            format!("shard {shard} has no leader: the answer may lack its newest samples (consistency=eventual)")
        })
        .collect()
}

/// The earlier of what the caller asked for and what the settings allow.
pub fn deadline(asked: Option<Duration>, allowed: Duration) -> Instant {
    Instant::now() + asked.map_or(allowed, |asked| asked.min(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_gate_times_out() {
        let gate = Gate::new(1, Arc::new(SelfMetrics::default()));
        let first = gate.enter(Instant::now() + Duration::from_secs(5)).await.expect("free");
        let second = gate.enter(Instant::now()).await.expect_err("taken");
        assert_eq!(second, QueryFailure::Timeout("query timed out in query queue".to_string()));
        drop(first);
        drop(gate.enter(Instant::now() + Duration::from_secs(5)).await.expect("free again"));
    }

    #[test]
    fn dropping_a_query_half_way_cancels_it() {
        let cancel = Cancel::new();
        let flag = cancel.flag();
        drop(cancel);
        assert!(flag.load(Ordering::Relaxed));
        let cancel = Cancel::new();
        let flag = cancel.flag();
        cancel.done();
        assert!(!flag.load(Ordering::Relaxed));
    }
}
