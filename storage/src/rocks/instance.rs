//! RocksDB as the two instances of a node are configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, BoundColumnFamily, Cache, ChecksumType, ColumnFamilyDescriptor, CompactOptions,
    DBCompressionType, DBRawIteratorWithThreadMode, DBRecoveryMode, DBWithThreadMode, IngestExternalFileOptions, LogLevel, MultiThreaded,
    Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

use parking_lot::Mutex;

use super::{Caching, Durability, FAMILY_DEFAULT, LogTuning, StateTuning};
use crate::fault::{DATABASE, RUN_FILE, Result, StorageError};

type Database = DBWithThreadMode<MultiThreaded>;

const MIB: usize = 1 << 20;

/// An open RocksDB instance.
pub(crate) struct Instance {
    database: Database,
    path: PathBuf,
    bulk: Options,
    small: Options,
    creating: Mutex<()>,
}

impl Instance {
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
            Database::list_cf(&options, path).map_err(|e| open_failed("list families", e))?
        } else {
            refuse_remains(path)?;
            vec![FAMILY_DEFAULT.to_string()]
        };
        let families = names.into_iter().map(|name| {
            let options = if is_bulk(&name) { &bulk } else { &small };
            ColumnFamilyDescriptor::new(name, options.clone())
        });
        let database = Database::open_cf_descriptors(&options, path, families).map_err(|e| open_failed("open database", e))?;
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
        let handle = self.family(family)?;
        self.database.get_cf(&handle, key).map_err(|e| failed_in(what_of(family), "read key", e))
    }

    /// The number of the last write, counted since the database was created; what recovery does not bring back is missing at the
    /// end of this count.
    pub fn last_write(&self) -> u64 {
        self.database.latest_sequence_number()
    }

    /// Applies a batch as one.
    pub fn write(&self, batch: WriteBatch, durability: Durability) -> Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(durability == Durability::Unlogged);
        self.database.write_opt(batch, &options).map_err(|e| failed("write batch", e))
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
    pub fn scan(&self, family: &str, from: &[u8], to: Option<&[u8]>, caching: Caching) -> Result<InstanceScan<'_>> {
        let handle = self.family(family)?;
        let mut options = ReadOptions::default();
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        options.fill_cache(caching == Caching::Fill);
        let mut iterator = self.database.raw_iterator_cf_opt(&handle, options);
        iterator.seek(from);
        Ok(InstanceScan { iterator, what: what_of(family) })
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
        iterator.status().map_err(|e| failed_in(what_of(family), "scan backwards", e))?;
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
    pub fn sorted_file(&self, path: &Path) -> Result<InstanceSortedFile<'_>> {
        let writer = SstFileWriter::create(&self.bulk);
        writer.open(path).map_err(|e| failed("create sorted file", e))?;
        Ok(InstanceSortedFile { writer, path: path.to_path_buf(), entries: 0 })
    }

    /// Bytes of all live SST files, by family prefix.
    pub fn table_bytes(&self, family_prefix: &str) -> Result<u64> {
        let files = self.database.live_files().map_err(|e| failed("list files", e))?;
        let matching = files.iter().filter(|file| file.column_family_name.starts_with(family_prefix));
        Ok(matching.map(|file| file.size as u64).sum())
    }

    /// An open family.
    pub fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>> {
        self.database.cf_handle(name).ok_or_else(|| StorageError::Refused(format!("there is no column family {name}")))
    }
}

/// A position that moves forward through a family.
pub(crate) struct InstanceScan<'a> {
    iterator: DBRawIteratorWithThreadMode<'a, Database>,
    /// What is corrupt when it cannot be read.
    what: &'static str,
}

impl InstanceScan<'_> {
    /// The entry at the position, or `None` at the end of the range.
    pub fn item(&self) -> Result<Option<(&[u8], &[u8])>> {
        match self.iterator.item() {
            Some(item) => Ok(Some(item)),
            None => {
                self.iterator.status().map_err(|e| failed_in(self.what, "scan", e))?;
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
pub(crate) struct InstanceSortedFile<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    entries: u64,
}

impl InstanceSortedFile<'_> {
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

fn what_of(family: &str) -> &'static str {
    if is_bulk(family) { RUN_FILE } else { DATABASE }
}

fn failed(action: &'static str, error: rocksdb::Error) -> StorageError {
    failed_in(DATABASE, action, error)
}

fn failed_in(what: &'static str, action: &'static str, error: rocksdb::Error) -> StorageError {
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return StorageError::corrupt(what, format!("{action}: {}", error.into_string()));
    }
    StorageError::Database { action, reason: error.into_string() }
}

/// While opening, a file that should be there and is not is damage too. (A lock that another process holds is not.)
fn open_failed(action: &'static str, error: rocksdb::Error) -> StorageError {
    let text = error.as_ref();
    if error.kind() == rocksdb::ErrorKind::IOError && text.contains("No such file or directory") {
        return StorageError::corrupt(DATABASE, format!("{action}: {text}"));
    }
    failed(action, error)
}

/// Without its root file RocksDB would begin anew among the files of an old database.
fn refuse_remains(path: &Path) -> Result<()> {
    let entries = std::fs::read_dir(path).map_err(|e| StorageError::file("list", path, e))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    match names.into_iter().find(|name| name.starts_with("MANIFEST-") || name.ends_with(".sst")) {
        None => Ok(()),
        Some(found) => Err(StorageError::corrupt(DATABASE, format!("{} has {found} but no CURRENT", path.display()))),
    }
}
