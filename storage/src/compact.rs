//! Compaction: the runs that several seals left in one past bucket become one run of long chunks.
//!
//! Longer chunks take fewer bytes a sample, and a reader has one run to visit instead of many. The new
//! run is taken in first and the old ones are removed after it, once no reader holds them; between the
//! two, and after a crash between the two, samples are there twice, which changes no answer.
//!
//! What deletions hide is left out, from each run by its own seal, because the new run stands under the
//! newest one's. So a bucket of one run is written anew as well when its tombstones are to go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::chunk::{Encoder, Hint};
use crate::fault::{Result, StorageError};
use crate::histogram::{self, chunk::Sample};
use crate::keys::{Bucket, ChunkKind, ChunkPlace, RunEntry, RunKey};
use crate::reader::merge;
use crate::rocks::{Caching, Rocks, Scan};
use crate::run::Run;
use crate::run_writer::RunWriter;
use crate::state::{ShardState, bucket_last};
use crate::tombstones::Tombstones;

/// A bucket is compacted when its last millisecond is this long past, so that late samples have come.
const SETTLED_MS: i64 = 15 * 60 * 1000;
/// Past this many tombstones, runs are written anew to get rid of them: every reader asks them all.
const TOMBSTONES_MAX: usize = 64;

impl ShardState {
    /// Past buckets that consist of several runs, oldest first; with many tombstones, those that hold hidden samples too.
    pub fn compactable(&self, now_ms: i64) -> Vec<Bucket> {
        let runs = self.run_list();
        let past = |bucket: Bucket| bucket_last(bucket).saturating_add(SETTLED_MS) < now_ms;
        let clean = runs.tombstones.len() > TOMBSTONES_MAX;
        let wanted = |(bucket, count): &(Bucket, usize)| past(*bucket) && (*count > 1 || clean && runs.is_unclean(*bucket));
        runs.buckets().filter(wanted).map(|(bucket, _)| bucket).collect()
    }

    /// Buckets with hidden samples in files, oldest first.
    pub fn unclean(&self) -> Vec<Bucket> {
        let runs = self.run_list();
        runs.buckets().map(|(bucket, _)| bucket).filter(|bucket| runs.is_unclean(*bucket)).collect()
    }

    /// Merges all runs of a bucket into one, without what is hidden. Answers the samples written; 0 when there was nothing to do.
    pub fn compact(&self, bucket: Bucket) -> Result<u64> {
        let _one_at_a_time = self.compacting.lock();
        let list = self.run_list();
        let runs = list.in_bucket(bucket);
        let Some(newest) = runs.last().filter(|_| runs.len() > 1 || list.is_unclean(bucket)) else {
            return Ok(0);
        };
        // A run must never take the name of one that it replaces: after 255 times the bucket stays as it is.
        let Some(level) = runs.iter().map(|run| run.key.level).max().unwrap_or(0).checked_add(1) else {
            return Ok(0);
        };
        let key = RunKey { level, ..newest.key };
        let mut encoder = Encoder::new();
        let writer = self.merge_runs(runs, &list.tombstones, key, &mut encoder)?;
        let samples = writer.samples();
        let merged = match samples {
            0 => None,
            _ => Some(writer.finish(&self.core.rocks, &mut encoder, &self.core.files)?.without_hidden(list.tombstones.last)),
        };
        let bytes = merged.as_ref().and_then(|run| run.chunks()).map_or(0, |chunks| chunks.memory_bytes());
        self.core.recent_bytes.fetch_add(bytes, Ordering::Relaxed);
        let replaced: Vec<RunKey> = runs.iter().map(|run| run.key).collect();
        let mut gone = Vec::new();
        self.change_runs(|list| {
            gone = list.remove(bucket, &replaced);
            merged.into_iter().for_each(|run| list.add(Arc::new(run)));
            self.retired.lock().append(&mut gone);
        });
        self.limit_recent();
        drop(list);
        self.remove_retired()?;
        self.forget_tombstones();
        Ok(samples)
    }

    fn merge_runs(&self, runs: &[Arc<Run>], tombstones: &Tombstones, key: RunKey, encoder: &mut Encoder) -> Result<RunWriter> {
        let rocks = &self.core.rocks;
        let mut cursors = Vec::new();
        for run in runs {
            cursors.push(RunCursor::open(rocks, run, ChunkKind::Floats)?);
            if run.has_histograms(rocks)? {
                cursors.push(RunCursor::open(rocks, run, ChunkKind::Histograms)?);
            }
        }
        let mut hints = self.sealing.lock().hints.clone();
        let mut writer = RunWriter::new(key);
        let mut samples = SeriesSamples::default();
        loop {
            let places = cursors.iter().filter_map(|cursor| cursor.place).map(|place| (place.metric, place.series));
            let Some((metric, series)) = places.min() else {
                return Ok(writer);
            };
            let veil = tombstones.of_series(series);
            for cursor in &mut cursors {
                let from = samples.timestamps.len();
                cursor.take_series(rocks, metric, series, &mut samples)?;
                let here = from..samples.timestamps.len();
                veil.cut(u64::from(cursor.run.key.seal), here, &mut samples.timestamps, &mut samples.values);
            }
            if samples.timestamps.is_empty() {
                samples.histograms.clear();
                continue;
            }
            let histograms = samples.take_histograms();
            let mut fresh = Hint::default();
            let hint = hints.get_mut(series as usize).unwrap_or(&mut fresh);
            writer.push(encoder, metric, series, &samples.timestamps, &samples.values, hint);
            writer.push_histograms(encoder, metric, series, &histograms);
            samples.timestamps.clear();
            samples.values.clear();
            writer.spill_if_large(rocks, &self.core.files, self.core.options.spill_bytes)?;
        }
    }
}

/// All samples of one series.
#[derive(Default)]
struct SeriesSamples {
    timestamps: Vec<i64>,
    /// That of a histogram is the mark of its place in `histograms`.
    values: Vec<f64>,
    histograms: Vec<Sample>,
}

impl SeriesSamples {
    /// Merges everything; floats stay, histograms are the answer.
    fn take_histograms(&mut self) -> Vec<Sample> {
        merge(&mut self.timestamps, &mut self.values);
        if self.histograms.is_empty() {
            return Vec::new();
        }
        let mut found: Vec<Option<Sample>> = self.histograms.drain(..).map(Some).collect();
        let mut newest = Vec::new();
        let mut kept = 0;
        for at in 0..self.values.len() {
            match histogram::place_of_mark(self.values[at]) {
                Some(place) => newest.extend(found.get_mut(place).and_then(Option::take)),
                None => {
                    (self.timestamps[kept], self.values[kept]) = (self.timestamps[at], self.values[at]);
                    kept += 1;
                }
            }
        }
        self.timestamps.truncate(kept);
        self.values.truncate(kept);
        newest
    }
}

/// A position among the chunks of one kind in one run.
struct RunCursor<'a> {
    run: &'a Run,
    kind: ChunkKind,
    scan: Scan<'a>,
    place: Option<ChunkPlace>,
}

impl<'a> RunCursor<'a> {
    fn open(rocks: &'a Rocks, run: &'a Run, kind: ChunkKind) -> Result<Self> {
        let first = ChunkPlace { metric: 0, series: 0, part: 0 };
        let scan = rocks.scan(&run.key.family(), &run.key.chunk(kind, first), Some(&run.key.chunks_end(kind)), Caching::Bypass)?;
        let mut cursor = Self { run, kind, scan, place: None };
        cursor.load()?;
        Ok(cursor)
    }

    fn load(&mut self) -> Result<()> {
        self.place = match self.scan.item()? {
            None => None,
            Some((key, _)) => match RunEntry::parse(key)? {
                RunEntry::Chunk(_, place) => Some(place),
                RunEntry::Times(_) => return Err(StorageError::corrupt("run", format!("{:?} is out of order", self.run.key))),
            },
        };
        Ok(())
    }

    /// Appends the series' samples if the cursor stands at it, and moves behind it.
    fn take_series(&mut self, rocks: &Rocks, metric: u32, series: u32, samples: &mut SeriesSamples) -> Result<()> {
        while self.place.is_some_and(|place| place.metric == metric && place.series == series) {
            if let Some((_, chunk)) = self.scan.item()? {
                match self.kind {
                    ChunkKind::Floats => {
                        self.run.decode(rocks, chunk, i64::MIN, i64::MAX, &mut samples.timestamps, &mut samples.values)?;
                    }
                    ChunkKind::Histograms => {
                        let from = samples.histograms.len();
                        self.run.decode_histograms(chunk, i64::MIN..=i64::MAX, &mut samples.histograms)?;
                        for place in from..samples.histograms.len() {
                            samples.timestamps.push(samples.histograms[place].0);
                            samples.values.push(histogram::mark_of_place(place));
                        }
                    }
                }
            }
            self.scan.advance();
            self.load()?;
        }
        Ok(())
    }
}
