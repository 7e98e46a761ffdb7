//! The high-water mark: how far the log had been made durable.
//!
//! RocksDB's recovery drops a damaged tail of its write-ahead log silently. A voter that forgets what it acknowledged can lose
//! committed data, so small files beside the log remember what a successful sync covered: per group the last index and term, and
//! the number of the last write of all, which covers votes and everything else. On open the log is compared with it; a log that
//! is shorter than its mark must not vote.
//!
//! The mark may lag behind the log (that only weakens the detection), but must never be ahead of it: it is written after the sync
//! that covers it, and lowered before a truncation.
//!
//! Two slots are written in turn and synced, now and then, so that a torn write leaves the other. A third one is written after
//! *every* sync of the log and not synced itself: it survives the end of the process, and of the machine unless that loses power.
//!
//! Format of each: magic u32, sequence u64, last write u64, count u32, count x (group u64, index u64, term u64), crc32c u32; all
//! little-endian. (In files of the first builds, under another magic, the last write is missing.)

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fault::{Result, StorageError};
use crate::memory_disk::{MemoryDisk, MemoryStore};

const MAGIC_WITHOUT_WRITES: u32 = 0x5445_5257;
const MAGIC: u32 = 0x5445_5258;
const HEADER_BYTES: usize = 24;
const RECORD_BYTES: usize = 24;
/// Slots that are synced.
const SLOTS: u64 = 2;

/// The last durable entry of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index of the entry.
    pub index: u64,
    /// Its term as the caller gave it; 0 when unknown (after a truncation).
    pub term: u64,
}

/// How far the whole log reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// By group.
    pub marks: BTreeMap<u64, Mark>,
    /// The number of the database's last write; 0 when unknown.
    pub last_write: u64,
}

/// The mark and where it is kept.
pub(crate) struct HighWater {
    /// Written in turn and synced.
    slots: Vec<Slot>,
    /// Written after every sync of the log, never synced. A disk in memory has none.
    latest: Option<(PathBuf, File)>,
    sequence: u64,
    durable: Reach,
}

/// Where one of the records that are synced is kept.
enum Slot {
    File(PathBuf, File),
    Memory(usize, Arc<MemoryStore>),
}

impl HighWater {
    /// Opens the mark in `directory`, creating an empty one for a new log.
    ///
    /// Errors: `Corrupt` when files exist but none is readable.
    pub fn open(directory: &Path) -> Result<Self> {
        let (mut files, mut records) = (Vec::new(), Vec::new());
        for name in ["high_water.0", "high_water.1", "high_water.latest"] {
            let path = directory.join(name);
            records.push(read_if_there(&path)?);
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| StorageError::file("open high-water mark", &path, e))?;
            files.push((path, file));
        }
        let latest = files.pop();
        let slots = files.into_iter().map(|(path, file)| Slot::File(path, file)).collect();
        Self::over(slots, latest, &records, &directory.display().to_string())
    }

    /// Opens the mark on a disk in memory.
    pub fn open_in_memory(disk: &MemoryDisk) -> Result<Self> {
        let store = Arc::new(disk.open());
        let records = (0..SLOTS as usize).map(|slot| store.slot(slot)).collect::<Result<Vec<_>>>()?;
        let slots = (0..SLOTS as usize).map(|slot| Slot::Memory(slot, Arc::clone(&store))).collect();
        Self::over(slots, None, &records, "memory")
    }

    fn over(slots: Vec<Slot>, latest: Option<(PathBuf, File)>, records: &[Vec<u8>], place: &str) -> Result<Self> {
        let newest = records.iter().filter_map(|bytes| decode(bytes)).max_by_key(|(sequence, _)| *sequence);
        if newest.is_none() && records.iter().any(|bytes| !bytes.is_empty()) {
            return Err(StorageError::corrupt("high-water mark", format!("no file of it in {place} is readable")));
        }
        let (sequence, durable) = newest.unwrap_or_default();
        Ok(Self { slots, latest, sequence, durable })
    }

    /// The mark as it is on disk.
    pub fn durable(&self) -> &Reach {
        &self.durable
    }

    /// Puts the mark, as it is on disk, into another directory.
    pub fn copy_to(&self, directory: &Path) -> Result<()> {
        Self::open(directory)?.replace(self.durable.clone())
    }

    /// Replaces the mark, durably.
    pub fn replace(&mut self, reach: Reach) -> Result<()> {
        if reach == self.durable {
            return Ok(());
        }
        self.sequence += 1;
        let bytes = encode(self.sequence, &reach);
        self.slots[(self.sequence % SLOTS) as usize].write(&bytes)?;
        self.durable = reach;
        Ok(())
    }

    /// Replaces the mark without waiting for the disk.
    pub fn note(&mut self, reach: &Reach) -> Result<()> {
        let Some((path, file)) = &self.latest else { return Ok(()) };
        self.sequence += 1;
        file.write_all_at(&encode(self.sequence, reach), 0).map_err(|e| StorageError::file("write high-water mark", path, e))
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

fn encode(sequence: u64, reach: &Reach) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + reach.marks.len() * RECORD_BYTES + 4);
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&reach.last_write.to_le_bytes());
    bytes.extend_from_slice(&(reach.marks.len() as u32).to_le_bytes());
    for (group, mark) in &reach.marks {
        for word in [*group, mark.index, mark.term] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The mark in a slot, or `None` when the slot is empty, torn or damaged. Bytes behind the checksum are left over from a longer
/// one and ignored.
fn decode(bytes: &[u8]) -> Option<(u64, Reach)> {
    let half = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let sequence = word(4)?;
    let (last_write, records_at) = match half(0)? {
        MAGIC => (word(12)?, HEADER_BYTES),
        MAGIC_WITHOUT_WRITES => (0, HEADER_BYTES - 8),
        _ => return None,
    };
    let count = half(records_at - 4)? as usize;
    let end = count.checked_mul(RECORD_BYTES)?.checked_add(records_at)?;
    if half(end)? != crc32c::crc32c(bytes.get(..end)?) {
        return None;
    }
    let mut marks = BTreeMap::new();
    for at in (records_at..end).step_by(RECORD_BYTES) {
        marks.insert(word(at)?, Mark { index: word(at + 8)?, term: word(at + 16)? });
    }
    Some((sequence, Reach { marks, last_write }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(pairs: &[(u64, u64)]) -> Reach {
        let marks = pairs.iter().map(|&(group, index)| (group, Mark { index, term: 7 })).collect();
        Reach { marks, last_write: 99 }
    }

    fn durable(directory: &Path) -> Reach {
        HighWater::open(directory).unwrap().durable().clone()
    }

    #[test]
    fn the_newest_readable_slot_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut water = HighWater::open(path).unwrap();
        water.replace(reach(&[(1, 10), (2, 20), (3, 30)])).unwrap();
        water.replace(reach(&[(1, 11)])).unwrap();
        water.replace(reach(&[(1, 12)])).unwrap();
        water.note(&reach(&[(1, 13)])).unwrap();
        drop(water);
        assert_eq!(durable(path), reach(&[(1, 13)]));

        // A torn write of the newest leaves the one before it.
        std::fs::write(path.join("high_water.latest"), b"torn").unwrap();
        assert_eq!(durable(path), reach(&[(1, 12)]));
        std::fs::write(path.join("high_water.1"), b"torn").unwrap();
        assert_eq!(durable(path), reach(&[(1, 11)]));
        std::fs::write(path.join("high_water.0"), b"torn").unwrap();
        assert!(HighWater::open(path).is_err());
    }

    #[test]
    fn a_mark_that_was_lowered_stays_lower_than_one_noted_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut water = HighWater::open(directory.path()).unwrap();
        water.note(&reach(&[(1, 20)])).unwrap();
        water.replace(reach(&[(1, 10)])).unwrap();
        drop(water);
        assert_eq!(durable(directory.path()), reach(&[(1, 10)]));
    }

    #[test]
    fn marks_of_the_first_builds_are_read() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC_WITHOUT_WRITES.to_le_bytes());
        bytes.extend_from_slice(&5_u64.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        for word in [1_u64, 10, 7] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(&bytes), Some((5, Reach { last_write: 0, ..reach(&[(1, 10)]) })));
        bytes[20] ^= 1;
        assert_eq!(decode(&bytes), None);
    }
}
