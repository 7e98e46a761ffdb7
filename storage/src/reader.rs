//! Reads the samples of many series, one after the other.
//!
//! Asked for series in the order in which `select` answers them, a reader moves forward through every
//! run: chunks of recent runs come from memory, others are fetched from RocksDB a window at a time.
//!
//! What is merged, from old to new: runs by bucket and seal, frozen generations, the open one. At equal
//! times the newest wins. What a deletion hides in a run or a frozen generation is left out before.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::fault::Result;
use crate::keys::{ChunkPlace, RunEntry};
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
    head_timestamps: Vec<i64>,
    head_values: Vec<f64>,
    /// Seals of frozen generations, and where their samples end in the columns of the head.
    head_parts: Vec<(u64, usize)>,
}

/// Where a run's chunks come from.
enum Source {
    Memory(Arc<RecentChunks>),
    Disk(Window),
}

impl Reader {
    pub(crate) fn new(state: Arc<ShardState>) -> Self {
        let runs = state.run_list();
        Self { state, runs, range: None, sources: Vec::new(), head_timestamps: Vec::new(), head_values: Vec::new(), head_parts: Vec::new() }
    }

    /// Replaces the columns by the samples of a series in `start_ms..=end_ms`: times rise strictly. An
    /// unknown series has none.
    ///
    /// Errors: `Corrupt`, `Format` or `Database` when this replica's disk cannot be trusted or read.
    pub fn read(&mut self, series: SeriesId, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<()> {
        timestamps.clear();
        values.clear();
        self.head_timestamps.clear();
        self.head_values.clear();
        self.head_parts.clear();
        let head = &self.state.head;
        let (head_timestamps, head_values, head_parts) = (&mut self.head_timestamps, &mut self.head_values, &mut self.head_parts);
        let released = head.read(series, start_ms, end_ms, head_timestamps, head_values, head_parts);
        // After the head was read: a deletion that took something from there has been counted before.
        if released > self.runs.sealed || self.state.deletions.load(Ordering::Acquire) > self.runs.tombstones.last {
            // What left the head meanwhile is in a newer list of runs, or hidden by one.
            self.runs = self.state.run_list();
            self.range = None;
        }
        if self.range != Some((start_ms, end_ms)) {
            self.range = Some((start_ms, end_ms));
            self.sources = self.runs.between(start_ms, end_ms).map(|run| (run.clone(), Source::of(run))).collect();
        }
        let veil = self.runs.tombstones.of_series(series);
        veil.cut_parts(&self.head_parts, &mut self.head_timestamps, &mut self.head_values);
        self.read_sealed(series, start_ms, end_ms, &veil, timestamps, values)?;
        timestamps.extend_from_slice(&self.head_timestamps);
        values.extend_from_slice(&self.head_values);
        merge(timestamps, values);
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
            match source {
                Source::Memory(chunks) => chunks.read(series, start_ms, end_ms, timestamps, values)?,
                Source::Disk(window) => {
                    let metric = *metric.get_or_insert_with(|| metric_of(state, series));
                    let rocks = &state.core.rocks;
                    let read = window.read(rocks, run, (metric, series), start_ms..=end_ms, timestamps, values);
                    if read.is_err() && !rocks.has_family(&run.key.family()) {
                        // The day expired while it was read.
                        timestamps.truncate(from);
                        values.truncate(from);
                        continue;
                    }
                    read?;
                }
            }
            if !veil.is_empty() {
                veil.cut(u64::from(run.key.seal), from..timestamps.len(), timestamps, values);
            }
        }
        Ok(())
    }
}

impl Source {
    fn of(run: &Run) -> Self {
        match run.chunks() {
            Some(chunks) => Self::Memory(chunks),
            None => Self::Disk(Window::default()),
        }
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

/// A stretch of a run's chunks, copied out of RocksDB.
#[derive(Default)]
struct Window {
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
    /// Appends the samples of a series, given as (metric, series), that lie in the range.
    fn read(
        &mut self,
        rocks: &Rocks,
        run: &Run,
        (metric, series): (u32, SeriesId),
        range: RangeInclusive<i64>,
        timestamps: &mut Vec<i64>,
        values: &mut Vec<f64>,
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
            run.decode(rocks, &self.bytes[start..*end], *range.start(), *range.end(), timestamps, values)?;
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
        let mut scan = rocks.scan(&family, &run.key.chunk(first), Some(&run.key.end()), Caching::Fill)?;
        while let Some((key, value)) = scan.item()? {
            if let RunEntry::Chunk(place) = RunEntry::parse(key)? {
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
