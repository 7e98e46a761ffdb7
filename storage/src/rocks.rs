//! The one door to RocksDB.
//!
//! A node has two instances. *log* writes through a write-ahead log that is flushed by hand, so that
//! one `fdatasync` serves all groups. *state* has no write-ahead log: its bulk arrives as finished
//! SST files, and whatever is lost by a crash comes back by replaying the Raft log.
//!
//! The rest of the crate sees families (column families) by name, batches, forward scans, and
//! writers of sorted files; nothing of the `rocksdb` crate leaks out of this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, BoundColumnFamily, Cache, ChecksumType, ColumnFamilyDescriptor, CompactOptions,
    DBCompressionType, DBRawIteratorWithThreadMode, DBRecoveryMode, DBWithThreadMode, IngestExternalFileOptions, LogLevel, MultiThreaded,
    Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

use parking_lot::Mutex;

use crate::fault::{Result, StorageError};

type Database = DBWithThreadMode<MultiThreaded>;

/// The family every instance has.
pub(crate) const FAMILY_DEFAULT: &str = "default";

const MIB: usize = 1 << 20;

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

/// An open RocksDB instance.
pub(crate) struct Rocks {
    database: Database,
    path: PathBuf,
    bulk: Options,
    small: Options,
    creating: Mutex<()>,
}

impl Rocks {
    /// Opens (or creates) the *log* instance: everything lives in the default family, so no idle
    /// family can pin old write-ahead logs.
    pub fn open_log(path: &Path, tuning: &LogTuning) -> Result<Self> {
        let mut options = instance_options();
        options.set_manual_wal_flush(true);
        options.set_max_total_wal_size(tuning.wal_bytes_max);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_write_buffer_size(tuning.memtable_bytes);
        options.set_max_write_buffer_number(4);
        options.set_level_zero_file_num_compaction_trigger(4);
        options.set_target_file_size_base(64 * MIB as u64);
        options.set_max_bytes_for_level_base(512 * MIB as u64);
        options.set_compression_type(DBCompressionType::None);
        options.set_block_based_table_factory(&table_options(64 << 10, &Cache::new_lru_cache(8 * MIB)));
        let small = options.clone();
        Self::open(path, options, small.clone(), small)
    }

    /// Opens (or creates) the *state* instance with all families it has.
    pub fn open_state(path: &Path, tuning: &StateTuning) -> Result<Self> {
        let cache = Cache::new_lru_cache(tuning.block_cache_bytes);
        let mut bulk = instance_options();
        bulk.set_write_buffer_size(MIB);
        bulk.set_disable_auto_compactions(true);
        bulk.set_compression_type(DBCompressionType::Zstd);
        bulk.set_compression_options(-14, 1, 0, 0);
        bulk.set_block_based_table_factory(&table_options(32 << 10, &cache));
        let mut small = instance_options();
        small.set_write_buffer_size(16 * MIB);
        small.set_compression_type(DBCompressionType::Zstd);
        small.set_compression_options(-14, 1, 0, 0);
        small.set_block_based_table_factory(&table_options(16 << 10, &cache));
        Self::open(path, instance_options(), bulk, small)
    }

    fn open(path: &Path, options: Options, bulk: Options, small: Options) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| StorageError::file("create directory", path, e))?;
        let names = if path.join("CURRENT").exists() {
            Database::list_cf(&options, path).map_err(|e| failed("list families", e))?
        } else {
            vec![FAMILY_DEFAULT.to_string()]
        };
        let families = names.into_iter().map(|name| {
            let options = if is_bulk(&name) { &bulk } else { &small };
            ColumnFamilyDescriptor::new(name, options.clone())
        });
        let database = Database::open_cf_descriptors(&options, path, families).map_err(|e| failed("open database", e))?;
        Ok(Self { database, path: path.to_path_buf(), bulk, small, creating: Mutex::new(()) })
    }

    /// Names of the families whose name starts with `prefix`, as RocksDB's manifest has them.
    pub fn families(&self, prefix: &str) -> Result<Vec<String>> {
        let mut names = Database::list_cf(&self.bulk, &self.path).map_err(|e| failed("list families", e))?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    /// Whether a family of this name is open.
    pub fn has_family(&self, name: &str) -> bool {
        self.database.cf_handle(name).is_some()
    }

    /// Creates a family unless it exists.
    pub fn create_family(&self, name: &str) -> Result<()> {
        let _one_at_a_time = self.creating.lock();
        if self.has_family(name) {
            return Ok(());
        }
        let options = if is_bulk(name) { &self.bulk } else { &self.small };
        self.database.create_cf(name, options).map_err(|e| failed("create family", e))
    }

    /// Drops a family and, once no iterator holds them, its files.
    pub fn drop_family(&self, name: &str) -> Result<()> {
        if !self.has_family(name) {
            return Ok(());
        }
        self.database.drop_cf(name).map_err(|e| failed("drop family", e))
    }

    /// The value of one key.
    pub fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let family = self.family(family)?;
        self.database.get_cf(&family, key).map_err(|e| failed("read key", e))
    }

    /// Applies a batch as one.
    pub fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(durability == Durability::Unlogged);
        self.database.write_opt(batch.inner, &options).map_err(|e| failed("write batch", e))
    }

    /// Makes everything written through the write-ahead log durable: one `fdatasync`.
    pub fn sync_wal(&self) -> Result<()> {
        self.database.flush_wal(true).map_err(|e| failed("sync log", e))
    }

    /// Writes a family's memtable to an SST file and waits for it.
    pub fn flush(&self, family: &str) -> Result<()> {
        let family = self.family(family)?;
        self.database.flush_cf(&family).map_err(|e| failed("flush family", e))
    }

    /// A forward scan over `from..to` of one family (to the family's end without `to`).
    pub fn scan(&self, family: &str, from: &[u8], to: Option<&[u8]>, caching: Caching) -> Result<Scan<'_>> {
        let handle = self.family(family)?;
        let mut options = ReadOptions::default();
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        options.fill_cache(caching == Caching::Fill);
        let mut iterator = self.database.raw_iterator_cf_opt(&handle, options);
        iterator.seek(from);
        Ok(Scan { iterator })
    }

    /// The last key and value in `from..to` of one family.
    pub fn last(&self, family: &str, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let handle = self.family(family)?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut iterator = self.database.raw_iterator_cf_opt(&handle, options);
        iterator.seek_to_last();
        let found = iterator.item().map(|(k, v)| (k.to_vec(), v.to_vec()));
        iterator.status().map_err(|e| failed("scan backwards", e))?;
        Ok(found)
    }

    /// Adds finished SST files to a family by moving them in; durable when it returns.
    pub fn ingest(&self, family: &str, files: Vec<PathBuf>) -> Result<()> {
        let family = self.family(family)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.database.ingest_external_file_cf_opts(&family, &options, files).map_err(|e| failed("ingest files", e))
    }

    /// Puts an image of everything written so far into `directory`, which must not exist: files are linked, not copied, when it
    /// lies on the same disk.
    pub fn checkpoint(&self, directory: &Path) -> Result<()> {
        let checkpoint = Checkpoint::new(&self.database).map_err(|e| failed("begin a checkpoint", e))?;
        checkpoint.create_checkpoint(directory).map_err(|e| failed("create a checkpoint", e))
    }

    /// Removes at once all SST files that lie wholly in `from..to`. Keys in files that reach beyond
    /// the range stay, and so do files of level 0.
    pub fn remove_files(&self, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        let family = self.family(family)?;
        self.database.delete_file_in_range_cf(&family, from, to).map_err(|e| failed("remove files", e))
    }

    /// Rewrites the files of `from..to`, so that what was deleted in them frees its space.
    pub fn compact(&self, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        let family = self.family(family)?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Skip);
        self.database.compact_range_cf_opt(&family, Some(from), Some(to), &options);
        Ok(())
    }

    /// A writer of one sorted file, for a later `ingest`.
    pub fn sorted_file(&self, path: &Path) -> Result<SortedFile<'_>> {
        let writer = SstFileWriter::create(&self.bulk);
        writer.open(path).map_err(|e| failed("create sorted file", e))?;
        Ok(SortedFile { writer, path: path.to_path_buf(), entries: 0 })
    }

    /// Bytes of all live SST files, by family prefix.
    pub fn table_bytes(&self, family_prefix: &str) -> Result<u64> {
        let files = self.database.live_files().map_err(|e| failed("list files", e))?;
        let matching = files.iter().filter(|file| file.column_family_name.starts_with(family_prefix));
        Ok(matching.map(|file| file.size as u64).sum())
    }

    fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>> {
        self.database.cf_handle(name).ok_or_else(|| StorageError::Refused(format!("there is no column family {name}")))
    }
}

/// Whether a scan leaves what it read in the block cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Queries: the next one probably wants the same blocks.
    Fill,
    /// One pass over everything (compaction, snapshots) must not push the hot blocks out.
    Bypass,
}

/// Changes that are applied together.
#[derive(Default)]
pub(crate) struct Batch {
    inner: WriteBatch,
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
        self.inner.put_cf(&rocks.family(family)?, key, value);
        Ok(())
    }

    /// Deletes a key of a named family.
    pub fn delete(&mut self, rocks: &Rocks, family: &str, key: &[u8]) -> Result<()> {
        self.inner.delete_cf(&rocks.family(family)?, key);
        Ok(())
    }

    /// Deletes `from..to` of a named family.
    pub fn delete_range(&mut self, rocks: &Rocks, family: &str, from: &[u8], to: &[u8]) -> Result<()> {
        self.inner.delete_range_cf(&rocks.family(family)?, from, to);
        Ok(())
    }

    /// Size of the batch so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.inner.size_in_bytes()
    }
}

/// A position that moves forward through a family.
pub(crate) struct Scan<'a> {
    iterator: DBRawIteratorWithThreadMode<'a, Database>,
}

impl Scan<'_> {
    /// The entry at the position, or `None` at the end of the range.
    pub fn item(&self) -> Result<Option<(&[u8], &[u8])>> {
        match self.iterator.item() {
            Some(item) => Ok(Some(item)),
            None => {
                self.iterator.status().map_err(|e| failed("scan", e))?;
                Ok(None)
            }
        }
    }

    /// Moves to the next entry. Call only while `item` answers `Some`.
    pub fn advance(&mut self) {
        self.iterator.next();
    }

    /// Moves to the first entry at or after `key`.
    pub fn seek(&mut self, key: &[u8]) {
        self.iterator.seek(key);
    }
}

/// One sorted file being written, outside the database until it is ingested.
pub(crate) struct SortedFile<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    entries: u64,
}

impl SortedFile<'_> {
    /// Appends an entry; keys must rise strictly.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.entries += 1;
        self.writer.put(key, value).map_err(|e| failed("write sorted file", e))
    }

    /// Closes and syncs the file; answers its path. A file without entries cannot be finished.
    pub fn finish(mut self) -> Result<PathBuf> {
        assert!(self.entries > 0, "a sorted file needs an entry, {} has none", self.path.display());
        self.writer.finish().map_err(|e| failed("finish sorted file", e))?;
        Ok(self.path)
    }
}

/// Families that receive ingested files only: never compacted in the background, because every file
/// in them is one sorted run that is replaced as a whole.
fn is_bulk(family: &str) -> bool {
    family.starts_with("raw_")
}

fn instance_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_max_background_jobs(2);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 * MIB);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_max_open_files(512);
    options
}

fn table_options(block_bytes: usize, cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(block_bytes);
    table.set_block_cache(cache);
    table.set_format_version(6);
    table.set_checksum_type(ChecksumType::XXH3);
    table
}

fn failed(action: &'static str, error: rocksdb::Error) -> StorageError {
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return StorageError::corrupt("database", format!("{action}: {}", error.into_string()));
    }
    StorageError::Database { action, reason: error.into_string() }
}
