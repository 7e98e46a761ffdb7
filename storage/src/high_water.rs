//! The fsynced high-water mark: how far each group's log had been made durable.
//!
//! RocksDB's recovery drops a damaged tail of its write-ahead log silently. A voter that forgets
//! entries it acknowledged can lose committed data, so a separate small file remembers, per group, the
//! last index and term that a successful sync covered. On open the log is compared with it; a log that
//! is shorter than its mark must not vote.
//!
//! The file may lag behind the log (that only weakens the detection), but must never be ahead of it:
//! a mark is written after the sync that covers it, and lowered before a truncation.
//!
//! Format of each of the two slots, which are written in turn so that a torn write leaves the other:
//! magic u32, sequence u64, count u32, count x (group u64, index u64, term u64), crc32c u32; all
//! little-endian.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fault::{Result, StorageError};
use crate::memory_disk::{MemoryDisk, MemoryStore};

const MAGIC: u32 = 0x5445_5257;
const HEADER_BYTES: usize = 16;
const RECORD_BYTES: usize = 24;
const SLOTS: u64 = 2;

/// The last durable entry of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index of the entry.
    pub index: u64,
    /// Its term as the caller gave it; 0 when unknown (after a truncation).
    pub term: u64,
}

/// The marks of all groups and the two files they are kept in.
pub(crate) struct HighWater {
    slots: Vec<Slot>,
    sequence: u64,
    durable: BTreeMap<u64, Mark>,
}

/// Where one of the two records is kept.
enum Slot {
    File(PathBuf, File),
    Memory(usize, Arc<MemoryStore>),
}

impl HighWater {
    /// Opens the marks in `directory`, creating empty ones for a new log.
    ///
    /// Errors: `Corrupt` when files exist but neither slot is readable.
    pub fn open(directory: &Path) -> Result<Self> {
        let (mut slots, mut records) = (Vec::new(), Vec::new());
        for slot in 0..SLOTS {
            let path = directory.join(format!("high_water.{slot}"));
            records.push(read_if_there(&path)?);
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| StorageError::file("open high-water mark", &path, e))?;
            slots.push(Slot::File(path, file));
        }
        Self::over(slots, &records, &directory.display().to_string())
    }

    /// Opens the marks on a disk in memory.
    pub fn open_in_memory(disk: &MemoryDisk) -> Result<Self> {
        let store = Arc::new(disk.open());
        let records = (0..SLOTS as usize).map(|slot| store.slot(slot)).collect::<Result<Vec<_>>>()?;
        let slots = (0..SLOTS as usize).map(|slot| Slot::Memory(slot, Arc::clone(&store))).collect();
        Self::over(slots, &records, "memory")
    }

    fn over(slots: Vec<Slot>, records: &[Vec<u8>], place: &str) -> Result<Self> {
        let newest = records.iter().filter_map(|bytes| decode(bytes)).max_by_key(|(sequence, _)| *sequence);
        if newest.is_none() && records.iter().any(|bytes| !bytes.is_empty()) {
            return Err(StorageError::corrupt("high-water mark", format!("neither slot in {place} is readable")));
        }
        let (sequence, durable) = newest.unwrap_or_default();
        Ok(Self { slots, sequence, durable })
    }

    /// The marks as they are on disk.
    pub fn durable(&self) -> &BTreeMap<u64, Mark> {
        &self.durable
    }

    /// Puts the marks, as they are on disk, into another directory.
    pub fn copy_to(&self, directory: &Path) -> Result<()> {
        Self::open(directory)?.replace(self.durable.clone())
    }

    /// Replaces the marks, durably.
    pub fn replace(&mut self, marks: BTreeMap<u64, Mark>) -> Result<()> {
        if marks == self.durable {
            return Ok(());
        }
        self.sequence += 1;
        let bytes = encode(self.sequence, &marks);
        self.slots[(self.sequence % SLOTS) as usize].write(&bytes)?;
        self.durable = marks;
        Ok(())
    }
}

impl Slot {
    fn write(&self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File(path, file) => file
                .write_all_at(bytes, 0)
                .and_then(|()| file.sync_data())
                .map_err(|e| StorageError::file("write high-water mark", path, e)),
            Self::Memory(slot, store) => store.write_slot(*slot, bytes),
        }
    }
}

fn read_if_there(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(StorageError::file("read high-water mark", path, e)),
    }
}

fn encode(sequence: u64, marks: &BTreeMap<u64, Mark>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + marks.len() * RECORD_BYTES + 4);
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(marks.len() as u32).to_le_bytes());
    for (group, mark) in marks {
        for word in [*group, mark.index, mark.term] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The marks in a slot, or `None` when the slot is empty, torn or damaged. Bytes behind the checksum
/// are left over from a longer record and ignored.
fn decode(bytes: &[u8]) -> Option<(u64, BTreeMap<u64, Mark>)> {
    let magic = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let sequence = u64::from_le_bytes(bytes.get(4..12)?.try_into().ok()?);
    let count = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?) as usize;
    let end = count.checked_mul(RECORD_BYTES)?.checked_add(HEADER_BYTES)?;
    let checksum = u32::from_le_bytes(bytes.get(end..end + 4)?.try_into().ok()?);
    if magic != MAGIC || crc32c::crc32c(&bytes[..end]) != checksum {
        return None;
    }
    let mut marks = BTreeMap::new();
    for record in bytes[HEADER_BYTES..end].chunks_exact(RECORD_BYTES) {
        let word = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
        let (index, term) = (word(8)?, word(16)?);
        marks.insert(word(0)?, Mark { index, term });
    }
    Some((sequence, marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(pairs: &[(u64, u64)]) -> BTreeMap<u64, Mark> {
        pairs.iter().map(|&(group, index)| (group, Mark { index, term: 7 })).collect()
    }

    #[test]
    fn the_newest_readable_slot_wins() {
        let directory = tempfile::tempdir().unwrap();
        let mut water = HighWater::open(directory.path()).unwrap();
        water.replace(marks(&[(1, 10), (2, 20), (3, 30)])).unwrap();
        water.replace(marks(&[(1, 11)])).unwrap();
        water.replace(marks(&[(1, 12)])).unwrap();
        drop(water);
        assert_eq!(HighWater::open(directory.path()).unwrap().durable(), &marks(&[(1, 12)]));

        // A torn write of the newest slot leaves the one before it.
        std::fs::write(directory.path().join("high_water.1"), b"torn").unwrap();
        assert_eq!(HighWater::open(directory.path()).unwrap().durable(), &marks(&[(1, 11)]));

        std::fs::write(directory.path().join("high_water.0"), b"torn").unwrap();
        assert!(HighWater::open(directory.path()).is_err());
    }
}
