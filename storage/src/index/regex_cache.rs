//! What a regular expression accepted among a label's values, remembered.
//!
//! Dashboards ask the same patterns again and again, and pairs are only ever added; so the pairs found
//! last time stay right, and only values that came since have to be tried.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::matcher::Matcher;
use super::pairs::{LabelPairs, NameId, PairId};

/// Patterns remembered in a shard; when full, all are forgotten.
const ENTRIES_MAX: usize = 256;

/// Accepted pairs by name and pattern.
#[derive(Default)]
pub(crate) struct RegexCache {
    entries: Mutex<HashMap<(NameId, String), Accepted>>,
}

#[derive(Clone, Default)]
struct Accepted {
    /// How many of the name's pairs were tried.
    tried: usize,
    pairs: Arc<Vec<PairId>>,
}

impl RegexCache {
    /// The pairs of `name` whose values the matcher's pattern accepts (whatever its negation).
    pub fn accepted(&self, matcher: &Matcher, name: NameId, pairs: &LabelPairs) -> Arc<Vec<PairId>> {
        let key = (name, matcher.value().to_owned());
        let known = self.entries.lock().get(&key).cloned().unwrap_or_default();
        let all = &pairs.name(name).pairs;
        if known.tried == all.len() {
            return known.pairs;
        }
        let mut accepted = (*known.pairs).clone();
        accepted.extend(all[known.tried..].iter().filter(|&&pair| matcher.accepts(&pairs.pair(pair).value)));
        let found = Accepted { tried: all.len(), pairs: Arc::new(accepted) };
        let mut entries = self.entries.lock();
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key, found.clone());
        found.pairs
    }
}
