//! The sending end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{KIND_CHUNKS, KIND_END, KIND_RECORD, KIND_SERIES, RECORD_ACTIVE, RECORD_BESIDE, RECORD_TOMBSTONES, Totals, close_frame};
use crate::catalog;
use crate::fault::Result;
use crate::keys::{FAMILY_RAW_PREFIX, RunEntry, day_of_family, family_of_day};
use crate::rocks::Caching;
use crate::state::ShardState;
use crate::varint;

/// A frame is closed when it has this many bytes; one entry more may be in it.
const FRAME_BYTES: usize = 960 << 10;
/// Length of the owner in a key; the receiver has its own.
const OWNER_BYTES: usize = 8;

/// Frames of a shard's durable image, one after the other. See the module's story.
pub struct SnapshotReader {
    state: Arc<ShardState>,
    series_count: u32,
    days: Vec<i64>,
    tombstones: Vec<u8>,
    stage: Stage,
    totals: Totals,
}

/// What comes next.
enum Stage {
    /// Definitions from this series on.
    Series(u32),
    /// Entries of a day (by position in the list of days) from this key on.
    Chunks(usize, Vec<u8>),
    /// What remains of these records, the next one last.
    Records(Vec<Record>),
    /// The closing frame.
    End,
    /// Nothing.
    Done,
}

/// A record on its way: what of its value has not been sent.
struct Record {
    kind: u8,
    key: Vec<u8>,
    rest: Vec<u8>,
}

impl SnapshotReader {
    pub(crate) fn new(state: Arc<ShardState>) -> Result<Self> {
        let series_count = state.durable_series.load(Ordering::Relaxed);
        let tombstones = state.run_list().tombstones.encode();
        let families = state.core.rocks.families(FAMILY_RAW_PREFIX)?;
        let mut days: Vec<i64> = families.iter().filter_map(|family| day_of_family(family)).collect();
        days.sort_unstable();
        Ok(Self { state, series_count, days, tombstones, stage: Stage::Series(0), totals: Totals::default() })
    }

    /// The next frame, of about 1 MiB at most; `None` after the last.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>> {
        let frame = self.read_frame();
        self.state.noting(frame)
    }

    fn read_frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            let frame = match stage {
                Stage::Series(first) => self.series_frame(first)?,
                Stage::Chunks(day, from) => self.chunks_frame(day, from)?,
                Stage::Records(records) => self.record_frame(records),
                Stage::End => {
                    let mut frame = vec![KIND_END];
                    frame.extend_from_slice(&self.totals.encode());
                    Some(frame)
                }
                Stage::Done => return Ok(None),
            };
            if let Some(mut frame) = frame {
                let checksum = close_frame(&mut frame);
                self.totals.add_frame(checksum);
                return Ok(Some(frame.into()));
            }
        }
    }

    /// Definitions from `first` on; `None` when there are no more.
    fn series_frame(&mut self, first: u32) -> Result<Option<Vec<u8>>> {
        if first >= self.series_count {
            self.stage = Stage::Chunks(0, self.state.owner.prefix().to_vec());
            return Ok(None);
        }
        let mut frame = vec![KIND_SERIES];
        varint::put(&mut frame, u64::from(first));
        let mut next = first;
        let end = self.series_count;
        catalog::read_definitions_from(&self.state.core.rocks, self.state.owner, first, |series, metric, canonical| {
            if series >= end {
                return Ok(false);
            }
            varint::put(&mut frame, u64::from(metric));
            varint::put(&mut frame, canonical.len() as u64);
            frame.extend_from_slice(canonical);
            next = series + 1;
            Ok(frame.len() < FRAME_BYTES)
        })?;
        self.totals.series += u64::from(next - first);
        // A series missing on disk would end this loop early: go on only if there was progress.
        self.stage = Stage::Series(if next == first { end } else { next });
        Ok(Some(frame))
    }

    /// Entries from the key `from` on; `None` when the day has no more.
    fn chunks_frame(&mut self, day: usize, from: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let Some(&number) = self.days.get(day) else {
            self.stage = Stage::Records(self.records());
            return Ok(None);
        };
        let owner = self.state.owner;
        let following = Stage::Chunks(day + 1, owner.prefix().to_vec());
        let (rocks, family) = (&self.state.core.rocks, family_of_day(number));
        if !rocks.has_family(&family) {
            // It expired meanwhile.
            self.stage = following;
            return Ok(None);
        }
        let mut frame = vec![KIND_CHUNKS];
        let mut scan = rocks.scan(&family, &from, Some(&owner.end()), Caching::Bypass)?;
        while let Some((key, value)) = scan.item()? {
            if frame.len() >= FRAME_BYTES {
                self.stage = Stage::Chunks(day, key.to_vec());
                return Ok(Some(frame));
            }
            // Series that became durable after the export began come with the log.
            let is_later = matches!(RunEntry::parse(key)?, RunEntry::Chunk(_, place) if place.series >= self.series_count);
            if !is_later {
                for bytes in [&key[OWNER_BYTES..], value] {
                    varint::put(&mut frame, bytes.len() as u64);
                    frame.extend_from_slice(bytes);
                }
                self.totals.entries += 1;
            }
            scan.advance();
        }
        self.stage = following;
        Ok((frame.len() > 1).then_some(frame))
    }

    /// All records; there are always some.
    fn records(&mut self) -> Vec<Record> {
        let tombstones = Record { kind: RECORD_TOMBSTONES, key: Vec::new(), rest: std::mem::take(&mut self.tombstones) };
        let beside = Record { kind: RECORD_BESIDE, key: Vec::new(), rest: self.state.beside.lock().encode() };
        let mut records = vec![tombstones, beside];
        let index = self.state.index.read();
        records.extend(index.active_days().map(|(day, series)| {
            let key = day.to_be_bytes().to_vec();
            Record { kind: RECORD_ACTIVE, key, rest: series.to_bytes() }
        }));
        records
    }

    /// The next part of the last record; `None` when there are no more.
    fn record_frame(&mut self, mut records: Vec<Record>) -> Option<Vec<u8>> {
        let Some(record) = records.last_mut() else {
            self.stage = Stage::End;
            return None;
        };
        let mut frame = vec![KIND_RECORD, record.kind];
        varint::put(&mut frame, record.key.len() as u64);
        frame.extend_from_slice(&record.key);
        let rest = record.rest.split_off(record.rest.len().min(FRAME_BYTES));
        frame.append(&mut record.rest);
        record.rest = rest;
        if record.rest.is_empty() {
            records.pop();
        }
        self.stage = Stage::Records(records);
        Some(frame)
    }
}
