//! Sealing: what was applied becomes files.
//!
//! The recipe, in its order:
//! 1. `freeze` (between two applies, cheap): the open generation becomes frozen. Readers see it still.
//! 2. `persist` (any thread): series by series, samples are sorted, cut at bucket borders, encoded, and
//!    written as one sorted file a bucket, which RocksDB takes in; then definitions, newest times and
//!    activity are written and flushed. Everything is durable and readable from both places.
//! 3. The caller records durably up to which log entry this image reaches.
//! 4. `release`: the frozen generation is dropped.
//!
//! A crash between any two steps leaves runs, or records, that are newer than the marker. Replaying the
//! log over them is harmless: definitions get the numbers they had, and samples find themselves there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::catalog::{self, CatalogWriter, Record};
use crate::chunk::{Encoder, Hint};
use crate::fault::Result;
use crate::head::{FrozenHead, HeadSamples};
use crate::index::MetricId;
use crate::keys::{Bucket, RunKey, bucket_of, bucket_start, day_of_bucket};
use crate::reader::{merge, split};
use crate::run::Run;
use crate::run_writer::RunWriter;
use crate::state::{Sealing, ShardState, encode_seal, is_expired};

/// Everything a shard applied up to one log entry, on its way to the disk.
pub struct Frozen {
    state: Arc<ShardState>,
    head: FrozenHead,
    series_count: u32,
}

/// What one seal wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Samples written.
    pub samples: u64,
    /// Bytes of chunks written, before RocksDB's compression.
    pub chunk_bytes: u64,
    /// Files written.
    pub files: u64,
}

impl Frozen {
    /// Ends the open generation and answers everything that has not been released, also what an earlier
    /// `Frozen` held that was given up; so its marker may always be "all that was applied". `None` when
    /// everything is durable. The caller makes sure that no apply runs.
    pub(crate) fn freeze(state: &Arc<ShardState>) -> Option<Self> {
        let series_count = state.index.read().len();
        let seal = state.last_seal.load(Ordering::Relaxed) + 1;
        let head = state.head.freeze(u64::from(seal));
        if head.is_none() && state.durable_series.load(Ordering::Relaxed) >= series_count && !state.has_unsaved() {
            return None;
        }
        state.last_seal.store(seal, Ordering::Relaxed);
        let head = head.unwrap_or_else(|| FrozenHead::empty(u64::from(seal)));
        Some(Self { state: state.clone(), head, series_count })
    }

    /// Samples to be written.
    pub fn samples(&self) -> u64 {
        self.head.samples()
    }

    /// Writes everything to disk; durable and readable there when it returns. Any thread; once.
    pub fn persist(&self) -> Result<Sealed> {
        self.state.noting(self.write())
    }

    fn write(&self) -> Result<Sealed> {
        let state = &self.state;
        let mut sealing = state.sealing.lock();
        let mut encoder = Encoder::new();
        let writers = self.encode(&mut sealing, &mut encoder)?;
        let mut sealed = Sealed::default();
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for writer in writers.into_values() {
            sealed.samples += writer.samples();
            sealed.chunk_bytes += writer.bytes() as u64;
            sealed.files += 1;
            let run = writer.finish(&state.core.rocks, &mut encoder, &state.core.files)?;
            runs.push(Arc::new(run));
        }
        let days: BTreeSet<i64> = runs.iter().map(|run| day_of_bucket(run.key.bucket)).collect();
        self.write_catalog(&days)?;
        state.publish(runs, self.head.seal);
        Ok(sealed)
    }

    pub(crate) fn release(self) {
        self.state.head.release(self.head.seal);
        self.state.forget_tombstones();
    }

    /// Encodes all samples, by bucket.
    fn encode(&self, sealing: &mut Sealing, encoder: &mut Encoder) -> Result<BTreeMap<Bucket, RunWriter>> {
        let metrics: Vec<MetricId> = self.state.index.read().metrics().to_vec();
        // A generation that an earlier seal gave up is written under this one's number, which tombstones do not reach.
        let tombstones = self.state.run_list().tombstones.clone();
        sealing.hints.resize(self.series_count as usize, Hint::default());
        let mut writers: BTreeMap<Bucket, RunWriter> = BTreeMap::new();
        let mut samples = HeadSamples::default();
        for series in 0..self.series_count {
            samples.clear();
            self.head.read(series, &tombstones.of_series(series), &mut samples);
            merge(&mut samples.timestamps, &mut samples.values);
            if !samples.histograms.is_empty() {
                let histograms = split(&mut samples)?;
                let metric = metrics[series as usize];
                for (bucket, part) in by_bucket(&histograms, |sample| sample.0) {
                    if !is_expired(&self.state.core, bucket) {
                        let writer = writers.entry(bucket).or_insert_with(|| RunWriter::new(self.run_key(bucket)));
                        writer.push_histograms(encoder, metric, series, part);
                    }
                }
            }
            let HeadSamples { timestamps, values, .. } = &samples;
            let mut from = 0;
            for (bucket, part) in by_bucket(timestamps, |time| *time) {
                let end = from + part.len();
                if !is_expired(&self.state.core, bucket) {
                    let writer = writers.entry(bucket).or_insert_with(|| RunWriter::new(self.run_key(bucket)));
                    let hint = &mut sealing.hints[series as usize];
                    let metric = metrics[series as usize];
                    writer.push(encoder, metric, series, &timestamps[from..end], &values[from..end], hint);
                }
                from = end;
            }
        }
        Ok(writers)
    }

    fn run_key(&self, bucket: Bucket) -> RunKey {
        RunKey { owner: self.state.owner, bucket, seal: self.head.seal as u32, level: 0 }
    }

    fn write_catalog(&self, days: &BTreeSet<i64>) -> Result<()> {
        let state = &self.state;
        let mut times_max = catalog::read_times_max(&state.core.rocks, state.owner)?;
        times_max.resize(times_max.len().max(self.series_count as usize), i64::MIN);
        for (series, time_max) in self.head.times_max() {
            if let Some(known) = times_max.get_mut(series as usize) {
                // Not the greater of both: a deletion may have taken the newest.
                *known = time_max;
            }
        }
        let mut writer = CatalogWriter::new(&state.core.rocks, state.owner);
        let unsaved = std::mem::take(&mut *state.unsaved.lock());
        let days: BTreeSet<i64> = days.union(&unsaved.days).copied().collect();
        let durable = state.durable_series.load(Ordering::Relaxed);
        let index = state.index.read();
        let mut canonical = Vec::new();
        for series in durable..self.series_count {
            canonical.clear();
            index.canonical(series, &mut canonical);
            writer.put_definition(series, index.metric(series), &canonical)?;
        }
        for day in days {
            if let Some(active) = index.active(day) {
                let mut active = active.clone();
                active.truncate(self.series_count);
                writer.put_active(day, &active)?;
            }
        }
        drop(index);
        writer.put_times_max(&times_max)?;
        if unsaved.tombstones {
            // After the activity: a deletion that is in the one and not in the other comes again with the log.
            writer.put_record(Record::Tombstones, &state.run_list().tombstones.encode())?;
        }
        writer.put_record(Record::Seal, &encode_seal(self.head.seal as u32))?;
        let beside = state.beside.lock().encode_changed();
        if let Some((bytes, _)) = &beside {
            writer.put_record(Record::Beside, bytes)?;
        }
        writer.finish()?;
        if let Some((_, changes)) = beside {
            state.beside.lock().is_durable(changes);
        }
        state.durable_series.fetch_max(self.series_count, Ordering::Relaxed);
        state.stamped_seal.fetch_max(self.head.seal, Ordering::Relaxed);
        Ok(())
    }
}

/// Cuts samples in the order of time at bucket borders.
fn by_bucket<T>(samples: &[T], time: impl Fn(&T) -> i64) -> impl Iterator<Item = (Bucket, &[T])> {
    let mut rest = samples;
    std::iter::from_fn(move || {
        let bucket = bucket_of(time(rest.first()?));
        let next_start = bucket_start(bucket + 1);
        let (part, later) = rest.split_at(rest.partition_point(|sample| time(sample) < next_start).max(1));
        rest = later;
        Some((bucket, part))
    })
}

impl ShardState {
    /// Makes runs of a seal visible to readers.
    fn publish(&self, runs: Vec<Arc<Run>>, seal: u64) {
        let bytes: u64 = runs.iter().filter_map(|run| run.chunks()).map(|chunks| chunks.memory_bytes()).sum();
        self.core.recent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.change_runs(|list| {
            runs.into_iter().for_each(|run| list.add(run));
            list.sealed = list.sealed.max(seal);
        });
        self.limit_recent();
    }
}
