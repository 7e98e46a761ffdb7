//! Bringing the zero buckets of two histograms to the same width before they are added.

use super::FloatHistogram;
use crate::kahan;

/// What a histogram's zero bucket would be with a larger threshold.
pub(super) struct WidenedZero {
    pub count: f64,
    /// At least the threshold asked for; more when that lies within a populated bucket.
    pub threshold: f64,
    pub compensation: f64,
}

impl FloatHistogram {
    /// The zero bucket that results when every bucket that begins below `threshold` joins it.
    pub(super) fn widen_zero_bucket(&self, mut threshold: f64, compensation: Option<&FloatHistogram>) -> WidenedZero {
        let carried_zero = compensation.map_or(0.0, |compensation| compensation.zero_count);
        if threshold == self.zero_threshold {
            return WidenedZero { count: self.zero_count, threshold, compensation: carried_zero };
        }
        loop {
            let mut zero = (self.zero_count, carried_zero);
            for (position, bucket) in self.positive().enumerate().take_while(|(_, bucket)| bucket.lower < threshold) {
                zero = join(zero, bucket.count, compensation.and_then(|carried| carried.positive_buckets.get(position)));
                if bucket.upper > threshold {
                    if bucket.count != 0.0 {
                        threshold = bucket.upper;
                    }
                    break;
                }
            }
            let mut restart = false;
            for (position, bucket) in self.negative().enumerate().take_while(|(_, bucket)| bucket.upper > -threshold) {
                zero = join(zero, bucket.count, compensation.and_then(|carried| carried.negative_buckets.get(position)));
                if bucket.lower < -threshold {
                    if bucket.count != 0.0 {
                        // Wider than before: the positive side must be looked at again.
                        threshold = -bucket.lower;
                        restart = true;
                    }
                    break;
                }
            }
            if !restart {
                return WidenedZero { count: zero.0, threshold, compensation: zero.1 };
            }
        }
    }

    /// Widens this histogram's zero bucket until it has a threshold that `other` can have too. Returns the zero count
    /// (and its compensation) that `other` has at that threshold; `other` itself is not changed.
    pub(super) fn reconcile_zero_buckets(&mut self, other: &FloatHistogram, mut compensation: Option<&mut FloatHistogram>) -> (f64, f64) {
        let mut theirs = WidenedZero { count: other.zero_count, threshold: other.zero_threshold, compensation: 0.0 };
        while theirs.threshold != self.zero_threshold {
            if self.zero_threshold > theirs.threshold {
                theirs = other.widen_zero_bucket(self.zero_threshold, None);
            }
            if theirs.threshold > self.zero_threshold {
                let ours = self.widen_zero_bucket(theirs.threshold, compensation.as_deref());
                self.zero_count = ours.count;
                self.zero_threshold = ours.threshold;
                if let Some(compensation) = compensation.as_deref_mut() {
                    compensation.zero_count = ours.compensation;
                }
                self.drop_buckets_in_zero_bucket(compensation.as_deref_mut());
            }
            if theirs.threshold.is_nan() || self.zero_threshold.is_nan() {
                break;
            }
        }
        (theirs.count, theirs.compensation)
    }

    fn drop_buckets_in_zero_bucket(&mut self, compensation: Option<&mut FloatHistogram>) {
        let threshold = self.zero_threshold;
        let positive = self.positive().take_while(|bucket| bucket.lower < threshold).count();
        let negative = self.negative().take_while(|bucket| bucket.upper > -threshold).count();
        self.positive_buckets[..positive].fill(0.0);
        self.negative_buckets[..negative].fill(0.0);
        match compensation {
            None => self.compact(0),
            Some(compensation) => {
                compensation.positive_buckets[..positive].fill(0.0);
                compensation.negative_buckets[..negative].fill(0.0);
                self.compact_with(compensation);
            }
        }
    }
}

fn join(zero: (f64, f64), count: f64, carried: Option<&f64>) -> (f64, f64) {
    let zero = kahan::add(count, zero.0, zero.1);
    carried.map_or(zero, |carried| kahan::add(*carried, zero.0, zero.1))
}
