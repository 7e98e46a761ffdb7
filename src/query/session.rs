//! What every read begins with: a place among the running ones, a deadline, a cancel flag that falls when the client goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::QueryFailure;
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
