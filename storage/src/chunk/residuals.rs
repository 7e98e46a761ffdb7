//! The plan for a sequence of residuals: how many bits for each block, and which values do not fit.
//!
//! Residuals are signed. A [`Mapping`] turns them into small unsigned numbers, either around a reference
//! (zigzag) or upward from it (offset). A value that is too large for its block's width is an exception: its
//! lower bits stay in the block, the rest goes to a list. The planner counts bits well enough to choose.

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

    fn reference_bytes(self) -> u32 {
        match self.reference() {
            0 => 0,
            reference => varint::len(varint::zigzag(reference)) as u32,
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
    /// An estimate of the bits it takes.
    bits: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { mapping: Mapping::Around(0), uniform: true, widths: Vec::new(), bits: u32::MAX }
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
        self.best.bits = u32::MAX;
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
        if self.trial.bits < self.best.bits {
            std::mem::swap(&mut self.trial, &mut self.best);
        }
    }
}

/// How many numbers there are of each bit length. Negative ones (below the reference) fit no width.
///
/// Costs are in bits. Those of exceptions are estimates of what `exceptions` writes, plus something for the
/// time they take to decode.
pub(super) struct Histogram {
    counts: [u16; 64],
    /// Bit `l` is set when there are numbers of `l` bits.
    present: u64,
    count: u32,
    /// Numbers below the reference, and the bit lengths of their exceptions together.
    below: u32,
    below_lengths: u32,
}

/// Bits of the frame around exceptions.
pub(super) const FRAME_BITS: u32 = 24;

/// Bits added for each exception so that only those that pay are made.
const EXCEPTION_PENALTY: u32 = 3;

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: [0; 64], present: 0, count: 0, below: 0, below_lengths: 0 }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, number: u64) {
        self.count += 1;
        if (number as i64) < 0 {
            self.below += 1;
            self.below_lengths += 1 + bits::bit_length(!number);
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
        self.below += other.below;
        self.below_lengths += other.below_lengths;
    }

    /// The cheapest width and its bits, packed values and exceptions together, with `frame_bits` if there
    /// are exceptions at all.
    pub(super) fn cheapest(&self, frame_bits: u32) -> (u8, u32) {
        let mut best = (64, self.count * 64);
        let mut candidates = self.present | 1;
        // From wide to narrow: how many numbers are longer than the width, and their lengths together.
        let (mut longer, mut lengths) = (0, 0);
        while candidates != 0 && (longer + self.below) * 2 <= self.count {
            let width = candidates.ilog2();
            candidates &= !(1 << width);
            let mut bits = self.count * width;
            let exceptions = longer + self.below;
            if exceptions > 0 {
                let upper_lengths = self.below_lengths + lengths - longer * width;
                bits += frame_bits + upper_lengths * 3 / 2 + exceptions * (self.gap_bits(exceptions) + EXCEPTION_PENALTY);
            }
            if bits <= best.1 {
                best = (width as u8, bits);
            }
            let count = u32::from(self.counts[width as usize]);
            longer += count;
            lengths += count * width;
        }
        best
    }

    /// Bits of the gap to an exception when there are `exceptions` (at least one).
    fn gap_bits(&self, exceptions: u32) -> u32 {
        2 + (self.count / exceptions).max(1).ilog2()
    }
}

fn lay_out(residuals: &[i64], mapping: Mapping, plan: &mut Plan) {
    plan.mapping = mapping;
    plan.widths.clear();
    if residuals.len() <= BLOCK {
        return lay_out_one(residuals, plan);
    }
    let mut total = Histogram::new();
    let mut cost = 0;
    let block_frame_bits = FRAME_BITS / residuals.len().div_ceil(BLOCK) as u32;
    for block in residuals.chunks(BLOCK) {
        let mut histogram = Histogram::new();
        for &residual in block {
            histogram.add(mapping.apply(residual));
        }
        let (width, bits) = histogram.cheapest(block_frame_bits);
        cost += 8 + bits;
        plan.widths.push(width);
        total.merge(&histogram);
    }
    let (width, uniform_cost) = total.cheapest(FRAME_BITS);
    plan.uniform = 8 + uniform_cost <= cost;
    if plan.uniform {
        cost = 8 + uniform_cost;
        plan.widths.clear();
        plan.widths.push(width);
    }
    plan.bits = cost + 8 * mapping.reference_bytes();
}

/// A single block: uniform by nature.
fn lay_out_one(residuals: &[i64], plan: &mut Plan) {
    let mut histogram = Histogram::new();
    for &residual in residuals {
        histogram.add(plan.mapping.apply(residual));
    }
    let (width, cost) = histogram.cheapest(FRAME_BITS);
    plan.uniform = true;
    plan.widths.push(width);
    plan.bits = 8 + cost + 8 * plan.mapping.reference_bytes();
}
