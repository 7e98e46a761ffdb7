//! Values: decimal integers where they are decimals, their own bits as integers where they are not.
//!
//! ```text
//! head (1)      exponent (5 bits; 31: the doubles' bits) | patches flag | constant flag
//! [patches]     varint(count) { varint(gap << 1 | stale) [raw bits (8)] }
//! first         signed mantissa, or the raw bits (8)
//! [sequence]    the rest, unless constant; see `integers`
//! ```
//! A patch is a value that the chunk's exponent cannot express: a stale marker, another NaN, an infinity, -0.0
//! or a stray double of full precision. In the sequence its place is taken by what disturbs it least.
//!
//! The bits of doubles are put in numeric order first ([`decimal::ordered`]), so that neighbouring values are
//! neighbouring integers; frames of reference, differences and common divisors then do for them what
//! ALP-RD's dictionaries do (doubles that were floats divide by 2^29).

use super::integers::{self, Sequence};
use crate::decimal;
use crate::error::Result;
use crate::varint::{self, Cursor};

/// The value of a series that has ended, as Prometheus marks it.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

const EXPONENT_MASK: u8 = 31;
const EXPONENT_BITS: u8 = 31;
const FLAG_PATCHES: u8 = 1 << 5;
const FLAG_CONSTANT: u8 = 1 << 6;

/// At most one value in so many may be a patch before the bits are taken instead.
const PATCH_SHARE: usize = 12;
/// A decimal encoding that takes more bytes a sample than this is compared with the bits.
const DECIMAL_BYTES_FINE: usize = 4;

/// What a series's previous chunk teaches about its next: one byte to keep per series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hint(u8);

impl Hint {
    /// The hint as a byte, to be kept in compact per-series state.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// A hint from [`Self::to_byte`]; any byte is a valid hint, a wrong one costs time only.
    pub fn from_byte(byte: u8) -> Self {
        Self(byte)
    }
}

/// Encodes columns of values. Holds buffers only.
#[derive(Default)]
pub(super) struct Encoder {
    mantissas: Vec<i64>,
    patches: Vec<usize>,
    trial: Vec<u8>,
}

impl Encoder {
    /// Appends `values` (at least one) to `out`.
    pub(super) fn encode(&mut self, values: &[f64], hint: &mut Hint, integers: &mut integers::Encoder, out: &mut Vec<u8>) {
        let Some(exponent) = self.take_mantissas(values, *hint) else {
            hint.0 = EXPONENT_BITS;
            return encode_bits(&mut self.mantissas, values, integers, out);
        };
        hint.0 = exponent;
        let start = out.len();
        self.encode_decimals(values, exponent, integers, out);
        if out.len() - start > values.len() * DECIMAL_BYTES_FINE + 16 {
            self.trial.clear();
            encode_bits(&mut self.mantissas, values, integers, &mut self.trial);
            if self.trial.len() < out.len() - start {
                out.truncate(start);
                out.extend_from_slice(&self.trial);
            }
        }
    }

    /// Fills mantissas and patches; answers their exponent, or none when the values are no decimals.
    fn take_mantissas(&mut self, values: &[f64], hint: Hint) -> Option<u8> {
        self.patches.clear();
        if hint.0 <= decimal::EXPONENT_MAX && self.all_at(values, hint.0) {
            return Some(hint.0);
        }
        let exponent = self.choose_exponent(values)?;
        self.fill_at(values, exponent);
        Some(exponent)
    }

    /// Fills the mantissas if all values are exact at `exponent`.
    fn all_at(&mut self, values: &[f64], exponent: u8) -> bool {
        self.mantissas.clear();
        let power = decimal::power(exponent);
        for &value in values {
            let found = if exponent == 0 { decimal::integer(value) } else { decimal::mantissa(value, power) };
            match found {
                Some(mantissa) => self.mantissas.push(mantissa),
                None => return false,
            }
        }
        true
    }

    /// The smallest exponent at which all but a few values are exact.
    fn choose_exponent(&self, values: &[f64]) -> Option<u8> {
        let allowed = patches_max(values.len());
        let mut counts = [0usize; decimal::EXPONENT_MAX as usize + 1];
        let mut misses = 0;
        for &value in values {
            match decimal::smallest(value) {
                Some((exponent, _)) => counts[usize::from(exponent)] += 1,
                // A stale marker takes a byte only, so any number of them is fine.
                None if value.to_bits() == STALE_MARKER_BITS => {}
                None => {
                    misses += 1;
                    if misses > allowed {
                        return None;
                    }
                }
            }
        }
        // Patches cost nine bytes each, digits about half a byte a value: trade downwards from the largest.
        let mut exponent = counts.iter().rposition(|&count| count > 0)?;
        while exponent > 0 {
            let lower = counts[..exponent].iter().rposition(|&count| count > 0)?;
            let moved = counts[exponent];
            if misses + moved > allowed || moved * 72 > (exponent - lower) * 3 * values.len() {
                break;
            }
            misses += moved;
            exponent = lower;
        }
        Some(exponent as u8)
    }

    /// Fills mantissas at `exponent`; values that are not exact there become patches.
    fn fill_at(&mut self, values: &[f64], exponent: u8) {
        self.mantissas.clear();
        let power = decimal::power(exponent);
        for (index, &value) in values.iter().enumerate() {
            let found = if exponent == 0 { decimal::integer(value) } else { decimal::mantissa(value, power) };
            let mantissa = found.unwrap_or_else(|| {
                self.patches.push(index);
                continued(&self.mantissas)
            });
            self.mantissas.push(mantissa);
        }
        let leading = self.patches.iter().enumerate().take_while(|(order, index)| *order == **index).count();
        if let Some(&first) = self.mantissas.get(leading) {
            self.mantissas[..leading].fill(first);
        }
    }

    fn encode_decimals(&mut self, values: &[f64], exponent: u8, integers: &mut integers::Encoder, out: &mut Vec<u8>) {
        let constant = self.mantissas.iter().all(|&mantissa| mantissa == self.mantissas[0]);
        let mut head = exponent;
        if !self.patches.is_empty() {
            head |= FLAG_PATCHES;
        }
        if constant {
            head |= FLAG_CONSTANT;
        }
        out.push(head);
        if !self.patches.is_empty() {
            put_patches(&self.patches, values, out);
        }
        varint::put_signed(out, self.mantissas[0]);
        if !constant {
            integers.encode(&self.mantissas, out);
        }
    }
}

fn patches_max(count: usize) -> usize {
    count / PATCH_SHARE + 1
}

/// A stand-in after `mantissas`: the last difference goes on, so that neither predictor nor divisor suffers.
fn continued(mantissas: &[i64]) -> i64 {
    match mantissas {
        [.., before, last] => last.wrapping_add(last.wrapping_sub(*before)),
        [only] => *only,
        [] => 0,
    }
}

fn put_patches(patches: &[usize], values: &[f64], out: &mut Vec<u8>) {
    varint::put(out, patches.len() as u64);
    let mut expected = 0;
    for &position in patches {
        let bits = values[position].to_bits();
        let stale = bits == STALE_MARKER_BITS;
        varint::put(out, ((position - expected) as u64) << 1 | u64::from(stale));
        if !stale {
            out.extend_from_slice(&bits.to_le_bytes());
        }
        expected = position + 1;
    }
}

fn encode_bits(mantissas: &mut Vec<i64>, values: &[f64], integers: &mut integers::Encoder, out: &mut Vec<u8>) {
    mantissas.clear();
    mantissas.extend(values.iter().map(|value| decimal::ordered(value.to_bits())));
    let constant = mantissas.iter().all(|&mantissa| mantissa == mantissas[0]);
    out.push(EXPONENT_BITS | if constant { FLAG_CONSTANT } else { 0 });
    out.extend_from_slice(&values[0].to_bits().to_le_bytes());
    if !constant {
        integers.encode(mantissas, out);
    }
}

/// Appends `count` (at least one) values to `values`. On an error what was appended is unspecified.
pub(super) fn decode(cursor: &mut Cursor<'_>, count: usize, values: &mut Vec<f64>) -> Result<()> {
    let head = cursor.byte()?;
    let patches = match head & FLAG_PATCHES {
        0 => None,
        _ => Some(skip_patches(cursor, count)?),
    };
    let start = values.len();
    values.reserve(count);
    match head & EXPONENT_MASK {
        EXPONENT_BITS => {
            let first = decimal::ordered(u64::from_le_bytes(cursor.array()?));
            decode_numbers(cursor, head, count, first, values, |number| f64::from_bits(decimal::unordered(number)))?;
        }
        0 => {
            let first = cursor.signed()?;
            decode_numbers(cursor, head, count, first, values, |number| number as f64)?;
        }
        exponent if exponent <= decimal::EXPONENT_MAX => {
            let first = cursor.signed()?;
            let power = decimal::power(exponent);
            decode_numbers(cursor, head, count, first, values, |number| decimal::small_to_double(number) / power)?;
        }
        _ => return Err(cursor.corrupt("unknown exponent")),
    }
    match patches {
        Some(patches) => apply_patches(patches, &mut values[start..]),
        None => Ok(()),
    }
}

#[inline(always)]
fn decode_numbers(
    cursor: &mut Cursor<'_>,
    head: u8,
    count: usize,
    first: i64,
    values: &mut Vec<f64>,
    convert: impl Fn(i64) -> f64,
) -> Result<()> {
    if head & FLAG_CONSTANT != 0 || count == 1 {
        values.extend(std::iter::repeat_n(convert(first), count));
        return Ok(());
    }
    let sequence = Sequence::parse(cursor, count)?;
    sequence.decode(first, |elements| values.extend(elements.iter().map(|&element| convert(element))))
}

/// Steps over the patches and answers a cursor at their beginning.
fn skip_patches<'a>(cursor: &mut Cursor<'a>, count: usize) -> Result<Cursor<'a>> {
    let patches = *cursor;
    for _ in 0..cursor.count(count)? {
        if cursor.varint()? & 1 == 0 {
            cursor.take(8)?;
        }
    }
    Ok(patches)
}

fn apply_patches(mut cursor: Cursor<'_>, values: &mut [f64]) -> Result<()> {
    let mut position = 0;
    for _ in 0..cursor.count(values.len())? {
        let step = cursor.varint()?;
        position += ((step >> 1) as usize).min(super::SAMPLES_MAX);
        let bits = if step & 1 != 0 { STALE_MARKER_BITS } else { u64::from_le_bytes(cursor.array()?) };
        *values.get_mut(position).ok_or_else(|| cursor.corrupt("a patch beyond the end"))? = f64::from_bits(bits);
        position += 1;
    }
    Ok(())
}
