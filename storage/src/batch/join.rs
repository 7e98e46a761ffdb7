//! Several batches in one log entry: `varint(count)`, then `varint(length) batch` each.
//!
//! The leader joins what waits for the same shard. Parts stay as they were sent, each under its own
//! checksum, and each gets its own outcome.

use bytes::Bytes;

use crate::error::Result;
use crate::varint::{self, Cursor};

/// The most parts in one entry.
const PARTS_MAX: usize = 1 << 16;

/// Joins batches into one payload. Even a single batch is joined, so that apply sees one format.
///
/// # Panics
/// With more than 65536 parts.
pub fn join(batches: &[Bytes]) -> Bytes {
    assert!(batches.len() <= PARTS_MAX, "{} batches in one entry, at most {PARTS_MAX}", batches.len());
    let total: usize = batches.iter().map(|batch| batch.len() + varint::VARINT_BYTES_MAX).sum();
    let mut out = Vec::with_capacity(total + varint::VARINT_BYTES_MAX);
    varint::put(&mut out, batches.len() as u64);
    for batch in batches {
        varint::put(&mut out, batch.len() as u64);
        out.extend_from_slice(batch);
    }
    out.into()
}

/// The parts of a joined payload in order. An error means that the entry is no join at all; whether a part
/// is a good batch is seen when it is parsed.
pub fn parts(payload: &[u8]) -> Result<Parts<'_>> {
    let mut cursor = Cursor::new(payload, "joined batches");
    let count = cursor.count(PARTS_MAX)?;
    let mut walk = cursor;
    for _ in 0..count {
        next_part(&mut walk)?;
    }
    if !walk.is_empty() {
        return Err(walk.corrupt("bytes left over"));
    }
    Ok(Parts { cursor, remaining: count })
}

fn next_part<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let length = cursor.count(usize::MAX)?;
    cursor.take(length)
}

/// Iterator over the parts; see [`parts`].
pub struct Parts<'a> {
    cursor: Cursor<'a>,
    remaining: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.remaining == 0 {
            return None;
        }
        self.remaining -= 1;
        next_part(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Parts<'_> {}
