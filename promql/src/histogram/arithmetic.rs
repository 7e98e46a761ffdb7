//! Adding and subtracting histograms.

use std::sync::Arc;

use super::buckets::indexes;
use super::sides::{Combine, Layout, Operand, merge, reduce, reduce_compensated};
use super::{CounterResetHint, FloatHistogram, Span};
use crate::kahan::{self, KahanSum};

/// One operand has exponential, the other custom buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// What happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addition {
    /// One operand was marked as following a counter reset, the other as not following one.
    pub counter_reset_collision: bool,
    /// The custom bounds differed; the result has those that both operands have.
    pub bounds_reconciled: bool,
}

impl FloatHistogram {
    /// Adds `other`, reconciling zero buckets, resolutions and custom bounds. May leave empty buckets; see `compact`.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Addition, IncompatibleSchemas> {
        self.combine(other, Combine::Add)
    }

    /// Subtracts `other`. The reset hint is set as for an addition; a difference shown to a user is a gauge.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Addition, IncompatibleSchemas> {
        self.combine(other, Combine::Subtract)
    }

    fn combine(&mut self, other: &FloatHistogram, combine: Combine) -> Result<Addition, IncompatibleSchemas> {
        self.check_same_kind(other)?;
        let sign = if combine == Combine::Subtract { -1.0 } else { 1.0 };
        let counter_reset_collision = self.adjust_reset_hint(other);
        if !self.uses_custom_buckets() {
            let (zero_count, _) = self.reconcile_zero_buckets(other, None);
            self.zero_count += sign * zero_count;
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        if self.uses_custom_buckets() && self.custom_values != other.custom_values {
            self.combine_mismatched(other, None, combine);
            return Ok(Addition { counter_reset_collision, bounds_reconciled: true });
        }
        let schema = self.schema.min(other.schema);
        let threshold = self.zero_threshold;
        let side = |own: (&[Span], &[f64]), their: (&[Span], &[f64])| {
            let own = to_schema(own, self.schema, schema);
            let their = to_schema(their, other.schema, schema);
            merge(own.operand(), their.operand(), combine, schema, threshold)
        };
        let positive = side((&self.positive_spans, &self.positive_buckets), (&other.positive_spans, &other.positive_buckets));
        let negative = side((&self.negative_spans, &self.negative_buckets), (&other.negative_spans, &other.negative_buckets));
        self.schema = schema;
        (self.positive_spans, self.positive_buckets) = (positive.spans, positive.counts);
        (self.negative_spans, self.negative_buckets) = (negative.spans, negative.counts);
        Ok(Addition { counter_reset_collision, bounds_reconciled: false })
    }

    /// As `add`, with compensated summation. `compensation` starts as None and belongs to this histogram; add it at the end.
    pub fn add_compensated(
        &mut self,
        other: &FloatHistogram,
        compensation: &mut Option<FloatHistogram>,
    ) -> Result<Addition, IncompatibleSchemas> {
        self.check_same_kind(other)?;
        let counter_reset_collision = self.adjust_reset_hint(other);
        let carried = compensation.get_or_insert_with(|| self.new_compensation());
        if !self.uses_custom_buckets() {
            let (zero_count, zero_carried) = self.reconcile_zero_buckets(other, Some(carried));
            (self.zero_count, carried.zero_count) = kahan::add(zero_count, self.zero_count, carried.zero_count);
            (self.zero_count, carried.zero_count) = kahan::add(zero_carried, self.zero_count, carried.zero_count);
        }
        (self.count, carried.count) = kahan::add(other.count, self.count, carried.count);
        (self.sum, carried.sum) = kahan::add(other.sum, self.sum, carried.sum);
        if self.uses_custom_buckets() && self.custom_values != other.custom_values {
            self.combine_mismatched(other, Some(carried), Combine::AddCompensated);
            return Ok(Addition { counter_reset_collision, bounds_reconciled: true });
        }
        self.merge_compensated(other, carried);
        Ok(Addition { counter_reset_collision, bounds_reconciled: false })
    }

    fn merge_compensated(&mut self, other: &FloatHistogram, carried: &mut FloatHistogram) {
        let schema = self.schema.min(other.schema);
        let threshold = self.zero_threshold;
        let side = |spans: &[Span], counts: &[f64], carried: &[f64], their_spans: &[Span], their_counts: &[f64]| {
            let own = to_schema_compensated(spans, counts, carried, self.schema, schema);
            let their = to_schema_compensated(their_spans, their_counts, &[], other.schema, schema);
            merge(own.operand(), their.operand(), Combine::AddCompensated, schema, threshold)
        };
        let positive =
            side(&self.positive_spans, &self.positive_buckets, &carried.positive_buckets, &other.positive_spans, &other.positive_buckets);
        let negative =
            side(&self.negative_spans, &self.negative_buckets, &carried.negative_buckets, &other.negative_spans, &other.negative_buckets);
        carried.positive_spans.clone_from(&positive.spans);
        carried.negative_spans.clone_from(&negative.spans);
        carried.positive_buckets = positive.compensation;
        carried.negative_buckets = negative.compensation;
        (self.positive_spans, self.positive_buckets) = (positive.spans, positive.counts);
        (self.negative_spans, self.negative_buckets) = (negative.spans, negative.counts);
        self.schema = schema;
        carried.schema = schema;
        carried.zero_threshold = self.zero_threshold;
    }

    /// Maps both operands to the custom bounds they share.
    fn combine_mismatched(&mut self, other: &FloatHistogram, carried: Option<&mut FloatHistogram>, combine: Combine) {
        let bounds = shared_bounds(&self.custom_values, &other.custom_values);
        let mut sums = vec![KahanSum::default(); bounds.len() + 1];
        for (position, target) in self.targets(&bounds).enumerate() {
            sums[target].add(self.positive_buckets[position]);
            if let Some(carried) = carried.as_ref().and_then(|carried| carried.positive_buckets.get(position)) {
                sums[target].add(*carried);
            }
        }
        for (position, target) in other.targets(&bounds).enumerate() {
            let count = other.positive_buckets[position];
            sums[target].add(if combine == Combine::Subtract { -count } else { count });
        }
        let mut layout = Layout::default();
        for (index, sum) in sums.iter().enumerate().filter(|(_, sum)| sum.sum != 0.0 || sum.compensation != 0.0) {
            layout.push(index as i32, sum.sum, sum.compensation);
        }
        self.custom_values = bounds;
        if let Some(carried) = carried {
            carried.custom_values = self.custom_values.clone();
            carried.positive_spans.clone_from(&layout.spans);
            carried.positive_buckets = layout.compensation;
        }
        (self.positive_spans, self.positive_buckets) = (layout.spans, layout.counts);
    }

    /// For each bucket, the position of the first of `bounds` (a subset of the custom bounds) at or above its end.
    pub(super) fn targets<'a>(&'a self, bounds: &'a [f64]) -> impl Iterator<Item = usize> + 'a {
        indexes(&self.positive_spans).take(self.positive_buckets.len()).map(|index| {
            let upper = super::bounds::bound(index, self.schema, &self.custom_values);
            bounds.partition_point(|bound| *bound < upper)
        })
    }

    /// The same histogram in a coarser resolution.
    pub fn to_schema(&self, schema: i32) -> FloatHistogram {
        if schema == self.schema {
            return self.clone();
        }
        let positive = reduce(&self.positive_spans, &self.positive_buckets, self.schema, schema);
        let negative = reduce(&self.negative_spans, &self.negative_buckets, self.schema, schema);
        FloatHistogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema,
            positive_spans: positive.spans,
            positive_buckets: positive.counts,
            negative_spans: negative.spans,
            negative_buckets: negative.counts,
            custom_values: Arc::default(),
            ..*self
        }
    }

    fn check_same_kind(&self, other: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        if self.uses_custom_buckets() == other.uses_custom_buckets() { Ok(()) } else { Err(IncompatibleSchemas) }
    }

    /// Sets the hint of a sum or difference. True when one operand says "reset" and the other "no reset".
    fn adjust_reset_hint(&mut self, other: &FloatHistogram) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        let (own, their) = (self.counter_reset_hint, other.counter_reset_hint);
        let (hint, collision) = match (own, their) {
            _ if own == their => (own, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            _ => (Unknown, true),
        };
        self.counter_reset_hint = hint;
        collision
    }

    fn new_compensation(&self) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            custom_values: self.custom_values.clone(),
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: vec![0.0; self.positive_buckets.len()],
            negative_buckets: vec![0.0; self.negative_buckets.len()],
            ..FloatHistogram::default()
        }
    }
}

/// A side in the wanted resolution: as it is, or reduced.
enum Resolved<'a> {
    AsIs(Operand<'a>),
    Reduced(Layout),
}

impl Resolved<'_> {
    fn operand(&self) -> Operand<'_> {
        match self {
            Resolved::AsIs(operand) => *operand,
            Resolved::Reduced(layout) => Operand { spans: &layout.spans, counts: &layout.counts, compensation: &layout.compensation },
        }
    }
}

fn to_schema<'a>((spans, counts): (&'a [Span], &'a [f64]), from: i32, to: i32) -> Resolved<'a> {
    if from == to {
        return Resolved::AsIs(Operand { spans, counts, compensation: &[] });
    }
    Resolved::Reduced(reduce(spans, counts, from, to))
}

fn to_schema_compensated<'a>(spans: &'a [Span], counts: &'a [f64], compensation: &'a [f64], from: i32, to: i32) -> Resolved<'a> {
    if from == to {
        return Resolved::AsIs(Operand { spans, counts, compensation });
    }
    Resolved::Reduced(reduce_compensated(spans, counts, compensation, from, to))
}

/// The bounds that both lists have.
pub(super) fn shared_bounds(left: &[f64], right: &[f64]) -> Arc<[f64]> {
    left.iter().copied().filter(|bound| right.binary_search_by(|other| other.total_cmp(bound)).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn histogram(schema: i32, offset: i32, counts: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: counts.iter().sum(),
            sum: 1.0,
            positive_spans: vec![Span { offset, length: counts.len() as u32 }],
            positive_buckets: counts.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn adds_to_the_coarser_resolution() {
        let mut fine = histogram(1, 1, &[1.0, 2.0, 3.0, 4.0]);
        fine.add(&histogram(0, 0, &[10.0, 20.0])).unwrap();
        fine.compact(0);
        assert_eq!((fine.schema, fine.count, fine.sum), (0, 40.0, 2.0));
        assert_eq!(fine.positive_spans, [Span { offset: 0, length: 3 }]);
        assert_eq!(fine.positive_buckets, [10.0, 23.0, 7.0]);
    }

    #[test]
    fn compensated_sum_keeps_small_counts() {
        let mut sum = histogram(0, 0, &[1e17]);
        let mut carried = None;
        for _ in 0..100 {
            sum.add_compensated(&histogram(0, 0, &[1.0, 1.0]), &mut carried).unwrap();
        }
        sum.add(&carried.unwrap()).unwrap();
        assert_eq!(sum.positive_buckets, [1e17 + 100.0, 100.0]);
        assert_eq!(sum.count, 1e17 + 200.0);
    }

    #[test]
    fn wider_zero_bucket_swallows_buckets() {
        let mut narrow = histogram(0, 1, &[5.0, 7.0]);
        let wide = FloatHistogram { zero_threshold: 2.0, zero_count: 3.0, count: 3.0, ..FloatHistogram::default() };
        narrow.add(&wide).unwrap();
        assert_eq!((narrow.zero_threshold, narrow.zero_count), (2.0, 8.0));
        assert_eq!(narrow.positive_buckets, [7.0]);
    }

    #[test]
    fn mismatched_custom_bounds_are_intersected() {
        let custom =
            |bounds: &[f64], counts: &[f64]| FloatHistogram { custom_values: bounds.into(), ..histogram(CUSTOM_BUCKETS_SCHEMA, 0, counts) };
        let mut left = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]);
        let addition = left.add(&custom(&[1.0, 3.0], &[10.0, 20.0, 30.0])).unwrap();
        assert!(addition.bounds_reconciled);
        assert_eq!(left.custom_values.as_ref(), [1.0, 3.0]);
        assert_eq!(left.positive_buckets, [11.0, 25.0, 34.0]);
        assert_eq!(left.add(&histogram(0, 0, &[1.0])), Err(IncompatibleSchemas));
    }
}
