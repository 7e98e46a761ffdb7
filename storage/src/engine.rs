//! All shards of one node, over one *state* instance.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::catalog::{self, CatalogWriter, ShardRecord};
use crate::core::{Core, EngineOptions};
use crate::damage;
use crate::fault::{Result, StorageError};
use crate::index::DAY_MS;
use crate::index::day_of;
use crate::keys::RunKey;
use crate::keys::{BUCKET_MS, Bucket, FAMILY_META, FAMILY_RAW_PREFIX, FAMILY_SERIES, Owner, day_of_family};
use crate::labels::{HashKey, ShardId};
use crate::memory_disk::MemoryDisk;
use crate::rocks::Caching;
use crate::shard::{Shard, ShardStats};
use crate::snapshot::SnapshotWriter;
use crate::state::{ShardState, remove_content};

/// See the module's story.
pub struct Engine {
    pub(crate) core: Arc<Core>,
    shards: Mutex<HashMap<ShardId, Arc<Shard>>>,
    /// Contents that were replaced or closed, until their last reader is gone.
    replaced: Mutex<Vec<Arc<ShardState>>>,
}

/// Sizes of the whole engine.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    /// By shard, in the order of their numbers.
    pub shards: Vec<(ShardId, ShardStats)>,
    /// Bytes of raw chunks on disk.
    pub raw_bytes: u64,
    /// Bytes of series records on disk.
    pub series_bytes: u64,
    /// Encoded chunks kept in memory, in bytes.
    pub recent_bytes: u64,
}

impl Engine {
    /// Opens the engine in `directory`, creating it when there is none. Shards are opened one by one.
    pub fn open(directory: &Path, options: EngineOptions) -> Result<Arc<Self>> {
        Ok(Self::over(Core::open(directory, options)?))
    }

    /// Opens the engine on a disk in memory.
    pub fn open_in_memory(disk: &MemoryDisk, options: EngineOptions) -> Result<Arc<Self>> {
        Ok(Self::over(Core::open_in_memory(disk, options)?))
    }

    fn over(core: Core) -> Arc<Self> {
        Arc::new(Self { core: Arc::new(core), shards: Mutex::default(), replaced: Mutex::default() })
    }

    /// Sets the cluster's hash key, durably, once; needed before the first shard is opened. Setting the
    /// same key again does nothing.
    ///
    /// Errors: `Refused` when another key is set, i.e. the disk belongs to another cluster.
    pub fn set_hash_key(&self, key: HashKey) -> Result<()> {
        self.core.set_hash_key(key)
    }

    /// Opens a shard: loads what is stored under this incarnation, or starts empty. What is stored under
    /// another incarnation is removed. Opening an open shard answers it.
    pub fn open_shard(&self, id: ShardId, incarnation: u64) -> Result<Arc<Shard>> {
        let mut shards = self.shards.lock();
        if let Some(shard) = shards.get(&id)
            && shard.incarnation() == incarnation
        {
            return Ok(shard.clone());
        }
        let rocks = &self.core.rocks;
        let record = match catalog::read_shard(rocks, id)? {
            Some(record) if record.incarnation == incarnation => record,
            _ => {
                let record = ShardRecord { incarnation, generation: self.core.next_generation()? };
                catalog::write_shard(rocks, id, Some(record))?;
                record
            }
        };
        self.retire(shards.remove(&id))?;
        self.sweep(id, Some(record.generation)).inspect_err(|error| self.core.damages.report(id, error))?;
        let owner = Owner { shard: id, generation: record.generation };
        let loaded = Shard::load(&self.core, owner, incarnation).inspect_err(|error| self.core.damages.report(id, error));
        let shard = Arc::new(loaded?);
        shards.insert(id, shard.clone());
        Ok(shard)
    }

    /// An open shard.
    pub fn shard(&self, id: ShardId) -> Option<Arc<Shard>> {
        self.shards.lock().get(&id).cloned()
    }

    /// All open shards, by number.
    pub fn shards(&self) -> Vec<Arc<Shard>> {
        let mut shards: Vec<_> = self.shards.lock().values().cloned().collect();
        shards.sort_by_key(|shard| shard.id());
        shards
    }

    /// Closes a shard and removes everything stored for it: what readers still hold, when they are done
    /// (at a later `expire`, or when the shard is opened after a restart).
    pub fn drop_shard(&self, id: ShardId) -> Result<()> {
        let mut shards = self.shards.lock();
        catalog::write_shard(&self.core.rocks, id, None)?;
        self.retire(shards.remove(&id))?;
        self.sweep(id, None)
    }

    /// Begins to receive a shard's content. The shard is usually open already, under the same incarnation
    /// (do not open it for the first time while this goes on); it keeps its content until `install`.
    pub fn import(self: &Arc<Self>, id: ShardId, incarnation: u64) -> Result<SnapshotImport> {
        let generation = self.core.next_generation().inspect_err(|error| self.core.damages.report_database(error))?;
        let owner = Owner { shard: id, generation };
        Ok(SnapshotImport { writer: SnapshotWriter::new(self.core.clone(), owner), engine: self.clone(), incarnation })
    }

    /// Drops the days whose last millisecond is older than the retention. Answers how many.
    pub fn expire(&self, now_ms: i64) -> Result<usize> {
        let first_day = day_of(now_ms.saturating_sub(self.core.options.retention_ms));
        self.core.expire_before(first_day);
        let rocks = &self.core.rocks;
        let first_bucket: Bucket = first_day * (DAY_MS / BUCKET_MS);
        for shard in self.shards() {
            let state = shard.state();
            let mut gone = Vec::new();
            state.change_runs(|list| gone = list.remove_before(first_bucket));
            gone.iter().for_each(|run| state.forget_chunks(run));
            if state.index.write().forget_days_before(first_day) {
                let mut writer = CatalogWriter::new(rocks, state.owner);
                writer.remove_active_before(first_day)?;
                writer.finish()?;
            }
            state.remove_retired()?;
            state.forget_tombstones();
        }
        self.remove_replaced()?;
        let mut dropped = 0;
        for family in rocks.families(FAMILY_RAW_PREFIX)? {
            if day_of_family(&family).is_some_and(|day| day < first_day) {
                rocks.drop_family(&family)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Merges what several seals left in past buckets into long chunks, on all shards, oldest bucket
    /// first; answers the samples written. Takes about as much CPU as sealing them did. Any thread; call
    /// it regularly, beside `expire`.
    pub fn compact_past(&self, now_ms: i64) -> Result<u64> {
        let mut samples = 0;
        for shard in self.shards() {
            for bucket in shard.compactable(now_ms) {
                samples += shard.compact(bucket)?;
            }
            shard.state().remove_retired()?;
            shard.state().forget_tombstones();
        }
        Ok(samples)
    }

    /// Writes all files anew that hold samples which deletions hide; answers the samples written. What is not sealed yet is
    /// sealed without them anyway.
    pub fn clean_tombstones(&self) -> Result<u64> {
        let mut samples = 0;
        for shard in self.shards() {
            for bucket in shard.state().unclean() {
                samples += shard.compact(bucket)?;
            }
            shard.state().remove_retired()?;
            shard.state().forget_tombstones();
        }
        Ok(samples)
    }

    /// Puts an image of everything sealed so far into `directory`, which must not exist. An engine opens from it as from its own.
    pub fn checkpoint(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(|e| StorageError::file("create directory", directory, e))?;
        self.core.rocks.checkpoint(&directory.join("rocks"))
    }

    /// Why nothing in here can be trusted any more, if so. The engine must be opened anew in an empty directory, and its shards
    /// come from other nodes.
    pub fn damage(&self) -> Option<String> {
        self.core.damages.of_database()
    }

    /// Shards whose content cannot be trusted any more, and why: discard them.
    pub fn damaged_shards(&self) -> BTreeMap<ShardId, String> {
        self.core.damages.of_shards()
    }

    /// Keeps the next start from trusting this directory.
    pub fn condemn(&self, reason: &str) -> Result<()> {
        match &self.core.directory {
            Some(directory) => damage::leave_note(directory, reason),
            None => Ok(()),
        }
    }

    /// Reads everything on disk and compares checksums; `pace` is told the bytes of each piece and may wait, or answer false to
    /// end. What is damaged is told by [`Self::damage`] and [`Self::damaged_shards`]. Answers whether it came to the end.
    pub fn scrub(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<bool> {
        let mut goes_on = true;
        let mut pace = |bytes| {
            goes_on = goes_on && pace(bytes);
            goes_on
        };
        for family in [FAMILY_SERIES, FAMILY_META] {
            let read = self.core.rocks.scan(family, &[], None, Caching::Bypass).and_then(|mut scan| {
                while let Some((key, value)) = scan.item()? {
                    if !pace((key.len() + value.len()) as u64) {
                        break;
                    }
                    scan.advance();
                }
                Ok(())
            });
            if let Err(error) = read {
                self.core.damages.report(ShardId::MAX, &error);
                return Err(error);
            }
        }
        for shard in self.shards() {
            if let Err(error) = shard.scrub(&mut pace) {
                tracing::error!(shard = shard.id(), %error, "scrub");
            }
        }
        Ok(goes_on)
    }

    /// Removes a damaged shard's content without reading it. It is closed afterwards and its damage forgotten.
    pub fn discard_shard(&self, id: ShardId) -> Result<()> {
        let mut shards = self.shards.lock();
        let record = catalog::read_shard(&self.core.rocks, id)?;
        catalog::write_shard(&self.core.rocks, id, None)?;
        if let Some(shard) = shards.remove(&id) {
            shard.state().discarded.store(true, Ordering::SeqCst);
        }
        if let Some(ShardRecord { generation, .. }) = record {
            remove_content(&self.core, Owner { shard: id, generation })?;
        }
        self.core.damages.forget(id);
        Ok(())
    }

    /// Sizes of everything.
    pub fn stats(&self) -> Result<EngineStats> {
        Ok(EngineStats {
            shards: self.shards().iter().map(|shard| (shard.id(), shard.stats())).collect(),
            raw_bytes: self.core.rocks.table_bytes(FAMILY_RAW_PREFIX)?,
            series_bytes: self.core.rocks.table_bytes(FAMILY_SERIES)?,
            recent_bytes: self.core.recent_bytes.load(Ordering::Relaxed),
        })
    }

    /// Points the shard at a received content, durably, and answers it.
    fn install(&self, mut writer: SnapshotWriter, incarnation: u64) -> Result<Arc<Shard>> {
        let state = writer.complete()?;
        let owner = writer.owner();
        let mut shards = self.shards.lock();
        let record = ShardRecord { incarnation, generation: owner.generation };
        catalog::write_shard(&self.core.rocks, owner.shard, Some(record))?;
        writer.set_installed();
        let shard = match shards.get(&owner.shard) {
            Some(shard) if shard.incarnation() == incarnation => {
                self.replaced.lock().push(shard.replace(state));
                shard.clone()
            }
            _ => {
                let shard = Arc::new(Shard::new(owner.shard, incarnation, state));
                self.retire(shards.insert(owner.shard, shard.clone()))?;
                shard
            }
        };
        drop(shards);
        self.remove_replaced()?;
        Ok(shard)
    }

    /// Leaves a closed shard's content to its last readers.
    fn retire(&self, shard: Option<Arc<Shard>>) -> Result<()> {
        if let Some(shard) = shard {
            self.replaced.lock().push(shard.state());
        }
        self.remove_replaced()
    }

    /// Removes replaced contents that nobody reads any more. What is left after a crash is removed when
    /// the shard is opened.
    fn remove_replaced(&self) -> Result<()> {
        let mut replaced = self.replaced.lock();
        let (free, held) = replaced.drain(..).partition::<Vec<_>, _>(|state| Arc::strong_count(state) == 1);
        *replaced = held;
        free.iter().try_for_each(|state| remove_content(&self.core, state.owner))
    }

    /// Removes whatever is stored for a shard under other generations than `keep` and those that still
    /// have readers.
    fn sweep(&self, shard: ShardId, keep: Option<u32>) -> Result<()> {
        let rocks = &self.core.rocks;
        let mut generations = catalog::generations(rocks, shard)?;
        for family in rocks.families(FAMILY_RAW_PREFIX)? {
            let end = Owner { shard, generation: u32::MAX }.end();
            let mut scan = rocks.scan(&family, &Owner { shard, generation: 0 }.prefix(), Some(&end), Caching::Bypass)?;
            while let Some((key, _)) = scan.item()? {
                let owner = RunKey::parse(key)?.owner;
                generations.push(owner.generation);
                scan.seek(&owner.end());
            }
        }
        generations.sort_unstable();
        generations.dedup();
        let replaced = self.replaced.lock();
        for generation in generations {
            let is_read = replaced.iter().any(|state| state.owner == Owner { shard, generation });
            if Some(generation) != keep && !is_read {
                remove_content(&self.core, Owner { shard, generation })?;
            }
        }
        Ok(())
    }
}

/// A shard's content on its way in. Dropped before `finish`, it leaves everything as it was.
pub struct SnapshotImport {
    engine: Arc<Engine>,
    writer: SnapshotWriter,
    incarnation: u64,
}

impl SnapshotImport {
    /// Takes the next frame, in the order in which they were sent.
    ///
    /// Errors: `Corrupt` or `Format` when the frame is not what was sent; start the transfer over.
    pub fn push(&mut self, frame: &[u8]) -> Result<()> {
        self.writer.push(frame).inspect_err(|error| self.engine.core.damages.report_database(error))
    }

    /// Makes the content durable and puts it in the place of the shard's old one, in one step. An open
    /// shard of this incarnation is the answer and keeps its handle; else a new one is.
    ///
    /// Errors: `Corrupt` when frames are missing.
    pub fn finish(self) -> Result<Arc<Shard>> {
        let engine = self.engine;
        engine.install(self.writer, self.incarnation).inspect_err(|error| engine.core.damages.report_database(error))
    }
}
