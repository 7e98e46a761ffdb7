//! Native histograms as they are stored: exact integers stay integers.
//!
//! The format is Prometheus' `model/histogram`: sparse buckets on both sides of a zero bucket, given as spans of neighbouring buckets
//! and one count for each bucket in them. Counts are absolute here (on the wire of remote write integer counts are deltas).
//!
//! A histogram sample takes part in the float path as a *marker*: a NaN of a reserved range whose low bits are a hash of the
//! histogram's encoded form. So "newer wins", "the same again" and "another value at the same time" are decided for histograms by
//! the code that decides them for floats. Floats that would look like a marker are turned into the ordinary NaN on their way in
//! ([`ordinary`]).
//!
//! Beside the floats travels the *encoded form* ([`Histogram::encode`]): there is exactly one for each histogram, so equal markers
//! mean equal histograms wherever they lie. On disk histograms stand in [`chunk`]s of their own.

mod codec;
mod validate;
mod reduce;
pub mod chunk;

#[cfg(test)]
pub(crate) mod samples;

pub use validate::HistogramProblem;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;

/// Buckets of a whole histogram, both sides together.
pub const BUCKETS_MAX: usize = 1 << 16;
/// The schema of custom bucket bounds; exponential ones are -4..=8.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// Markers have these upper sixteen bits: a negative signalling NaN, which no calculation and no sender known makes.
const MARKER_PREFIX: u64 = 0xfff5;
const ORDINARY_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// What the writer knew about the relation of a histogram to the sample before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing: readers compare.
    #[default]
    Unknown,
    /// A counter reset lies before it.
    Reset,
    /// None does.
    NotReset,
    /// It is no counter.
    Gauge,
}

/// A run of neighbouring buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Distance to the end of the span before; for the first span, to bucket 0.
    pub offset: i32,
    /// Buckets in it.
    pub length: u32,
}

/// The numbers of a histogram: how many observations in all, near zero, and in each bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// As instrumented programs count.
    Integer {
        /// All observations.
        count: u64,
        /// Those within the zero threshold.
        zero_count: u64,
        /// One absolute count for each bucket of the positive spans.
        positive: Vec<u64>,
        /// One absolute count for each bucket of the negative spans.
        negative: Vec<u64>,
    },
    /// As recording rules and gauges have them.
    Float {
        /// All observations.
        count: f64,
        /// Those within the zero threshold.
        zero_count: f64,
        /// One absolute count for each bucket of the positive spans.
        positive: Vec<f64>,
        /// One absolute count for each bucket of the negative spans.
        negative: Vec<f64>,
    },
}

/// One histogram sample. In a stale one `sum` has the bits of the staleness marker.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// See [`ResetHint`].
    pub reset_hint: ResetHint,
    /// Resolution: -4..=8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// See [`Counts`].
    pub counts: Counts,
    /// Where the positive buckets stand.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets stand; none with custom buckets.
    pub negative_spans: Vec<Span>,
    /// Upper bounds of custom buckets, strictly increasing, without +Inf.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        codec::encode(self, out);
    }

    /// The encoded form.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::encode(self, &mut out);
        out
    }

    /// Reads an encoded form. Whatever the bytes, this ends well and allocates only in proportion to them; bytes that
    /// [`Self::encode`] would not have written are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        codec::decode(bytes)
    }

    /// Whether it may be stored, by Prometheus' rules. Resolutions beyond what is stored are for [`Self::reduced`] first.
    pub fn validate(&self) -> Result<(), HistogramProblem> {
        validate::validate(self)
    }

    /// The same observations in the finest resolution that is stored, if its own is finer.
    pub fn reduced(self) -> Self {
        reduce::reduced(self)
    }

    /// Whether it marks the end of its series.
    pub fn is_stale(&self) -> bool {
        self.sum.to_bits() == crate::chunk::STALE_MARKER_BITS
    }
}

/// The bucket indexes of a list of spans, in its order. They are within `i32` in every histogram that was validated.
pub(crate) fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add(span.length as i32);
        (0..span.length as i32).map(move |place| first.wrapping_add(place))
    })
}

/// Buckets of a list of spans.
pub(crate) fn bucket_count(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

/// Whether a value of the float path stands for a histogram.
#[inline]
pub fn is_marker(bits: u64) -> bool {
    bits >> 48 == MARKER_PREFIX
}

/// The marker of a histogram, by its encoded form.
pub fn marker_of(encoded: &[u8]) -> u64 {
    MARKER_PREFIX << 48 | xxh3_64(encoded) >> 16
}

/// A value of the float path that stands for the histogram at a place in some list, within one read.
pub(crate) fn mark_of_place(place: usize) -> f64 {
    f64::from_bits(MARKER_PREFIX << 48 | place as u64)
}

/// The inverse of [`mark_of_place`]; `None` for a float.
#[inline]
pub(crate) fn place_of_mark(value: f64) -> Option<usize> {
    is_marker(value.to_bits()).then_some((value.to_bits() & ((1 << 48) - 1)) as usize)
}

/// A float from outside, with bits that do not look like a marker.
#[inline]
pub fn ordinary(value: f64) -> f64 {
    if is_marker(value.to_bits()) { f64::from_bits(ORDINARY_NAN_BITS) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_nan_of_its_own() {
        let marker = marker_of(b"some histogram");
        assert!(is_marker(marker) && f64::from_bits(marker).is_nan());
        assert_ne!(marker, marker_of(b"another one"));
        for value in [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from_bits(0x7ff0_0000_0000_0002), f64::MIN] {
            assert_eq!(ordinary(value).to_bits(), value.to_bits());
        }
        assert_eq!(ordinary(f64::from_bits(marker)).to_bits(), ORDINARY_NAN_BITS);
    }
}
