//! Timestamps: a regular interval in three to five bytes, anything else as integers.
//!
//! ```text
//! kind in the head   Shared: varint(id of the times block)
//!                    Seconds / Milliseconds: signed(first - base) varint(interval in that unit)
//!                    Irregular: signed(first - base) varint(last - first) sequence
//! ```
//! A single timestamp is `Seconds` without the interval. The base is the start of the time bucket that the
//! chunk is stored under; whoever keeps a chunk knows it, so its bytes are saved.

use super::integers::{self, Sequence};
use crate::error::Result;
use crate::varint::{self, Cursor};

/// How timestamps are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Shared,
    Seconds,
    Milliseconds,
    Irregular,
}

impl Kind {
    pub(super) fn to_bits(self) -> u8 {
        match self {
            Self::Shared => 0,
            Self::Seconds => 1,
            Self::Milliseconds => 2,
            Self::Irregular => 3,
        }
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Shared,
            1 => Self::Seconds,
            2 => Self::Milliseconds,
            _ => Self::Irregular,
        }
    }

    /// The plainest kind for `timestamps`.
    pub(super) fn of(timestamps: &[i64]) -> Self {
        let Some(interval) = regular_interval(timestamps) else { return Self::Irregular };
        if interval % 1000 == 0 { Self::Seconds } else { Self::Milliseconds }
    }
}

/// The interval when all neighbours are equally far apart and in order; 0 for a single one.
fn regular_interval(timestamps: &[i64]) -> Option<i64> {
    let [first, second, ..] = timestamps else { return Some(0) };
    let interval = second.checked_sub(*first).filter(|interval| *interval >= 0)?;
    let regular = timestamps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == interval);
    regular.then_some(interval)
}

/// Appends `timestamps` (at least one) as `kind`.
pub(super) fn encode(kind: Kind, base_ms: i64, timestamps: &[i64], integers: &mut integers::Encoder, out: &mut Vec<u8>) {
    let first = timestamps[0];
    varint::put_signed(out, first.wrapping_sub(base_ms));
    if timestamps.len() == 1 {
        return;
    }
    match kind {
        // Invariant: the kind comes from `Kind::of`, which never answers this one.
        Kind::Shared => unreachable!("shared timestamps are written by their id"),
        Kind::Seconds => varint::put(out, (timestamps[1] - first) as u64 / 1000),
        Kind::Milliseconds => varint::put(out, (timestamps[1] - first) as u64),
        Kind::Irregular => {
            varint::put(out, timestamps[timestamps.len() - 1].wrapping_sub(first) as u64);
            integers.encode(timestamps, out);
        }
    }
}

/// Parsed timestamps of a chunk that has its own, or of a shared block.
pub(super) struct Times<'a> {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    body: Body<'a>,
}

enum Body<'a> {
    Regular { interval_ms: i64 },
    Irregular { bytes: Cursor<'a> },
}

impl<'a> Times<'a> {
    /// Reads `count` (at least one) timestamps of `kind`, which is not shared.
    pub(super) fn parse(cursor: &mut Cursor<'a>, kind: Kind, base_ms: i64, count: usize) -> Result<Self> {
        let first_ms = base_ms.wrapping_add(cursor.signed()?);
        if count == 1 {
            return Ok(Self { first_ms, last_ms: first_ms, body: Body::Regular { interval_ms: 0 } });
        }
        let number = cursor.varint()? as i64;
        if kind == Kind::Irregular {
            let bytes = *cursor;
            Sequence::parse(cursor, count)?;
            return Ok(Self { first_ms, last_ms: first_ms.wrapping_add(number), body: Body::Irregular { bytes } });
        }
        let interval_ms = number.wrapping_mul(if kind == Kind::Seconds { 1000 } else { 1 });
        let last_ms = first_ms.wrapping_add(interval_ms.wrapping_mul(count as i64 - 1));
        Ok(Self { first_ms, last_ms, body: Body::Regular { interval_ms } })
    }

    /// Appends the timestamps.
    pub(super) fn decode_into(&self, count: usize, timestamps: &mut Vec<i64>) -> Result<()> {
        timestamps.reserve(count);
        match self.body {
            Body::Regular { interval_ms } => {
                let at = |index| self.first_ms.wrapping_add(interval_ms.wrapping_mul(index));
                timestamps.extend((0..count as i64).map(at));
                Ok(())
            }
            Body::Irregular { bytes } => {
                let mut cursor = bytes;
                let sequence = Sequence::parse(&mut cursor, count)?;
                sequence.decode(self.first_ms, |elements| timestamps.extend_from_slice(elements))
            }
        }
    }
}
