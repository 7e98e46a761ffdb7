//! One shard's replica on this node.
//!
//! A write comes in through `apply` (one caller, in log order) and is readable when that returns. A read
//! is `select` (which series), `labels` (who they are) and a `Reader` (their samples). In the background
//! the Raft layer seals: `freeze`, `persist`, its own marker, `release`.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::apply::{Applied, ApplyScratch};
use crate::core::Core;
use crate::exemplar::{Exemplar, Metadata};
use crate::fault::Result;
use crate::head::HeadExtent;
use crate::histogram;
use crate::index::{Matcher, SeriesLabels};
use crate::keys::{Bucket, Owner};
use crate::labels::{SeriesHash, SeriesId, ShardId};
use crate::reader::Reader;
use crate::run::RunInfo;
use crate::seal::Frozen;
use crate::series_set::SeriesSet;
use crate::snapshot::SnapshotReader;
use crate::state::ShardState;

/// See the module's story. Shared by all threads; `apply` and `freeze` take turns.
pub struct Shard {
    id: ShardId,
    incarnation: u64,
    state: RwLock<Arc<ShardState>>,
    scratch: Mutex<ApplyScratch>,
}

/// Sizes of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Series in the index.
    pub series: u64,
    /// Samples applied since the last freeze.
    pub head_samples: u64,
    /// Memory of these samples, in bytes.
    pub head_bytes: u64,
    /// Memory of index, table of hashes and head, in bytes, roughly.
    pub memory_bytes: u64,
    /// Runs on disk.
    pub runs: u64,
    /// Buckets of two hours on disk.
    pub buckets: u64,
    /// Exemplars kept.
    pub exemplars: u64,
    /// Deletions whose samples are still in files.
    pub tombstones: u64,
}

impl Shard {
    pub(crate) fn new(id: ShardId, incarnation: u64, state: ShardState) -> Self {
        Self { id, incarnation, state: RwLock::new(Arc::new(state)), scratch: Mutex::default() }
    }

    /// Loads or creates the shard's content.
    pub(crate) fn load(core: &Arc<Core>, owner: Owner, incarnation: u64) -> Result<Self> {
        Ok(Self::new(owner.shard, incarnation, ShardState::load(core.clone(), owner)?))
    }

    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The incarnation it was opened with.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Applies the log entry `index`, a `batch::join` of batches. One caller, in log order; replaying
    /// entries that were applied before changes nothing.
    ///
    /// Errors: only faults of this node. The caller stops using this replica then.
    pub fn apply(&self, index: u64, payload: &[u8]) -> Result<Applied> {
        let mut scratch = self.scratch.lock();
        let state = self.state();
        state.noting(state.apply(index, payload, &mut scratch))
    }

    /// The numbers of series by hash, `UNKNOWN_SERIES` where there is none; `out` is replaced. Any
    /// thread, during apply too. Slices of a few thousand keep the lock short.
    pub fn lookup(&self, hashes: &[SeriesHash], out: &mut Vec<SeriesId>) {
        self.state().ids.read().get_all(hashes, out);
    }

    /// Series that pass all matchers and received samples on a day of `start_ms..=end_ms`, in the order
    /// in which a `Reader` reads them best.
    pub fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<SeriesId>> {
        Ok(self.state().index.read().select(matchers, start_ms, end_ms))
    }

    /// The labels of a series; `None` when there is no such series.
    pub fn labels(&self, series: SeriesId) -> Option<SeriesLabels> {
        self.state().index.read().labels(series)
    }

    /// Calls `take` with the labels of a series, by name, without copying them: cheaper than `labels` where
    /// they go into another form anyway. `None` when there is no such series. `take` must not use the shard.
    pub fn labels_with<R>(&self, series: SeriesId, take: impl FnOnce(&mut dyn Iterator<Item = (&Arc<str>, &Arc<str>)>) -> R) -> Option<R> {
        let state = self.state();
        let index = state.index.read();
        let mut labels = index.labels_iter(series)?;
        Some(take(&mut labels))
    }

    /// The labels of many series under one lock; series that do not exist are left out.
    pub fn labels_of(&self, series: &[SeriesId]) -> Vec<(SeriesId, SeriesLabels)> {
        let state = self.state();
        let index = state.index.read();
        series.iter().filter_map(|&id| Some((id, index.labels(id)?))).collect()
    }

    /// Names of labels of the series that pass all matchers (of all series without any), sorted.
    pub fn label_names(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<Arc<str>> {
        self.state().index.read().label_names(matchers, start_ms, end_ms)
    }

    /// The first `limit` values of a label of the series that pass all matchers (of all series without any), sorted.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], start_ms: i64, end_ms: i64, limit: usize) -> Vec<Arc<str>> {
        self.state().index.read().label_values(name, matchers, start_ms, end_ms, limit)
    }

    /// Values of a label as `label_values`, each with how many of the series have it.
    pub fn label_value_counts(&self, name: &str, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<(Arc<str>, u64)> {
        self.state().index.read().label_value_counts(name, matchers, start_ms, end_ms)
    }

    /// How many series pass all matchers and received samples on a day of `start_ms..=end_ms`.
    pub fn count(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> u64 {
        self.state().index.read().count(matchers, start_ms, end_ms)
    }

    /// What is in memory, not on disk yet. Looks at every series.
    pub fn head_extent(&self) -> HeadExtent {
        self.state().head.extent()
    }

    /// The sealed runs, oldest first.
    pub fn runs(&self) -> Vec<RunInfo> {
        let state = self.state();
        let runs = state.run_list();
        runs.all().map(|run| run.info()).collect()
    }

    /// A reader of samples.
    pub fn reader(&self) -> Reader {
        Reader::new(self.state())
    }

    /// Exemplars in `start_ms..=end_ms` of the series that pass all matchers of any selector, each with its labels; the oldest
    /// first.
    pub fn exemplars(&self, selectors: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Vec<(SeriesLabels, Vec<Exemplar>)> {
        let state = self.state();
        // In the order in which apply locks them.
        let beside = state.beside.lock();
        let index = state.index.read();
        let mut selected = SeriesSet::default();
        selectors.iter().for_each(|matchers| selected.unite_with(&index.matching(matchers)));
        let series = beside.exemplars.series().filter(|series| selected.contains(*series));
        let found = series.filter_map(|series| {
            let exemplars: Vec<Exemplar> = beside.exemplars.of_series(series, start_ms, end_ms).cloned().collect();
            (!exemplars.is_empty()).then_some((index.labels(series)?, exemplars))
        });
        found.collect()
    }

    /// What was said about one metric, or about all of them by name; of each the latest first.
    pub fn metadata(&self, metric: Option<&str>) -> Vec<Metadata> {
        self.state().beside.lock().metadata.entries(metric)
    }

    /// How many series there are.
    pub fn series_count(&self) -> u64 {
        u64::from(self.state().index.read().len())
    }

    /// Memory of the samples applied since the last freeze, in bytes.
    pub fn head_bytes(&self) -> u64 {
        self.state().head.open_bytes()
    }

    /// Samples applied since the last freeze.
    pub fn head_samples(&self) -> u64 {
        self.state().head.open_samples()
    }

    /// Ends the open generation: the answer holds everything applied so far that has not been released, so
    /// also what an earlier `Frozen` held that was given up. Cheap. `None` when everything is durable. One
    /// seal at a time is best; two at once write what the first holds twice.
    pub fn freeze(&self) -> Option<Frozen> {
        let _no_apply_runs = self.scratch.lock();
        Frozen::freeze(&self.state())
    }

    /// Lets go of what was persisted, after the marker is durable. (Of a content that a snapshot has replaced
    /// meanwhile, nothing is left to let go of.)
    pub fn release(&self, frozen: Frozen) {
        frozen.release();
    }

    /// Past buckets (last sample more than 15 minutes ago) that `compact` would improve, oldest first.
    pub fn compactable(&self, now_ms: i64) -> Vec<Bucket> {
        self.state().compactable(now_ms)
    }

    /// Merges the runs of one bucket into long chunks. Any thread; answers the samples written.
    pub fn compact(&self, bucket: Bucket) -> Result<u64> {
        let state = self.state();
        state.noting(state.compact(bucket))
    }

    /// Reads everything on disk and compares checksums; see [`crate::Engine::scrub`].
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let state = self.state();
        state.noting(state.read_all(pace))
    }

    /// Grows with every seal on disk, and when a snapshot is installed. A shard that has a smaller one than before has lost
    /// something.
    pub fn stamp(&self) -> u64 {
        self.state().stamp()
    }

    /// A hash over all (series, time, value), whatever their order and wherever they are: equal on
    /// replicas that applied the same entries. Reads everything.
    pub fn content_hash(&self) -> Result<u64> {
        let state = self.state();
        let mut reader = Reader::new(state.clone());
        let (mut timestamps, mut values, mut canonical) = (Vec::new(), Vec::new(), Vec::new());
        let mut total = 0u64;
        // All of them: a series without samples counts as itself.
        let all = state.index.read().matching(&[]);
        for series in all.to_vec() {
            reader.read(series, i64::MIN, i64::MAX, &mut timestamps, &mut values)?;
            for (at, histogram) in reader.histograms().drain(..) {
                values[at as usize] = f64::from_bits(histogram::marker_of(&histogram.encoded()));
            }
            canonical.clear();
            state.index.read().canonical(series, &mut canonical);
            total = total.wrapping_add(hash_series(series, &canonical, &timestamps, &values));
        }
        Ok(total)
    }

    /// Begins to export the durable image: at least everything persisted before this call.
    pub fn export(&self) -> Result<SnapshotReader> {
        let state = self.state();
        state.noting(SnapshotReader::new(Arc::clone(&state)))
    }

    /// Sizes.
    pub fn stats(&self) -> ShardStats {
        let state = self.state();
        let (series, index_bytes) = {
            let index = state.index.read();
            (u64::from(index.len()), index.memory_bytes())
        };
        // Alone: apply holds this lock while it waits for others.
        let exemplars = state.beside.lock().exemplars.len() as u64;
        let runs = state.run_list();
        ShardStats {
            series,
            head_samples: state.head.open_samples(),
            head_bytes: state.head.open_bytes(),
            memory_bytes: (index_bytes + state.ids.read().memory_bytes() + state.head.memory_bytes()) as u64,
            runs: runs.all().count() as u64,
            buckets: runs.buckets().count() as u64,
            exemplars,
            tombstones: runs.tombstones.len() as u64,
        }
    }

    pub(crate) fn state(&self) -> Arc<ShardState> {
        self.state.read().clone()
    }

    /// Puts another content in the place of this one; answers the old one.
    pub(crate) fn replace(&self, state: ShardState) -> Arc<ShardState> {
        let _no_apply_runs = self.scratch.lock();
        std::mem::replace(&mut *self.state.write(), Arc::new(state))
    }
}

fn hash_series(series: SeriesId, canonical: &[u8], timestamps: &[i64], values: &[f64]) -> u64 {
    let seed = xxh3_64_with_seed(canonical, u64::from(series));
    let samples = timestamps.iter().zip(values).map(|(time, value)| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&time.to_le_bytes());
        bytes[8..].copy_from_slice(&value.to_bits().to_le_bytes());
        xxh3_64_with_seed(&bytes, seed)
    });
    samples.fold(seed, u64::wrapping_add)
}
