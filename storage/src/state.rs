//! The content of one shard under one generation: index, table of hashes, head, list of runs.
//!
//! When a snapshot is installed the whole state is replaced by another; readers that hold the old one
//! finish on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::beside::Beside;
use crate::catalog::{self, Record};
use crate::core::Core;
use crate::fault::{Result, StorageError};
use crate::head::Head;
use crate::histogram;
use crate::index::{DAY_MS, Index, day_of};
use crate::keys::{FAMILY_RAW_PREFIX, Owner, RunKey, bucket_of, bucket_start, day_of_bucket};
use crate::labels::{self, SeriesId};
use crate::rocks::Caching;
use crate::run::{Run, RunList};
use crate::series_map::SeriesMap;
use crate::tombstones::{Tombstone, Tombstones};

/// See the module's story.
pub(crate) struct ShardState {
    pub core: Arc<Core>,
    pub owner: Owner,
    pub index: RwLock<Index>,
    pub ids: RwLock<SeriesMap>,
    pub head: Head,
    pub runs: RwLock<Arc<RunList>>,
    /// Held while a seal is persisted.
    pub sealing: Mutex<Sealing>,
    /// Held while a bucket is compacted.
    pub compacting: Mutex<()>,
    /// The number last given to a seal.
    pub last_seal: AtomicU32,
    /// Series whose definitions are durable.
    pub durable_series: AtomicU32,
    /// Runs that were replaced; their files go when no reader holds them any more.
    pub retired: Mutex<Vec<Arc<Run>>>,
    /// The number of the last tombstone; readers compare it with their list's.
    pub deletions: AtomicU64,
    /// Changes by deletions that the next seal makes durable.
    pub unsaved: Mutex<Unsaved>,
    /// Exemplars and metadata.
    pub beside: Mutex<Beside>,
    /// See `ShardState::stamp`.
    pub stamped_seal: AtomicU64,
    /// Its files are being removed although readers may hold it: what they find is incomplete.
    pub discarded: AtomicBool,
}

/// What deletions changed and no seal has written.
#[derive(Default)]
pub(crate) struct Unsaved {
    /// Days in which series are active no more.
    pub days: BTreeSet<i64>,
    /// Whether tombstones came or went.
    pub tombstones: bool,
}

/// What sealing remembers from one time to the next.
#[derive(Default)]
pub(crate) struct Sealing {
    /// A hint for the encoder per series.
    pub hints: Vec<crate::chunk::Hint>,
}

impl ShardState {
    /// Loads what is on disk for this owner; nothing, for a new one.
    pub fn load(core: Arc<Core>, owner: Owner) -> Result<Self> {
        let (index, ids) = load_series(&core, owner)?;
        let count = index.len();
        let head = Head::default();
        head.reserve(count);
        for (series, time_max) in catalog::read_times_max(&core.rocks, owner)?.into_iter().enumerate() {
            if (series as u32) < count {
                restore_time_max(&head, &index, series as u32, time_max);
            }
        }
        let mut runs = load_runs(&core, owner)?;
        if let Some(bytes) = catalog::read_record(&core.rocks, owner, Record::Tombstones)? {
            runs.tombstones = Tombstones::decode(&bytes)?;
        }
        let beside = match catalog::read_record(&core.rocks, owner, Record::Beside)? {
            Some(bytes) => Beside::decode(&bytes)?,
            None => Beside::default(),
        };
        let stamped_seal = match catalog::read_record(&core.rocks, owner, Record::Seal)? {
            Some(bytes) => decode_seal(&bytes)?,
            None => 0,
        };
        // No later seal may come under a tombstone, also when the runs it was made for are gone.
        runs.sealed = runs.sealed.max(runs.tombstones.bound_max());
        let sealed = u32::try_from(runs.sealed).map_err(|_| StorageError::corrupt("tombstones", format!("seal {}", runs.sealed)))?;
        let deletions = AtomicU64::new(runs.tombstones.last);
        Ok(Self {
            core,
            owner,
            index: RwLock::new(index),
            ids: RwLock::new(ids),
            head,
            runs: RwLock::new(Arc::new(runs)),
            sealing: Mutex::default(),
            compacting: Mutex::default(),
            last_seal: AtomicU32::new(sealed),
            durable_series: AtomicU32::new(count),
            retired: Mutex::default(),
            deletions,
            unsaved: Mutex::default(),
            beside: Mutex::new(beside),
            stamped_seal: AtomicU64::new(stamped_seal),
            discarded: AtomicBool::new(false),
        })
    }

    /// Grows with every seal that is on disk, and with every content that replaces another; 0 before the first. What a reader
    /// finds after a restart must not have a smaller one than the marker that was written behind it.
    pub fn stamp(&self) -> u64 {
        match self.stamped_seal.load(Ordering::Relaxed) {
            0 => 0,
            seal => u64::from(self.owner.generation) << 32 | seal,
        }
    }

    /// Files what a failure tells about this disk.
    pub fn noting<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.core.damages.report(self.owner.shard, error);
        }
        result
    }

    /// The runs as of now.
    pub fn run_list(&self) -> Arc<RunList> {
        self.runs.read().clone()
    }

    /// The sealed value at exactly this time that is not hidden, the newest if several runs have one.
    pub fn sealed_value(&self, series: SeriesId, timestamp_ms: i64) -> Result<Option<u64>> {
        let metric = self.index.read().metric(series);
        let runs = self.run_list();
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        let seen = |run: &&Arc<Run>| !runs.tombstones.hides(series, timestamp_ms, u64::from(run.key.seal));
        for run in runs.in_bucket(bucket_of(timestamp_ms)).iter().rev().filter(seen) {
            run.read_one(&self.core.rocks, metric, series, timestamp_ms..=timestamp_ms, &mut timestamps, &mut values)?;
            if let Some(value) = values.first() {
                return Ok(Some(value.to_bits()));
            }
            let mut samples = Vec::new();
            run.read_one_histograms(&self.core.rocks, metric, series, timestamp_ms..=timestamp_ms, &mut samples)?;
            if let Some((_, histogram)) = samples.first() {
                return Ok(Some(histogram::marker_of(&histogram.encoded())));
            }
        }
        Ok(None)
    }

    /// Whether there is something that no seal has written, beside samples and definitions.
    pub fn has_unsaved(&self) -> bool {
        let by_deletions = {
            let unsaved = self.unsaved.lock();
            unsaved.tombstones || !unsaved.days.is_empty()
        };
        by_deletions || self.beside.lock().is_changed()
    }

    /// Forgets tombstones that hide nothing any more: neither in the head, nor in a run, nor in a run whose files are still there
    /// and might be found after a crash.
    pub fn forget_tombstones(&self) {
        let upto = self.run_list().tombstones.last;
        if self.run_list().tombstones.is_empty() {
            return;
        }
        // Before the list is locked: apply asks for the list while it holds a part of the head. A tombstone that comes meanwhile may
        // need a generation that is not seen here, so it stays.
        let frozen = self.head.oldest_frozen();
        let mut forgotten = false;
        self.change_runs(|list| {
            let retired = self.retired.lock();
            let runs: Vec<Arc<Run>> = list.all().chain(retired.iter()).cloned().collect();
            let before = list.tombstones.len();
            let is_needed = |it: &Tombstone| frozen.is_some_and(|seal| seal <= it.bound) || runs.iter().any(|run| run.may_hide(it));
            list.tombstones.retain(|it| it.number > upto || is_needed(it));
            forgotten = list.tombstones.len() < before;
        });
        if forgotten {
            self.unsaved.lock().tombstones = true;
        }
    }

    /// Changes the list of runs.
    pub fn change_runs(&self, change: impl FnOnce(&mut RunList)) {
        let mut current = self.runs.write();
        let mut list = (**current).clone();
        change(&mut list);
        *current = Arc::new(list);
    }

    /// Reads all runs, for their checksums. A day that expires meanwhile is no damage.
    pub fn read_all(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let rocks = &self.core.rocks;
        for run in self.run_list().all() {
            let family = run.key.family();
            if !rocks.has_family(&family) {
                continue;
            }
            let mut scan = rocks.scan(&family, &run.key.prefix(), Some(&run.key.end()), Caching::Bypass)?;
            while let Some((key, value)) = scan.item()? {
                if !pace((key.len() + value.len()) as u64) {
                    return Ok(());
                }
                scan.advance();
            }
        }
        Ok(())
    }

    /// Removes the files of replaced runs that nobody reads any more.
    pub fn remove_retired(&self) -> Result<()> {
        let mut retired = self.retired.lock();
        let (free, held) = retired.drain(..).partition::<Vec<_>, _>(|run| Arc::strong_count(run) == 1);
        *retired = held;
        drop(retired);
        for run in free {
            self.forget_chunks(&run);
            let family = run.key.family();
            if self.core.rocks.has_family(&family) {
                self.core.rocks.remove_files(&family, &run.key.prefix(), &run.key.end())?;
            }
        }
        Ok(())
    }

    /// Takes a run's chunks out of memory.
    pub fn forget_chunks(&self, run: &Run) {
        self.core.recent_bytes.fetch_sub(run.forget_chunks(), Ordering::Relaxed);
    }

    /// Keeps the chunks of recent runs within their budget: the oldest buckets of this shard go first.
    pub fn limit_recent(&self) {
        let runs = self.run_list();
        for run in runs.all() {
            if self.core.recent_bytes.load(Ordering::Relaxed) <= self.core.options.recent_bytes_max {
                return;
            }
            self.forget_chunks(run);
        }
    }
}

impl Drop for ShardState {
    fn drop(&mut self) {
        let runs = self.run_list();
        runs.all().for_each(|run| self.forget_chunks(run));
    }
}

/// Sets the newest time of a series. A deletion may have taken its activity of that day; so that the next sample there brings it
/// back, the head is told so, or (when the day is forgotten) believes the whole day to be past.
fn restore_time_max(head: &Head, index: &Index, series: SeriesId, time_max: i64) {
    if time_max == i64::MIN {
        return;
    }
    match index.active(day_of(time_max)) {
        Some(active) if active.contains(series) => head.restore_time_max(series, time_max),
        Some(_) => {
            head.restore_time_max(series, time_max);
            head.mark_again(series);
        }
        None => head.restore_time_max(series, day_of(time_max).saturating_add(1).saturating_mul(DAY_MS).saturating_sub(1)),
    }
}

/// Seals are numbered from 1; a content that came as a whole and was not sealed since counts as 1 too.
pub(crate) fn encode_seal(seal: u32) -> [u8; 4] {
    seal.max(1).to_le_bytes()
}

fn decode_seal(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| StorageError::corrupt("number of a seal", format!("{} bytes", bytes.len())))?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}

fn load_series(core: &Core, owner: Owner) -> Result<(Index, SeriesMap)> {
    let (mut index, mut ids) = (Index::default(), SeriesMap::default());
    let key = core.hash_key()?;
    catalog::read_definitions(&core.rocks, owner, |series, metric, canonical| {
        if series != index.len() {
            return Err(StorageError::corrupt("series definitions", format!("{owner:?}: {series} follows {}", index.len())));
        }
        labels::validate(canonical)?;
        index.restore(canonical, metric);
        ids.insert(labels::hash(&key, canonical), series);
        Ok(())
    })?;
    catalog::read_active(&core.rocks, owner, |day, mut series| {
        // Activity may be newer than the definitions if a crash came between; replay marks it again.
        series.truncate(index.len());
        index.restore_active(day, &series);
    })?;
    index.settle_activity();
    Ok((index, ids))
}

/// Finds the runs of an owner by seeking from one to the next. Runs that a compaction has replaced, but
/// that a crash left, are removed.
fn load_runs(core: &Core, owner: Owner) -> Result<RunList> {
    let mut list = RunList::default();
    for family in core.rocks.families(FAMILY_RAW_PREFIX)? {
        let mut scan = core.rocks.scan(&family, &owner.prefix(), Some(&owner.end()), Caching::Bypass)?;
        while let Some((key, _)) = scan.item()? {
            let run = RunKey::parse(key)?;
            scan.seek(&run.end());
            list.add(Arc::new(Run::on_disk(run)));
        }
    }
    let buckets: Vec<_> = list.buckets().map(|(bucket, _)| bucket).collect();
    for bucket in buckets {
        let runs = list.in_bucket(bucket);
        let compacted = runs.iter().rposition(|run| run.key.level > 0).unwrap_or(0);
        let replaced: Vec<RunKey> = runs[..compacted].iter().map(|run| run.key).collect();
        list.remove(bucket, &replaced);
        for run in replaced {
            core.rocks.remove_files(&run.family(), &run.prefix(), &run.end())?;
        }
    }
    list.sealed = u64::from(list.all().map(|run| run.key.seal).max().unwrap_or(0));
    Ok(list)
}

/// Removes everything stored for an owner.
pub(crate) fn remove_content(core: &Core, owner: Owner) -> Result<()> {
    for family in core.rocks.families(FAMILY_RAW_PREFIX)? {
        core.rocks.remove_files(&family, &owner.prefix(), &owner.end())?;
    }
    catalog::remove_records(&core.rocks, owner)
}

/// Whether nothing of a bucket is kept any more.
pub(crate) fn is_expired(core: &Core, bucket: i64) -> bool {
    day_of_bucket(bucket) < core.first_day()
}

/// The last millisecond of a bucket.
pub(crate) fn bucket_last(bucket: i64) -> i64 {
    bucket_start(bucket.saturating_add(1)).saturating_sub(1)
}
