//! Removing empty buckets.

use super::buckets::indexes;
use super::sides::Layout;
use super::{FloatHistogram, Span};

impl FloatHistogram {
    /// Drops empty buckets, except that gaps of at most `empty_buckets_max` buckets between populated ones are kept
    /// (or made) explicit, which saves a span. Buckets at the edges are always dropped.
    pub fn compact(&mut self, empty_buckets_max: usize) {
        compact_side(&mut self.positive_spans, &mut self.positive_buckets, None, empty_buckets_max);
        compact_side(&mut self.negative_spans, &mut self.negative_buckets, None, empty_buckets_max);
    }

    /// Drops the buckets that are empty here and in `compensation`, in both.
    pub(super) fn compact_with(&mut self, compensation: &mut FloatHistogram) {
        compact_side(&mut self.positive_spans, &mut self.positive_buckets, Some(&mut compensation.positive_buckets), 0);
        compact_side(&mut self.negative_spans, &mut self.negative_buckets, Some(&mut compensation.negative_buckets), 0);
        compensation.positive_spans.clone_from(&self.positive_spans);
        compensation.negative_spans.clone_from(&self.negative_spans);
    }
}

fn compact_side(spans: &mut Vec<Span>, counts: &mut Vec<f64>, compensation: Option<&mut Vec<f64>>, empty_buckets_max: usize) {
    if is_compact(spans, counts, empty_buckets_max) {
        return;
    }
    let carried = |position: usize| compensation.as_ref().and_then(|carried| carried.get(position)).copied().unwrap_or(0.0);
    let mut compacted = Layout::default();
    let mut previous: Option<i32> = None;
    for (position, (index, count)) in indexes(spans).zip(counts.iter()).enumerate() {
        if *count == 0.0 && carried(position) == 0.0 {
            continue;
        }
        if let Some(previous) = previous
            && (index - previous - 1) as usize <= empty_buckets_max
        {
            (previous + 1..index).for_each(|empty| compacted.push(empty, 0.0, 0.0));
        }
        compacted.push(index, *count, carried(position));
        previous = Some(index);
    }
    *spans = compacted.spans;
    *counts = compacted.counts;
    if let Some(compensation) = compensation {
        *compensation = compacted.compensation;
    }
}

fn is_compact(spans: &[Span], counts: &[f64], empty_buckets_max: usize) -> bool {
    counts.iter().all(|count| *count != 0.0)
        && spans.iter().all(|span| span.length > 0)
        && spans.iter().skip(1).all(|span| span.offset as i64 > empty_buckets_max.min(i32::MAX as usize) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(spans: &[(i32, u32)], counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            positive_spans: spans.iter().map(|(offset, length)| Span { offset: *offset, length: *length }).collect(),
            positive_buckets: counts.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn drops_empty_edges_and_joins_neighbours() {
        let mut histogram = side(&[(-2, 3), (0, 2), (2, 2)], &[0.0, 1.0, 0.0, 2.0, 3.0, 0.0, 4.0]);
        histogram.compact(0);
        assert_eq!(histogram.positive_spans, [(-1, 1), (1, 2), (3, 1)].map(|(offset, length)| Span { offset, length }));
        assert_eq!(histogram.positive_buckets, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn small_gaps_become_explicit() {
        let mut histogram = side(&[(1, 1), (1, 1), (3, 1)], &[1.0, 2.0, 3.0]);
        histogram.compact(2);
        assert_eq!(histogram.positive_spans, [(1, 3), (3, 1)].map(|(offset, length)| Span { offset, length }));
        assert_eq!(histogram.positive_buckets, [1.0, 0.0, 2.0, 3.0]);
    }

    #[test]
    fn nothing_is_left_of_an_empty_side() {
        let mut histogram = side(&[(1, 2), (0, 0)], &[0.0, 0.0]);
        histogram.compact(0);
        assert!(histogram.positive_spans.is_empty() && histogram.positive_buckets.is_empty());
    }
}
