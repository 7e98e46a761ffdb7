//! The queries that run now: `/api/v1/status/active_queries`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::times::Times;

/// One query, waiting or being evaluated.
#[derive(Clone, Debug)]
pub struct ActiveQuery {
    pub id: u64,
    pub text: Arc<str>,
    pub times: Times,
    pub asker: Option<SocketAddr>,
    pub start: Instant,
}

/// All of them, by id.
#[derive(Default)]
pub struct ActiveQueries {
    next_id: AtomicU64,
    running: Mutex<BTreeMap<u64, ActiveQuery>>,
}

/// A query's place in the list, until its work has ended, which may be after its asker has gone.
pub struct Entry {
    list: Arc<ActiveQueries>,
    id: u64,
}

impl ActiveQueries {
    pub fn enter(self: &Arc<Self>, text: Arc<str>, times: Times, asker: Option<SocketAddr>) -> Entry {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.running.lock().insert(id, ActiveQuery { id, text, times, asker, start: Instant::now() });
        Entry { list: Arc::clone(self), id }
    }

    /// The longest running first.
    pub fn list(&self) -> Vec<ActiveQuery> {
        self.running.lock().values().cloned().collect()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.list.running.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_listed_until_its_entry_goes() {
        let queries = Arc::new(ActiveQueries::default());
        let first = queries.enter("up".into(), Times::At(5), None);
        let second = queries.enter("down".into(), Times::At(5), None);
        let texts = || queries.list().iter().map(|query| query.text.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(), ["up", "down"]);
        drop(first);
        assert_eq!(texts(), ["down"]);
        drop(second);
        assert!(queries.list().is_empty());
    }
}
