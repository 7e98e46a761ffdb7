//! Native histograms with float counts, as PromQL computes with them.
//!
//! A [`FloatHistogram`] has a total count, a sum, a zero bucket and two sides of sparse buckets. A side is a list of spans
//! (gap, length) and one count for each bucket in them. Buckets are exponential (`schema` -4..=8) or custom
//! (`schema` [`CUSTOM_BUCKETS_SCHEMA`], bounds in `custom_values`). The format is Prometheus' `model/histogram`.
//!
//! What is here, bottom up: bounds of buckets; the walk over the buckets of a side; merging of sides (resolution,
//! zero bucket, compaction); arithmetic; detection of counter resets; quantiles and fractions; trimming; printing.

pub mod bounds;
pub mod buckets;
mod sides;
mod compact;
mod zero_bucket;
mod arithmetic;
mod reset;
mod quantile;
mod trim;
mod display;

use std::sync::Arc;

pub use arithmetic::{Addition, IncompatibleSchemas};
pub use bounds::{CUSTOM_BUCKETS_SCHEMA, is_exponential_schema};
pub use buckets::Bucket;
pub use quantile::{FractionResult, NanNote, QuantileResult};
pub use trim::TrimSide;

/// What the writer of a histogram knew about its relation to the sample before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A run of neighbouring buckets: `offset` is the distance to the end of the span before (for the first span, to index
/// 0), `length` the number of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// One histogram sample. The sum is NaN with the bits of the staleness marker in a stale sample.
#[derive(Clone, Debug, Default)]
pub struct FloatHistogram {
    pub counter_reset_hint: CounterResetHint,
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub negative_spans: Vec<Span>,
    /// One absolute count for each bucket of the spans.
    pub positive_buckets: Vec<f64>,
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets, strictly increasing, without +Inf; empty for exponential schemas.
    pub custom_values: Arc<[f64]>,
}

impl FloatHistogram {
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Multiplies every count and the sum. A negative factor makes it a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.map_all(|value| value * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides every count and the sum; dividing by zero also removes all buckets.
    pub fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive_buckets.clear();
            self.negative_buckets.clear();
            self.positive_spans.clear();
            self.negative_spans.clear();
        }
        self.map_all(|value| value / divisor);
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn map_all(&mut self, change: impl Fn(f64) -> f64) {
        self.zero_count = change(self.zero_count);
        self.count = change(self.count);
        self.sum = change(self.sum);
        for count in self.positive_buckets.iter_mut().chain(&mut self.negative_buckets) {
            *count = change(*count);
        }
    }

    /// Whether any number in it is infinite, as when a sum ran over.
    pub fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum].iter().any(|value| value.is_infinite())
            || self.positive_buckets.iter().any(|value| value.is_infinite())
            || self.negative_buckets.iter().any(|value| value.is_infinite())
            || self.custom_values.iter().any(|value| value.is_infinite())
    }

    /// The same data: counts and sum bit by bit, the same buckets (empty ones included); how the spans are cut and the
    /// reset hint do not matter.
    pub fn same_data(&self, other: &FloatHistogram) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && sides::same_layout(&self.negative_spans, &other.negative_spans)
            && sides::same_bits(&self.negative_buckets, &other.negative_buckets)
            && sides::same_layout(&self.positive_spans, &other.positive_spans)
            && sides::same_bits(&self.positive_buckets, &other.positive_buckets)
    }

    /// How many float samples it counts as in the limit on samples (its size in units of 16 bytes).
    pub fn size_in_samples(&self) -> usize {
        const STRUCT_BYTES: usize = 168;
        const TIMESTAMP_BYTES: usize = 8;
        let elements = self.positive_spans.len()
            + self.negative_spans.len()
            + self.positive_buckets.len()
            + self.negative_buckets.len()
            + self.custom_values.len();
        (STRUCT_BYTES + 8 * elements + TIMESTAMP_BYTES) / 16
    }

    /// Only count, sum, schema and the hint: enough for functions that do not look at buckets.
    pub fn without_buckets(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            count: self.count,
            sum: self.sum,
            ..FloatHistogram::default()
        }
    }
}
