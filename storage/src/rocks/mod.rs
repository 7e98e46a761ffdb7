//! The one door to the databases of a node, which are RocksDB's.
//!
//! A node has two instances. *log* writes through a write-ahead log that is flushed by hand, so that
//! one `fdatasync` serves all groups. *state* has no write-ahead log: its bulk arrives as finished
//! SST files, and whatever is lost by a crash comes back by replaying the Raft log.
//!
//! The rest of the crate sees families (column families) by name, batches, forward scans, and
//! writers of sorted files; nothing of the `rocksdb` crate leaks out of this folder. A simulation has a
//! [`MemoryDisk`] in RocksDB's place, and everything above is the same code.

mod batch_format;
mod instance;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::WriteBatch;

use crate::fault::{Result, StorageError};
use crate::memory_disk::{Action, Change, Items, MemoryDisk, MemoryStore};
use instance::{Instance, InstanceScan, InstanceSortedFile};

/// The family every instance has.
pub(crate) const FAMILY_DEFAULT: &str = "default";

/// Sizes of the *log* instance.
#[derive(Clone, Debug)]
pub(crate) struct LogTuning {
    /// Write-ahead log kept before memtables are forced out, in bytes. Bounds the time to reopen.
    pub wal_bytes_max: u64,
    /// One memtable, in bytes. Entries that are purged before it fills up never reach an SST file.
    pub memtable_bytes: usize,
}

/// Sizes of the *state* instance.
#[derive(Clone, Debug)]
pub(crate) struct StateTuning {
    /// Uncompressed blocks kept in memory, in bytes.
    pub block_cache_bytes: usize,
}

/// Whether a batch passes through the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Into the write-ahead log's buffer; durable after `sync_wal`.
    Logged,
    /// Into the memtable only; durable after `flush`.
    Unlogged,
}

/// Whether a scan leaves what it read in the block cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Queries: the next one probably wants the same blocks.
    Fill,
    /// One pass over everything (compaction, snapshots) must not push the hot blocks out.
    Bypass,
}

/// An open instance.
pub(crate) enum Rocks {
    OnDisk(Box<Instance>),
    InMemory(MemoryStore),
}

impl Rocks {
    /// Opens (or creates) the *log* instance: everything lives in the default family, so no idle
    /// family can pin old write-ahead logs.
    pub fn open_log(path: &Path, tuning: &LogTuning) -> Result<Self> {
        Ok(Self::OnDisk(Box::new(Instance::open_log(path, tuning)?)))
    }

    /// Opens (or creates) the *state* instance with all families it has.
    pub fn open_state(path: &Path, tuning: &StateTuning) -> Result<Self> {
        Ok(Self::OnDisk(Box::new(Instance::open_state(path, tuning)?)))
    }

    /// Opens (or creates) either of them in memory.
    pub fn open_in_memory(disk: &MemoryDisk) -> Result<Self> {
        let store = disk.open();
        store.create_family(FAMILY_DEFAULT)?;
        Ok(Self::InMemory(store))
    }

    /// Names of the families whose name starts with `prefix`, as RocksDB's manifest has them.
    pub fn families(&self, prefix: &str) -> Result<Vec<String>> {
        match self {
            Self::OnDisk(instance) => instance.families(prefix),
            Self::InMemory(store) => store.families(prefix),
        }
    }

    /// Whether a family of this name is open.
    pub fn has_family(&self, name: &str) -> bool {
        match self {
            Self::OnDisk(instance) => instance.has_family(name),
            Self::InMemory(store) => store.has_family(name),
        }
    }

    /// Creates a family unless it exists.
    pub fn create_family(&self, name: &str) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.create_family(name),
            Self::InMemory(store) => store.create_family(name),
        }
    }

    /// Drops a family and, once no iterator holds them, its files.
    pub fn drop_family(&self, name: &str) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.drop_family(name),
            Self::InMemory(store) => store.drop_family(name),
        }
    }

    /// The value of one key.
    pub fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self {
            Self::OnDisk(instance) => instance.get(family, key),
            Self::InMemory(store) => store.get(family, key),
        }
    }

    /// The number of the last write, counted since the database was created: what recovery does not bring back is missing at the
    /// end of this count. A disk in memory does not count.
    pub fn last_write(&self) -> u64 {
        match self {
            Self::OnDisk(instance) => instance.last_write(),
            Self::InMemory(_) => 0,
        }
    }

    /// Applies a batch as one.
    pub fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.write(batch.inner, durability),
            Self::InMemory(store) => store.write(batch.into_changes()?, durability == Durability::Logged),
        }
    }

    /// Makes everything written through the write-ahead log durable: one `fdatasync`.
    pub fn sync_wal(&self) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.sync_wal(),
            Self::InMemory(store) => store.sync(),
        }
    }

    /// Writes a family's memtable to an SST file and waits for it.
    pub fn flush(&self, family: &str) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.flush(family),
            Self::InMemory(store) => store.flush(family),
        }
    }

    /// A forward scan over `from..to` of one family (to the family's end without `to`).
    pub fn scan(&self, family: &str, from: &[u8], to: Option<&[u8]>, caching: Caching) -> Result<Scan<'_>> {
        match self {
            Self::OnDisk(instance) => Ok(Scan::OnDisk(instance.scan(family, from, to, caching)?)),
            Self::InMemory(store) => Ok(Scan::InMemory { items: store.range(family, from, to)?, at: 0 }),
        }
    }

    /// The last key and value in `from..to` of one family.
    pub fn last(&self, family: &str, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        match self {
            Self::OnDisk(instance) => instance.last(family, from, to),
            Self::InMemory(store) => store.last(family, from, to),
        }
    }

    /// Adds finished SST files to a family by moving them in; durable when it returns.
    pub fn ingest(&self, family: &str, files: Vec<PathBuf>) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.ingest(family, files),
            Self::InMemory(store) => store.ingest(family, &files),
        }
    }

    /// Puts an image of everything written so far into `directory`, which must not exist: files are linked, not copied, when it
    /// lies on the same disk.
    pub fn checkpoint(&self, directory: &Path) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.checkpoint(directory),
            Self::InMemory(_) => Err(StorageError::Refused("a disk in memory has no files to link".into())),
        }
    }

    /// Removes at once all SST files that lie wholly in `from..to`. Keys in files that reach beyond
    /// the range stay, and so do files of level 0.
    pub fn remove_files(&self, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.remove_files(family, from, to),
            Self::InMemory(store) => store.remove(family, from, to),
        }
    }

    /// Rewrites the files of `from..to`, so that what was deleted in them frees its space.
    pub fn compact(&self, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        match self {
            Self::OnDisk(instance) => instance.compact(family, from, to),
            Self::InMemory(_) => Ok(()),
        }
    }

    /// A writer of one sorted file, for a later `ingest`.
    pub fn sorted_file(&self, path: &Path) -> Result<SortedFile<'_>> {
        match self {
            Self::OnDisk(instance) => Ok(SortedFile::OnDisk(instance.sorted_file(path)?)),
            Self::InMemory(store) => Ok(SortedFile::InMemory { store, path: path.to_path_buf(), items: Items::new() }),
        }
    }

    /// Bytes of all live SST files, by family prefix.
    pub fn table_bytes(&self, family_prefix: &str) -> Result<u64> {
        match self {
            Self::OnDisk(instance) => instance.table_bytes(family_prefix),
            Self::InMemory(store) => store.bytes(family_prefix),
        }
    }
}

/// Changes that are applied together.
#[derive(Default)]
pub(crate) struct Batch {
    /// For RocksDB; changes of the default family, which need no open instance, also when they go to memory.
    inner: WriteBatch,
    /// Changes of named families on their way to memory.
    changes: Vec<Change>,
}

impl Batch {
    /// Sets a key of the default family.
    pub fn put_default(&mut self, key: &[u8], value: &[u8]) {
        self.inner.put(key, value);
    }

    /// Deletes a key of the default family.
    pub fn delete_default(&mut self, key: &[u8]) {
        self.inner.delete(key);
    }

    /// Deletes `from..to` of the default family.
    pub fn delete_range_default(&mut self, from: &[u8], to: &[u8]) {
        self.inner.delete_range(from, to);
    }

    /// Sets a key of a named family.
    pub fn put(&mut self, rocks: &Rocks, family: &str, key: &[u8], value: &[u8]) -> Result<()> {
        match rocks {
            Rocks::OnDisk(instance) => self.inner.put_cf(&instance.family(family)?, key, value),
            Rocks::InMemory(_) => self.change(family, Action::Put(key.to_vec(), Arc::from(value))),
        }
        Ok(())
    }

    /// Deletes a key of a named family.
    pub fn delete(&mut self, rocks: &Rocks, family: &str, key: &[u8]) -> Result<()> {
        match rocks {
            Rocks::OnDisk(instance) => self.inner.delete_cf(&instance.family(family)?, key),
            Rocks::InMemory(_) => self.change(family, Action::Delete(key.to_vec())),
        }
        Ok(())
    }

    /// Deletes `from..to` of a named family.
    pub fn delete_range(&mut self, rocks: &Rocks, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        match rocks {
            Rocks::OnDisk(instance) => self.inner.delete_range_cf(&instance.family(family)?, from, to),
            Rocks::InMemory(_) => self.change(family, Action::DeleteRange(from.to_vec(), to.to_vec())),
        }
        Ok(())
    }

    /// Size of the batch so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.inner.size_in_bytes()
    }

    fn change(&mut self, family: &str, action: Action) {
        self.changes.push(Change { family: family.to_owned(), action });
    }

    fn into_changes(self) -> Result<Vec<Change>> {
        let actions = batch_format::actions(self.inner.data())?;
        let of_default = actions.into_iter().map(|action| Change { family: FAMILY_DEFAULT.to_owned(), action });
        Ok(of_default.chain(self.changes).collect())
    }
}

/// A position that moves forward through a family.
pub(crate) enum Scan<'a> {
    OnDisk(InstanceScan<'a>),
    InMemory { items: Items, at: usize },
}

impl Scan<'_> {
    /// The entry at the position, or `None` at the end of the range.
    pub fn item(&self) -> Result<Option<(&[u8], &[u8])>> {
        match self {
            Self::OnDisk(scan) => scan.item(),
            Self::InMemory { items, at } => Ok(items.get(*at).map(|(key, value)| (&key[..], &value[..]))),
        }
    }

    /// Moves to the next entry. Call only while `item` answers `Some`.
    pub fn advance(&mut self) {
        match self {
            Self::OnDisk(scan) => scan.advance(),
            Self::InMemory { at, .. } => *at += 1,
        }
    }

    /// Moves to the first entry at or after `key`.
    pub fn seek(&mut self, key: &[u8]) {
        match self {
            Self::OnDisk(scan) => scan.seek(key),
            Self::InMemory { items, at } => *at = items.partition_point(|(found, _)| &found[..] < key),
        }
    }
}

/// One sorted file being written, outside the database until it is ingested.
pub(crate) enum SortedFile<'a> {
    OnDisk(InstanceSortedFile<'a>),
    InMemory { store: &'a MemoryStore, path: PathBuf, items: Items },
}

impl SortedFile<'_> {
    /// Appends an entry; keys must rise strictly.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::OnDisk(file) => file.put(key, value)?,
            Self::InMemory { items, .. } => items.push((key.to_vec(), Arc::from(value))),
        }
        Ok(())
    }

    /// Closes and syncs the file; answers its path. A file without entries cannot be finished.
    pub fn finish(self) -> Result<PathBuf> {
        match self {
            Self::OnDisk(file) => file.finish(),
            Self::InMemory { store, path, items } => {
                assert!(!items.is_empty(), "a sorted file needs an entry, {} has none", path.display());
                store.finish_file(&path, items)?;
                Ok(path)
            }
        }
    }
}

#[cfg(test)]
mod tests;
