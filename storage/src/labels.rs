//! The one spelling of a series: canonical label bytes, their hash and their shard.
//!
//! Labels are sorted by name (byte order), every name is there once, labels with an empty value are
//! dropped (in Prometheus's data model an empty label and no label are the same). Each label is written as
//! `varint(length of name) name varint(length of value) value`. `__name__` is a label like any other.
//! Two label sets mean the same series exactly when these bytes are equal, so the bytes are the key that is
//! hashed, stored and sent.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::error::{Error, LabelError, Result};
use crate::varint::{self, Cursor};

/// A shard's number, dense from 0.
pub type ShardId = u32;

/// A series's number in its shard: dense, assigned in log order, never reused within a shard incarnation.
pub type SeriesId = u32;

/// SipHash-1-3-128 of the canonical label bytes under the cluster's [`HashKey`].
pub type SeriesHash = u128;

/// Labels a series may have, those with empty values not counted.
pub const LABELS_MAX: usize = 256;
/// Bytes of a label name.
pub const NAME_BYTES_MAX: usize = 1024;
/// Bytes of a label value.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a refused name or value that an error message quotes.
const QUOTED_BYTES: usize = 64;

/// The secret of the cluster under which series are hashed, so that nobody can craft colliding series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HashKey(…)")
    }
}

/// Sorts `labels` in place, drops those with an empty value, checks them and appends their canonical bytes
/// to `out`. On an error `out` is as it was.
pub fn canonicalize(labels: &mut Vec<(&str, &str)>, out: &mut Vec<u8>) -> Result<(), LabelError> {
    if labels.iter().any(|(_, value)| value.is_empty()) {
        labels.retain(|(_, value)| !value.is_empty());
    }
    if !labels.is_sorted_by(|left, right| left.0 < right.0) {
        labels.sort_unstable_by(|left, right| left.0.cmp(right.0));
    }
    check(labels)?;
    for (name, value) in labels.iter() {
        put_string(out, name);
        put_string(out, value);
    }
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn check(labels: &[(&str, &str)]) -> Result<(), LabelError> {
    if labels.is_empty() {
        return Err(LabelError::Empty);
    }
    if labels.len() > LABELS_MAX {
        return Err(LabelError::TooMany { count: labels.len(), max: LABELS_MAX });
    }
    for (position, (name, value)) in labels.iter().enumerate() {
        check_label(name, value)?;
        if position > 0 && labels[position - 1].0 == *name {
            return Err(LabelError::Duplicate { name: quoted(name) });
        }
    }
    Ok(())
}

fn check_label(name: &str, value: &str) -> Result<(), LabelError> {
    if name.is_empty() {
        return Err(LabelError::EmptyName { value: quoted(value) });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(LabelError::NameTooLong { start: quoted(name), bytes: name.len(), max: NAME_BYTES_MAX });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(LabelError::ValueTooLong { name: quoted(name), bytes: value.len(), max: VALUE_BYTES_MAX });
    }
    Ok(())
}

/// The beginning of `text`, short enough for a message.
fn quoted(text: &str) -> String {
    text[..text.floor_char_boundary(QUOTED_BYTES)].to_owned()
}

/// Checks that `bytes` from outside are canonical label bytes to the letter.
pub fn validate(bytes: &[u8]) -> Result<()> {
    let mut cursor = Cursor::new(bytes, "label set");
    let mut previous = "";
    let mut count = 0;
    while !cursor.is_empty() {
        let (name, value) = next_label(&mut cursor)?;
        check_label(name, value)?;
        if value.is_empty() || (count > 0 && name <= previous) {
            return Err(cursor.corrupt("not in canonical order"));
        }
        previous = name;
        count += 1;
        if count > LABELS_MAX {
            return Err(cursor.corrupt("too many labels"));
        }
    }
    if count == 0 {
        return Err(Error::Labels(LabelError::Empty));
    }
    Ok(())
}

fn next_label<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, &'a str)> {
    Ok((next_string(cursor)?, next_string(cursor)?))
}

fn next_string<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str> {
    let before = cursor.rest().len();
    let length = cursor.count(VALUE_BYTES_MAX)?;
    if before - cursor.rest().len() != varint::len(length as u64) {
        return Err(cursor.corrupt("a padded length"));
    }
    std::str::from_utf8(cursor.take(length)?).map_err(|_| cursor.corrupt("not UTF-8"))
}

/// The labels in canonical bytes, by name. Bytes that are not canonical end the iteration early; check
/// foreign bytes with [`validate`] first.
pub fn iter(bytes: &[u8]) -> Iter<'_> {
    Iter { cursor: Cursor::new(bytes, "label set") }
}

/// See [`iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        next_label(&mut self.cursor).ok()
    }
}

/// The value of the label `name`, if the series has it.
pub fn get<'a>(bytes: &'a [u8], name: &str) -> Option<&'a str> {
    iter(bytes).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The hash of canonical label bytes. Equal hashes are taken for equal series: at 128 keyed bits a
/// collision among a billion series has a chance of about 10^-21.
pub fn hash(key: &HashKey, canonical: &[u8]) -> SeriesHash {
    let mut hasher = SipHasher13::new_with_key(&key.0);
    hasher.write(canonical);
    hasher.finish128().as_u128()
}

/// The shard of a series: the hash's upper half mapped evenly over `shards`, so that contiguous hash ranges
/// stay together. Hash tables should use the lower half.
#[inline]
pub fn shard_of(hash: SeriesHash, shards: u32) -> ShardId {
    let upper = hash >> 64;
    ((upper * u128::from(shards)) >> 64) as ShardId
}

#[cfg(test)]
mod tests;
