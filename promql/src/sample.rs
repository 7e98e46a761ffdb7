//! What a sample is: a time in milliseconds and a float or a native histogram.

use std::sync::Arc;

use crate::histogram::FloatHistogram;

/// The bits of the staleness marker, a NaN that no calculation makes: "the series ended here".
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a float.
pub const STALE_MARKER: f64 = f64::from_bits(STALE_MARKER_BITS);

/// Whether `value` is the staleness marker (no other NaN is).
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_MARKER_BITS
}

/// The value of one sample.
#[derive(Clone, Debug)]
pub enum SampleValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl SampleValue {
    pub fn float(&self) -> Option<f64> {
        match self {
            SampleValue::Float(value) => Some(*value),
            SampleValue::Histogram(_) => None,
        }
    }

    pub fn histogram(&self) -> Option<&Arc<FloatHistogram>> {
        match self {
            SampleValue::Float(_) => None,
            SampleValue::Histogram(histogram) => Some(histogram),
        }
    }
}
