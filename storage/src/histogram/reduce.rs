//! Halving the resolution until it is one that is stored: two neighbouring buckets become one, again and again.

use super::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, Span, bucket_count, indexes};

/// The finest resolution that is stored.
const SCHEMA_MAX: i32 = 8;
/// The finest one that the exposition format reserves.
const SCHEMA_RESERVED_MAX: i32 = 52;

/// See [`Histogram::reduced`]. A histogram whose spans do not go with its buckets stays as it is, for validation to refuse.
pub(super) fn reduced(mut histogram: Histogram) -> Histogram {
    let schema = histogram.schema;
    if schema == CUSTOM_BUCKETS_SCHEMA || !(SCHEMA_MAX + 1..=SCHEMA_RESERVED_MAX).contains(&schema) || !is_plain(&histogram) {
        return histogram;
    }
    let halvings = (schema - SCHEMA_MAX) as u32;
    histogram.schema = SCHEMA_MAX;
    let spans = [&mut histogram.positive_spans, &mut histogram.negative_spans];
    match &mut histogram.counts {
        Counts::Integer { positive, negative, .. } => reduce_sides(spans, [positive, negative], halvings),
        Counts::Float { positive, negative, .. } => reduce_sides(spans, [positive, negative], halvings),
    }
    histogram
}

fn is_plain(histogram: &Histogram) -> bool {
    let as_finest = Histogram { schema: SCHEMA_MAX, ..histogram.clone() };
    as_finest.validate().is_ok()
}

fn reduce_sides<T: Copy + std::ops::AddAssign>(spans: [&mut Vec<Span>; 2], buckets: [&mut Vec<T>; 2], halvings: u32) {
    for (spans, buckets) in spans.into_iter().zip(buckets) {
        debug_assert_eq!(bucket_count(spans), buckets.len());
        let mut merged_spans: Vec<Span> = Vec::new();
        let mut merged: Vec<T> = Vec::new();
        let mut last = None;
        for (index, &bucket) in indexes(spans).zip(buckets.iter()) {
            // Bucket i ends at base^i, so it goes into the bucket whose end is the next at or above.
            let index = (((i64::from(index) - 1) >> halvings.min(62)) + 1) as i32;
            match (last, merged.last_mut(), merged_spans.last_mut()) {
                (Some(before), Some(sum), _) if before == index => *sum += bucket,
                (Some(before), _, Some(span)) if before + 1 == index => {
                    span.length += 1;
                    merged.push(bucket);
                }
                _ => {
                    merged_spans.push(Span { offset: last.map_or(index, |before| index - before - 1), length: 1 });
                    merged.push(bucket);
                }
            }
            last = Some(index);
        }
        *spans = merged_spans;
        *buckets = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::samples;

    #[test]
    fn a_finer_resolution_becomes_the_finest_stored() {
        let mut fine = samples::latencies(1);
        fine.schema = 9;
        fine.positive_spans = vec![Span { offset: -2, length: 3 }, Span { offset: 2, length: 2 }];
        fine.counts = Counts::Integer { count: 16, zero_count: 1, positive: vec![1, 2, 3, 4, 5], negative: vec![] };
        let reduced = fine.reduced();
        // Buckets -2 | -1 0 | 3 4 of the finer one are -1, 0 and 2 of the coarser.
        assert_eq!(reduced.schema, 8);
        assert_eq!(reduced.positive_spans, [Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }]);
        assert_eq!(reduced.counts, Counts::Integer { count: 16, zero_count: 1, positive: vec![1, 5, 9], negative: vec![] });
        assert_eq!(reduced.validate(), Ok(()));
    }

    #[test]
    fn what_is_stored_as_it_is_stays_as_it_is() {
        for histogram in [samples::latencies(4), samples::custom(4), samples::gauge(4)] {
            assert_eq!(histogram.clone().reduced(), histogram);
        }
    }
}
