//! The small records beside the chunks: shards, series definitions, newest times, activity.
//!
//! Written in one batch per seal and then flushed. A crash may leave these records newer than the Raft
//! log's applied marker; replay then meets definitions that are there already, and they get the numbers
//! they had.

use crate::fault::{Result, StorageError};
use crate::index::MetricId;
use crate::keys::{FAMILY_META, FAMILY_SERIES, Owner};
use crate::labels::{SeriesId, ShardId};
use crate::rocks::{Batch, Caching, Durability, Rocks};
use crate::seeded_bug::SeededBug;
use crate::series_set::SeriesSet;
use crate::varint::{self, Cursor};

const KIND_DEFINITION: u8 = 1;
const KIND_TIMES_MAX: u8 = 2;
const KIND_ACTIVE: u8 = 3;
const KIND_TOMBSTONES: u8 = 4;
const KIND_BESIDE: u8 = 5;
const KIND_SEAL: u8 = 6;

/// Series whose newest times stand in one record.
const TIMES_MAX_SERIES: usize = 4096;
/// A batch is written when it reaches this size.
const BATCH_BYTES: usize = 4 << 20;
/// Days are counted from this far before 1970, so that their keys sort.
const DAY_BIAS: i64 = 1 << 62;

/// What is stored about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardRecord {
    /// The incarnation it was created under; another one is another shard.
    pub incarnation: u64,
    /// The generation its content lies under.
    pub generation: u32,
}

/// Records of which an owner has one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    /// What deletions hide in runs.
    Tombstones,
    /// Exemplars and metadata.
    Beside,
    /// The number of the last seal, little endian.
    Seal,
}

impl Record {
    fn kind(self) -> u8 {
        match self {
            Self::Tombstones => KIND_TOMBSTONES,
            Self::Beside => KIND_BESIDE,
            Self::Seal => KIND_SEAL,
        }
    }
}

/// The records of one owner being written.
pub(crate) struct CatalogWriter<'a> {
    rocks: &'a Rocks,
    owner: Owner,
    batch: Batch,
    value: Vec<u8>,
}

impl<'a> CatalogWriter<'a> {
    /// Starts writing.
    pub fn new(rocks: &'a Rocks, owner: Owner) -> Self {
        Self { rocks, owner, batch: Batch::default(), value: Vec::new() }
    }

    /// Writes a series' definition. Definitions are written in the order of their numbers, so that a
    /// crash leaves a gapless beginning.
    pub fn put_definition(&mut self, series: SeriesId, metric: MetricId, canonical: &[u8]) -> Result<()> {
        self.value.clear();
        self.value.extend_from_slice(&metric.to_le_bytes());
        self.value.extend_from_slice(canonical);
        let key = self.owner.record(KIND_DEFINITION, &series.to_be_bytes());
        self.batch.put(self.rocks, FAMILY_SERIES, &key, &self.value)?;
        self.write_if(BATCH_BYTES)
    }

    /// Writes the newest times of all series, by number.
    pub fn put_times_max(&mut self, times: &[i64]) -> Result<()> {
        for (block, times) in times.chunks(TIMES_MAX_SERIES).enumerate() {
            self.value.clear();
            let mut previous = 0;
            for &time in times {
                varint::put_signed(&mut self.value, time.wrapping_sub(previous));
                previous = time;
            }
            let key = self.owner.record(KIND_TIMES_MAX, &(block as u32).to_be_bytes());
            self.batch.put(self.rocks, FAMILY_SERIES, &key, &self.value)?;
        }
        self.write_if(BATCH_BYTES)
    }

    /// Writes the series active in a day.
    pub fn put_active(&mut self, day: i64, series: &SeriesSet) -> Result<()> {
        let key = self.owner.record(KIND_ACTIVE, &day_key(day));
        self.batch.put(self.rocks, FAMILY_SERIES, &key, &series.to_bytes())
    }

    /// Writes a record of which there is one.
    pub fn put_record(&mut self, record: Record, bytes: &[u8]) -> Result<()> {
        let key = self.owner.record(record.kind(), &[]);
        self.batch.put(self.rocks, FAMILY_SERIES, &key, bytes)?;
        self.write_if(BATCH_BYTES)
    }

    /// Removes the activity of all days before this one.
    pub fn remove_active_before(&mut self, day: i64) -> Result<()> {
        let from = self.owner.record(KIND_ACTIVE, &[]);
        let to = self.owner.record(KIND_ACTIVE, &day_key(day));
        self.batch.delete_range(self.rocks, FAMILY_SERIES, &from, &to)
    }

    /// Writes what is left; durable with the next `finish`.
    pub fn submit(mut self) -> Result<()> {
        self.write_if(0)
    }

    /// Makes everything durable.
    pub fn finish(mut self) -> Result<()> {
        self.write_if(0)?;
        if SeededBug::SnapshotNotSynced.is_on() {
            return Ok(());
        }
        self.rocks.flush(FAMILY_SERIES)
    }

    fn write_if(&mut self, bytes: usize) -> Result<()> {
        if self.batch.bytes() < bytes {
            return Ok(());
        }
        self.rocks.write(std::mem::take(&mut self.batch), Durability::Unlogged)
    }
}

/// Calls `each` with every definition, in the order of numbers: (series, metric, canonical label bytes).
pub(crate) fn read_definitions(rocks: &Rocks, owner: Owner, mut each: impl FnMut(SeriesId, MetricId, &[u8]) -> Result<()>) -> Result<()> {
    read_definitions_from(rocks, owner, 0, |series, metric, canonical| each(series, metric, canonical).map(|()| true))
}

/// As `read_definitions`, from one series on, while `each` answers true.
pub(crate) fn read_definitions_from(
    rocks: &Rocks,
    owner: Owner,
    first: SeriesId,
    mut each: impl FnMut(SeriesId, MetricId, &[u8]) -> Result<bool>,
) -> Result<()> {
    let from = owner.record(KIND_DEFINITION, &first.to_be_bytes());
    let mut scan = rocks.scan(FAMILY_SERIES, &from, Some(&owner.record(KIND_DEFINITION + 1, &[])), Caching::Bypass)?;
    while let Some((key, value)) = scan.item()? {
        let series = u32::from_be_bytes(tail(key)?);
        let damaged = || StorageError::corrupt("series definition", format!("{series} of {owner:?}"));
        let (metric, canonical) = value.split_first_chunk::<4>().ok_or_else(damaged)?;
        if !each(series, u32::from_le_bytes(*metric), canonical)? {
            break;
        }
        scan.advance();
    }
    Ok(())
}

/// The newest times of all series, by number, as of the last seal.
pub(crate) fn read_times_max(rocks: &Rocks, owner: Owner) -> Result<Vec<i64>> {
    let from = owner.record(KIND_TIMES_MAX, &[]);
    let mut scan = rocks.scan(FAMILY_SERIES, &from, Some(&owner.record(KIND_TIMES_MAX + 1, &[])), Caching::Bypass)?;
    let mut times = Vec::new();
    while let Some((key, value)) = scan.item()? {
        let block = u32::from_be_bytes(tail(key)?) as usize;
        if block * TIMES_MAX_SERIES != times.len() {
            return Err(StorageError::corrupt("newest times", format!("block {block} of {owner:?} behind {}", times.len())));
        }
        let mut cursor = Cursor::new(value, "newest times");
        let mut previous: i64 = 0;
        while !cursor.is_empty() {
            previous = previous.wrapping_add(cursor.signed()?);
            times.push(previous);
        }
        scan.advance();
    }
    Ok(times)
}

/// Calls `each` with every day's active series.
pub(crate) fn read_active(rocks: &Rocks, owner: Owner, mut each: impl FnMut(i64, SeriesSet)) -> Result<()> {
    let from = owner.record(KIND_ACTIVE, &[]);
    let mut scan = rocks.scan(FAMILY_SERIES, &from, Some(&owner.record(KIND_ACTIVE + 1, &[])), Caching::Bypass)?;
    while let Some((key, value)) = scan.item()? {
        let day = i64::from_be_bytes(tail(key)?).wrapping_sub(DAY_BIAS);
        let series = SeriesSet::from_bytes(value);
        each(day, series.ok_or_else(|| StorageError::corrupt("active series", format!("day {day} of {owner:?}")))?);
        scan.advance();
    }
    Ok(())
}

/// A record of which there is one, if it was written.
pub(crate) fn read_record(rocks: &Rocks, owner: Owner, record: Record) -> Result<Option<Vec<u8>>> {
    rocks.get(FAMILY_SERIES, &owner.record(record.kind(), &[]))
}

/// Removes all records of an owner.
pub(crate) fn remove_records(rocks: &Rocks, owner: Owner) -> Result<()> {
    let mut batch = Batch::default();
    batch.delete_range(rocks, FAMILY_SERIES, &owner.prefix(), &owner.end())?;
    rocks.write(batch, Durability::Unlogged)
}

/// All generations of a shard that have records.
pub(crate) fn generations(rocks: &Rocks, shard: ShardId) -> Result<Vec<u32>> {
    let end = Owner { shard, generation: u32::MAX }.end();
    let mut scan = rocks.scan(FAMILY_SERIES, &Owner { shard, generation: 0 }.prefix(), Some(&end), Caching::Bypass)?;
    let mut found = Vec::new();
    while let Some((key, _)) = scan.item()? {
        let head = key.get(4..8).and_then(|bytes| bytes.try_into().ok());
        let generation = u32::from_be_bytes(head.ok_or_else(|| StorageError::corrupt("record key", format!("{key:02x?}")))?);
        found.push(generation);
        scan.seek(&Owner { shard, generation }.end());
    }
    Ok(found)
}

/// The record of one shard.
pub(crate) fn read_shard(rocks: &Rocks, shard: ShardId) -> Result<Option<ShardRecord>> {
    let Some(value) = rocks.get(FAMILY_META, &shard_key(shard))? else {
        return Ok(None);
    };
    let mut cursor = Cursor::new(&value, "shard record");
    let incarnation = u64::from_le_bytes(cursor.array()?);
    let generation = u32::from_le_bytes(cursor.array()?);
    Ok(Some(ShardRecord { incarnation, generation }))
}

/// Sets (or without a record removes) what is stored about a shard, durably.
pub(crate) fn write_shard(rocks: &Rocks, shard: ShardId, record: Option<ShardRecord>) -> Result<()> {
    let value = record.map(|record| {
        let mut value = record.incarnation.to_le_bytes().to_vec();
        value.extend_from_slice(&record.generation.to_le_bytes());
        value
    });
    write_fact(rocks, &shard_key(shard), value.as_deref())
}

/// Sets (or removes) a fact of the engine, durably.
pub(crate) fn write_fact(rocks: &Rocks, key: &[u8], value: Option<&[u8]>) -> Result<()> {
    let mut batch = Batch::default();
    match value {
        Some(value) => batch.put(rocks, FAMILY_META, key, value)?,
        None => batch.delete(rocks, FAMILY_META, key)?,
    }
    rocks.write(batch, Durability::Unlogged)?;
    rocks.flush(FAMILY_META)
}

fn shard_key(shard: ShardId) -> Vec<u8> {
    let mut key = b"shard ".to_vec();
    key.extend_from_slice(&shard.to_be_bytes());
    key
}

fn day_key(day: i64) -> [u8; 8] {
    day.wrapping_add(DAY_BIAS).to_be_bytes()
}

/// The part of a record's key behind owner and kind.
fn tail<const N: usize>(key: &[u8]) -> Result<[u8; N]> {
    let bytes = key.get(9..).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| StorageError::corrupt("record key", format!("{key:02x?}")))
}
