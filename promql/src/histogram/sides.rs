//! One side of a histogram as a list of (index, count) and back: the common ground of resolution changes and additions.
//!
//! Counts may carry compensations (see `kahan`): `compensation` is then as long as `counts`, otherwise empty.

use super::Span;
use super::bounds::{coarser_index, exponential_bound, is_exponential_schema};
use super::buckets::indexes;
use crate::kahan;

/// Spans and counts under construction. Indexes are appended in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub spans: Vec<Span>,
    pub counts: Vec<f64>,
    pub compensation: Vec<f64>,
    end: i32,
}

impl Layout {
    pub fn push(&mut self, index: i32, count: f64, compensation: f64) {
        match self.spans.last_mut() {
            Some(span) if index == self.end => span.length += 1,
            _ => self.spans.push(Span { offset: index - self.end, length: 1 }),
        }
        self.end = index + 1;
        self.counts.push(count);
        self.compensation.push(compensation);
    }

    fn last_index(&self) -> Option<i32> {
        (!self.counts.is_empty()).then(|| self.end - 1)
    }
}

/// Adds up buckets so that they fit a coarser schema.
pub(super) fn reduce(spans: &[Span], counts: &[f64], from_schema: i32, to_schema: i32) -> Layout {
    let mut layout = Layout::default();
    for (index, count) in indexes(spans).zip(counts) {
        let index = coarser_index(index, from_schema, to_schema);
        if layout.last_index() == Some(index) {
            if let Some(last) = layout.counts.last_mut() {
                *last += count;
            }
        } else {
            layout.push(index, *count, 0.0);
        }
    }
    layout
}

/// As `reduce`, with compensations.
pub(super) fn reduce_compensated(spans: &[Span], counts: &[f64], compensation: &[f64], from_schema: i32, to_schema: i32) -> Layout {
    let mut layout = Layout::default();
    for (position, (index, count)) in indexes(spans).zip(counts).enumerate() {
        let index = coarser_index(index, from_schema, to_schema);
        let carried = compensation.get(position).copied().unwrap_or(0.0);
        let last = layout.counts.len().wrapping_sub(1);
        if layout.last_index() == Some(index) {
            let (sum, c) = kahan::add(*count, layout.counts[last], layout.compensation[last]);
            (layout.counts[last], layout.compensation[last]) = kahan::add(carried, sum, c);
        } else {
            layout.push(index, *count, carried);
        }
    }
    layout
}

/// One operand of a merge.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub spans: &'a [Span],
    pub counts: &'a [f64],
    /// Empty when the counts carry none.
    pub compensation: &'a [f64],
}

impl Operand<'_> {
    fn compensation_at(&self, position: usize) -> f64 {
        self.compensation.get(position).copied().unwrap_or(0.0)
    }
}

/// How the counts of two buckets with the same index are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Subtract,
    AddCompensated,
}

/// All buckets of both operands, those of the same index combined. The buckets of `other` that lie within the zero
/// bucket (they were moved there) are left out.
pub(super) fn merge(own: Operand, other: Operand, combine: Combine, schema: i32, zero_threshold: f64) -> Layout {
    let mut merged = Layout::default();
    let mut own_buckets = indexes(own.spans).zip(own.counts).enumerate().peekable();
    let mut in_zero_bucket = is_exponential_schema(schema);
    for (position, (index, count)) in indexes(other.spans).zip(other.counts).enumerate() {
        in_zero_bucket = in_zero_bucket && exponential_bound(index, schema) <= zero_threshold;
        if in_zero_bucket {
            continue;
        }
        while let Some((at, (own_index, own_count))) = own_buckets.next_if(|(_, (own_index, _))| *own_index < index) {
            merged.push(own_index, *own_count, own.compensation_at(at));
        }
        let (count, carried) = match combine {
            Combine::Subtract => (-count, 0.0),
            Combine::Add | Combine::AddCompensated => (*count, other.compensation_at(position)),
        };
        match own_buckets.next_if(|(_, (own_index, _))| *own_index == index) {
            None => merged.push(index, count, carried),
            Some((at, (_, own_count))) if combine == Combine::AddCompensated => {
                let (mut sum, mut c) = kahan::add(count, *own_count, own.compensation_at(at));
                if carried != 0.0 {
                    (sum, c) = kahan::add(carried, sum, c);
                }
                merged.push(index, sum, c);
            }
            Some((_, (_, own_count))) => merged.push(index, own_count + count, 0.0),
        }
    }
    for (at, (own_index, own_count)) in own_buckets {
        merged.push(own_index, *own_count, own.compensation_at(at));
    }
    merged
}

/// Whether two lists of spans describe the same buckets.
pub(super) fn same_layout(left: &[Span], right: &[Span]) -> bool {
    left == right || indexes(left).eq(indexes(right))
}

pub(super) fn same_bits(left: &[f64], right: &[f64]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.to_bits() == right.to_bits())
}
