//! A run: the chunks of one seal (or compaction) in one bucket of one shard.
//!
//! A run is one file in RocksDB, written once and removed as a whole. The chunks of recent runs also stay
//! in memory, encoded as they are on disk, so that dashboards over the last hours never touch RocksDB.

use std::collections::BTreeMap;
use std::ops::{Deref, RangeInclusive};
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::chunk::{ChunkView, TimesPlace, TimesView};
use crate::fault::{Result, StorageError};
use crate::histogram::{self, chunk::Sample};
use crate::keys::{Bucket, ChunkKind, ChunkPlace, RunEntry, RunKey, bucket_of, bucket_start};
use crate::labels::{SeriesId, ShardId};
use crate::rocks::{Caching, Rocks};
use crate::tombstones::{Tombstone, Tombstones};

/// A run that is on disk.
pub(crate) struct Run {
    /// Which one.
    pub key: RunKey,
    /// Its chunks, while they are kept in memory.
    recent: RwLock<Option<Arc<RecentChunks>>>,
    /// Shared timestamps, decoded when first needed.
    times: Mutex<HashMap<u32, Arc<Vec<i64>>>>,
    /// Whether there are histograms in it, once that is known.
    has_histograms: OnceLock<bool>,
    /// The number of the last tombstone whose hidden samples are not in it.
    cleaned: u64,
}

/// What is known about a run without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// The shard's content it belongs to, and its numbers within: together they name it on this node.
    pub shard: ShardId,
    pub generation: u32,
    pub seal: u32,
    /// How often its samples were merged into longer chunks.
    pub level: u8,
    /// Its samples lie in `start_ms..end_ms`.
    pub start_ms: i64,
    pub end_ms: i64,
    /// Chunks and the series they belong to, while they are kept in memory.
    pub content: Option<(u64, u64)>,
}

impl Run {
    /// See `RunInfo`.
    pub fn info(&self) -> RunInfo {
        let RunKey { owner, bucket, seal, level } = self.key;
        RunInfo {
            shard: owner.shard,
            generation: owner.generation,
            seal,
            level,
            start_ms: bucket_start(bucket),
            end_ms: bucket_start(bucket.saturating_add(1)),
            content: self.chunks().map(|chunks| chunks.count()),
        }
    }

    /// A run found on disk.
    pub fn on_disk(key: RunKey) -> Self {
        Self { key, recent: RwLock::default(), times: Mutex::default(), has_histograms: OnceLock::new(), cleaned: 0 }
    }

    /// A run just written, with its chunks still in memory.
    pub fn recent(key: RunKey, chunks: RecentChunks) -> Self {
        let has_histograms = OnceLock::from(!chunks.histograms.is_empty());
        Self { key, recent: RwLock::new(Some(Arc::new(chunks))), times: Mutex::default(), has_histograms, cleaned: 0 }
    }

    /// The run, known to hold nothing that tombstones up to this number hide.
    pub fn without_hidden(mut self, cleaned: u64) -> Self {
        self.cleaned = cleaned;
        self
    }

    /// Whether it may hold samples that a tombstone hides.
    pub fn may_hide(&self, tombstone: &Tombstone) -> bool {
        let buckets = bucket_of(tombstone.start_ms)..=bucket_of(tombstone.end_ms);
        u64::from(self.key.seal) <= tombstone.bound && self.cleaned < tombstone.number && buckets.contains(&self.key.bucket)
    }

    /// Whether there are histograms in it. Most runs have none; the disk is asked once.
    pub fn has_histograms(&self, rocks: &Rocks) -> Result<bool> {
        if let Some(known) = self.has_histograms.get() {
            return Ok(*known);
        }
        let family = self.key.family();
        if !rocks.has_family(&family) {
            return Ok(false);
        }
        let from = self.key.chunks_end(ChunkKind::Floats);
        let found = rocks.scan(&family, &from, Some(&self.key.chunks_end(ChunkKind::Histograms)), Caching::Fill)?.item()?.is_some();
        Ok(*self.has_histograms.get_or_init(|| found))
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

    /// Appends the samples of one chunk of this run on disk that lie in `start_ms..=end_ms`.
    pub fn decode(
        &self,
        rocks: &Rocks,
        chunk: &[u8],
        start_ms: i64,
        end_ms: i64,
        timestamps: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        let range = start_ms..=end_ms;
        decode(self.key.bucket, chunk, |id| self.times(rocks, id), range, timestamps, values)
    }

    /// Appends one series' samples in the range, from memory or from disk.
    pub fn read_one(
        &self,
        rocks: &Rocks,
        metric: u32,
        series: SeriesId,
        range: RangeInclusive<i64>,
        timestamps: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        let (start_ms, end_ms) = range.into_inner();
        if let Some(chunks) = self.chunks() {
            return chunks.read(series, start_ms, end_ms, timestamps, values);
        }
        self.scan_one(rocks, ChunkKind::Floats, metric, series, |chunk| self.decode(rocks, chunk, start_ms, end_ms, timestamps, values))
    }

    /// Appends one series' histograms in the range, from memory or from disk.
    pub fn read_one_histograms(
        &self,
        rocks: &Rocks,
        metric: u32,
        series: SeriesId,
        range: RangeInclusive<i64>,
        samples: &mut Vec<Sample>,
    ) -> Result<()> {
        if !self.has_histograms(rocks)? {
            return Ok(());
        }
        match self.chunks() {
            Some(chunks) => chunks.read_histograms(series, range, samples),
            None => {
                self.scan_one(rocks, ChunkKind::Histograms, metric, series, |chunk| self.decode_histograms(chunk, range.clone(), samples))
            }
        }
    }

    /// Appends the histograms of one chunk of this run that lie in the range.
    pub fn decode_histograms(&self, chunk: &[u8], range: RangeInclusive<i64>, samples: &mut Vec<Sample>) -> Result<()> {
        Ok(histogram::chunk::decode(chunk, bucket_start(self.key.bucket), *range.start(), *range.end(), samples)?)
    }

    /// Calls `each` with every chunk of one kind that a series has on disk.
    fn scan_one(
        &self,
        rocks: &Rocks,
        kind: ChunkKind,
        metric: u32,
        series: SeriesId,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let family = self.key.family();
        if !rocks.has_family(&family) {
            return Ok(());
        }
        let from = self.key.chunk(kind, ChunkPlace { metric, series, part: 0 });
        let mut scan = rocks.scan(&family, &from, Some(&self.key.chunks_end(kind)), Caching::Fill)?;
        while let Some((key, value)) = scan.item()? {
            match RunEntry::parse(key)? {
                RunEntry::Chunk(_, place) if place.series == series && place.metric == metric => each(value)?,
                _ => break,
            }
            scan.advance();
        }
        Ok(())
    }
}

/// Appends the samples of a chunk that lie in the range. `times` answers shared timestamps by number.
#[inline]
fn decode<T: Deref<Target = Vec<i64>>>(
    bucket: Bucket,
    chunk: &[u8],
    times: impl FnOnce(u32) -> Result<T>,
    range: RangeInclusive<i64>,
    timestamps: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<()> {
    let view = ChunkView::parse(chunk, bucket_start(bucket))?;
    let from = timestamps.len();
    let (start_ms, end_ms) = range.into_inner();
    match view.times() {
        TimesPlace::Inline { first_ms, last_ms } => {
            if first_ms > end_ms || last_ms < start_ms {
                return Ok(());
            }
            view.decode_into(timestamps, values)?;
        }
        TimesPlace::Shared(id) => {
            let times = times(id)?;
            if times.len() != view.count() {
                let detail = format!("bucket {bucket}: {} timestamps for {} values", times.len(), view.count());
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

/// Cuts the columns from `from` on down to `start_ms..=end_ms`; their timestamps rise.
fn trim(from: usize, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) {
    if timestamps.get(from).is_none_or(|first| *first >= start_ms) && timestamps.last().is_none_or(|last| *last <= end_ms) {
        return;
    }
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
    floats: ChunkTable,
    histograms: ChunkTable,
    /// Shared timestamps by number.
    times: Vec<Vec<i64>>,
    bucket: Bucket,
}

impl RecentChunks {
    /// Takes encoded chunks, and the shared timestamps by number.
    pub fn new(bucket: Bucket, floats: ChunkTable, histograms: ChunkTable, times: Vec<Vec<i64>>) -> Self {
        Self { floats, histograms, times, bucket }
    }

    /// Appends the float samples of a series that lie in `start_ms..=end_ms`.
    pub fn read(&self, series: SeriesId, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<()> {
        let times = |id: u32| {
            let known = self.times.get(id as usize);
            known.ok_or_else(|| StorageError::corrupt("chunk", format!("there are no timestamps {id}")))
        };
        for chunk in self.floats.of_series(series) {
            decode(self.bucket, chunk, times, start_ms..=end_ms, timestamps, values)?;
        }
        Ok(())
    }

    /// Appends the histograms of a series that lie in the range.
    pub fn read_histograms(&self, series: SeriesId, range: RangeInclusive<i64>, samples: &mut Vec<Sample>) -> Result<()> {
        for chunk in self.histograms.of_series(series) {
            histogram::chunk::decode(chunk, bucket_start(self.bucket), *range.start(), *range.end(), samples)?;
        }
        Ok(())
    }

    /// How many chunks there are, and of how many series; one that has both kinds counts twice.
    fn count(&self) -> (u64, u64) {
        let (floats, histograms) = (self.floats.count(), self.histograms.count());
        (floats.0 + histograms.0, floats.1 + histograms.1)
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> u64 {
        let times: usize = self.times.iter().map(|times| times.capacity() * 8 + 24).sum();
        (self.floats.memory_bytes() + self.histograms.memory_bytes() + times) as u64
    }
}

/// Encoded chunks, found by their series.
#[derive(Default)]
pub(crate) struct ChunkTable {
    bytes: Vec<u8>,
    /// (series, end of its chunk in `bytes`); parts of one series stand side by side.
    chunks: Vec<(SeriesId, u32)>,
    /// Position of a series' first chunk in `chunks`, by series number from `first_series` on.
    starts: Vec<u32>,
    first_series: SeriesId,
}

const NO_CHUNK: u32 = u32::MAX;

impl ChunkTable {
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many chunks there are, and of how many series.
    fn count(&self) -> (u64, u64) {
        let series = self.starts.iter().filter(|start| **start != NO_CHUNK).count();
        (self.chunks.len() as u64, series as u64)
    }

    /// The chunks of one series.
    fn of_series(&self, series: SeriesId) -> impl Iterator<Item = &[u8]> {
        let slot = series.checked_sub(self.first_series).and_then(|slot| self.starts.get(slot as usize));
        let first = slot.map_or(self.chunks.len(), |&start| (start as usize).min(self.chunks.len()));
        let here = self.chunks[first..].iter().enumerate().take_while(move |(_, chunk)| chunk.0 == series);
        here.map(move |(offset, chunk)| {
            let position = first + offset;
            let start = if position == 0 { 0 } else { self.chunks[position - 1].1 };
            &self.bytes[start as usize..chunk.1 as usize]
        })
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.chunks.capacity() * 8 + self.starts.capacity() * 4
    }
}

/// The runs of a shard as of one moment. Never changed: a new list replaces it.
#[derive(Clone, Default)]
pub(crate) struct RunList {
    buckets: BTreeMap<Bucket, Vec<Arc<Run>>>,
    /// Everything sealed under this number and before is in the list.
    pub sealed: u64,
    /// What is hidden in the runs of this list. Tombstones are forgotten together with the runs that needed them, so a reader that
    /// keeps an old list keeps theirs.
    pub tombstones: Tombstones,
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

    /// Whether a run of the bucket may hold samples that are hidden.
    pub fn is_unclean(&self, bucket: Bucket) -> bool {
        self.in_bucket(bucket).iter().any(|run| self.tombstones.iter().any(|tombstone| run.may_hide(tombstone)))
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
