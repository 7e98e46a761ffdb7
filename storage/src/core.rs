//! What all shards of a node share: the *state* instance, limits, and facts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::catalog;
use crate::damage::{self, Damages};
use crate::fault::{Result, StorageError};
use crate::index::DAY_MS;
use crate::keys::{FAMILY_META, FAMILY_SERIES};
use crate::labels::HashKey;
use crate::memory_disk::MemoryDisk;
use crate::rocks::{Rocks, StateTuning};
use crate::run_writer::SortedFiles;

const FACT_HASH_KEY: &[u8] = b"hash key";
const FACT_GENERATION: &[u8] = b"generation";

/// Sizes and times of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How long raw samples are kept, in milliseconds. Whole UTC days are dropped when their last
    /// millisecond is older. Default 15 days.
    pub retention_ms: i64,
    /// Uncompressed RocksDB blocks kept in memory, in bytes. Default 128 MiB.
    pub block_cache_bytes: usize,
    /// Encoded chunks of recent seals kept in memory by all shards together, in bytes. Default 512 MiB.
    pub recent_bytes_max: u64,
    /// Encoded chunks that a compaction or an import holds in memory before it writes a file, in bytes.
    /// Default 256 MiB.
    pub spill_bytes: usize,
    /// Exemplars that each shard keeps; 0 for none. Default 16 384.
    pub exemplars_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            retention_ms: 15 * DAY_MS,
            block_cache_bytes: 128 << 20,
            recent_bytes_max: 512 << 20,
            spill_bytes: 256 << 20,
            exemplars_max: 16 << 10,
        }
    }
}

/// See the module's story.
pub(crate) struct Core {
    pub rocks: Rocks,
    pub options: EngineOptions,
    pub files: SortedFiles,
    /// Encoded chunks that all shards keep in memory, in bytes.
    pub recent_bytes: AtomicU64,
    pub damages: Damages,
    /// None in memory.
    pub directory: Option<PathBuf>,
    /// Days before this one are expired; nothing is sealed into them.
    first_day: AtomicI64,
    hash_key: Mutex<Option<HashKey>>,
    generation: Mutex<u32>,
}

impl Core {
    /// Opens the *state* instance in `directory`.
    pub fn open(directory: &Path, options: EngineOptions) -> Result<Self> {
        damage::refuse_noted(directory)?;
        let tuning = StateTuning { block_cache_bytes: options.block_cache_bytes };
        let rocks = Rocks::open_state(&directory.join("rocks"), &tuning)?;
        let ingest = directory.join("ingest");
        recreate(&ingest)?;
        Ok(Self { directory: Some(directory.to_path_buf()), ..Self::over(rocks, ingest, options)? })
    }

    /// Opens the *state* instance in memory.
    pub fn open_in_memory(disk: &MemoryDisk, options: EngineOptions) -> Result<Self> {
        Self::over(Rocks::open_in_memory(disk)?, PathBuf::new(), options)
    }

    fn over(rocks: Rocks, ingest: PathBuf, options: EngineOptions) -> Result<Self> {
        rocks.create_family(FAMILY_SERIES)?;
        rocks.create_family(FAMILY_META)?;
        let hash_key = read_fact(&rocks, FACT_HASH_KEY)?.map(HashKey);
        let generation = read_fact(&rocks, FACT_GENERATION)?.map_or(0, u32::from_le_bytes);
        Ok(Self {
            rocks,
            options,
            files: SortedFiles::new(ingest),
            recent_bytes: AtomicU64::new(0),
            damages: Damages::default(),
            directory: None,
            first_day: AtomicI64::new(i64::MIN),
            hash_key: Mutex::new(hash_key),
            generation: Mutex::new(generation),
        })
    }

    /// The cluster's hash key, once it is known.
    pub fn hash_key(&self) -> Result<HashKey> {
        let key = *self.hash_key.lock();
        key.ok_or_else(|| StorageError::Refused("the cluster's hash key is not set yet".into()))
    }

    /// Stores the cluster's hash key. It can be set once.
    pub fn set_hash_key(&self, key: HashKey) -> Result<()> {
        let mut known = self.hash_key.lock();
        match *known {
            Some(known) if known == key => Ok(()),
            Some(_) => Err(StorageError::Refused("this disk belongs to a cluster with another hash key".into())),
            None => {
                catalog::write_fact(&self.rocks, FACT_HASH_KEY, Some(&key.0))?;
                *known = Some(key);
                Ok(())
            }
        }
    }

    /// A generation never used before, durably so: what a crash leaves under it is never mistaken for
    /// another shard's content.
    pub fn next_generation(&self) -> Result<u32> {
        let mut generation = self.generation.lock();
        catalog::write_fact(&self.rocks, FACT_GENERATION, Some(&(*generation + 1).to_le_bytes()))?;
        *generation += 1;
        Ok(*generation)
    }

    /// The first day that is not expired.
    pub fn first_day(&self) -> i64 {
        self.first_day.load(Ordering::Relaxed)
    }

    /// Moves the first day that is kept forward.
    pub fn expire_before(&self, day: i64) {
        self.first_day.fetch_max(day, Ordering::Relaxed);
    }
}

fn read_fact<const N: usize>(rocks: &Rocks, key: &[u8]) -> Result<Option<[u8; N]>> {
    let Some(value) = rocks.get(FAMILY_META, key)? else {
        return Ok(None);
    };
    let bytes = value.try_into().map_err(|_| StorageError::corrupt("engine fact", String::from_utf8_lossy(key)))?;
    Ok(Some(bytes))
}

fn recreate(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(|e| StorageError::file("remove directory", directory, e))?;
    }
    std::fs::create_dir_all(directory).map_err(|e| StorageError::file("create directory", directory, e))
}
