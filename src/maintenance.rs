//! Housekeeping that the clock starts: merging the small pieces of past hours into long ones, and dropping expired days. One
//! thing at a time, on one thread, so that it never takes more than one core from writes and queries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use storage::Engine;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Pieces of a past hour appear when a head is sealed, that is every few minutes.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);
/// Whole days expire.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(300);

/// Works until `stop` is cancelled; answers when it has stopped.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut expired = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep(COMPACTION_INTERVAL)).await.is_some() {
        let is_expiry_due = expired.elapsed() >= EXPIRY_INTERVAL;
        let job = {
            let (engine, stop) = (Arc::clone(&engine), stop.clone());
            tokio::task::spawn_blocking(move || {
                compact(&engine, &stop);
                if is_expiry_due {
                    expire(&engine);
                }
            })
        };
        if let Err(error) = job.await {
            tracing::error!(%error, "maintenance");
        }
        if is_expiry_due {
            expired = Instant::now();
        }
    }
}

fn compact(engine: &Engine, stop: &CancellationToken) {
    for shard in engine.shards() {
        for bucket in shard.compactable(clock::now_ms()) {
            if stop.is_cancelled() {
                return;
            }
            let start = Instant::now();
            match shard.compact(bucket) {
                Ok(samples) => tracing::debug!(shard = shard.id(), bucket, samples, took = ?start.elapsed(), "compacted"),
                Err(error) => tracing::error!(shard = shard.id(), bucket, %error, "compact"),
            }
        }
    }
}

fn expire(engine: &Engine) {
    match engine.expire(clock::now_ms()) {
        Ok(0) => {}
        Ok(days) => tracing::info!(days, "dropped expired days"),
        Err(error) => tracing::error!(%error, "drop expired days"),
    }
}
