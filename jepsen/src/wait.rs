//! Waiting for conditions, always with a bound.
//!
//! This is the one place of the harness that sleeps: a test waits for what it wants to see, never for a time in which it hopes to see it.

use std::future::Future;
use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A condition did not become true in time.
#[derive(Debug)]
pub struct TimedOut {
    what: String,
    waited: Duration,
    last_seen: String,
}

impl std::fmt::Display for TimedOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "waited {:.1} s for {}; last seen: {}", self.waited.as_secs_f64(), self.what, self.last_seen)
    }
}

impl std::error::Error for TimedOut {}

/// Polls `look` until it gives a value; gives up after `limit`. An `Err` from `look` is what was seen instead, and is told on giving up.
pub async fn until<T, Look, Seen>(what: &str, limit: Duration, mut look: Look) -> Result<T, TimedOut>
where
    Look: FnMut() -> Seen,
    Seen: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    loop {
        let last_seen = match look().await {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if began.elapsed() >= limit {
            return Err(TimedOut { what: what.to_owned(), waited: began.elapsed(), last_seen });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Pauses between two actions of a load generator. Not for waiting on a result: that is [`until`].
pub async fn pace(pause: Duration) {
    tokio::time::sleep(pause).await;
}
