//! The few numbers of a sequence that do not fit their block's width: where they are and what they lack.
//!
//! ```text
//! varint(count)  orders (1: gap order 4 bits | upper order 3 bits | signed flag)  varint(length)
//! stream of `length` bytes: per exception the gap to the one before and the upper bits, as Golomb codes
//! ```
//! In a series that changes now and then, every change is an exception of a block of width 0, so a typical one takes
//! a byte: the codes' orders are chosen to fit the chunk. Upper bits are never zero; when none is negative
//! (below the reference) they are written less one, else as zigzag numbers.

use crate::bits::{self, BitReader, BitWriter};
use crate::error::Result;
use crate::varint::{self, Cursor};

const GAP_ORDER_MAX: u32 = 15;
const UPPER_ORDER_MAX: u32 = 7;
const UPPER_SHIFT: u32 = 4;
const SIGNED: u8 = 1 << 7;

/// From here on a number is written as this code and its 64 bits.
const ESCAPE: u64 = 1 << 62;

/// The exceptions of one sequence while it is encoded.
#[derive(Default)]
pub(super) struct Exceptions {
    /// Numbers between this exception and the one before.
    gaps: Vec<u64>,
    uppers: Vec<i64>,
    expected: usize,
    stream: Vec<u8>,
}

impl Exceptions {
    pub(super) fn clear(&mut self) {
        self.gaps.clear();
        self.uppers.clear();
        self.expected = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Adds the exception at `position`, which is beyond the one before.
    #[inline]
    pub(super) fn push(&mut self, position: usize, upper: i64) {
        self.gaps.push((position - self.expected) as u64);
        self.uppers.push(upper);
        self.expected = position + 1;
    }

    /// Appends all to `out`.
    pub(super) fn put(&mut self, out: &mut Vec<u8>) {
        let signed = self.uppers.iter().any(|&upper| upper < 0);
        let code = |upper: i64| if signed { varint::zigzag(upper) } else { upper as u64 - 1 };
        let gap_order = best_order(self.gaps.iter().copied(), GAP_ORDER_MAX);
        let upper_order = best_order(self.uppers.iter().map(|&upper| code(upper)), UPPER_ORDER_MAX);
        self.stream.clear();
        let mut writer = BitWriter::new(&mut self.stream);
        for (&gap, &upper) in self.gaps.iter().zip(&self.uppers) {
            writer.put_golomb(gap, gap_order);
            let upper = code(upper);
            writer.put_golomb(upper.min(ESCAPE), upper_order);
            if upper >= ESCAPE {
                writer.put(upper, 64);
            }
        }
        writer.finish();
        varint::put(out, self.gaps.len() as u64);
        out.push((gap_order | upper_order << UPPER_SHIFT) as u8 | if signed { SIGNED } else { 0 });
        varint::put(out, self.stream.len() as u64);
        out.extend_from_slice(&self.stream);
    }
}

/// The order at which `numbers` take the fewest bits; it lies near the logarithm of their mean.
fn best_order(numbers: impl ExactSizeIterator<Item = u64> + Clone, most: u32) -> u32 {
    let sum = numbers.clone().fold(0u64, |sum, number| sum.saturating_add(number));
    let middle = bits::bit_length(sum / numbers.len().max(1) as u64);
    let cost = |order: &u32| numbers.clone().map(|number| u64::from(bits::golomb_length(number.min(ESCAPE), *order))).sum::<u64>();
    (middle.saturating_sub(2).min(most)..=(middle + 1).min(most)).min_by_key(cost).unwrap_or(0)
}

/// Exceptions still to come while a sequence is decoded.
pub(super) struct Remaining<'a> {
    stream: BitReader<'a>,
    orders: u8,
    remaining: usize,
    what: Cursor<'a>,
    /// The position of the next one; `usize::MAX` when there is none left.
    pub(super) position: usize,
    /// What the next one lacks.
    pub(super) upper: i64,
}

impl<'a> Remaining<'a> {
    /// No exceptions.
    pub(super) fn none(cursor: &Cursor<'a>) -> Self {
        Self { stream: BitReader::new(&[]), orders: 0, remaining: 0, what: *cursor, position: usize::MAX, upper: 0 }
    }

    /// Reads the frame of at most `most` exceptions and the first of them.
    pub(super) fn parse(cursor: &mut Cursor<'a>, most: usize) -> Result<Self> {
        let remaining = cursor.count(most)?;
        let orders = cursor.byte()?;
        let length = cursor.count(usize::MAX)?;
        let stream = BitReader::new(cursor.take(length)?);
        let mut exceptions = Self { stream, orders, remaining, what: *cursor, position: usize::MAX, upper: 0 };
        exceptions.advance()?;
        Ok(exceptions)
    }

    /// Steps to the next one.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<()> {
        if self.remaining == 0 {
            self.position = usize::MAX;
            return Ok(());
        }
        self.remaining -= 1;
        let order = u32::from(self.orders);
        let pair = self.stream.take_golomb_pair(order & GAP_ORDER_MAX, order >> UPPER_SHIFT & UPPER_ORDER_MAX);
        let Some((gap, mut upper)) = pair.filter(|&(gap, _)| gap < super::SAMPLES_MAX as u64) else { return Err(self.damaged()) };
        if upper == ESCAPE {
            upper = self.stream.take(64);
        }
        // Positions start at "one before the first", so that the sum wraps once.
        self.position = self.position.wrapping_add(1).wrapping_add(gap as usize);
        self.upper = if self.orders & SIGNED != 0 { varint::unzigzag(upper) } else { upper.wrapping_add(1) as i64 };
        Ok(())
    }

    #[cold]
    pub(super) fn damaged(&self) -> crate::error::Error {
        self.what.corrupt("an exception is out of place")
    }
}
