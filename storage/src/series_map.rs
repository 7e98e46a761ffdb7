//! From a series' hash to its number: the table every gateway asks, for every sample.
//!
//! Entries are 20 bytes in one open-addressing table, so a lookup costs one cache miss for the control
//! bytes and one for the entry; asked in bulk, the misses of neighbouring lookups overlap. The whole
//! 128-bit hash is compared, and it is keyed, so a match means the same labels.

use hashbrown::HashTable;

use crate::labels::{SeriesHash, SeriesId};

/// The number that means "no such series".
pub const UNKNOWN_SERIES: SeriesId = SeriesId::MAX;

/// Hash in four words, then the number: packed, where a `(u128, u32)` would take 32 bytes.
type Entry = [u32; 5];

/// See the module's story.
#[derive(Default)]
pub(crate) struct SeriesMap {
    table: HashTable<Entry>,
}

impl SeriesMap {
    /// The number of one series.
    #[inline]
    pub fn get(&self, hash: SeriesHash) -> Option<SeriesId> {
        let words = words(hash);
        self.table.find(hash as u64, |entry| entry[..4] == words).map(|entry| entry[4])
    }

    /// The number of each series, `UNKNOWN_SERIES` where there is none. `out` is replaced.
    pub fn get_all(&self, hashes: &[SeriesHash], out: &mut Vec<SeriesId>) {
        out.clear();
        out.extend(hashes.iter().map(|&hash| self.get(hash).unwrap_or(UNKNOWN_SERIES)));
    }

    /// Adds a series whose hash is not there yet.
    pub fn insert(&mut self, hash: SeriesHash, series: SeriesId) {
        let [a, b, c, d] = words(hash);
        self.table.insert_unique(hash as u64, [a, b, c, d, series], |entry| u64::from(entry[0]) | u64::from(entry[1]) << 32);
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.table.allocation_size()
    }
}

/// The hash's words, the low half first: that half places entries in the table, the upper half chose the
/// shard.
#[inline]
fn words(hash: SeriesHash) -> [u32; 4] {
    [hash as u32, (hash >> 32) as u32, (hash >> 64) as u32, (hash >> 96) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_and_nothing_else() {
        let mut map = SeriesMap::default();
        let hash = |n: u32| (u128::from(n) << 64 | u128::from(n % 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (0..5000).for_each(|n| map.insert(hash(n), n));
        let mut found = Vec::new();
        map.get_all(&(0..6000).map(hash).collect::<Vec<_>>(), &mut found);
        let expected: Vec<u32> = (0..6000).map(|n| if n < 5000 { n } else { UNKNOWN_SERIES }).collect();
        assert_eq!(found, expected);
    }
}
