//! RocksDB's own form of a batch, read back: eight bytes of sequence, four of count, then records.
//!
//! A record is a tag and its slices, each with its length as a varint before it (RocksDB, `db/write_batch.cc`). Only the
//! records of the default family are known here: batches for named families never take this form on their way to memory.

use std::sync::Arc;

use crate::fault::{Result, StorageError};
use crate::memory_disk::Action;

const HEADER_BYTES: usize = 12;
const TAG_DELETE: u8 = 0x0;
const TAG_PUT: u8 = 0x1;
const TAG_DELETE_RANGE: u8 = 0xF;

/// What a batch does to the default family, in its order.
pub(super) fn actions(batch: &[u8]) -> Result<Vec<Action>> {
    let mut rest = batch.get(HEADER_BYTES..).unwrap_or_default();
    let mut actions = Vec::new();
    while let Some((&tag, body)) = rest.split_first() {
        rest = body;
        actions.push(match tag {
            TAG_DELETE => Action::Delete(slice(&mut rest)?.to_vec()),
            TAG_PUT => Action::Put(slice(&mut rest)?.to_vec(), Arc::from(slice(&mut rest)?)),
            TAG_DELETE_RANGE => Action::DeleteRange(slice(&mut rest)?.to_vec(), slice(&mut rest)?.to_vec()),
            _ => return Err(StorageError::corrupt("batch", format!("record with tag {tag}"))),
        });
    }
    Ok(actions)
}

fn slice<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let short = || StorageError::corrupt("batch", "a slice ends early");
    let mut length = 0usize;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or_else(short)?;
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let (slice, after) = rest.split_at_checked(length).ok_or_else(short)?;
            *rest = after;
            return Ok(slice);
        }
    }
    Err(short())
}
