//! The *log* instance: the Raft log and Raft's small durable facts, for all groups of a node.
//!
//! One RocksDB instance whose write-ahead log is flushed by hand. `write` puts a batch into the
//! memtable and the log's buffer (readable at once, not durable), `sync` makes everything written so
//! far durable with one `fdatasync`, whichever groups it came from.
//!
//! Keys, big-endian, in one family so that no idle family pins old write-ahead logs:
//! `0 group name` → meta value; `1 group` → purged index; `2 group index` → crc32c, term, payload.
//!
//! Invariants:
//! - The checksum of an entry covers (group, index, term, payload), so an entry that turns up under a
//!   wrong key is as corrupt as one with a flipped bit.
//! - The high-water mark on disk never lies beyond what was synced (see `high_water`).
//! - After one failed write or sync the instance refuses everything: what is on disk is unknown then,
//!   and asking `fdatasync` again would answer for pages the kernel already gave up.
//!
//! What it does not do: order writes of several threads (one writer calls it), cache recent entries.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::damage;
use crate::fault::{Result, StorageError};
use crate::high_water::{HighWater, Mark, Reach};
use crate::memory_disk::MemoryDisk;
use crate::rocks::{Batch, Caching, Durability, FAMILY_DEFAULT, LogTuning, Rocks};
use crate::seeded_bug::SeededBug;

const KIND_META: u8 = 0;
const KIND_PURGED: u8 = 1;
const KIND_ENTRY: u8 = 2;

/// Sizes and times of the log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Write-ahead log kept before memtables are forced to SST files, in bytes. It bounds the time to
    /// reopen. Default 512 MiB.
    pub wal_bytes_max: u64,
    /// Size of one memtable, in bytes. Default 128 MiB: at a few MB/s entries are mostly purged while
    /// still in memory, or written to an SST file once.
    pub memtable_bytes: usize,
    /// How often at most a sync also rewrites the high-water mark. Default 250 ms.
    pub high_water_interval: Duration,
    /// Bytes written after which `reclaim` rewrites files to free the space of purged entries. Default
    /// 256 MiB.
    pub reclaim_bytes_min: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            wal_bytes_max: 512 << 20,
            memtable_bytes: 128 << 20,
            high_water_interval: Duration::from_millis(250),
            reclaim_bytes_min: 256 << 20,
        }
    }
}

/// One entry as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index in the group's log.
    pub index: u64,
    /// The term given with it.
    pub term: u64,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// A group whose log on disk is shorter than, or differs from, what was once synced. The node must
/// not vote in it: wipe the replica and rejoin under a new id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortenedLog {
    /// The group.
    pub group: u64,
    /// What the high-water mark says.
    pub expected: Mark,
    /// The last entry (or purged index, with term 0) that is really there.
    pub found: Option<Mark>,
}

/// The log of all groups of this node.
pub struct LogDb {
    rocks: Rocks,
    options: LogOptions,
    poison: OnceLock<String>,
    water: Mutex<Water>,
    written_bytes: AtomicU64,
    /// None in memory.
    directory: Option<PathBuf>,
}

/// Marks on their way to the high-water file.
struct Water {
    file: HighWater,
    written: BTreeMap<u64, Mark>,
    /// Counts the batches that shortened a log: marks read before one are not saved after it.
    shortenings: u64,
    saved_at: Instant,
}

impl LogDb {
    /// Opens the log in `directory`, creating it when there is none, and recovers what was synced.
    ///
    /// Errors: `Corrupt` when recovery meets damage other than an unfinished tail, when it brings back less than was synced, and
    /// when damage was found before the last stop.
    pub fn open(directory: &Path, options: LogOptions) -> Result<Self> {
        let tuning = LogTuning { wal_bytes_max: options.wal_bytes_max, memtable_bytes: options.memtable_bytes };
        damage::refuse_noted(directory)?;
        let mut log = Self::over(Rocks::open_log(directory, &tuning)?, HighWater::open(directory)?, options)?;
        log.directory = Some(directory.to_path_buf());
        Ok(log)
    }

    /// Opens the log on a disk in memory.
    pub fn open_in_memory(disk: &MemoryDisk, options: LogOptions) -> Result<Self> {
        Self::over(Rocks::open_in_memory(disk)?, HighWater::open_in_memory(disk)?, options)
    }

    fn over(rocks: Rocks, file: HighWater, options: LogOptions) -> Result<Self> {
        let (synced, found) = (file.durable().last_write, rocks.last_write());
        if found < synced {
            return Err(StorageError::corrupt("log", format!("it ends with write {found}, but write {synced} had been synced")));
        }
        let written = file.durable().marks.clone();
        let water = Mutex::new(Water { file, written, shortenings: 0, saved_at: Instant::now() });
        Ok(Self { rocks, options, poison: OnceLock::new(), water, written_bytes: AtomicU64::new(0), directory: None })
    }

    /// Applies a batch: readable when it returns, durable after the next `sync`.
    pub fn write(&self, batch: LogBatch) -> Result<()> {
        self.check_poison()?;
        let marks = self.poisoning(self.resolve_marks(&batch.marks))?;
        self.poisoning(self.lower_marks(&batch.marks))?;
        self.written_bytes.fetch_add(batch.bytes() as u64, Ordering::Relaxed);
        self.poisoning(self.rocks.write(batch.inner, Durability::Logged))?;
        let mut water = self.water.lock();
        for (group, mark) in marks {
            match mark {
                Some(mark) => water.written.insert(group, mark),
                None => water.written.remove(&group),
            };
        }
        Ok(())
    }

    /// Where it lies; nowhere when it is in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Makes everything written before this call durable, for all groups, with one `fdatasync`.
    pub fn sync(&self) -> Result<()> {
        self.check_poison()?;
        let (covered, shortenings, saved_at) = {
            let water = self.water.lock();
            (Reach { marks: water.written.clone(), last_write: self.rocks.last_write() }, water.shortenings, water.saved_at)
        };
        let synced = self.rocks.sync_wal();
        if SeededBug::SyncErrorIgnored.is_on() && synced.is_err() {
            return Ok(());
        }
        self.poisoning(synced)?;
        let mut water = self.water.lock();
        if water.shortenings != shortenings || water.saved_at != saved_at {
            return Ok(());
        }
        let saved = match water.saved_at.elapsed() >= self.options.high_water_interval {
            true => {
                water.saved_at = Instant::now();
                water.file.replace(covered)
            }
            false => water.file.note(&covered),
        };
        drop(water);
        self.poisoning(saved)
    }

    /// Puts an image of the log into `directory`, which must not exist. To be made before the image of the state: then it is that
    /// which is newer, and replay ends the difference.
    pub fn checkpoint(&self, directory: &Path) -> Result<()> {
        self.sync()?;
        // No mark may be newer than the image of the log, so none is written meanwhile.
        let water = self.water.lock();
        self.rocks.checkpoint(directory)?;
        water.file.copy_to(directory)
    }

    /// Entries of `range` in index order, at least one if there is one, then while their payloads sum
    /// up to at most `bytes_max`. Stops at the first index that is missing.
    ///
    /// Errors: `Corrupt` when a checksum does not match.
    pub fn read_entries(&self, group: u64, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>> {
        self.noting(self.scan_entries(group, range, bytes_max))
    }

    fn scan_entries(&self, group: u64, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        if range.is_empty() {
            return Ok(entries);
        }
        let (from, to) = (entry_key(group, range.start), entry_key(group, range.end));
        let mut scan = self.rocks.scan(FAMILY_DEFAULT, &from, Some(&to), Caching::Bypass)?;
        let mut bytes = 0;
        let mut expected = range.start;
        while let Some((key, value)) = scan.item()? {
            let entry = decode_entry(group, key, value)?;
            bytes += entry.payload.len();
            if entry.index != expected || (bytes > bytes_max && !entries.is_empty()) {
                break;
            }
            expected += 1;
            entries.push(entry);
            scan.advance();
        }
        Ok(entries)
    }

    /// The first entry still there.
    pub fn first_entry(&self, group: u64) -> Result<Option<LogEntry>> {
        let from = entry_key(group, self.purged(group)?.map_or(0, |purged| purged + 1));
        let to = group_end(KIND_ENTRY, group);
        let scan = self.rocks.scan(FAMILY_DEFAULT, &from, Some(&to), Caching::Bypass)?;
        let first = scan.item()?;
        first.map(|(key, value)| decode_entry(group, key, value)).transpose()
    }

    /// The last entry.
    pub fn last_entry(&self, group: u64) -> Result<Option<LogEntry>> {
        let (from, to) = (entry_key(group, 0), group_end(KIND_ENTRY, group));
        let last = self.rocks.last(FAMILY_DEFAULT, &from, &to)?;
        last.map(|(key, value)| decode_entry(group, &key, &value)).transpose()
    }

    /// The index up to which (inclusive) entries were purged, if ever.
    pub fn purged(&self, group: u64) -> Result<Option<u64>> {
        let Some(value) = self.rocks.get(FAMILY_DEFAULT, &group_key(KIND_PURGED, group))? else {
            return Ok(None);
        };
        let bytes = value.try_into().map_err(|_| StorageError::corrupt("purged index", format!("of group {group}")))?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    /// A small fact stored with `LogBatch::put_meta`.
    pub fn get_meta(&self, group: u64, name: &str) -> Result<Option<Bytes>> {
        self.noting(self.find_meta(group, name))
    }

    fn find_meta(&self, group: u64, name: &str) -> Result<Option<Bytes>> {
        let Some(value) = self.rocks.get(FAMILY_DEFAULT, &meta_key(group, name))? else {
            return Ok(None);
        };
        Ok(Some(Bytes::copy_from_slice(check_meta(&meta_key(group, name), &value)?)))
    }

    /// All groups that have a meta value, an entry or a purged index.
    pub fn groups(&self) -> Result<BTreeSet<u64>> {
        let mut groups = BTreeSet::new();
        for kind in [KIND_META, KIND_PURGED, KIND_ENTRY] {
            let mut scan = self.rocks.scan(FAMILY_DEFAULT, &[kind], Some(&[kind + 1]), Caching::Bypass)?;
            while let Some((key, _)) = scan.item()? {
                let group = group_of(key)?;
                groups.insert(group);
                scan.seek(&group_end(kind, group));
            }
        }
        Ok(groups)
    }

    /// Compares every group with its high-water mark. Call once after opening, before voting.
    pub fn check_high_water(&self) -> Result<Vec<ShortenedLog>> {
        let marks = self.water.lock().file.durable().marks.clone();
        let mut shortened = Vec::new();
        for (group, expected) in marks {
            let last = self.last_entry(group)?.map(|entry| Mark { index: entry.index, term: entry.term });
            let purged = self.purged(group)?.map(|index| Mark { index, term: 0 });
            let found = last.into_iter().chain(purged).max_by_key(|mark| mark.index);
            if !self.reaches(group, expected, found)? {
                shortened.push(ShortenedLog { group, expected, found });
            }
        }
        Ok(shortened)
    }

    /// Frees the disk space of purged entries when enough was written since the last time; cheap
    /// otherwise. Call after purging, from any thread but the log's writer.
    pub fn reclaim(&self) -> Result<()> {
        self.check_poison()?;
        if self.written_bytes.load(Ordering::Relaxed) < self.options.reclaim_bytes_min {
            return Ok(());
        }
        self.written_bytes.store(0, Ordering::Relaxed);
        self.rocks.compact(FAMILY_DEFAULT, &[KIND_ENTRY], &[KIND_ENTRY + 1])
    }

    /// Bytes of SST files (the write-ahead log, at most `wal_bytes_max`, comes on top).
    pub fn table_bytes(&self) -> Result<u64> {
        self.rocks.table_bytes(FAMILY_DEFAULT)
    }

    fn reaches(&self, group: u64, expected: Mark, found: Option<Mark>) -> Result<bool> {
        let Some(found) = found else {
            return Ok(false);
        };
        if found.index < expected.index {
            return Ok(false);
        }
        // The same index under an older term would be another history.
        let there = self.read_entries(group, expected.index..expected.index + 1, usize::MAX)?;
        Ok(there.first().is_none_or(|entry| entry.term >= expected.term))
    }

    /// The mark of each group that a batch touches, as it is after the batch.
    fn resolve_marks(&self, changes: &[(u64, MarkChange)]) -> Result<BTreeMap<u64, Option<Mark>>> {
        let mut marks: BTreeMap<u64, Option<Mark>> = BTreeMap::new();
        for (group, change) in changes {
            let before = marks.get(group).copied().unwrap_or_else(|| self.water.lock().written.get(group).copied());
            let after = match *change {
                MarkChange::Reached(mark) => Some(mark),
                MarkChange::Forgotten => None,
                MarkChange::CutFrom(from) if before.is_none_or(|mark| mark.index < from) => before,
                MarkChange::CutFrom(0) => None,
                MarkChange::CutFrom(from) => self.last_through(*group, from - 1)?,
            };
            marks.insert(*group, after);
        }
        Ok(marks)
    }

    /// The entry at `index` as a mark, or the purged index if that reaches so far.
    fn last_through(&self, group: u64, index: u64) -> Result<Option<Mark>> {
        let entries = self.read_entries(group, index..index.saturating_add(1), usize::MAX)?;
        if let Some(entry) = entries.first() {
            return Ok(Some(Mark { index, term: entry.term }));
        }
        let purged = self.purged(group)?.filter(|purged| *purged >= index);
        Ok(purged.map(|_| Mark { index, term: 0 }))
    }

    /// A batch that shortens a log first takes the durable mark away, so that a crash between the two is
    /// not mistaken for a loss. The next sync writes a new one.
    fn lower_marks(&self, changes: &[(u64, MarkChange)]) -> Result<()> {
        let mut water = self.water.lock();
        if changes.iter().all(|(_, change)| matches!(change, MarkChange::Reached(_))) {
            return Ok(());
        }
        let Reach { mut marks, last_write } = water.file.durable().clone();
        for (group, change) in changes {
            let (is_shortening, keeps_mark) = match change {
                MarkChange::Reached(_) => (false, true),
                MarkChange::CutFrom(from) => (true, marks.get(group).is_none_or(|mark| mark.index < *from)),
                MarkChange::Forgotten => (true, false),
            };
            water.shortenings += u64::from(is_shortening);
            if !keeps_mark {
                marks.remove(group);
            }
        }
        water.file.replace(Reach { marks, last_write })
    }

    /// Reads everything and compares checksums; `pace` is told the bytes of each piece and may wait, or answer false to end.
    ///
    /// Errors: `Corrupt`, and a note that keeps the next start from trusting this log.
    pub fn scrub(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        self.noting(self.read_all(pace))
    }

    fn read_all(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let mut scan = self.rocks.scan(FAMILY_DEFAULT, &[], None, Caching::Bypass)?;
        while let Some((key, value)) = scan.item()? {
            match key.first() {
                Some(&KIND_ENTRY) => drop(decode_entry(group_of(key)?, key, value)?),
                Some(&KIND_META) => drop(check_meta(key, value)?),
                _ => {}
            }
            if !pace((key.len() + value.len()) as u64) {
                break;
            }
            scan.advance();
        }
        Ok(())
    }

    /// Leaves a note for the next start when the log turns out to be damaged.
    fn noting<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.is_damage()
            && let Some(directory) = &self.directory
            && let Err(failed) = damage::leave_note(directory, &error.to_string())
        {
            tracing::error!(error = %failed, "note that the log is damaged");
        }
        result
    }

    fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            Some(reason) => Err(StorageError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    fn poisoning<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let _first_reason_stays = self.poison.set(error.to_string());
        }
        result
    }
}

impl Drop for LogDb {
    /// A clean end syncs and leaves the marks exact. A failure here loses nothing that was promised.
    fn drop(&mut self) {
        if self.poison.get().is_some() || self.rocks.sync_wal().is_err() {
            return;
        }
        let last_write = self.rocks.last_write();
        let water = self.water.get_mut();
        let marks = water.written.clone();
        if let Err(error) = water.file.replace(Reach { marks, last_write }) {
            tracing::warn!(%error, "save high-water mark on close");
        }
    }
}

/// Changes to the log that are applied together.
#[derive(Default)]
pub struct LogBatch {
    inner: Batch,
    scratch: Vec<u8>,
    marks: Vec<(u64, MarkChange)>,
}

/// What a batch does to the mark of one group.
enum MarkChange {
    /// An entry was put.
    Reached(Mark),
    /// Entries from this index on were removed.
    CutFrom(u64),
    /// The group is gone.
    Forgotten,
}

impl LogBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends (or replaces) one entry. Within a group, entries of one batch come in index order.
    /// `parts` are stored one behind the other, so that a header needs no copy of the payload.
    pub fn put_entry(&mut self, group: u64, index: u64, term: u64, parts: &[&[u8]]) {
        let mut checksum = entry_checksum_seed(group, index, term);
        self.scratch.clear();
        self.scratch.extend_from_slice(&[0; 4]);
        self.scratch.extend_from_slice(&term.to_be_bytes());
        for part in parts {
            checksum = crc32c::crc32c_append(checksum, part);
            self.scratch.extend_from_slice(part);
        }
        self.scratch[..4].copy_from_slice(&checksum.to_be_bytes());
        self.inner.put_default(&entry_key(group, index), &self.scratch);
        self.marks.push((group, MarkChange::Reached(Mark { index, term })));
    }

    /// Removes the entries from `from` on (a follower whose tail conflicts with the leader's).
    pub fn truncate_entries(&mut self, group: u64, from: u64) {
        self.inner.delete_range_default(&entry_key(group, from), &group_end(KIND_ENTRY, group));
        self.marks.push((group, MarkChange::CutFrom(from)));
    }

    /// Removes the entries up to and including `upto`, and remembers that they are gone on purpose.
    pub fn purge_entries(&mut self, group: u64, upto: u64) {
        self.inner.delete_range_default(&entry_key(group, 0), &entry_key(group, upto + 1));
        self.inner.put_default(&group_key(KIND_PURGED, group), &upto.to_be_bytes());
    }

    /// Sets a small fact of a group (vote, committed, applied marker, …).
    pub fn put_meta(&mut self, group: u64, name: &str, value: &[u8]) {
        let key = meta_key(group, name);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&key), value);
        self.scratch.clear();
        self.scratch.extend_from_slice(&checksum.to_be_bytes());
        self.scratch.extend_from_slice(value);
        self.inner.put_default(&key, &self.scratch);
    }

    /// Removes a small fact.
    pub fn delete_meta(&mut self, group: u64, name: &str) {
        self.inner.delete_default(&meta_key(group, name));
    }

    /// Removes everything of a group: entries, facts, purged index and high-water mark.
    pub fn drop_group(&mut self, group: u64) {
        for kind in [KIND_META, KIND_PURGED, KIND_ENTRY] {
            self.inner.delete_range_default(&group_key(kind, group), &group_end(kind, group));
        }
        self.marks.push((group, MarkChange::Forgotten));
    }

    /// Size of the batch so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.inner.bytes()
    }
}

fn group_key(kind: u8, group: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&group.to_be_bytes());
    key
}

/// The first key behind everything of this kind and group.
fn group_end(kind: u8, group: u64) -> [u8; 9] {
    match group.checked_add(1) {
        Some(next) => group_key(kind, next),
        None => group_key(kind + 1, 0),
    }
}

fn entry_key(group: u64, index: u64) -> [u8; 17] {
    let mut key = [KIND_ENTRY; 17];
    key[1..9].copy_from_slice(&group.to_be_bytes());
    key[9..].copy_from_slice(&index.to_be_bytes());
    key
}

fn meta_key(group: u64, name: &str) -> Vec<u8> {
    let mut key = group_key(KIND_META, group).to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

fn group_of(key: &[u8]) -> Result<u64> {
    let bytes = key.get(1..9).and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or_else(|| StorageError::corrupt("log key", format!("{key:02x?}")))?;
    Ok(u64::from_be_bytes(bytes))
}

fn entry_checksum_seed(group: u64, index: u64, term: u64) -> u32 {
    let mut identity = [0; 24];
    identity[..8].copy_from_slice(&group.to_be_bytes());
    identity[8..16].copy_from_slice(&index.to_be_bytes());
    identity[16..].copy_from_slice(&term.to_be_bytes());
    crc32c::crc32c(&identity)
}

fn split_checksum<'a>(value: &'a [u8], what: &'static str) -> Result<(u32, &'a [u8])> {
    let (checksum, rest) = value.split_first_chunk::<4>().ok_or_else(|| StorageError::corrupt(what, format!("{} bytes", value.len())))?;
    Ok((u32::from_be_bytes(*checksum), rest))
}

/// The value of a small fact, when its checksum is right.
fn check_meta<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8]> {
    let (checksum, payload) = split_checksum(value, "meta value")?;
    if checksum != crc32c::crc32c_append(crc32c::crc32c(key), payload) {
        return Err(StorageError::corrupt("meta value", String::from_utf8_lossy(key.get(9..).unwrap_or_default())));
    }
    Ok(payload)
}

fn decode_entry(group: u64, key: &[u8], value: &[u8]) -> Result<LogEntry> {
    let index = key.get(9..17).and_then(|bytes| bytes.try_into().ok());
    let index = index.map(u64::from_be_bytes);
    let index = index.ok_or_else(|| StorageError::corrupt("log key", format!("{key:02x?}")))?;
    let damaged = || StorageError::corrupt("log entry", format!("{index} of group {group}"));
    let (checksum, rest) = split_checksum(value, "log entry")?;
    let (term, payload) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let term = u64::from_be_bytes(*term);
    if checksum != crc32c::crc32c_append(entry_checksum_seed(group, index, term), payload) {
        return Err(damaged());
    }
    let payload = Bytes::copy_from_slice(payload);
    Ok(LogEntry { index, term, payload })
}

#[cfg(test)]
mod tests;
