//! Which metadata the shards were told lately, so that they are not told the same with every request.
//!
//! Bounded by two generations: what is told goes into the newer one; when it is full, or old, it becomes the older one and that is
//! forgotten. So everything is told again now and then, and a shard that had no room for it gets another chance.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use storage::Metadata;

/// Entries of one generation.
const GENERATION_MAX: usize = 64 * 1024;
/// A generation takes in no more after this time.
const GENERATION_AGE: Duration = Duration::from_secs(3600);

/// See the module's story.
pub struct MetadataTold {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

struct Generations {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    since: Instant,
}

impl MetadataTold {
    pub fn new() -> MetadataTold {
        let generations = Generations { newer: HashSet::new(), older: HashSet::new(), since: Instant::now() };
        MetadataTold { hasher: RandomState::new(), generations: Mutex::new(generations) }
    }

    /// Whether the shard need not be told.
    pub fn knows(&self, metadata: &Metadata) -> bool {
        let hash = self.hasher.hash_one(metadata);
        let generations = self.generations.lock();
        generations.newer.contains(&hash) || generations.older.contains(&hash)
    }

    /// The shards have acknowledged these.
    pub fn remember(&self, told: &[Metadata]) {
        if told.is_empty() {
            return;
        }
        let mut generations = self.generations.lock();
        for metadata in told {
            let hash = self.hasher.hash_one(metadata);
            if generations.older.contains(&hash) || !generations.newer.insert(hash) {
                continue;
            }
            if generations.newer.len() >= GENERATION_MAX {
                generations.turn();
            }
        }
        if generations.since.elapsed() >= GENERATION_AGE {
            generations.turn();
        }
    }

    /// The shards are other ones now.
    pub fn forget(&self) {
        let mut generations = self.generations.lock();
        generations.turn();
        generations.turn();
    }
}

impl Generations {
    fn turn(&mut self) {
        self.older = std::mem::take(&mut self.newer);
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_known_for_a_while() {
        let told = MetadataTold::new();
        let entry = |number: usize| Metadata { metric: format!("m{number}"), ..Metadata::default() };
        assert!(!told.knows(&entry(0)));
        told.remember(&[entry(0)]);
        assert!(told.knows(&entry(0)) && !told.knows(&entry(1)));
        told.remember(&(1..GENERATION_MAX).map(entry).collect::<Vec<_>>());
        assert!(told.knows(&entry(0)), "in the older generation");
        told.remember(&(0..GENERATION_MAX).map(|number| entry(number + GENERATION_MAX)).collect::<Vec<_>>());
        assert!(!told.knows(&entry(0)) && told.knows(&entry(GENERATION_MAX)));
        told.forget();
        assert!(!told.knows(&entry(GENERATION_MAX)));
    }
}
