//! The payload of a Raft entry: samples on their way from the gateway into every replica's head.
//!
//! A batch is encoded once, by the node that took the request, and is sent, logged and fsynced verbatim; only
//! `apply` decodes it. It holds definitions of new series (canonical label bytes) and samples in columns:
//! targets, timestamps, values. A target is the shard's series number or, for a new series, the position of
//! its definition in this batch, because a number is assigned only when the entry is applied.
//!
//! ```text
//! batch     crc32c (4, little endian, of all that follows)  version (1)  policy (1)  section*
//! section   varint(tag)  varint(length)  body
//!   1 definitions       varint(count)  { varint(length) canonical label bytes }
//!   2 samples of new    columns
//!   3 samples of known  columns
//!   4 histograms of 2   { varint(length) encoded histogram }, one for each marker among the values, in their order
//!   5 histograms of 3   likewise
//!   6 exemplars, 7 metadata, 8 deletions: see `beside`
//! columns   varint(count)  varint(length) targets as runs  varint(length) timestamps as runs  values
//! ```
//!
//! A histogram is a marker among the values ([`crate::histogram`]) and a payload beside them; a batch in which the two do not agree,
//! or whose histograms no validation would let pass, is malformed as a whole.
//!
//! Exemplars, metadata and start timestamps will be further sections. A section that a
//! node does not know is an error and not skipped: replicas that apply the same log must end up the same.
//! Several batches merged into one log entry are a [`join`].

pub(crate) mod beside;
mod builder;
mod join;
mod numbers;
mod reader;
mod runs;

#[cfg(test)]
mod tests;

pub use beside::{Deletion, ExemplarTarget};
pub use builder::{BatchBuilder, NewSeries};
pub use join::{Parts, join, parts};
pub use reader::BatchReader;

use std::sync::Arc;

/// The most samples in one batch.
pub const SAMPLES_MAX: usize = 1 << 22;
/// The most new series in one batch.
pub const NEW_SERIES_MAX: usize = 1 << 20;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

const SECTION_DEFINITIONS: u64 = 1;
const SECTION_NEW_SAMPLES: u64 = 2;
const SECTION_KNOWN_SAMPLES: u64 = 3;
const SECTION_NEW_HISTOGRAMS: u64 = 4;
const SECTION_KNOWN_HISTOGRAMS: u64 = 5;
const SECTION_EXEMPLARS: u64 = 6;
const SECTION_METADATA: u64 = 7;
const SECTION_DELETIONS: u64 = 8;

/// Targets usually count up within a scrape; timestamps usually repeat.
const TARGET_STEP: i64 = 1;
const TIMESTAMP_STEP: i64 = 0;

/// What becomes of a sample whose series has another value at the same timestamp already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The later one in log order replaces the earlier one.
    LastWriteWins,
    /// The earlier one stays; the later one is counted as a conflict. Prometheus's way.
    Reject,
}

impl ConflictPolicy {
    fn to_byte(self) -> u8 {
        match self {
            Self::LastWriteWins => 0,
            Self::Reject => 1,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::LastWriteWins),
            1 => Some(Self::Reject),
            _ => None,
        }
    }
}

/// Samples in columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// A series number, or for samples of new series the position of the definition.
    pub targets: Vec<u32>,
    /// Unix milliseconds.
    pub timestamps: Vec<i64>,
    /// Any bit pattern. That of a histogram is its marker.
    pub values: Vec<f64>,
    /// The encoded forms of those samples that are histograms, in their order.
    pub histograms: Vec<Arc<[u8]>>,
}

impl Columns {
    const FORMAT: &'static str = "batch";

    /// Samples held.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.targets.clear();
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
    }

    #[inline]
    fn push(&mut self, target: u32, timestamp_ms: i64, value: f64) {
        self.targets.push(target);
        self.timestamps.push(timestamp_ms);
        self.values.push(value);
    }
}
