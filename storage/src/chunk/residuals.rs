//! The plan for a sequence of residuals: how many bits for each block, and which values do not fit.
//!
//! Residuals are signed. A [`Mapping`] turns them into small unsigned numbers, either around a reference
//! (zigzag) or upward from it (offset). A value that is too large for its block's width is an exception: its
//! lower bits stay in the block, the rest goes to a list. The planner counts bytes exactly enough to choose.

use crate::bits::{self, BLOCK};
use crate::varint;

/// How a residual becomes an unsigned number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapping {
    /// `zigzag(residual - reference)`: for values on both sides of the reference.
    Around(i64),
    /// `residual - reference`: for values above the reference. Values below are exceptions.
    Above(i64),
}

impl Mapping {
    #[inline(always)]
    pub(super) fn apply(self, residual: i64) -> u64 {
        match self {
            Self::Around(reference) => varint::zigzag(residual.wrapping_sub(reference)),
            Self::Above(reference) => residual.wrapping_sub(reference) as u64,
        }
    }

    pub(super) fn reference(self) -> i64 {
        match self {
            Self::Around(reference) | Self::Above(reference) => reference,
        }
    }

    fn reference_bytes(self) -> usize {
        match self.reference() {
            0 => 0,
            reference => varint::len(varint::zigzag(reference)),
        }
    }
}

/// A chosen layout and what it costs.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) mapping: Mapping,
    /// One width for all blocks, or one for each.
    pub(super) uniform: bool,
    /// The widths, by block; when uniform only the first counts.
    pub(super) widths: Vec<u8>,
    bytes: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { mapping: Mapping::Around(0), uniform: true, widths: Vec::new(), bytes: usize::MAX }
    }
}

impl Plan {
    pub(super) fn width_of(&self, block: usize) -> u32 {
        u32::from(self.widths[if self.uniform { 0 } else { block }])
    }
}

/// Finds plans. Holds buffers only.
#[derive(Default)]
pub(super) struct Planner {
    best: Plan,
    trial: Plan,
    sample: Vec<i64>,
}

impl Planner {
    /// The cheapest plan found for `residuals`.
    pub(super) fn plan(&mut self, residuals: &[i64]) -> &Plan {
        self.best.bytes = usize::MAX;
        if residuals.is_empty() {
            self.best.mapping = Mapping::Around(0);
            self.best.uniform = true;
            self.best.widths.clear();
            self.best.widths.push(0);
            return &self.best;
        }
        let least = residuals.iter().copied().min().unwrap_or(0);
        let (median, low) = self.typical(residuals);
        let low = residuals.iter().copied().filter(|&residual| residual >= low).min().unwrap_or(least);
        self.consider(residuals, Mapping::Around(0));
        if median != 0 {
            self.consider(residuals, Mapping::Around(median));
        }
        self.consider(residuals, Mapping::Above(least));
        if low != least {
            self.consider(residuals, Mapping::Above(low));
        }
        &self.best
    }

    /// From a sample: the median and a value below which residuals are outliers.
    fn typical(&mut self, residuals: &[i64]) -> (i64, i64) {
        self.sample.clear();
        let stride = residuals.len().div_ceil(32);
        self.sample.extend(residuals.iter().copied().step_by(stride));
        self.sample.sort_unstable();
        let at = |part: usize| self.sample[(self.sample.len() - 1) * part / 8];
        let spread = at(6).saturating_sub(at(2)).saturating_mul(4);
        (at(4), at(1).saturating_sub(spread))
    }

    fn consider(&mut self, residuals: &[i64], mapping: Mapping) {
        lay_out(residuals, mapping, &mut self.trial);
        if self.trial.bytes < self.best.bytes {
            std::mem::swap(&mut self.trial, &mut self.best);
        }
    }
}

/// How many numbers there are of each bit length. Negative ones (below the reference) fit no width.
pub(super) struct Histogram {
    counts: [u16; 65],
    /// Bit `l` is set when there are numbers of `l` bits.
    present: u128,
    count: usize,
    /// Bytes of exceptions for numbers below the reference.
    below_bytes: usize,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: [0; 65], present: 0, count: 0, below_bytes: 0 }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, number: u64) {
        self.count += 1;
        if (number as i64) < 0 {
            self.below_bytes += 1 + varint::len(varint::zigzag(number as i64));
            return;
        }
        let length = bits::bit_length(number);
        self.counts[length as usize] += 1;
        self.present |= 1 << length;
    }

    fn merge(&mut self, other: &Self) {
        let mut present = other.present;
        while present != 0 {
            let length = present.trailing_zeros() as usize;
            self.counts[length] += other.counts[length];
            present &= present - 1;
        }
        self.present |= other.present;
        self.count += other.count;
        self.below_bytes += other.below_bytes;
    }

    /// The cheapest width and its bytes, packed values and exceptions together.
    pub(super) fn cheapest(&self) -> (u8, usize) {
        let mut best = (64, bits::packed_bytes(self.count, 64));
        let mut candidates = self.present | 1;
        while candidates != 0 {
            let width = 127 - candidates.leading_zeros();
            candidates &= !(1 << width);
            let bytes = bits::packed_bytes(self.count, width) + self.below_bytes + self.exception_bytes(width);
            if bytes <= best.1 {
                best = (width as u8, bytes);
            }
        }
        best
    }

    fn exception_bytes(&self, width: u32) -> usize {
        let mut bytes = 0;
        let mut longer = self.present & !((2u128 << width) - 1);
        while longer != 0 {
            let length = longer.trailing_zeros();
            bytes += usize::from(self.counts[length as usize]) * (1 + (length - width + 1).div_ceil(7) as usize);
            longer &= longer - 1;
        }
        bytes
    }
}

fn lay_out(residuals: &[i64], mapping: Mapping, plan: &mut Plan) {
    plan.mapping = mapping;
    plan.widths.clear();
    let mut total = Histogram::new();
    let mut bytes = 0;
    for block in residuals.chunks(BLOCK) {
        let mut histogram = Histogram::new();
        for &residual in block {
            histogram.add(mapping.apply(residual));
        }
        let (width, block_bytes) = histogram.cheapest();
        bytes += 1 + block_bytes;
        plan.widths.push(width);
        total.merge(&histogram);
    }
    let (width, uniform_bytes) = total.cheapest();
    plan.uniform = 1 + uniform_bytes <= bytes;
    if plan.uniform {
        bytes = 1 + uniform_bytes;
        plan.widths.clear();
        plan.widths.push(width);
    }
    plan.bytes = bytes + mapping.reference_bytes();
}
