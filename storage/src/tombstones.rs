//! What deletions hide: samples that frozen generations and runs still hold.
//!
//! A deletion takes its samples out of the open generation at once. Those in frozen generations and in files are hidden by a
//! tombstone, which covers everything under seal numbers up to its *bound*: the last number given when the deletion was applied.
//! What is sealed later holds either samples that came after the deletion, or what sealing and compaction have let through: both
//! leave out what is hidden. So numbers of seals differ between replicas, and what their readers see does not.
//!
//! When a shard is loaded and a deletion is replayed, its new bound may cover runs with samples that came after it. That is right:
//! these samples come again with the log, and a hidden sample is no reason to refuse one or to take it for a duplicate.
//!
//! A tombstone is forgotten when nothing that it could hide is left.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::Result;
use crate::labels::SeriesId;
use crate::series_set::SeriesSet;
use crate::varint::{self, Cursor};

const FORMAT: &str = "tombstones";

/// One deletion's reach.
#[derive(Debug)]
pub(crate) struct Tombstone {
    /// Rises from one to the next while the shard is open.
    pub number: u64,
    pub series: SeriesSet,
    /// Both inclusive.
    pub start_ms: i64,
    pub end_ms: i64,
    /// What was sealed under this number or before is hidden.
    pub bound: u64,
}

/// All tombstones as of one moment, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tombstones {
    list: Vec<Arc<Tombstone>>,
    /// The number last given, also to one that is forgotten.
    pub last: u64,
}

impl Tombstones {
    /// Adds one under the next number.
    pub fn add(&mut self, series: SeriesSet, start_ms: i64, end_ms: i64, bound: u64) {
        self.last += 1;
        self.list.push(Arc::new(Tombstone { number: self.last, series, start_ms, end_ms, bound }));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Tombstone> {
        self.list.iter().map(|tombstone| &**tombstone)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets those that need not stay.
    pub fn retain(&mut self, mut stays: impl FnMut(&Tombstone) -> bool) {
        self.list.retain(|tombstone| stays(tombstone));
    }

    /// Whether a sample that stands under a seal is hidden.
    pub fn hides(&self, series: SeriesId, timestamp_ms: i64, seal: u64) -> bool {
        self.list.iter().any(|it| it.bound >= seal && (it.start_ms..=it.end_ms).contains(&timestamp_ms) && it.series.contains(series))
    }

    /// What is hidden of one series.
    pub fn of_series(&self, series: SeriesId) -> Veil {
        let list = self.list.iter().filter(|tombstone| tombstone.series.contains(series));
        Veil(list.map(|tombstone| (tombstone.start_ms, tombstone.end_ms, tombstone.bound)).collect())
    }

    /// The greatest bound.
    pub fn bound_max(&self) -> u64 {
        self.list.iter().map(|tombstone| tombstone.bound).max().unwrap_or(0)
    }

    /// The durable form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, self.list.len() as u64);
        for tombstone in &self.list {
            varint::put_signed(&mut out, tombstone.start_ms);
            varint::put_signed(&mut out, tombstone.end_ms);
            varint::put(&mut out, tombstone.bound);
            let series = tombstone.series.to_bytes();
            varint::put(&mut out, series.len() as u64);
            out.extend_from_slice(&series);
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads what `encode` wrote; they are numbered anew.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail| Cursor::new(bytes, FORMAT).corrupt(detail);
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("too short"))?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
            return Err(damaged("checksum differs"));
        }
        let mut cursor = Cursor::new(content, FORMAT);
        let mut found = Self::default();
        for _ in 0..cursor.count(content.len())? {
            let (start_ms, end_ms, bound) = (cursor.signed()?, cursor.signed()?, cursor.varint()?);
            let length = cursor.count(content.len())?;
            let series = SeriesSet::from_bytes(cursor.take(length)?).ok_or_else(|| damaged("not a set of series"))?;
            found.add(series, start_ms, end_ms, bound);
        }
        if cursor.is_empty() { Ok(found) } else { Err(damaged("bytes left over")) }
    }
}

/// What is hidden of one series: ranges of time with the seal up to which they hide.
#[derive(Clone, Debug, Default)]
pub(crate) struct Veil(SmallVec<[(i64, i64, u64); 2]>);

impl Veil {
    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes what is hidden from the parts of the columns that end at `parts`, each with the seal that it stands under.
    pub fn cut_parts(&self, parts: &[(u64, usize)], timestamps: &mut Vec<i64>, values: &mut Vec<f64>) {
        if self.is_empty() {
            return;
        }
        for (at, &(seal, end)) in parts.iter().enumerate().rev() {
            let start = if at == 0 { 0 } else { parts[at - 1].1 };
            self.cut(seal, start..end, timestamps, values);
        }
    }

    /// Removes what is hidden from the part `range` of the columns, which was read from under a seal. Answers how many were.
    pub fn cut(&self, seal: u64, range: Range<usize>, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> usize {
        let hides = |time: i64| self.0.iter().any(|(start, end, bound)| *bound >= seal && (*start..=*end).contains(&time));
        let mut kept = range.start;
        for at in range.clone() {
            if !hides(timestamps[at]) {
                timestamps[kept] = timestamps[at];
                values[kept] = values[at];
                kept += 1;
            }
        }
        timestamps.drain(kept..range.end);
        values.drain(kept..range.end);
        range.end - kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(series: &[SeriesId]) -> SeriesSet {
        let mut set = SeriesSet::default();
        series.iter().for_each(|&id| set.insert(id));
        set
    }

    #[test]
    fn a_tombstone_hides_its_series_its_range_and_what_was_sealed_before() {
        let mut tombstones = Tombstones::default();
        tombstones.add(set(&[1, 3]), 10, 20, 5);
        tombstones.add(set(&[3]), i64::MIN, i64::MAX, 2);
        let read = Tombstones::decode(&tombstones.encode()).unwrap();
        for tombstones in [&tombstones, &read] {
            assert!(tombstones.hides(1, 10, 5) && tombstones.hides(1, 20, 1));
            assert!(
                !tombstones.hides(1, 9, 5) && !tombstones.hides(1, 21, 5) && !tombstones.hides(1, 15, 6) && !tombstones.hides(2, 15, 5)
            );
            assert!(tombstones.hides(3, 0, 2) && !tombstones.hides(3, 0, 3));
            assert_eq!((tombstones.bound_max(), tombstones.last, tombstones.len()), (5, 2, 2));
            let (mut times, mut values) = (vec![15, 9, 15, 20, 21, 15], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            assert_eq!(tombstones.of_series(1).cut(5, 1..5, &mut times, &mut values), 2);
            assert_eq!((times, values), (vec![15, 9, 21, 15], vec![0.0, 1.0, 4.0, 5.0]));
            assert!(tombstones.of_series(2).is_empty());
        }
    }

    #[test]
    fn damaged_tombstones_are_refused() {
        let mut tombstones = Tombstones::default();
        tombstones.add(set(&[1]), 10, 20, 5);
        let bytes = tombstones.encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Tombstones::decode(&damaged).is_err(), "byte {at}");
            assert!(Tombstones::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
