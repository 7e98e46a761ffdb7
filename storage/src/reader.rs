//! Reads the samples of many series, one after the other.
//!
//! Asked for series in the order in which `select` answers them, a reader moves forward through every
//! run: chunks of recent runs come from memory, others are fetched from RocksDB a window at a time.
//!
//! What is merged, from old to new: runs by bucket and seal, frozen generations, the open one. At equal
//! times the newest wins. What a deletion hides in a run or a frozen generation is left out before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::fault::{Result, StorageError};
use crate::head::HeadSamples;
use crate::histogram::{self, Histogram, chunk::Sample};
use crate::keys::{ChunkKind, ChunkPlace, RunEntry};
use crate::labels::SeriesId;
use crate::rocks::{Caching, Rocks};
use crate::run::{RecentChunks, Run, RunList};
use crate::state::ShardState;
use crate::tombstones::Veil;

/// The first window fetched from a run; each further one is twice as large.
const WINDOW_BYTES_MIN: usize = 8 << 10;
/// The largest window, in bytes.
const WINDOW_BYTES_MAX: usize = 512 << 10;

/// See the module's story. Not shared between threads; make one for each.
pub struct Reader {
    state: Arc<ShardState>,
    runs: Arc<RunList>,
    /// The range that `sources` was made for.
    range: Option<(i64, i64)>,
    /// Runs that may hold samples of the range, from old to new.
    sources: Vec<(Arc<Run>, Source)>,
    head: HeadSamples,
    /// Histograms read, in any order and older ones included; marks of their places stand among the values.
    found: Vec<Option<Histogram>>,
    sealed_histograms: Vec<Sample>,
    histograms: Vec<(u32, Histogram)>,
}

/// Where a run's chunks come from.
enum Source {
    Memory(Arc<RecentChunks>),
    /// Floats, and histograms if the run has some.
    Disk(Window, Option<Window>),
}

impl Reader {
    pub(crate) fn new(state: Arc<ShardState>) -> Self {
        let runs = state.run_list();
        let (head, found, sealed_histograms, histograms) = Default::default();
        Self { state, runs, range: None, sources: Vec::new(), head, found, sealed_histograms, histograms }
    }

    /// Replaces the columns by the samples of a series in `start_ms..=end_ms`: times rise strictly. An
    /// unknown series has none. Where [`Self::histograms`] names a sample, its value means nothing.
    ///
    /// Errors: `Corrupt`, `Format` or `Database` when this replica's disk cannot be trusted or read.
    pub fn read(&mut self, series: SeriesId, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<()> {
        let read = self.merge_all(series, start_ms, end_ms, timestamps, values);
        self.state.noting(read)?;
        // Asked after reading: files are removed after this was set.
        match self.state.discarded.load(Ordering::SeqCst) {
            true => Err(StorageError::corrupt("shard", "its content was damaged and is being replaced")),
            false => Ok(()),
        }
    }

    fn merge_all(&mut self, series: SeriesId, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<()> {
        timestamps.clear();
        values.clear();
        self.head.clear();
        self.found.clear();
        self.histograms.clear();
        let released = self.state.head.read(series, start_ms, end_ms, &mut self.head);
        // After the head was read: a deletion that took something from there has been counted before.
        if released > self.runs.sealed || self.state.deletions.load(Ordering::Acquire) > self.runs.tombstones.last {
            // What left the head meanwhile is in a newer list of runs, or hidden by one.
            self.runs = self.state.run_list();
            self.range = None;
        }
        if self.range != Some((start_ms, end_ms)) {
            self.range = Some((start_ms, end_ms));
            let rocks = &self.state.core.rocks;
            let sources = self.runs.between(start_ms, end_ms).map(|run| Ok((run.clone(), Source::of(run, rocks)?)));
            self.sources = sources.collect::<Result<_>>()?;
        }
        let veil = self.runs.tombstones.of_series(series);
        veil.cut_parts(&self.head.parts, &mut self.head.timestamps, &mut self.head.values);
        self.read_sealed(series, start_ms, end_ms, &veil, timestamps, values)?;
        timestamps.extend_from_slice(&self.head.timestamps);
        values.extend_from_slice(&self.head.values);
        if !self.head.histograms.is_empty() {
            let from = values.len() - self.head.values.len();
            self.take_from_head(&mut values[from..])?;
        }
        merge(timestamps, values);
        if !self.found.is_empty() {
            let places = values.iter().enumerate().filter_map(|(at, value)| Some((at, histogram::place_of_mark(*value)?)));
            self.histograms.extend(places.filter_map(|(at, place)| Some((at as u32, self.found.get_mut(place)?.take()?))));
        }
        Ok(())
    }

    /// Which of the samples that `read` found last are histograms: positions rise.
    pub fn histograms(&mut self) -> &mut Vec<(u32, Histogram)> {
        &mut self.histograms
    }

    /// Decodes the head's histograms; `values` are those that came from the head.
    fn take_from_head(&mut self, values: &mut [f64]) -> Result<()> {
        let first = self.found.len();
        for encoded in &self.head.histograms {
            self.found.push(Some(Histogram::decode(encoded)?));
        }
        for value in values {
            if let Some(place) = histogram::place_of_mark(*value) {
                *value = histogram::mark_of_place(first + place);
            }
        }
        Ok(())
    }

    fn read_sealed(
        &mut self,
        series: SeriesId,
        start_ms: i64,
        end_ms: i64,
        veil: &Veil,
        timestamps: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        let state = &self.state;
        let mut metric = None;
        for (run, source) in &mut self.sources {
            let from = timestamps.len();
            let histograms = &mut self.sealed_histograms;
            histograms.clear();
            match source {
                Source::Memory(chunks) => {
                    chunks.read(series, start_ms, end_ms, timestamps, values)?;
                    chunks.read_histograms(series, start_ms..=end_ms, histograms)?;
                }
                Source::Disk(floats, more) => {
                    let metric = *metric.get_or_insert_with(|| metric_of(state, series));
                    let rocks = &state.core.rocks;
                    let mut read = floats
                        .each_chunk(rocks, run, (metric, series), |chunk| run.decode(rocks, chunk, start_ms, end_ms, timestamps, values));
                    if let (Ok(()), Some(more)) = (&read, more) {
                        read = more
                            .each_chunk(rocks, run, (metric, series), |chunk| run.decode_histograms(chunk, start_ms..=end_ms, histograms));
                    }
                    if read.is_err() && !rocks.has_family(&run.key.family()) {
                        // The day expired while it was read.
                        timestamps.truncate(from);
                        values.truncate(from);
                        continue;
                    }
                    read?;
                }
            }
            for (time, histogram) in histograms.drain(..) {
                timestamps.push(time);
                values.push(histogram::mark_of_place(self.found.len()));
                self.found.push(Some(histogram));
            }
            if !veil.is_empty() {
                veil.cut(u64::from(run.key.seal), from..timestamps.len(), timestamps, values);
            }
        }
        Ok(())
    }
}

impl Source {
    fn of(run: &Run, rocks: &Rocks) -> Result<Self> {
        Ok(match run.chunks() {
            Some(chunks) => Self::Memory(chunks),
            None => {
                let histograms = run.has_histograms(rocks)?.then(|| Window::over(ChunkKind::Histograms));
                Self::Disk(Window::over(ChunkKind::Floats), histograms)
            }
        })
    }
}

fn metric_of(state: &ShardState, series: SeriesId) -> u32 {
    let index = state.index.read();
    index.metrics().get(series as usize).copied().unwrap_or(0)
}

/// Makes times rise strictly: sorts if needed, and of equal times keeps the last, which is the newest.
pub(crate) fn merge(timestamps: &mut Vec<i64>, values: &mut Vec<f64>) {
    if timestamps.is_sorted_by(|left, right| left < right) {
        return;
    }
    let mut samples: Vec<(i64, f64)> = timestamps.iter().copied().zip(values.iter().copied()).collect();
    samples.sort_by_key(|sample| sample.0);
    timestamps.clear();
    values.clear();
    for (time, value) in samples {
        if timestamps.last() == Some(&time) {
            timestamps.pop();
            values.pop();
        }
        timestamps.push(time);
        values.push(value);
    }
}

/// Splits merged samples into floats, which stay, and histograms, which are decoded.
pub(crate) fn split(samples: &mut HeadSamples) -> Result<Vec<Sample>> {
    let mut histograms = Vec::new();
    let mut kept = 0;
    for at in 0..samples.values.len() {
        let (time, value) = (samples.timestamps[at], samples.values[at]);
        match histogram::place_of_mark(value).and_then(|place| samples.histograms.get(place)) {
            Some(encoded) => histograms.push((time, Histogram::decode(encoded)?)),
            None => {
                (samples.timestamps[kept], samples.values[kept]) = (time, value);
                kept += 1;
            }
        }
    }
    samples.timestamps.truncate(kept);
    samples.values.truncate(kept);
    Ok(histograms)
}

/// A stretch of a run's chunks of one kind, copied out of RocksDB.
struct Window {
    kind: ChunkKind,
    bytes: Vec<u8>,
    /// Chunks in the order of their places, with their ends in `bytes`.
    chunks: Vec<(ChunkPlace, usize)>,
    /// First place covered; `None` before the first fetch.
    from: Option<ChunkPlace>,
    /// Whether the window reaches the run's end.
    is_last: bool,
    limit: usize,
}

impl Window {
    /// An empty window.
    fn over(kind: ChunkKind) -> Self {
        Self { kind, bytes: Vec::new(), chunks: Vec::new(), from: None, is_last: false, limit: 0 }
    }

    /// Calls `each` with the chunks of a series, given as (metric, series).
    fn each_chunk(
        &mut self,
        rocks: &Rocks,
        run: &Run,
        (metric, series): (u32, SeriesId),
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let first = ChunkPlace { metric, series, part: 0 };
        if !self.covers(first) {
            self.fetch(rocks, run, first)?;
        }
        let position = self.chunks.partition_point(|(place, _)| *place < first);
        let mut start = if position == 0 { 0 } else { self.chunks[position - 1].1 };
        for (place, end) in &self.chunks[position..] {
            if (place.metric, place.series) != (metric, series) {
                break;
            }
            each(&self.bytes[start..*end])?;
            start = *end;
        }
        Ok(())
    }

    /// Whether all chunks of the series at `first` are in the window, if there are any.
    fn covers(&self, first: ChunkPlace) -> bool {
        let last = ChunkPlace { part: u16::MAX, ..first };
        self.from.is_some_and(|from| from <= first) && (self.is_last || self.chunks.last().is_some_and(|chunk| chunk.0 > last))
    }

    fn fetch(&mut self, rocks: &Rocks, run: &Run, first: ChunkPlace) -> Result<()> {
        self.limit = (self.limit * 2).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        self.bytes.clear();
        self.chunks.clear();
        self.from = Some(first);
        self.is_last = true;
        let family = run.key.family();
        if !rocks.has_family(&family) {
            // The day expired meanwhile.
            return Ok(());
        }
        let last = ChunkPlace { part: u16::MAX, ..first };
        let mut scan = rocks.scan(&family, &run.key.chunk(self.kind, first), Some(&run.key.chunks_end(self.kind)), Caching::Fill)?;
        while let Some((key, value)) = scan.item()? {
            if let RunEntry::Chunk(_, place) = RunEntry::parse(key)? {
                self.bytes.extend_from_slice(value);
                self.chunks.push((place, self.bytes.len()));
                if place > last && self.bytes.len() >= self.limit {
                    self.is_last = false;
                    break;
                }
            }
            scan.advance();
        }
        Ok(())
    }
}
