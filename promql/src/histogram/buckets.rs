//! Walking over the buckets of a histogram, from the lowest to the highest or back.

use super::bounds::{CUSTOM_BUCKETS_SCHEMA, bound};
use super::{FloatHistogram, Span};

/// A bucket with its bounds and its own (not cumulative) count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

impl Bucket {
    /// The share of the bucket's width that lies at or below `value`, which must be strictly inside finite bounds.
    /// Linear for custom buckets and the zero bucket, on a logarithmic scale for exponential ones.
    pub fn fraction_below(&self, value: f64, scale: Scale) -> f64 {
        if scale == Scale::Linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let log_lower = self.lower.abs().log2();
        let log_upper = self.upper.abs().log2();
        let log_value = value.abs().log2();
        if value > 0.0 {
            (log_value - log_lower) / (log_upper - log_lower)
        } else {
            1.0 - ((log_value - log_upper) / (log_lower - log_upper))
        }
    }
}

/// How observations are assumed to lie within a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Logarithmic,
}

/// Which side of zero a list of buckets is on. Indexes grow away from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Positive,
    Negative,
}

/// The schema index of each bucket of a side, in the order of its counts.
pub fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> + '_ {
    let mut next = 0;
    spans.iter().flat_map(move |span| {
        let first = next + span.offset;
        next = first + span.length as i32;
        first..next
    })
}

impl FloatHistogram {
    /// Buckets above zero, going up. Bounds that reach into the zero bucket are not cut.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        indexes(&self.positive_spans).zip(&self.positive_buckets).map(|(index, count)| self.bucket(Side::Positive, index, *count))
    }

    /// Buckets below zero, going down.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        indexes(&self.negative_spans).zip(&self.negative_buckets).map(|(index, count)| self.bucket(Side::Negative, index, *count))
    }

    /// All buckets in ascending order: negative, zero (when populated), positive. Bounds that reach into the zero bucket
    /// are cut at its edge.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut all = Vec::with_capacity(self.negative_buckets.len() + 1 + self.positive_buckets.len());
        all.extend(self.negative());
        all.reverse();
        if self.zero_count > 0.0 && !self.uses_custom_buckets() {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive());
        for bucket in &mut all {
            if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
        }
        all
    }

    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    fn bucket(&self, side: Side, index: i32, count: f64) -> Bucket {
        let outer = bound(index, self.schema, &self.custom_values);
        let inner = bound(index - 1, self.schema, &self.custom_values);
        let (lower, upper) = match side {
            Side::Positive => (inner, outer),
            Side::Negative => (-outer, -inner),
        };
        let (lower_inclusive, upper_inclusive) =
            if self.schema == CUSTOM_BUCKETS_SCHEMA { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
    }
}
