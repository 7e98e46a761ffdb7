//! Trimming: keeping only the observations above or below a value (the `</` and `>/` operators).

use super::FloatHistogram;
use super::buckets::{Bucket, Scale, Side};

/// What is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimSide {
    /// Observations above the value (`</`).
    Upper,
    /// Observations below the value (`>/`).
    Lower,
}

/// What stays of a bucket: how many observations, and the value each is taken to have for the new sum.
#[derive(Clone, Copy)]
struct Kept {
    count: f64,
    middle: f64,
}

const NOTHING: Kept = Kept { count: 0.0, middle: 0.0 };

impl FloatHistogram {
    /// Removes the observations beyond `value`, interpolating within the bucket it falls into. Count and sum are
    /// estimated anew from the buckets, unless nothing was cut.
    pub fn trim(&mut self, value: f64, side: TrimSide) {
        let scale = if self.uses_custom_buckets() { Scale::Linear } else { Scale::Logarithmic };
        let trim_all = |buckets: Vec<Bucket>, at: Side| -> Vec<Option<Kept>> {
            let kept = |bucket: Bucket| (bucket.count != 0.0).then(|| trim_bucket(bucket, value, side, at, scale));
            buckets.into_iter().map(kept).collect()
        };
        let positive = trim_all(self.positive().collect(), Side::Positive);
        let negative = trim_all(self.negative().collect(), Side::Negative);

        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let counts = self.positive_buckets.iter_mut().chain(&mut self.negative_buckets);
        for (bucket, kept) in counts.zip(positive.iter().chain(&negative)) {
            let Some(kept) = kept else { continue };
            count += kept.count;
            sum += kept.middle * kept.count;
            changed |= *bucket != kept.count;
            *bucket = kept.count;
        }
        if self.zero_count > 0.0 {
            let populated = |side: &[Option<Kept>]| side.iter().any(Option::is_some);
            let kept = trim_zero_bucket(self.zero_bucket(), value, side, populated(&negative), populated(&positive));
            changed |= self.zero_count != kept.count;
            self.zero_count = kept.count;
            sum += kept.middle * kept.count;
            count += kept.count;
        }
        if changed {
            self.count = count;
            self.sum = sum;
            self.compact(0);
        }
    }
}

fn trim_bucket(bucket: Bucket, value: f64, side: TrimSide, at: Side, scale: Scale) -> Kept {
    let (whole, cut) = match side {
        TrimSide::Upper => (bucket.upper <= value, bucket.lower < value),
        TrimSide::Lower => (bucket.lower >= value, bucket.upper > value),
    };
    if whole {
        return Kept { count: bucket.count, middle: middle(bucket.lower, bucket.upper, at, scale) };
    }
    if !cut {
        return NOTHING;
    }
    if bucket.lower == f64::NEG_INFINITY {
        return trim_bucket_open_below(bucket, value, side);
    }
    if bucket.upper == f64::INFINITY {
        return trim_bucket_open_above(bucket, value, side);
    }
    let below = bucket.count * bucket.fraction_below(value, scale);
    match side {
        TrimSide::Upper => Kept { count: below, middle: middle(bucket.lower, value, at, scale) },
        TrimSide::Lower => Kept { count: bucket.count - below, middle: middle(value, bucket.upper, at, scale) },
    }
}

/// A bucket from -Inf. With a positive end it is taken to start at zero; this only happens with custom buckets.
fn trim_bucket_open_below(bucket: Bucket, value: f64, side: TrimSide) -> Kept {
    let finite_end = bucket.upper.is_finite();
    match side {
        TrimSide::Upper if value > 0.0 && bucket.upper > 0.0 && finite_end => {
            Kept { count: bucket.count * value / bucket.upper, middle: value / 2.0 }
        }
        TrimSide::Upper if bucket.upper <= 0.0 => Kept { count: bucket.count, middle: value },
        TrimSide::Lower if value >= 0.0 && bucket.upper > value && finite_end => {
            Kept { count: bucket.count * (1.0 - value / bucket.upper), middle: f64::midpoint(value, bucket.upper) }
        }
        // Where the observations lie is unknown: none of them is known to be on the right side.
        _ => NOTHING,
    }
}

/// A bucket to +Inf: how many of its observations are below `value` is unknown, so it is kept or dropped as a whole.
fn trim_bucket_open_above(bucket: Bucket, value: f64, side: TrimSide) -> Kept {
    match side {
        TrimSide::Lower if value >= bucket.lower => Kept { count: bucket.count, middle: value },
        _ => NOTHING,
    }
}

fn trim_zero_bucket(zero: Bucket, value: f64, side: TrimSide, has_negative: bool, has_positive: bool) -> Kept {
    let upper = if has_negative && !has_positive { 0.0 } else { zero.upper };
    let lower = if has_positive && !has_negative { 0.0 } else { zero.lower };
    let whole = Kept { count: zero.count, middle: f64::midpoint(lower, upper) };
    let (below, above) = match side {
        TrimSide::Upper => (NOTHING, whole),
        TrimSide::Lower => (whole, NOTHING),
    };
    if value <= lower {
        return below;
    }
    if value >= upper {
        return above;
    }
    let (fraction, middle) = match side {
        TrimSide::Upper => ((value - lower) / (upper - lower), f64::midpoint(lower, value)),
        TrimSide::Lower => ((upper - value) / (upper - lower), f64::midpoint(value, upper)),
    };
    Kept { count: zero.count * fraction, middle }
}

/// The value that stands for all observations in an interval.
fn middle(lower: f64, upper: f64, at: Side, scale: Scale) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => return 0.0,
        (true, false) => return if upper > 0.0 { upper / 2.0 } else { upper },
        (false, true) => return lower,
        (false, false) => {}
    }
    if scale == Scale::Linear {
        return f64::midpoint(lower, upper);
    }
    let geometric_mean = (lower * upper).abs().sqrt();
    if at == Side::Positive { geometric_mean } else { -geometric_mean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Span;

    #[test]
    fn keeps_whole_buckets_and_interpolates_the_cut_one() {
        let histogram = FloatHistogram {
            count: 12.0,
            sum: 40.0,
            positive_spans: vec![Span { offset: 1, length: 3 }],
            positive_buckets: vec![4.0, 4.0, 4.0],
            ..FloatHistogram::default()
        };
        let mut below = histogram.clone();
        below.trim(8f64.sqrt(), TrimSide::Upper);
        let mut above = histogram.clone();
        above.trim(8f64.sqrt(), TrimSide::Lower);
        assert!((below.count - 6.0).abs() < 1e-12 && (above.count - 6.0).abs() < 1e-12);
        assert_eq!((below.positive_buckets.len(), above.positive_buckets.len()), (2, 2));

        let mut untouched = histogram.clone();
        untouched.trim(100.0, TrimSide::Upper);
        assert!(untouched.same_data(&histogram));
    }
}
