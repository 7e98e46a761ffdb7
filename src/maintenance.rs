//! Housekeeping that the clock starts: merging the small pieces of past hours into long ones, and dropping expired days. One
//! thing at a time, on one thread, so that it never takes more than one core from writes and queries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::{Node, Space};
use storage::{Engine, LogDb};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::ScrubSettings;

/// Pieces of a past hour appear when a head is sealed, that is every few minutes.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);
/// Whole days expire.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(300);

/// Works until `stop` is cancelled; answers when it has stopped.
pub async fn run(node: Arc<Node>, engine: Arc<Engine>, stop: CancellationToken) {
    let mut expired = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep(COMPACTION_INTERVAL)).await.is_some() {
        let is_expiry_due = expired.elapsed() >= EXPIRY_INTERVAL;
        let job = {
            let (engine, stop) = (Arc::clone(&engine), stop.clone());
            // Compaction needs room before it gives some back.
            let has_room = node.space() == Space::Ample;
            tokio::task::spawn_blocking(move || {
                if has_room {
                    compact(&engine, &stop);
                }
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

/// Reads everything on this node's disk now and then and compares checksums, from the start on. What is found damaged is mended
/// by the node itself; a damaged log by its next start.
pub async fn scrub(node: Arc<Node>, engine: Arc<Engine>, log_db: Arc<LogDb>, settings: ScrubSettings, stop: CancellationToken) {
    while let Some(interval) = settings.interval {
        let begun = Instant::now();
        let job = {
            let (engine, log_db, stop) = (Arc::clone(&engine), Arc::clone(&log_db), stop.clone());
            tokio::task::spawn_blocking(move || scrub_once(&engine, &log_db, &mut Pace::new(settings.bytes_per_second, stop)))
        };
        match job.await {
            Ok(Ok(bytes)) => tracing::info!(bytes, took = ?begun.elapsed(), "scrubbed"),
            Ok(Err(error)) if error.is_damage() && node.has_others() => {
                tracing::error!(%error, "the log is damaged; the process ends, and its next start joins under a new id");
                std::process::abort();
            }
            Ok(Err(error)) => tracing::error!(%error, "scrub the log"),
            Err(error) => tracing::error!(%error, "scrub"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_none() {
            return;
        }
    }
}

/// Answers the bytes read. What is damaged in the state is known to the engine; an error is one of the log.
fn scrub_once(engine: &Engine, log_db: &LogDb, pace: &mut Pace) -> Result<u64, storage::StorageError> {
    if let Err(error) = engine.scrub(&mut |bytes| pace.may_read(bytes)) {
        tracing::error!(%error, "scrub the state");
    }
    log_db.scrub(&mut |bytes| pace.may_read(bytes))?;
    Ok(pace.bytes)
}

/// Bounds how fast is read.
struct Pace {
    bytes_per_second: u64,
    begun: Instant,
    bytes: u64,
    stop: CancellationToken,
}

impl Pace {
    /// The thread sleeps at most so long without looking whether it shall stop.
    const SLEEP_MAX: Duration = Duration::from_millis(100);

    fn new(bytes_per_second: usize, stop: CancellationToken) -> Self {
        Self { bytes_per_second: bytes_per_second as u64, begun: Instant::now(), bytes: 0, stop }
    }

    /// Counts what was read and waits until that was due. False when it is time to stop.
    fn may_read(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_second as f64);
        while let Some(early) = due.checked_sub(self.begun.elapsed()).filter(|early| !early.is_zero()) {
            if self.stop.is_cancelled() {
                return false;
            }
            if early < Duration::from_millis(5) {
                break;
            }
            std::thread::sleep(early.min(Self::SLEEP_MAX));
        }
        !self.stop.is_cancelled()
    }
}
