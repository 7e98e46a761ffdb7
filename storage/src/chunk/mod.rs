//! The chunk: 1 to 8192 consecutive samples of one series in as few bytes as possible, lossless.
//!
//! ```text
//! chunk    head (1: version 2 bits | kind of timestamps 2 bits | 4 bits reserved, 0)
//!          varint(count)  timestamps or the id of a shared block  values  checksum (1 or 2)
//! ```
//!
//! **Timestamps.** Series of one scrape have the same timestamps. When these are irregular they cost more than the
//! values, so a store may write them once as a *times block* ([`Encoder::encode_times`], [`TimesView`]) and
//! refer to it from each chunk by a number of its choice ([`Encoder::encode_shared`]). Regular timestamps
//! ([`is_regular`]) are as small inline. Either way they are relative to `base_ms`, the start of the time bucket
//! the chunk is filed under; use 0 for a chunk that must stand alone (three bytes more).
//!
//! **Aggregates** are not stored. For 120 to 2000 samples they cost 5 to 30 % of the chunk and save a decode of
//! 0.1 to 2 µs, less than fetching the chunk costs; [`ChunkView::aggregates`] computes them.
//!
//! **Checksum.** The lower one (up to 47 bytes) or two bytes of CRC-32C over all bytes before it, checked by
//! [`ChunkView::parse`]. RocksDB's blocks carry 64 bits of XXH3 for the way to the disk and back; this one covers
//! the way from the encoder to the file and from the block cache to the reader, where it catches what repeats
//! itself and two bytes more would be a tenth of a small chunk.
//!
//! Decoding never panics, whatever the bytes: counts are capped, and every read is bounds-checked.

mod aggregates;
mod exceptions;
mod residuals;
mod integers;
mod times;
mod values;

#[cfg(test)]
mod tests;

pub use aggregates::Aggregates;
pub use values::{Hint, STALE_MARKER_BITS};

use crate::error::{Error, Result};
use crate::varint::{self, Cursor};
use times::{Kind, Times};

/// The most samples in one chunk.
pub const SAMPLES_MAX: usize = 8192;

const FORMAT: &str = "chunk";
const VERSION: u8 = 0;
const VERSION_MASK: u8 = 3;
const KIND_SHIFT: u8 = 2;
const HEAD_USED: u8 = 0x0f;
/// From this length of the body on the checksum has two bytes.
const LONG_BODY_BYTES: usize = 48;

/// Whether `timestamps` are equally far apart, so that they take a few bytes inline and need not be shared.
pub fn is_regular(timestamps: &[i64]) -> bool {
    Kind::of(timestamps) != Kind::Irregular
}

/// Encodes chunks. Holds only buffers, which it keeps between chunks; use one per thread.
#[derive(Default)]
pub struct Encoder {
    integers: integers::Encoder,
    values: values::Encoder,
}

impl Encoder {
    /// An encoder with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a chunk of 1 to [`SAMPLES_MAX`] samples to `out`, with its timestamps.
    ///
    /// # Panics
    /// When the columns differ in length or hold no or too many samples.
    pub fn encode(&mut self, base_ms: i64, timestamps: &[i64], values: &[f64], hint: &mut Hint, out: &mut Vec<u8>) {
        assert_eq!(timestamps.len(), values.len(), "columns of a chunk");
        let start = out.len();
        let kind = Kind::of(timestamps);
        put_head(kind, values.len(), out);
        times::encode(kind, base_ms, timestamps, &mut self.integers, out);
        self.values.encode(values, hint, &mut self.integers, out);
        put_checksum(start, out);
    }

    /// Appends a chunk whose timestamps are in the times block `times`. They must be as many as `values`.
    ///
    /// # Panics
    /// When there are no or too many values.
    pub fn encode_shared(&mut self, times: u32, values: &[f64], hint: &mut Hint, out: &mut Vec<u8>) {
        let start = out.len();
        put_head(Kind::Shared, values.len(), out);
        varint::put(out, u64::from(times));
        self.values.encode(values, hint, &mut self.integers, out);
        put_checksum(start, out);
    }

    /// Appends a times block of 1 to [`SAMPLES_MAX`] timestamps to `out`.
    ///
    /// # Panics
    /// When there are no or too many.
    pub fn encode_times(&mut self, base_ms: i64, timestamps: &[i64], out: &mut Vec<u8>) {
        let start = out.len();
        let kind = Kind::of(timestamps);
        put_head(kind, timestamps.len(), out);
        times::encode(kind, base_ms, timestamps, &mut self.integers, out);
        put_checksum(start, out);
    }
}

/// Single columns in the same encodings, for formats that are built from several.
impl Encoder {
    /// Appends timestamps; their kind takes a byte of its own.
    pub(crate) fn put_times(&mut self, base_ms: i64, timestamps: &[i64], out: &mut Vec<u8>) {
        let kind = Kind::of(timestamps);
        out.push(kind.to_bits());
        times::encode(kind, base_ms, timestamps, &mut self.integers, out);
    }

    /// Appends values.
    pub(crate) fn put_values(&mut self, values: &[f64], hint: &mut Hint, out: &mut Vec<u8>) {
        self.values.encode(values, hint, &mut self.integers, out);
    }

    /// Appends integers.
    pub(crate) fn put_integers(&mut self, integers: &[i64], out: &mut Vec<u8>) {
        integers::put_column(&mut self.integers, integers, out);
    }
}

/// Reads what [`Encoder::put_times`] wrote.
pub(crate) fn take_times(cursor: &mut Cursor<'_>, base_ms: i64, count: usize, timestamps: &mut Vec<i64>) -> Result<()> {
    match Kind::from_bits(cursor.byte()?) {
        Kind::Shared => Err(cursor.corrupt("shared timestamps where there can be none")),
        kind => Times::parse(cursor, kind, base_ms, count)?.decode_into(count, timestamps),
    }
}

/// Reads what [`Encoder::put_values`] wrote.
pub(crate) fn take_values(cursor: &mut Cursor<'_>, count: usize, values: &mut Vec<f64>) -> Result<()> {
    values::decode(cursor, count, values)
}

/// Reads what [`Encoder::put_integers`] wrote.
pub(crate) fn take_integers(cursor: &mut Cursor<'_>, count: usize, integers: &mut Vec<i64>) -> Result<()> {
    integers::take_column(cursor, count, integers)
}

fn put_head(kind: Kind, count: usize, out: &mut Vec<u8>) {
    assert!((1..=SAMPLES_MAX).contains(&count), "{count} samples in a chunk");
    out.push(VERSION | kind.to_bits() << KIND_SHIFT);
    varint::put(out, count as u64);
}

fn put_checksum(start: usize, out: &mut Vec<u8>) {
    let length = checksum_bytes(out.len() - start);
    let checksum = crc32c::crc32c(&out[start..]).to_le_bytes();
    out.extend_from_slice(&checksum[..length]);
}

/// Bytes of the checksum after a body of this length.
fn checksum_bytes(body_length: usize) -> usize {
    if body_length < LONG_BODY_BYTES { 1 } else { 2 }
}

/// The body of a chunk whose checksum is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let body_length = bytes.len().checked_sub(if bytes.len() <= LONG_BODY_BYTES { 1 } else { 2 })?;
    let (body, checksum) = bytes.split_at(body_length);
    let expected = crc32c::crc32c(body).to_le_bytes();
    expected.starts_with(checksum).then_some(body)
}

/// Checks checksum and head; answers kind, count and a cursor at the timestamps.
fn open(bytes: &[u8]) -> Result<(Kind, usize, Cursor<'_>)> {
    let corrupt = |detail| Error::Corrupt { what: FORMAT, detail };
    let body = checked(bytes).ok_or(corrupt("checksum differs"))?;
    let mut cursor = Cursor::new(body, FORMAT);
    let head = cursor.byte()?;
    if head & VERSION_MASK != VERSION || head & !HEAD_USED != 0 {
        return Err(Error::Unsupported { what: "chunk version", found: u64::from(head) });
    }
    match cursor.count(SAMPLES_MAX)? {
        0 => Err(corrupt("no samples")),
        count => Ok((Kind::from_bits(head >> KIND_SHIFT), count, cursor)),
    }
}

/// A chunk whose checksum is right.
pub struct ChunkView<'a> {
    count: usize,
    times: TimesSource<'a>,
    /// Begins at the values.
    values: Cursor<'a>,
}

enum TimesSource<'a> {
    Inline(Times<'a>),
    Shared(u32),
}

/// Where the timestamps of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimesPlace {
    /// In the chunk.
    Inline {
        /// The first timestamp.
        first_ms: i64,
        /// The last timestamp.
        last_ms: i64,
    },
    /// In the times block of this number.
    Shared(u32),
}

impl<'a> ChunkView<'a> {
    /// Opens a chunk that was encoded with the same `base_ms`. Checks the checksum and reads the head.
    pub fn parse(bytes: &'a [u8], base_ms: i64) -> Result<Self> {
        let (kind, count, mut cursor) = open(bytes)?;
        let times = match kind {
            Kind::Shared => TimesSource::Shared(cursor.count(u32::MAX as usize)? as u32),
            _ => TimesSource::Inline(Times::parse(&mut cursor, kind, base_ms, count)?),
        };
        Ok(Self { count, times, values: cursor })
    }

    /// Samples in the chunk, from 1 to [`SAMPLES_MAX`].
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where the timestamps are.
    pub fn times(&self) -> TimesPlace {
        match &self.times {
            TimesSource::Inline(times) => TimesPlace::Inline { first_ms: times.first_ms, last_ms: times.last_ms },
            TimesSource::Shared(id) => TimesPlace::Shared(*id),
        }
    }

    /// Appends the samples of a chunk that has its own timestamps. On an error what was appended is unspecified.
    pub fn decode_into(&self, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<()> {
        self.decode_times_into(timestamps)?;
        self.decode_values_into(values)
    }

    /// Appends the timestamps of a chunk that has its own.
    pub fn decode_times_into(&self, timestamps: &mut Vec<i64>) -> Result<()> {
        match &self.times {
            TimesSource::Inline(times) => times.decode_into(self.count, timestamps),
            TimesSource::Shared(_) => Err(self.values.corrupt("the timestamps are in a shared block")),
        }
    }

    /// Appends the values.
    pub fn decode_values_into(&self, values: &mut Vec<f64>) -> Result<()> {
        let mut cursor = self.values;
        values::decode(&mut cursor, self.count, values)?;
        if cursor.is_empty() { Ok(()) } else { Err(cursor.corrupt("bytes left over")) }
    }

    /// Aggregates over the values, with `scratch` as room to decode into; none when all are stale markers.
    pub fn aggregates(&self, scratch: &mut Vec<f64>) -> Result<Option<Aggregates>> {
        scratch.clear();
        self.decode_values_into(scratch)?;
        Ok(Aggregates::of(scratch))
    }
}

/// A times block whose checksum is right.
pub struct TimesView<'a> {
    count: usize,
    times: Times<'a>,
}

impl<'a> TimesView<'a> {
    /// Opens a times block that was encoded with the same `base_ms`.
    pub fn parse(bytes: &'a [u8], base_ms: i64) -> Result<Self> {
        let (kind, count, mut cursor) = open(bytes)?;
        if kind == Kind::Shared {
            return Err(cursor.corrupt("a times block that refers to another"));
        }
        let times = Times::parse(&mut cursor, kind, base_ms, count)?;
        if cursor.is_empty() { Ok(Self { count, times }) } else { Err(cursor.corrupt("bytes left over")) }
    }

    /// Timestamps in the block.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first timestamp.
    pub fn first_ms(&self) -> i64 {
        self.times.first_ms
    }

    /// The last timestamp.
    pub fn last_ms(&self) -> i64 {
        self.times.last_ms
    }

    /// Appends the timestamps. On an error what was appended is unspecified.
    pub fn decode_into(&self, timestamps: &mut Vec<i64>) -> Result<()> {
        self.times.decode_into(self.count, timestamps)
    }
}
