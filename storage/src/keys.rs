//! How things are keyed in the *state* instance.
//!
//! All numbers are big-endian, so that RocksDB's byte order is their order.
//!
//! - family `raw_<day>`: `shard generation bucket seal level` is one *run*, the chunks that one seal (or
//!   one compaction) left in one bucket of two hours, in one file. Within a run come the shared blocks of
//!   timestamps (`0 id`), then the chunks (`1 metric series part`), so that a scan over a metric is contiguous, then the
//!   chunks of native histograms (`2 metric series part`).
//! - family `series`: `shard generation 1 series` → its definition; `2 block` → newest times of 4096 series;
//!   `3 day` → the series active in a day; `4` → tombstones; `5` → exemplars and metadata; `6` → the last seal.
//! - family `meta`: `shard id` → the shard's incarnation and generation, and a few facts of the engine.
//!
//! The *generation* is replaced when a shard's content is replaced as a whole (a snapshot is installed, or
//! the shard is created anew); what lies under another generation is garbage.

use crate::fault::{Result, StorageError};
use crate::index::{DAY_MS, MetricId};
use crate::labels::{SeriesId, ShardId};

/// Milliseconds of the bucket that chunks are filed under.
pub const BUCKET_MS: i64 = 2 * 3_600_000;
/// Name prefix of the families of raw chunks.
pub(crate) const FAMILY_RAW_PREFIX: &str = "raw_";
/// The family of series definitions.
pub(crate) const FAMILY_SERIES: &str = "series";
/// The family of shards and facts of the engine.
pub(crate) const FAMILY_META: &str = "meta";

/// Buckets are counted from this far before 1970, so that their numbers are not negative.
const BUCKET_BIAS: i64 = 1 << 31;
/// Bytes of a run's prefix.
pub(crate) const RUN_PREFIX_BYTES: usize = 17;
const KIND_TIMES: u8 = 0;
const KIND_CHUNK: u8 = 1;
const KIND_HISTOGRAMS: u8 = 2;

/// Number of a two-hour bucket, counted from 1970.
pub type Bucket = i64;

/// The bucket of a timestamp.
pub(crate) fn bucket_of(timestamp_ms: i64) -> Bucket {
    timestamp_ms.div_euclid(BUCKET_MS)
}

/// The first millisecond of a bucket.
pub(crate) fn bucket_start(bucket: Bucket) -> i64 {
    bucket.saturating_mul(BUCKET_MS)
}

/// The UTC day a bucket lies in.
pub(crate) fn day_of_bucket(bucket: Bucket) -> i64 {
    bucket.div_euclid(DAY_MS / BUCKET_MS)
}

/// The family that holds a day's raw chunks.
pub(crate) fn family_of_day(day: i64) -> String {
    format!("{FAMILY_RAW_PREFIX}{day}")
}

/// The day of a family of raw chunks.
pub(crate) fn day_of_family(family: &str) -> Option<i64> {
    family.strip_prefix(FAMILY_RAW_PREFIX)?.parse().ok()
}

/// Whose data it is: a shard and its current generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub shard: ShardId,
    pub generation: u32,
}

impl Owner {
    /// What all keys of this owner begin with.
    pub fn prefix(self) -> [u8; 8] {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&self.shard.to_be_bytes());
        key[4..].copy_from_slice(&self.generation.to_be_bytes());
        key
    }

    /// The first key behind all keys of this owner.
    pub fn end(self) -> [u8; 8] {
        successor(self.prefix())
    }

    /// The key of a record in the `series` family.
    pub fn record(self, kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = self.prefix().to_vec();
        key.push(kind);
        key.extend_from_slice(rest);
        key
    }
}

/// Identity of a run. Within a bucket the greater (seal, level) is the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RunKey {
    pub owner: Owner,
    pub bucket: Bucket,
    /// Number of the seal, or of the last seal a compaction took in.
    pub seal: u32,
    /// 0 for a seal; one more than the highest level taken in for a compaction, which replaces all runs
    /// of the bucket up to this one.
    pub level: u8,
}

impl RunKey {
    /// What all keys of the run begin with.
    pub fn prefix(&self) -> [u8; RUN_PREFIX_BYTES] {
        let bucket = (self.bucket + BUCKET_BIAS).clamp(0, i64::from(u32::MAX)) as u32;
        let mut key = [0; RUN_PREFIX_BYTES];
        key[..8].copy_from_slice(&self.owner.prefix());
        key[8..12].copy_from_slice(&bucket.to_be_bytes());
        key[12..16].copy_from_slice(&self.seal.to_be_bytes());
        key[16] = self.level;
        key
    }

    /// The first key behind the run.
    pub fn end(&self) -> [u8; RUN_PREFIX_BYTES] {
        successor(self.prefix())
    }

    /// Reads the run's prefix of a key.
    pub fn parse(key: &[u8]) -> Result<Self> {
        let word = |at: usize| key.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let parsed = || {
            Some(Self {
                owner: Owner { shard: word(0)?, generation: word(4)? },
                bucket: i64::from(word(8)?) - BUCKET_BIAS,
                seal: word(12)?,
                level: *key.get(16)?,
            })
        };
        parsed().ok_or_else(|| StorageError::corrupt("chunk key", format!("{key:02x?}")))
    }

    /// The family the run lies in.
    pub fn family(&self) -> String {
        family_of_day(day_of_bucket(self.bucket))
    }

    /// The first key behind all chunks of a kind.
    pub fn chunks_end(&self, kind: ChunkKind) -> Vec<u8> {
        let mut key = self.prefix().to_vec();
        key.push(kind.to_byte() + 1);
        key
    }

    /// The key of a shared block of timestamps.
    pub fn times(&self, id: u32) -> Vec<u8> {
        let mut key = self.prefix().to_vec();
        key.push(KIND_TIMES);
        key.extend_from_slice(&id.to_be_bytes());
        key
    }

    /// The key of a chunk.
    pub fn chunk(&self, kind: ChunkKind, place: ChunkPlace) -> Vec<u8> {
        let mut key = Vec::with_capacity(RUN_PREFIX_BYTES + 11);
        key.extend_from_slice(&self.prefix());
        key.push(kind.to_byte());
        key.extend_from_slice(&place.metric.to_be_bytes());
        key.extend_from_slice(&place.series.to_be_bytes());
        key.extend_from_slice(&place.part.to_be_bytes());
        key
    }
}

/// What a chunk holds. On disk all floats of a run come before all histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// See [`crate::chunk`].
    Floats,
    /// See [`crate::histogram::chunk`].
    Histograms,
}

impl ChunkKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Floats => KIND_CHUNK,
            Self::Histograms => KIND_HISTOGRAMS,
        }
    }
}

/// Where a chunk stands among those of its kind in its run; the order of these is the order on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkPlace {
    pub metric: MetricId,
    pub series: SeriesId,
    /// Series with more samples than a chunk holds have several, counted from 0 in the order of time.
    pub part: u16,
}

/// What a key within a run names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEntry {
    /// A shared block of timestamps.
    Times(u32),
    /// A chunk.
    Chunk(ChunkKind, ChunkPlace),
}

impl RunEntry {
    /// Reads the part of a key behind the run's prefix.
    pub fn parse(key: &[u8]) -> Result<Self> {
        let word = |at: usize| key.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let parsed = || match *key.get(RUN_PREFIX_BYTES)? {
            KIND_TIMES => Some(Self::Times(word(RUN_PREFIX_BYTES + 1)?)),
            KIND_CHUNK => Some(Self::Chunk(ChunkKind::Floats, chunk_place(key)?)),
            KIND_HISTOGRAMS => Some(Self::Chunk(ChunkKind::Histograms, chunk_place(key)?)),
            _ => None,
        };
        parsed().ok_or_else(|| StorageError::corrupt("chunk key", format!("{key:02x?}")))
    }
}

fn chunk_place(key: &[u8]) -> Option<ChunkPlace> {
    let word = |at: usize| key.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let part = key.get(RUN_PREFIX_BYTES + 9..)?.try_into().ok()?;
    Some(ChunkPlace { metric: word(RUN_PREFIX_BYTES + 1)?, series: word(RUN_PREFIX_BYTES + 5)?, part: u16::from_be_bytes(part) })
}

/// The smallest key greater than all that begin with `prefix`, which is not all ones.
fn successor<const N: usize>(mut prefix: [u8; N]) -> [u8; N] {
    for byte in prefix.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_sort_by_time() {
        let owner = Owner { shard: 3, generation: 255 };
        let run = |bucket, seal, level| RunKey { owner, bucket, seal, level };
        let runs = [run(-5, 9, 0), run(0, 1, 0), run(0, 255, 255), run(0, 256, 0), run(7, 0, 0)];
        assert!(runs.is_sorted_by_key(RunKey::prefix));
        for run in runs {
            let place = ChunkPlace { metric: 1, series: 2, part: 3 };
            let [floats, histograms] = [ChunkKind::Floats, ChunkKind::Histograms].map(|kind| run.chunk(kind, place));
            assert_eq!(RunKey::parse(&floats).unwrap(), run);
            assert_eq!(RunEntry::parse(&floats).unwrap(), RunEntry::Chunk(ChunkKind::Floats, place));
            assert_eq!(RunEntry::parse(&histograms).unwrap(), RunEntry::Chunk(ChunkKind::Histograms, place));
            assert!(floats < run.chunks_end(ChunkKind::Floats) && run.chunks_end(ChunkKind::Floats) < histograms);
            assert!(histograms < run.chunks_end(ChunkKind::Histograms) && run.times(u32::MAX) < floats);
            assert_eq!(RunEntry::parse(&run.times(9)).unwrap(), RunEntry::Times(9));
            assert!(run.prefix() < run.end() && run.chunks_end(ChunkKind::Histograms).as_slice() < run.end().as_slice());
        }
        assert_eq!(family_of_day(day_of_bucket(bucket_of(DAY_MS * 20_000 + 5))), "raw_20000");
        assert!(RunKey::parse(b"short").is_err());
    }
}
