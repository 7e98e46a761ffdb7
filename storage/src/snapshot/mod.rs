//! A shard's durable image as a stream of frames, for a replica that lags too far behind or is new.
//!
//! The image is what is on disk, read page by page while the shard goes on working. It holds at least
//! everything that was durable when the export began, and may hold parts of later seals; the receiver
//! replays the log from there, and replay over newer data changes nothing. Nothing is pinned meanwhile:
//! a compaction in between moves samples to a run that the export still has before it.
//!
//! ```text
//! frame   kind (1)  body  crc32c of all before (4, little endian)
//!   1 series   varint(first number)  { varint(metric)  varint(length) canonical label bytes }
//!   2 chunks   { varint(length) key behind the owner  varint(length) value }
//!   4 record   kind (1)  varint(length) key  a part of the value: parts of one record follow each other
//!   3 end      varint(series)  varint(entries)  xxh3 of the checksums of all frames before (8)
//! ```
//!
//! The records are what seals write beside definitions and chunks. Tombstones are those of the moment at which the export began:
//! deletions that came later come with the log, and runs written later hold nothing that those hide. Activity, exemplars and
//! metadata are those of the end.

mod reader;
mod writer;

pub use reader::SnapshotReader;
pub(crate) use writer::SnapshotWriter;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Error;
use crate::fault::{Result, StorageError};
use crate::varint::{self, Cursor};

const KIND_SERIES: u8 = 1;
const KIND_CHUNKS: u8 = 2;
const KIND_END: u8 = 3;
const KIND_RECORD: u8 = 4;

/// Kinds of records.
const RECORD_ACTIVE: u8 = 1;
const RECORD_TOMBSTONES: u8 = 2;
const RECORD_BESIDE: u8 = 3;

const CHECKSUM_BYTES: usize = 4;
const FORMAT: &str = "snapshot frame";

/// What both ends count, and compare at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    series: u64,
    entries: u64,
    /// Over the checksums of all frames, so that a frame that is missing, doubled or moved is noticed.
    hash: u64,
}

impl Totals {
    fn add_frame(&mut self, checksum: u32) {
        self.hash = xxh3_64_with_seed(&checksum.to_le_bytes(), self.hash);
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        varint::put(&mut body, self.series);
        varint::put(&mut body, self.entries);
        body.extend_from_slice(&self.hash.to_le_bytes());
        body
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        Ok(Self { series: cursor.varint()?, entries: cursor.varint()?, hash: u64::from_le_bytes(cursor.array()?) })
    }
}

/// Closes a frame: appends its checksum.
fn close_frame(frame: &mut Vec<u8>) -> u32 {
    let checksum = crc32c::crc32c(frame);
    frame.extend_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Opens a frame: (kind, body, checksum).
fn open_frame(frame: &[u8]) -> Result<(u8, Cursor<'_>, u32)> {
    let damaged = |detail: &str| StorageError::corrupt(FORMAT, detail);
    let (content, checksum) = frame.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("too short"))?;
    let checksum = u32::from_le_bytes(*checksum);
    if crc32c::crc32c(content) != checksum {
        return Err(damaged("checksum differs"));
    }
    let (kind, body) = content.split_first().ok_or_else(|| damaged("empty"))?;
    Ok((*kind, Cursor::new(body, FORMAT), checksum))
}
