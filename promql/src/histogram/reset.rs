//! Detecting counter resets between two histogram samples.

use super::arithmetic::shared_bounds;
use super::bounds::{exponential_bound, is_exponential_schema};
use super::buckets::indexes;
use super::sides::reduce;
use super::{CounterResetHint, FloatHistogram, Span};

impl FloatHistogram {
    /// Whether something was lost between `previous` and this sample: any count became smaller or a populated bucket
    /// vanished. An explicit hint decides at once. A finer resolution or a narrower zero bucket only comes with a reset.
    pub fn detect_reset(&self, previous: &FloatHistogram) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_values != previous.custom_values {
                return self.lost_in_shared_bounds(previous);
            }
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let zero = previous.widen_zero_bucket(self.zero_threshold, None);
        if zero.threshold != self.zero_threshold || self.zero_count < zero.count {
            return true;
        }
        self.lost_on_side(previous, (&self.positive_spans, &self.positive_buckets), (&previous.positive_spans, &previous.positive_buckets))
            || self.lost_on_side(
                previous,
                (&self.negative_spans, &self.negative_buckets),
                (&previous.negative_spans, &previous.negative_buckets),
            )
    }

    fn lost_on_side(&self, previous: &FloatHistogram, own: (&[Span], &[f64]), theirs: (&[Span], &[f64])) -> bool {
        let outside = |(index, _): &(i32, &f64)| {
            !(is_exponential_schema(self.schema) && exponential_bound(*index, self.schema) <= self.zero_threshold)
        };
        let own = indexes(own.0).zip(own.1).skip_while(|bucket| !outside(bucket));
        if previous.schema == self.schema {
            return any_lost(own, indexes(theirs.0).zip(theirs.1).skip_while(|bucket| !outside(bucket)));
        }
        let reduced = reduce(theirs.0, theirs.1, previous.schema, self.schema);
        any_lost(own, indexes(&reduced.spans).zip(&reduced.counts).skip_while(|bucket| !outside(bucket)))
    }

    fn lost_in_shared_bounds(&self, previous: &FloatHistogram) -> bool {
        let bounds = shared_bounds(&self.custom_values, &previous.custom_values);
        let roll_up = |histogram: &FloatHistogram| {
            let mut sums = vec![0.0; bounds.len() + 1];
            histogram.targets(&bounds).zip(&histogram.positive_buckets).for_each(|(target, count)| sums[target] += count);
            sums
        };
        roll_up(self).iter().zip(roll_up(previous)).any(|(own, previous)| *own < previous)
    }
}

/// Whether a bucket of `previous` has more than the bucket of the same index in `current` (none counts as zero).
fn any_lost<'a>(current: impl Iterator<Item = (i32, &'a f64)>, previous: impl Iterator<Item = (i32, &'a f64)>) -> bool {
    let mut current = current.peekable();
    for (index, count) in previous {
        while current.next_if(|(own_index, _)| *own_index < index).is_some() {}
        let lost = match current.peek() {
            Some((own_index, own)) if *own_index == index => **own < *count,
            _ => *count != 0.0,
        };
        if lost {
            return true;
        }
    }
    false
}
