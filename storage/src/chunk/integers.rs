//! A sequence of integers in few bits: predict, divide by the common factor, pack what is left.
//!
//! The first element is the caller's business. Differences to it are divided by their greatest common
//! divisor; then the predictor that leaves the least is chosen ([`Predictor`]), and its residuals are packed
//! by the plan of [`super::residuals`]. All arithmetic wraps, so every sequence of 64-bit integers comes
//! back, whatever it holds.
//!
//! ```text
//! shape (1)       predictor (2 bits) | flags
//! [varint gcd] [signed slope] [signed first difference] [signed reference]
//! widths          1 byte, or 1 a block
//! [exceptions]    see `exceptions`
//! blocks          64 residuals each, packed; the last one may be shorter
//! ```

use super::exceptions::{Exceptions, Remaining};
use super::residuals::{self, Histogram, Mapping, Plan, Planner};
use crate::bits::{self, BLOCK};
use crate::error::Result;
use crate::varint::{self, Cursor};

const FLAG_GCD: u8 = 1 << 2;
const FLAG_ABOVE: u8 = 1 << 3;
const FLAG_REFERENCE: u8 = 1 << 4;
const FLAG_SLOPE: u8 = 1 << 5;
const FLAG_UNIFORM: u8 = 1 << 6;
const FLAG_EXCEPTIONS: u8 = 1 << 7;

/// Bits of a slope after the point.
const SLOPE_BITS: u32 = 16;
/// A slope is only tried where the last difference leaves room for its fraction.
const SLOPE_REACH: i64 = 1 << 44;

/// What an element is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Predictor {
    /// The first element plus position times slope; without slope a frame of reference.
    Level { slope: i64 },
    /// The element before.
    Previous,
    /// The element before plus the difference before.
    Trend,
}

impl Predictor {
    fn to_bits(self) -> u8 {
        match self {
            Self::Level { .. } => 0,
            Self::Previous => 1,
            Self::Trend => 2,
        }
    }

    /// Elements at the beginning that have no residual.
    fn given(self) -> usize {
        match self {
            Self::Level { .. } | Self::Previous => 1,
            Self::Trend => 2,
        }
    }
}

/// Encodes sequences. Holds buffers only.
#[derive(Default)]
pub(super) struct Encoder {
    /// Differences of neighbours, divided by the gcd; the first is that of elements 1 and 0.
    differences: Vec<i64>,
    residuals: Vec<i64>,
    planner: Planner,
    exceptions: Exceptions,
}

impl Encoder {
    /// Appends `elements` (at least two) but the first to `out`.
    pub(super) fn encode(&mut self, elements: &[i64], out: &mut Vec<u8>) {
        let divisor = self.take_differences(elements);
        let predictor = self.choose_predictor();
        self.fill_residuals(predictor);
        let plan = self.planner.plan(&self.residuals);
        collect_exceptions(&self.residuals, plan, &mut self.exceptions);
        let shape = out.len();
        out.push(predictor.to_bits());
        let mut flags = 0;
        if divisor > 1 {
            flags |= FLAG_GCD;
            varint::put(out, divisor);
        }
        match predictor {
            Predictor::Level { slope } if slope != 0 => {
                flags |= FLAG_SLOPE;
                varint::put_signed(out, slope);
            }
            Predictor::Trend => varint::put_signed(out, self.differences[0]),
            _ => {}
        }
        if matches!(plan.mapping, Mapping::Above(_)) {
            flags |= FLAG_ABOVE;
        }
        if plan.mapping.reference() != 0 {
            flags |= FLAG_REFERENCE;
            varint::put_signed(out, plan.mapping.reference());
        }
        if plan.uniform {
            flags |= FLAG_UNIFORM;
        }
        out.extend_from_slice(&plan.widths);
        if !self.exceptions.is_empty() {
            flags |= FLAG_EXCEPTIONS;
            self.exceptions.put(out);
        }
        out[shape] |= flags;
        put_blocks(&self.residuals, plan, out);
    }

    /// Fills the differences and answers their gcd.
    fn take_differences(&mut self, elements: &[i64]) -> u64 {
        self.differences.clear();
        self.differences.extend(elements.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
        let divisor = common_divisor(&self.differences);
        if divisor > 1 {
            for difference in &mut self.differences {
                *difference /= divisor as i64;
            }
        }
        divisor
    }

    /// The predictor whose residuals need the fewest bytes.
    fn choose_predictor(&self) -> Predictor {
        let mut level = Score::new();
        let mut previous = Score::new();
        let mut trend = Score::new();
        let (mut sum, mut before) = (0i64, self.differences[0]);
        for &difference in &self.differences {
            sum = sum.wrapping_add(difference);
            level.add(sum);
            previous.add(difference);
            trend.add(difference.wrapping_sub(before));
            before = difference;
        }
        let mut best = (previous.bits(), Predictor::Previous);
        let slope = slope_to(sum, self.differences.len());
        let mut offer = |bits, predictor| {
            if bits < best.0 {
                best = (bits, predictor);
            }
        };
        offer(level.bits(), Predictor::Level { slope: 0 });
        offer(trend.bits() + 8, Predictor::Trend);
        if slope != 0 {
            offer(self.slope_score(slope).bits() + 24, Predictor::Level { slope });
        }
        best.1
    }

    fn slope_score(&self, slope: i64) -> Score {
        let mut score = Score::new();
        let mut sum = 0i64;
        for (index, &difference) in self.differences.iter().enumerate() {
            sum = sum.wrapping_add(difference);
            score.add(sum.wrapping_sub(on_slope(slope, index + 1)));
        }
        score
    }

    fn fill_residuals(&mut self, predictor: Predictor) {
        self.residuals.clear();
        match predictor {
            Predictor::Level { slope } => {
                let mut sum = 0i64;
                self.residuals.extend(self.differences.iter().enumerate().map(|(index, &difference)| {
                    sum = sum.wrapping_add(difference);
                    sum.wrapping_sub(on_slope(slope, index + 1))
                }));
            }
            Predictor::Previous => self.residuals.extend_from_slice(&self.differences),
            Predictor::Trend => {
                self.residuals.extend(self.differences.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
            }
        }
    }
}

/// Estimates the bits that residuals need: around zero with exceptions, or by their range.
struct Score {
    around: Histogram,
    count: u32,
    least: i64,
    most: i64,
}

impl Score {
    fn new() -> Self {
        Self { around: Histogram::new(), count: 0, least: i64::MAX, most: i64::MIN }
    }

    #[inline(always)]
    fn add(&mut self, residual: i64) {
        self.around.add(varint::zigzag(residual));
        self.count += 1;
        self.least = self.least.min(residual);
        self.most = self.most.max(residual);
    }

    fn bits(&self) -> u32 {
        let range = bits::bit_length(self.most.wrapping_sub(self.least) as u64);
        let reference = 8 * varint::len(varint::zigzag(self.least)) as u32;
        self.around.cheapest(residuals::FRAME_BITS).1.min(self.count * range + reference)
    }
}

/// The greatest common divisor of all `differences`; 0 when all are 0, 1 where dividing would not pay.
fn common_divisor(differences: &[i64]) -> u64 {
    let mut divisor = 0u64;
    for difference in differences {
        let size = difference.unsigned_abs();
        if divisor == 0 || !size.is_multiple_of(divisor) {
            divisor = gcd(divisor, size);
            if divisor == 1 {
                break;
            }
        }
    }
    if divisor > i64::MAX as u64 { 1 } else { divisor }
}

fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// The slope that leads to `sum` after `steps`, or 0 when it is out of reach.
fn slope_to(sum: i64, steps: usize) -> i64 {
    if sum.unsigned_abs() < SLOPE_REACH as u64 { (sum << SLOPE_BITS) / steps as i64 } else { 0 }
}

#[inline(always)]
fn on_slope(slope: i64, index: usize) -> i64 {
    slope.wrapping_mul(index as i64) >> SLOPE_BITS
}

/// Positions and upper bits of the residuals that do not fit their block's width.
fn collect_exceptions(residuals: &[i64], plan: &Plan, exceptions: &mut Exceptions) {
    exceptions.clear();
    for (block, values) in residuals.chunks(BLOCK).enumerate() {
        let width = plan.width_of(block);
        for (index, &residual) in values.iter().enumerate() {
            let upper = shift_out(plan.mapping.apply(residual), width);
            if upper != 0 {
                exceptions.push(block * BLOCK + index, upper);
            }
        }
    }
}

/// `number` without its lowest `width` bits, as a signed number, so that those below a reference stay small.
#[inline(always)]
fn shift_out(number: u64, width: u32) -> i64 {
    if width >= 64 { 0 } else { number as i64 >> width }
}

fn put_blocks(residuals: &[i64], plan: &Plan, out: &mut Vec<u8>) {
    let mut numbers = [0; BLOCK];
    for (block, values) in residuals.chunks(BLOCK).enumerate() {
        for (number, &residual) in numbers.iter_mut().zip(values) {
            *number = plan.mapping.apply(residual);
        }
        bits::pack(&numbers[..values.len()], plan.width_of(block), out);
    }
}

/// The shape of a column whose elements are all equal.
const SHAPE_CONSTANT: u8 = 3;

/// Appends a whole column (at least one element), its first element and constant ones included.
pub(super) fn put_column(encoder: &mut Encoder, elements: &[i64], out: &mut Vec<u8>) {
    varint::put_signed(out, elements[0]);
    if elements.iter().all(|element| *element == elements[0]) {
        out.push(SHAPE_CONSTANT);
    } else {
        encoder.encode(elements, out);
    }
}

/// Reads what [`put_column`] wrote.
pub(super) fn take_column(cursor: &mut Cursor<'_>, count: usize, elements: &mut Vec<i64>) -> Result<()> {
    let first = cursor.signed()?;
    elements.reserve(count);
    if count == 1 || cursor.rest().first() == Some(&SHAPE_CONSTANT) {
        cursor.byte()?;
        elements.extend(std::iter::repeat_n(first, count));
        return Ok(());
    }
    Sequence::parse(cursor, count)?.decode(first, |block| elements.extend_from_slice(block))
}

/// A parsed sequence, ready to be decoded.
pub(super) struct Sequence<'a> {
    count: usize,
    divisor: i64,
    predictor: Predictor,
    first_difference: i64,
    mapping: Mapping,
    widths: &'a [u8],
    exceptions: Remaining<'a>,
    blocks: &'a [u8],
}

impl<'a> Sequence<'a> {
    /// Reads the frame of a sequence of `count` elements (at least two) from `cursor`.
    pub(super) fn parse(cursor: &mut Cursor<'a>, count: usize) -> Result<Self> {
        let shape = cursor.byte()?;
        let divisor = if shape & FLAG_GCD != 0 { cursor.varint()? as i64 } else { 1 };
        let slope = if shape & FLAG_SLOPE != 0 { cursor.signed()? } else { 0 };
        let predictor = match shape & 3 {
            0 => Predictor::Level { slope },
            1 => Predictor::Previous,
            2 => Predictor::Trend,
            _ => return Err(cursor.corrupt("unknown predictor")),
        };
        let first_difference = if predictor == Predictor::Trend { cursor.signed()? } else { 0 };
        let reference = if shape & FLAG_REFERENCE != 0 { cursor.signed()? } else { 0 };
        let mapping = if shape & FLAG_ABOVE != 0 { Mapping::Above(reference) } else { Mapping::Around(reference) };
        let residuals = count - predictor.given();
        let widths = cursor.take(if shape & FLAG_UNIFORM != 0 { 1 } else { residuals.div_ceil(BLOCK) })?;
        if widths.iter().any(|&width| width > 64) {
            return Err(cursor.corrupt("a width above 64 bits"));
        }
        let exceptions = match shape & FLAG_EXCEPTIONS {
            0 => Remaining::none(cursor),
            _ => Remaining::parse(cursor, residuals)?,
        };
        let blocks = cursor.take(blocks_bytes(widths, residuals, shape & FLAG_UNIFORM != 0))?;
        Ok(Self { count, divisor, predictor, first_difference, mapping, widths, exceptions, blocks })
    }

    /// Hands the elements to `sink` in order, up to 64 at a time.
    pub(super) fn decode(mut self, first: i64, mut sink: impl FnMut(&[i64])) -> Result<()> {
        sink(&[first]);
        match (self.predictor, self.mapping) {
            (Predictor::Level { slope }, Mapping::Around(reference)) => self.decode_level::<true>(first, slope, reference, &mut sink),
            (Predictor::Level { slope }, Mapping::Above(reference)) => self.decode_level::<false>(first, slope, reference, &mut sink),
            (Predictor::Previous, Mapping::Around(reference)) => self.decode_previous::<true>(first, reference, &mut sink),
            (Predictor::Previous, Mapping::Above(reference)) => self.decode_previous::<false>(first, reference, &mut sink),
            (Predictor::Trend, Mapping::Around(reference)) => self.decode_trend::<true>(first, reference, &mut sink),
            (Predictor::Trend, Mapping::Above(reference)) => self.decode_trend::<false>(first, reference, &mut sink),
        }
    }

    fn decode_level<const AROUND: bool>(&mut self, first: i64, slope: i64, reference: i64, sink: &mut impl FnMut(&[i64])) -> Result<()> {
        let divisor = self.divisor;
        let base = first.wrapping_add(reference.wrapping_mul(divisor));
        let mut position = 0i64;
        self.each_block(|numbers, elements| {
            for (element, &number) in elements.iter_mut().zip(numbers) {
                *element = unmap::<AROUND>(number);
            }
            if slope != 0 {
                for element in elements.iter_mut() {
                    position = position.wrapping_add(slope);
                    *element = element.wrapping_add(position >> SLOPE_BITS);
                }
            }
            if divisor != 1 {
                elements.iter_mut().for_each(|element| *element = element.wrapping_mul(divisor));
            }
            elements.iter_mut().for_each(|element| *element = element.wrapping_add(base));
            sink(elements);
        })
    }

    fn decode_previous<const AROUND: bool>(&mut self, first: i64, reference: i64, sink: &mut impl FnMut(&[i64])) -> Result<()> {
        let divisor = self.divisor;
        let mut last = first;
        self.each_block(|numbers, elements| {
            for (element, &number) in elements.iter_mut().zip(numbers) {
                last = last.wrapping_add(unmap::<AROUND>(number).wrapping_add(reference).wrapping_mul(divisor));
                *element = last;
            }
            sink(elements);
        })
    }

    fn decode_trend<const AROUND: bool>(&mut self, first: i64, reference: i64, sink: &mut impl FnMut(&[i64])) -> Result<()> {
        let divisor = self.divisor;
        let mut difference = self.first_difference.wrapping_mul(divisor);
        let mut last = first.wrapping_add(difference);
        sink(&[last]);
        self.each_block(|numbers, elements| {
            for (element, &number) in elements.iter_mut().zip(numbers) {
                let step = unmap::<AROUND>(number).wrapping_add(reference);
                difference = difference.wrapping_add(step.wrapping_mul(divisor));
                last = last.wrapping_add(difference);
                *element = last;
            }
            sink(elements);
        })
    }

    /// Unpacks block after block, puts exceptions in, and lets `transform` fill elements of the same length.
    #[inline(always)]
    fn each_block(&mut self, mut transform: impl FnMut(&[u64], &mut [i64])) -> Result<()> {
        let residuals = self.count - self.predictor.given();
        let mut numbers = [0u64; BLOCK];
        let mut elements = [0i64; BLOCK];
        let mut bytes = self.blocks;
        for start in (0..residuals).step_by(BLOCK) {
            let length = BLOCK.min(residuals - start);
            let width = u32::from(*self.widths.get(start / BLOCK).unwrap_or(&self.widths[0]));
            bits::unpack(bytes, width, &mut numbers);
            bytes = bytes.get(bits::packed_bytes(length, width)..).unwrap_or_default();
            while self.exceptions.position < start + length {
                let number = &mut numbers[self.exceptions.position - start];
                *number |= (self.exceptions.upper as u64).checked_shl(width).unwrap_or(0);
                self.exceptions.advance()?;
            }
            transform(&numbers[..length], &mut elements[..length]);
        }
        if self.exceptions.position == usize::MAX { Ok(()) } else { Err(self.exceptions.damaged()) }
    }
}

#[inline(always)]
fn unmap<const AROUND: bool>(number: u64) -> i64 {
    if AROUND { varint::unzigzag(number) } else { number as i64 }
}

fn blocks_bytes(widths: &[u8], residuals: usize, uniform: bool) -> usize {
    if uniform {
        return bits::packed_bytes(residuals, u32::from(widths[0]));
    }
    let lengths = (0..residuals).step_by(BLOCK).map(|start| BLOCK.min(residuals - start));
    widths.iter().zip(lengths).map(|(&width, length)| bits::packed_bytes(length, u32::from(width))).sum()
}
