//! A run: the chunks of one seal (or compaction) in one bucket of one shard.
//!
//! A run is one file in RocksDB, written once and removed as a whole. The chunks of recent runs also stay
//! in memory, encoded as they are on disk, so that dashboards over the last hours never touch RocksDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::chunk::{ChunkView, TimesPlace, TimesView};
use crate::fault::{Result, StorageError};
use crate::keys::{Bucket, ChunkPlace, RunEntry, RunKey, bucket_start};
use crate::labels::SeriesId;
use crate::rocks::{Caching, Rocks};

/// A run that is on disk.
pub(crate) struct Run {
    /// Which one.
    pub key: RunKey,
    /// Its chunks, while they are kept in memory.
    recent: RwLock<Option<Arc<RecentChunks>>>,
    /// Shared timestamps, decoded when first needed.
    times: Mutex<HashMap<u32, Arc<Vec<i64>>>>,
}

impl Run {
    /// A run found on disk.
    pub fn on_disk(key: RunKey) -> Self {
        Self { key, recent: RwLock::default(), times: Mutex::default() }
    }

    /// A run just written, with its chunks and shared timestamps still in memory.
    pub fn recent(key: RunKey, chunks: RecentChunks, times: HashMap<u32, Arc<Vec<i64>>>) -> Self {
        Self { key, recent: RwLock::new(Some(Arc::new(chunks))), times: Mutex::new(times) }
    }

    /// The chunks in memory, if they are kept.
    pub fn chunks(&self) -> Option<Arc<RecentChunks>> {
        self.recent.read().clone()
    }

    /// Lets go of the chunks in memory; answers the bytes freed.
    pub fn forget_chunks(&self) -> u64 {
        self.times.lock().clear();
        self.recent.write().take().map_or(0, |chunks| chunks.memory_bytes())
    }

    /// Shared timestamps by number.
    pub fn times(&self, rocks: &Rocks, id: u32) -> Result<Arc<Vec<i64>>> {
        if let Some(times) = self.times.lock().get(&id) {
            return Ok(times.clone());
        }
        let family = self.key.family();
        let bytes = rocks.get(&family, &self.key.times(id))?;
        let bytes = bytes.ok_or_else(|| StorageError::corrupt("run", format!("{:?} lacks timestamps {id}", self.key)))?;
        let mut decoded = Vec::new();
        TimesView::parse(&bytes, bucket_start(self.key.bucket))?.decode_into(&mut decoded)?;
        let decoded = Arc::new(decoded);
        self.times.lock().insert(id, decoded.clone());
        Ok(decoded)
    }

    /// Appends the samples of one chunk that lie in `start_ms..=end_ms`.
    pub fn decode(
        &self,
        rocks: &Rocks,
        chunk: &[u8],
        start_ms: i64,
        end_ms: i64,
        timestamps: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        let view = ChunkView::parse(chunk, bucket_start(self.key.bucket))?;
        let from = timestamps.len();
        match view.times() {
            TimesPlace::Inline { first_ms, last_ms } => {
                if first_ms > end_ms || last_ms < start_ms {
                    return Ok(());
                }
                view.decode_into(timestamps, values)?;
            }
            TimesPlace::Shared(id) => {
                let times = self.times(rocks, id)?;
                if times.len() != view.count() {
                    let detail = format!("{:?}: {} timestamps for {} values", self.key, times.len(), view.count());
                    return Err(StorageError::corrupt("chunk", detail));
                }
                if times.first().is_none_or(|first| *first > end_ms) || times.last().is_none_or(|last| *last < start_ms) {
                    return Ok(());
                }
                timestamps.extend_from_slice(&times);
                view.decode_values_into(values)?;
            }
        }
        trim(from, start_ms, end_ms, timestamps, values);
        Ok(())
    }

    /// The chunks of one series, from memory or from disk, in the order of time.
    pub fn chunks_of(&self, rocks: &Rocks, metric: u32, series: SeriesId) -> Result<Vec<Vec<u8>>> {
        if let Some(chunks) = self.chunks() {
            return Ok(chunks.of_series(series).map(<[u8]>::to_vec).collect());
        }
        let family = self.key.family();
        if !rocks.has_family(&family) {
            return Ok(Vec::new());
        }
        let from = self.key.chunk(ChunkPlace { metric, series, part: 0 });
        let mut scan = rocks.scan(&family, &from, Some(&self.key.end()), Caching::Fill)?;
        let mut found = Vec::new();
        while let Some((key, value)) = scan.item()? {
            match RunEntry::parse(key)? {
                RunEntry::Chunk(place) if place.series == series && place.metric == metric => found.push(value.to_vec()),
                _ => break,
            }
            scan.advance();
        }
        Ok(found)
    }
}

/// Cuts the columns from `from` on down to `start_ms..=end_ms`; their timestamps rise.
fn trim(from: usize, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) {
    let end = from + timestamps[from..].partition_point(|time| *time <= end_ms);
    timestamps.truncate(end);
    values.truncate(end);
    let skipped = timestamps[from..].partition_point(|time| *time < start_ms);
    if skipped > 0 {
        timestamps.drain(from..from + skipped);
        values.drain(from..from + skipped);
    }
}

/// Encoded chunks of one run in memory, in the order they have on disk.
pub(crate) struct RecentChunks {
    bytes: Vec<u8>,
    /// (series, end of its chunk in `bytes`); parts of one series stand side by side.
    chunks: Vec<(SeriesId, u32)>,
    /// Position of a series' first chunk in `chunks`, by series number from `first_series` on.
    starts: Vec<u32>,
    first_series: SeriesId,
}

const NO_CHUNK: u32 = u32::MAX;

impl RecentChunks {
    /// Takes encoded chunks: (series, end of the chunk in `bytes`), parts side by side.
    pub fn new(bytes: Vec<u8>, chunks: Vec<(SeriesId, u32)>) -> Self {
        let first_series = chunks.iter().map(|chunk| chunk.0).min().unwrap_or(0);
        let last_series = chunks.iter().map(|chunk| chunk.0).max().unwrap_or(0);
        let mut starts = vec![NO_CHUNK; (last_series - first_series) as usize + 1];
        for (position, (series, _)) in chunks.iter().enumerate().rev() {
            starts[(series - first_series) as usize] = position as u32;
        }
        Self { bytes, chunks, starts, first_series }
    }

    /// The chunks of one series.
    pub fn of_series(&self, series: SeriesId) -> impl Iterator<Item = &[u8]> {
        let slot = series.checked_sub(self.first_series).and_then(|slot| self.starts.get(slot as usize));
        let first = slot.map_or(self.chunks.len(), |&start| (start as usize).min(self.chunks.len()));
        let here = self.chunks[first..].iter().enumerate().take_while(move |(_, chunk)| chunk.0 == series);
        here.map(move |(offset, chunk)| {
            let position = first + offset;
            let start = if position == 0 { 0 } else { self.chunks[position - 1].1 };
            &self.bytes[start as usize..chunk.1 as usize]
        })
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> u64 {
        (self.bytes.capacity() + self.chunks.capacity() * 8 + self.starts.capacity() * 4) as u64
    }
}

/// The runs of a shard as of one moment. Never changed: a new list replaces it.
#[derive(Clone, Default)]
pub(crate) struct RunList {
    buckets: BTreeMap<Bucket, Vec<Arc<Run>>>,
    /// Everything sealed under this number and before is in the list.
    pub sealed: u64,
}

impl RunList {
    /// Adds a run; within its bucket it becomes the newest.
    pub fn add(&mut self, run: Arc<Run>) {
        let runs = self.buckets.entry(run.key.bucket).or_default();
        runs.push(run);
        runs.sort_by_key(|run| (run.key.seal, run.key.level));
    }

    /// Runs that may hold samples of the range, oldest bucket first, within a bucket the oldest run first.
    pub fn between(&self, start_ms: i64, end_ms: i64) -> impl Iterator<Item = &Arc<Run>> {
        let buckets = crate::keys::bucket_of(start_ms)..=crate::keys::bucket_of(end_ms.max(start_ms));
        self.buckets.range(buckets).flat_map(|(_, runs)| runs)
    }

    /// All runs, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.buckets.values().flatten()
    }

    /// Runs of one bucket, oldest first.
    pub fn in_bucket(&self, bucket: Bucket) -> &[Arc<Run>] {
        self.buckets.get(&bucket).map_or(&[], Vec::as_slice)
    }

    /// Buckets with their number of runs.
    pub fn buckets(&self) -> impl Iterator<Item = (Bucket, usize)> {
        self.buckets.iter().map(|(bucket, runs)| (*bucket, runs.len()))
    }

    /// Removes the runs of one bucket that `replaced` names.
    pub fn remove(&mut self, bucket: Bucket, replaced: &[RunKey]) -> Vec<Arc<Run>> {
        let Some(runs) = self.buckets.get_mut(&bucket) else {
            return Vec::new();
        };
        let (gone, kept) = runs.drain(..).partition(|run| replaced.contains(&run.key));
        *runs = kept;
        if runs.is_empty() {
            self.buckets.remove(&bucket);
        }
        gone
    }

    /// Removes the buckets before this one.
    pub fn remove_before(&mut self, bucket: Bucket) -> Vec<Arc<Run>> {
        let kept = self.buckets.split_off(&bucket);
        std::mem::replace(&mut self.buckets, kept).into_values().flatten().collect()
    }
}
