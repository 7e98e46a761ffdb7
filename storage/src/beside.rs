//! Exemplars and metadata of a shard, and how far in the log they have come.
//!
//! Their durable form says which entry it reaches, and entries up to there do nothing to it. So it may be written at any moment,
//! also newer than the shard's marker: replay and the log behind a snapshot bring the same content, though the ring forgets.

use crate::error::Result;
use crate::exemplar::{Exemplar, Metadata};
use crate::exemplar_ring::{ExemplarFate, ExemplarRing};
use crate::labels::SeriesId;
use crate::metric_metadata::MetricMetadata;
use crate::series_set::SeriesSet;
use crate::varint::{self, Cursor};

const FORMAT: &str = "exemplars and metadata";

/// See the module's story.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The last entry of the log that is in here.
    upto: u64,
    /// Counts changes, so that who makes them durable knows whether there were more.
    changes: u64,
    durable_changes: u64,
    pub exemplars: ExemplarRing,
    pub metadata: MetricMetadata,
}

/// What one batch of an entry brings.
pub(crate) struct BesideBatch<'a> {
    /// Exemplars of existing series.
    pub exemplars: &'a mut dyn Iterator<Item = (SeriesId, &'a Exemplar)>,
    pub metadata: &'a [Metadata],
    /// Series with the ranges of time that deletions take away, after the others were taken.
    pub deleted: &'a [(SeriesSet, i64, i64)],
    /// The exemplars that the shard may keep.
    pub exemplars_max: usize,
}

/// What became of a batch's exemplars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BesideTally {
    pub kept: u64,
    pub out_of_order: u64,
}

impl Beside {
    /// Applies one batch of the entry `index`. Of an entry that is in here already nothing changes, and nothing is counted.
    pub fn apply(&mut self, index: u64, batch: BesideBatch<'_>) -> BesideTally {
        let mut tally = BesideTally::default();
        if index <= self.upto {
            return tally;
        }
        let mut changed = false;
        for (series, exemplar) in batch.exemplars {
            match self.exemplars.push(series, exemplar, batch.exemplars_max) {
                ExemplarFate::Kept => {
                    changed = true;
                    tally.kept += 1;
                }
                ExemplarFate::Duplicate => tally.kept += 1,
                ExemplarFate::OutOfOrder => tally.out_of_order += 1,
            }
        }
        for metadata in batch.metadata {
            changed |= self.metadata.push(metadata);
        }
        for (series, start_ms, end_ms) in batch.deleted {
            changed |= self.exemplars.remove(series, *start_ms, *end_ms);
        }
        self.changes += u64::from(changed);
        tally
    }

    /// The entry `index` has been applied with all its batches.
    pub fn reached(&mut self, index: u64) {
        self.upto = self.upto.max(index);
    }

    /// Whether the durable form is not the content.
    pub fn is_changed(&self) -> bool {
        self.changes > self.durable_changes
    }

    /// The durable form, and what to tell [`Self::is_durable`] when it is on disk; `None` when it is there.
    pub fn encode_changed(&self) -> Option<(Vec<u8>, u64)> {
        self.is_changed().then(|| (self.encode(), self.changes))
    }

    /// The durable form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, self.upto);
        self.exemplars.encode(&mut out);
        self.metadata.encode(&mut out);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The form with so many changes is on disk.
    pub fn is_durable(&mut self, changes: u64) {
        self.durable_changes = self.durable_changes.max(changes);
    }

    /// Reads a durable form.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes, FORMAT);
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| cursor.corrupt("too short"))?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
            return Err(cursor.corrupt("checksum differs"));
        }
        cursor = Cursor::new(content, FORMAT);
        let upto = cursor.varint()?;
        let exemplars = ExemplarRing::decode(&mut cursor)?;
        let metadata = MetricMetadata::decode(&mut cursor)?;
        if !cursor.is_empty() {
            return Err(cursor.corrupt("bytes left over"));
        }
        Ok(Self { upto, changes: 0, durable_changes: 0, exemplars, metadata })
    }
}
