//! A disk in memory that forgets what was not synced: what a simulation has instead of RocksDB and files.
//!
//! It offers what `rocks` asks of RocksDB, and keeps what can be read apart from what would survive a loss of power:
//! batches that went through the write-ahead log wait in [`Content::unsynced`] for the next sync; what a family took without
//! that log waits for the family's flush; ingested files are durable at once.
//!
//! After [`MemoryDisk::crash`] every handle that was open answers errors, also from destructors that run late, and what is
//! opened then finds the durable content and a beginning of the rest, as a torn write-ahead log leaves it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fault::{Result, StorageError};

/// Sorted keys and their values.
type Table = BTreeMap<Vec<u8>, Arc<[u8]>>;
/// Keys and values in order.
pub(crate) type Items = Vec<(Vec<u8>, Arc<[u8]>)>;

/// One disk; clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    /// Counts the losses of power; handles of an earlier life are dead.
    life: u64,
    families: BTreeMap<String, Family>,
    /// Batches in the write-ahead log since the last sync, oldest first.
    unsynced: Vec<Vec<Change>>,
    /// Sorted files that were finished and not ingested yet.
    files: BTreeMap<PathBuf, Items>,
    /// The two slots of the high-water marks, always durable.
    slots: [Vec<u8>; 2],
    syncs: Syncs,
}

#[derive(Default)]
struct Family {
    readable: Table,
    durable: Table,
    /// What was written without the write-ahead log since the last flush.
    unflushed: Vec<Change>,
}

/// What the disk does when it is asked to sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syncs {
    /// What it should.
    #[default]
    Kept,
    /// It answers an error and nothing more is durable than was.
    Failing,
    /// It answers that all is durable, and nothing is. (Drives that lie about their cache do this.)
    Pretended,
}

/// One change of one family.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub family: String,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Put(Vec<u8>, Arc<[u8]>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power goes. `survivors(n)` says how many of `n` changes that nobody synced reached the disk all the same, the
    /// oldest first; a batch counts as one change.
    pub fn crash(&self, mut survivors: impl FnMut(usize) -> usize) {
        let mut content = self.content.lock();
        let content = &mut *content;
        content.life += 1;
        content.syncs = Syncs::Kept;
        content.files.clear();
        let unsynced = std::mem::take(&mut content.unsynced);
        let kept = survivors(unsynced.len());
        for batch in unsynced.into_iter().take(kept) {
            content.make_durable(batch);
        }
        for family in content.families.values_mut() {
            let unflushed = std::mem::take(&mut family.unflushed);
            let kept = survivors(unflushed.len());
            unflushed.iter().take(kept).for_each(|change| change.action.apply(&mut family.durable));
            family.readable = family.durable.clone();
        }
    }

    /// From now on syncs do this, until the power goes.
    pub fn set_syncs(&self, syncs: Syncs) {
        self.content.lock().syncs = syncs;
    }

    /// Everything is gone, as on a new disk in the same place.
    pub fn wipe(&self) {
        let mut content = self.content.lock();
        *content = Content { life: content.life + 1, ..Content::default() };
    }

    pub(crate) fn open(&self) -> MemoryStore {
        MemoryStore { content: Arc::clone(&self.content), life: self.content.lock().life }
    }
}

impl Content {
    fn family(&mut self, name: &str) -> Result<&mut Family> {
        self.families.get_mut(name).ok_or_else(|| no_family(name))
    }

    fn make_durable(&mut self, batch: Vec<Change>) {
        for change in batch {
            // A family that was dropped meanwhile took what was written to it along.
            if let Some(family) = self.families.get_mut(&change.family) {
                change.action.apply(&mut family.durable);
            }
        }
    }
}

/// A handle on a disk, good until the power goes.
pub(crate) struct MemoryStore {
    content: Arc<Mutex<Content>>,
    life: u64,
}

impl MemoryStore {
    fn with<T>(&self, action: &'static str, work: impl FnOnce(&mut Content) -> Result<T>) -> Result<T> {
        let mut content = self.content.lock();
        match content.life == self.life {
            true => work(&mut content),
            false => Err(StorageError::Database { action, reason: "the power went".into() }),
        }
    }

    pub fn families(&self, prefix: &str) -> Result<Vec<String>> {
        self.with("list families", |content| Ok(content.families.keys().filter(|name| name.starts_with(prefix)).cloned().collect()))
    }

    pub fn has_family(&self, name: &str) -> bool {
        self.with("find family", |content| Ok(content.families.contains_key(name))).unwrap_or(false)
    }

    pub fn create_family(&self, name: &str) -> Result<()> {
        self.with("create family", |content| {
            content.families.entry(name.to_owned()).or_default();
            Ok(())
        })
    }

    pub fn drop_family(&self, name: &str) -> Result<()> {
        self.with("drop family", |content| {
            content.families.remove(name);
            Ok(())
        })
    }

    pub fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with("read key", |content| Ok(content.family(family)?.readable.get(key).map(|value| value.to_vec())))
    }

    /// Applies a batch; through the write-ahead log it is durable with the next sync.
    pub fn write(&self, batch: Vec<Change>, is_logged: bool) -> Result<()> {
        self.with("write batch", |content| {
            for change in &batch {
                let family = content.family(&change.family)?;
                change.action.apply(&mut family.readable);
                if !is_logged {
                    family.unflushed.push(change.clone());
                }
            }
            if is_logged {
                content.unsynced.push(batch);
            }
            Ok(())
        })
    }

    pub fn sync(&self) -> Result<()> {
        self.with("sync log", |content| match content.syncs {
            Syncs::Failing => Err(StorageError::Database { action: "sync log", reason: "input/output error".into() }),
            Syncs::Pretended => Ok(()),
            Syncs::Kept => {
                let unsynced = std::mem::take(&mut content.unsynced);
                unsynced.into_iter().for_each(|batch| content.make_durable(batch));
                Ok(())
            }
        })
    }

    pub fn flush(&self, family: &str) -> Result<()> {
        self.with("flush family", |content| {
            let syncs = content.syncs;
            let family = content.family(family)?;
            match syncs {
                Syncs::Failing => return Err(StorageError::Database { action: "flush family", reason: "input/output error".into() }),
                Syncs::Pretended => return Ok(()),
                Syncs::Kept => {}
            }
            let unflushed = std::mem::take(&mut family.unflushed);
            unflushed.iter().for_each(|change| change.action.apply(&mut family.durable));
            Ok(())
        })
    }

    /// The entries of `from..to`, as they are now.
    pub fn range(&self, family: &str, from: &[u8], to: Option<&[u8]>) -> Result<Items> {
        self.with("scan", |content| {
            let end = to.map_or(Bound::Unbounded, Bound::Excluded);
            if to.is_some_and(|to| to <= from) {
                return Ok(Items::new());
            }
            let range = content.family(family)?.readable.range::<[u8], _>((Bound::Included(from), end));
            Ok(range.map(|(key, value)| (key.clone(), Arc::clone(value))).collect())
        })
    }

    /// The last entry of `from..to`.
    pub fn last(&self, family: &str, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.with("scan backwards", |content| {
            let mut range = content.family(family)?.readable.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
            Ok(range.next_back().map(|(key, value)| (key.clone(), value.to_vec())))
        })
    }

    pub fn finish_file(&self, path: &Path, items: Items) -> Result<()> {
        self.with("finish sorted file", |content| {
            content.files.insert(path.to_path_buf(), items);
            Ok(())
        })
    }

    pub fn ingest(&self, family: &str, paths: &[PathBuf]) -> Result<()> {
        self.with("ingest files", |content| {
            for path in paths {
                let items = content.files.remove(path);
                let items = items.ok_or_else(|| StorageError::Refused(format!("there is no sorted file {}", path.display())))?;
                let family = content.family(family)?;
                family.readable.extend(items.iter().cloned());
                family.durable.extend(items);
            }
            Ok(())
        })
    }

    /// Removes `from..to` for good. (RocksDB removes whole files and may leave some keys; nobody relies on either.)
    pub fn remove(&self, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        self.with("remove files", |content| {
            let family = content.family(family)?;
            let action = Action::DeleteRange(from.to_vec(), to.to_vec());
            action.apply(&mut family.readable);
            action.apply(&mut family.durable);
            Ok(())
        })
    }

    pub fn bytes(&self, family_prefix: &str) -> Result<u64> {
        self.with("list files", |content| {
            let families = content.families.iter().filter(|(name, _)| name.starts_with(family_prefix));
            let values = families.flat_map(|(_, family)| &family.durable);
            Ok(values.map(|(key, value)| (key.len() + value.len()) as u64).sum())
        })
    }

    /// One slot of the high-water marks.
    pub fn slot(&self, slot: usize) -> Result<Vec<u8>> {
        self.with("read high-water mark", |content| Ok(content.slots[slot].clone()))
    }

    /// Replaces the beginning of a slot, durably.
    pub fn write_slot(&self, slot: usize, bytes: &[u8]) -> Result<()> {
        self.with("write high-water mark", |content| {
            if content.syncs == Syncs::Failing {
                return Err(StorageError::Database { action: "write high-water mark", reason: "input/output error".into() });
            }
            let target = &mut content.slots[slot];
            target.resize(target.len().max(bytes.len()), 0);
            target[..bytes.len()].copy_from_slice(bytes);
            Ok(())
        })
    }
}

impl Action {
    fn apply(&self, table: &mut Table) {
        match self {
            Self::Put(key, value) => {
                table.insert(key.clone(), Arc::clone(value));
            }
            Self::Delete(key) => {
                table.remove(key);
            }
            Self::DeleteRange(from, to) if from < to => {
                let inside = table.range::<[u8], _>((Bound::Included(&from[..]), Bound::Excluded(&to[..])));
                let keys: Vec<Vec<u8>> = inside.map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| {
                    table.remove(key);
                });
            }
            Self::DeleteRange(..) => {}
        }
    }
}

fn no_family(name: &str) -> StorageError {
    StorageError::Refused(format!("there is no column family {name}"))
}
