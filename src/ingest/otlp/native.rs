//! OpenTelemetry's histograms as native histograms: exponential ones by their scale, explicit ones as custom buckets.
//!
//! OpenTelemetry counts buckets densely, Prometheus in spans with gaps between them; and what is bucket 0 there, (1, base], is
//! bucket 1 here.

use storage::Histogram;
use storage::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, ResetHint, Span};

use super::points::{Buckets, ExplicitPoint, ExponentialPoint};

/// The coarsest and the finest resolution of a native histogram.
const SCHEMA_MIN: i32 = -4;
const SCHEMA_MAX: i32 = 8;
/// Prometheus gives every translated histogram this width of the zero bucket.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Up to so many empty buckets are cheaper than a new span.
const GAP_MAX: i64 = 2;
/// The bits of a float that ends a series.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// `is_delta` histograms are kept as gauges, which no reader takes for counters.
pub fn from_exponential(point: &ExponentialPoint, is_delta: bool) -> Result<Histogram, String> {
    let ExponentialPoint { scale, .. } = *point;
    if scale < SCHEMA_MIN {
        return Err(format!("cannot convert exponential to native histogram. Scale must be >= {SCHEMA_MIN}, was {scale}"));
    }
    let schema = scale.min(SCHEMA_MAX);
    if point.moment.is_stale {
        return Ok(Histogram { schema, zero_threshold: ZERO_THRESHOLD, ..stale() });
    }
    let merged = (scale - schema).unsigned_abs();
    let (positive_spans, positive) = exponential_side(&point.positive, merged)?;
    let (negative_spans, negative) = exponential_side(&point.negative, merged)?;
    Ok(Histogram {
        reset_hint: reset_hint(is_delta),
        schema,
        zero_threshold: ZERO_THRESHOLD,
        sum: point.sum.unwrap_or(0.0),
        counts: Counts::Integer { count: point.count, zero_count: point.zero_count, positive, negative },
        positive_spans,
        negative_spans,
        custom_values: Vec::new(),
    })
}

/// With the explicit bounds as custom ones: both leave the last bucket open.
pub fn from_explicit(point: &ExplicitPoint, is_delta: bool) -> Result<Histogram, String> {
    if point.moment.is_stale {
        return Ok(Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: point.bounds.clone(), ..stale() });
    }
    let counts = point.counts.iter().enumerate().map(|(at, &count)| (at as i64, count));
    let (positive_spans, positive) = sparse(counts)?;
    Ok(Histogram {
        reset_hint: reset_hint(is_delta),
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum: point.sum.unwrap_or(0.0),
        counts: Counts::Integer { count: point.count, zero_count: 0, positive, negative: Vec::new() },
        positive_spans,
        negative_spans: Vec::new(),
        custom_values: point.bounds.clone(),
    })
}

fn reset_hint(is_delta: bool) -> ResetHint {
    if is_delta { ResetHint::Gauge } else { ResetHint::Unknown }
}

/// What ends a series: without observations, its sum is the marker.
fn stale() -> Histogram {
    Histogram {
        reset_hint: ResetHint::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        sum: f64::from_bits(STALE_NAN),
        counts: Counts::Integer { count: 0, zero_count: 0, positive: Vec::new(), negative: Vec::new() },
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        custom_values: Vec::new(),
    }
}

/// `merged`: two to this power of neighbouring buckets become one.
fn exponential_side(side: &Buckets, merged: u32) -> Result<(Vec<Span>, Vec<u64>), String> {
    let index = |at: usize| ((i64::from(side.offset) + at as i64) >> merged.min(63)) + 1;
    sparse(side.counts.iter().enumerate().map(|(at, &count)| (index(at), count)))
}

/// Spans and counts of buckets whose indexes do not fall; equal indexes are added up.
fn sparse(buckets: impl Iterator<Item = (i64, u64)>) -> Result<(Vec<Span>, Vec<u64>), String> {
    let (mut spans, mut counts): (Vec<Span>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut last = None;
    for (index, count) in buckets.filter(|(_, count)| *count > 0) {
        if last == Some(index) {
            let into = counts.last_mut();
            let sum = into.as_ref().and_then(|into| into.checked_add(count)).ok_or("a bucket's count is out of range")?;
            into.map(|into| *into = sum).unwrap_or_default();
            continue;
        }
        let gap = last.map_or(index, |last| index - last - 1);
        match spans.last_mut().filter(|_| gap <= GAP_MAX) {
            Some(span) => {
                counts.resize(counts.len() + gap as usize, 0);
                span.length += gap as u32 + 1;
            }
            None => {
                let offset = i32::try_from(gap).map_err(|_| "a bucket's offset is out of range")?;
                spans.push(Span { offset, length: 1 });
            }
        }
        counts.push(count);
        last = Some(index);
    }
    Ok((spans, counts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side(offset: i32, counts: &[u64], merged: u32) -> (Vec<(i32, u32)>, Vec<u64>) {
        let (spans, counts) = exponential_side(&Buckets { offset, counts: counts.to_vec() }, merged).unwrap();
        (spans.iter().map(|span| (span.offset, span.length)).collect(), counts)
    }

    #[test]
    fn dense_buckets_become_spans() {
        for (offset, counts, merged, spans, sparse) in [
            (0, vec![], 0, vec![], vec![]),
            (0, vec![0, 0], 0, vec![], vec![]),
            (0, vec![4, 3, 2, 1], 0, vec![(1, 4)], vec![4, 3, 2, 1]),
            (-2, vec![1, 0, 0, 2], 0, vec![(-1, 4)], vec![1, 0, 0, 2]),
            (0, vec![1, 0, 0, 0, 2], 0, vec![(1, 1), (3, 1)], vec![1, 2]),
            (3, vec![0, 0, 0, 0, 5], 0, vec![(8, 1)], vec![5]),
            // Scaled down: two neighbours are one, counted from the offset's even side.
            (0, vec![1, 1, 1, 1], 1, vec![(1, 2)], vec![2, 2]),
            (1, vec![1, 1, 1, 1], 1, vec![(1, 3)], vec![1, 2, 1]),
            (-1, vec![1, 1], 1, vec![(0, 2)], vec![1, 1]),
            (0, vec![0, 0, 1, 1], 1, vec![(2, 1)], vec![2]),
            (0, vec![1, 2, 3, 4], 20, vec![(1, 1)], vec![10]),
        ] {
            assert_eq!(side(offset, &counts, merged), (spans, sparse), "{offset} {counts:?} {merged}");
        }
        assert!(exponential_side(&Buckets { offset: i32::MAX, counts: vec![1, 1] }, 0).is_err());
        assert!(exponential_side(&Buckets { offset: 0, counts: vec![u64::MAX, 1] }, 1).is_err());
    }

    #[test]
    fn scales_outside_of_the_schemas() {
        let point = |scale| ExponentialPoint { scale, ..ExponentialPoint::default() };
        assert_eq!(from_exponential(&point(20), false).unwrap().schema, 8);
        assert_eq!(from_exponential(&point(i32::MAX), false).unwrap().schema, 8);
        assert_eq!(from_exponential(&point(-4), true).unwrap().reset_hint, ResetHint::Gauge);
        let error = from_exponential(&point(-5), false).unwrap_err();
        assert_eq!(error, "cannot convert exponential to native histogram. Scale must be >= -4, was -5");
    }

    proptest! {
        /// Spans and counts, spelled out again, hold every count at its index.
        #[test]
        fn nothing_is_lost(offset in -100i32..100, counts in prop::collection::vec(prop_oneof![Just(0u64), 1u64..9], 0..40), merged in 0u32..5) {
            let (spans, sparse) = exponential_side(&Buckets { offset, counts: counts.clone() }, merged).unwrap();
            let mut expected = std::collections::BTreeMap::new();
            for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                *expected.entry(((i64::from(offset) + at as i64) >> merged) + 1).or_insert(0) += count;
            }
            let mut got = std::collections::BTreeMap::new();
            let (mut index, mut next) = (0i64, sparse.iter());
            for span in &spans {
                index += i64::from(span.offset);
                for _ in 0..span.length {
                    let count = *next.next().unwrap();
                    if count > 0 {
                        got.insert(index, count);
                    }
                    index += 1;
                }
            }
            prop_assert!(next.next().is_none());
            prop_assert_eq!(got, expected);
        }
    }
}
