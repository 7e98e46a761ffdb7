//! The column of values: decimal mantissas of 0 to 7 bytes, a nibble each for their length, and exponents
//! that hold for a run of values. What is no decimal travels as its raw eight bytes.
//!
//! Layout: `varint(length of exponents)`, exponents as `byte(exponent) varint(run length)` over the whole
//! column, the nibbles (two a byte, lower first), the mantissas as zigzag integers, least significant byte
//! first. Nibbles: 0 is zero, 1 to 7 is a mantissa of so many bytes, 8 is a raw double, 9 is the mantissa 1.

use super::Columns;
use crate::decimal;
use crate::error::Result;
use crate::varint::{self, Cursor};

const CODE_RAW: u8 = 8;
const CODE_ONE: u8 = 9;
const CODES: usize = 10;

/// Bytes that follow for each nibble.
const LENGTHS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0];
/// Which bits of an eight-byte load belong to the mantissa.
const MASKS: [u64; 16] = masks();
/// The zigzag mantissa that a nibble stands for by itself.
const IMPLIED: [u64; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, varint::zigzag(1), 0, 0, 0, 0, 0, 0];

const fn masks() -> [u64; 16] {
    let mut masks = [0; 16];
    let mut code = 1;
    while code <= 8 {
        masks[code] = u64::MAX >> (64 - 8 * code);
        code += 1;
    }
    masks
}

/// Buffers of the encoder, kept between batches.
#[derive(Default)]
pub(super) struct Encoder {
    exponents: Vec<u8>,
    codes: Vec<u8>,
    mantissas: Vec<u8>,
}

impl Encoder {
    /// Appends the column to `out`.
    pub(super) fn encode(&mut self, values: &[f64], out: &mut Vec<u8>) {
        self.exponents.clear();
        self.codes.clear();
        self.codes.resize(values.len() + 1, 0);
        self.mantissas.clear();
        self.mantissas.resize(values.len() * 8 + 8, 0);
        let written = self.write_values(values);
        varint::put(out, self.exponents.len() as u64);
        out.extend_from_slice(&self.exponents);
        out.extend(self.codes[..values.len().next_multiple_of(2)].chunks_exact(2).map(|pair| pair[0] | pair[1] << 4));
        out.extend_from_slice(&self.mantissas[..written]);
    }

    /// Fills codes and mantissas; answers the bytes of mantissas.
    fn write_values(&mut self, values: &[f64]) -> usize {
        let mut position = 0;
        let mut exponent = 0;
        let mut power = 1.0;
        let mut run_start = 0;
        for (index, &value) in values.iter().enumerate() {
            let mut found = at_exponent(value, exponent, power);
            let leave = found.is_none() || (exponent > 0 && integers_follow(&values[index..]));
            if leave && let Some((better, mantissa)) = decimal::smallest(value).filter(|(_, mantissa)| fits(*mantissa)) {
                found = Some(mantissa);
                if better != exponent {
                    self.end_run(exponent, index - run_start);
                    (exponent, power, run_start) = (better, decimal::power(better), index);
                }
            }
            let (code, payload) = match found {
                Some(mantissa) => code_of(mantissa),
                None => (CODE_RAW, value.to_bits()),
            };
            self.codes[index] = code;
            self.mantissas[position..position + 8].copy_from_slice(&payload.to_le_bytes());
            position += usize::from(LENGTHS[usize::from(code)]);
        }
        self.end_run(exponent, values.len() - run_start);
        position
    }

    fn end_run(&mut self, exponent: u8, length: usize) {
        if length > 0 {
            self.exponents.push(exponent);
            varint::put(&mut self.exponents, length as u64);
        }
    }
}

/// The mantissa at the current exponent, if it is exact there and worth writing as one.
#[inline]
fn at_exponent(value: f64, exponent: u8, power: f64) -> Option<i64> {
    if exponent == 0 {
        return decimal::integer(value).filter(|&mantissa| fits(mantissa));
    }
    decimal::mantissa(value, power)
}

/// Mantissas have at most seven bytes.
#[inline]
fn fits(mantissa: i64) -> bool {
    varint::zigzag(mantissa) >> 56 == 0
}

/// Whether the next values are whole numbers, so that leaving the exponent pays.
#[inline]
fn integers_follow(values: &[f64]) -> bool {
    values.len() >= 3 && values[..3].iter().all(|&value| value != 0.0 && decimal::integer(value).is_some())
}

#[inline]
fn code_of(mantissa: i64) -> (u8, u64) {
    let payload = varint::zigzag(mantissa);
    if mantissa == 1 {
        return (CODE_ONE, payload);
    }
    ((71 - payload.leading_zeros() as u8) / 8, payload)
}

/// Appends exactly `count` values to `values`. The caller has bounded `count`.
pub(super) fn decode(cursor: &mut Cursor<'_>, count: usize, values: &mut Vec<f64>) -> Result<()> {
    let exponents_length = cursor.varint()?.min(usize::MAX as u64) as usize;
    let mut exponents = Cursor::new(cursor.take(exponents_length)?, Columns::FORMAT);
    let codes = cursor.take(count.div_ceil(2))?;
    if codes.iter().any(|pair| usize::from(pair & 15) >= CODES || usize::from(pair >> 4) >= CODES) {
        return Err(cursor.corrupt("a value has an unknown length"));
    }
    let mut reader = MantissaReader { bytes: cursor.rest(), position: 0 };
    values.reserve(count);
    let mut done = 0;
    while done < count {
        let exponent = exponents.byte()?;
        let length = exponents.count(count - done)?;
        if exponent > decimal::EXPONENT_MAX || length == 0 {
            return Err(cursor.corrupt("an exponent run is out of range"));
        }
        let run = done..done + length;
        if exponent == 0 {
            reader.read_run(codes, run, values, |mantissa| mantissa as f64);
        } else {
            let power = decimal::power(exponent);
            reader.read_run(codes, run, values, |mantissa| mantissa as f64 / power);
        }
        done += length;
    }
    cursor.take(reader.position)?;
    if exponents.is_empty() { Ok(()) } else { Err(cursor.corrupt("a column has exponents left over")) }
}

/// Walks the mantissas. Reading past the end gives zeros and is noticed by the caller from `position`.
struct MantissaReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl MantissaReader<'_> {
    #[inline]
    fn read_run(&mut self, codes: &[u8], run: std::ops::Range<usize>, values: &mut Vec<f64>, convert: impl Fn(i64) -> f64) {
        values.extend(run.map(|index| {
            let code = codes[index / 2] >> (index % 2 * 4) & 15;
            let word = self.next(code);
            let mantissa = varint::unzigzag(word | IMPLIED[usize::from(code)]);
            if code == CODE_RAW { f64::from_bits(word) } else { convert(mantissa) }
        }));
    }

    #[inline]
    fn next(&mut self, code: u8) -> u64 {
        let word = match self.bytes.get(self.position..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => self.last_word(),
        };
        self.position += usize::from(LENGTHS[usize::from(code)]);
        word & MASKS[usize::from(code)]
    }

    #[cold]
    fn last_word(&self) -> u64 {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let mut padded = [0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(padded)
    }
}
