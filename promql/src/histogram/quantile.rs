//! Quantiles, fractions and the spread of the observations in a native histogram.
//!
//! Observations are assumed to lie evenly within a custom bucket or the zero bucket, and evenly on a logarithmic scale
//! within an exponential bucket. Observations of NaN are in the total count but in no bucket.

use super::FloatHistogram;
use super::buckets::{Bucket, Scale};
use crate::kahan::KahanSum;

/// What there is to say about NaN observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanNote {
    /// The quantile is beyond all buckets, that is, among the NaN.
    ResultIsNan,
    /// The quantile is higher than it would be without them.
    Skewed,
}

#[derive(Clone, Copy, Debug)]
pub struct QuantileResult {
    pub value: f64,
    pub note: Option<NanNote>,
}

#[derive(Clone, Copy, Debug)]
pub struct FractionResult {
    pub value: f64,
    /// There were NaN observations, which belong to no fraction.
    pub excluded_nan: bool,
}

impl FloatHistogram {
    /// The `q`-quantile of the observations; ±Inf for `q` outside of [0, 1].
    pub fn quantile(&self, q: f64) -> QuantileResult {
        let plain = |value| QuantileResult { value, note: None };
        if q < 0.0 {
            return plain(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return plain(f64::INFINITY);
        }
        if self.count == 0.0 || q.is_nan() {
            return plain(f64::NAN);
        }
        let mut buckets = self.all_buckets();
        // From the end that is nearer, unless NaN observations make the upper end unknown.
        let forward = self.sum.is_nan() || q < 0.5;
        let mut rank = if forward { q } else { 1.0 - q } * self.count;
        if !forward {
            buckets.reverse();
        }
        let Some((position, mut bucket, mut count)) = find_rank(&buckets, rank) else {
            // A histogram that counts observations but has no buckets at all.
            return if rank > 0.0 { self.beyond_all_buckets(0.0, 0.0, rank) } else { plain(f64::NAN) };
        };
        if let Some(value) = self.narrow(&mut bucket) {
            return plain(value);
        }
        count = count.min(self.count);
        if count < rank {
            return self.beyond_all_buckets(bucket.upper, count, rank);
        }
        rank = if forward { rank - (count - bucket.count) } else { count - rank };
        let mut note = None;
        if self.sum.is_nan() {
            let in_buckets = buckets[position + 1..].iter().fold(count, |sum, bucket| sum + bucket.count);
            if let Some(last) = buckets[position + 1..].last() {
                bucket = *last;
            }
            note = (in_buckets < self.count).then_some(NanNote::Skewed);
        }
        QuantileResult { value: self.interpolate(&bucket, rank / bucket.count), note }
    }

    fn beyond_all_buckets(&self, upper: f64, count: f64, rank: f64) -> QuantileResult {
        if count < rank && self.sum.is_nan() {
            return QuantileResult { value: f64::NAN, note: Some(NanNote::ResultIsNan) };
        }
        QuantileResult { value: upper, note: None }
    }

    /// Gives the zero bucket and the open custom buckets the bounds that interpolation needs, or the answer itself.
    fn narrow(&self, bucket: &mut Bucket) -> Option<f64> {
        if !self.uses_custom_buckets() {
            if bucket.lower < 0.0 && bucket.upper > 0.0 {
                self.narrow_zero_bucket(bucket);
            }
            return None;
        }
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Some(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Some(bucket.lower);
        }
        None
    }

    /// In a histogram with buckets on one side only, zero is the natural bound of the zero bucket.
    fn narrow_zero_bucket(&self, bucket: &mut Bucket) {
        match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }

    fn interpolate(&self, bucket: &Bucket, fraction: f64) -> f64 {
        if self.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return bucket.lower + (bucket.upper - bucket.lower) * fraction;
        }
        let log_lower = bucket.lower.abs().log2();
        let log_upper = bucket.upper.abs().log2();
        if bucket.lower > 0.0 {
            (log_lower + (log_upper - log_lower) * fraction).exp2()
        } else {
            -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
        }
    }

    /// The share of all observations that lie between `lower` and `upper`.
    pub fn fraction(&self, lower: f64, upper: f64) -> FractionResult {
        let plain = |value| FractionResult { value, excluded_nan: false };
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return plain(f64::NAN);
        }
        if lower >= upper {
            return plain(0.0);
        }
        let buckets = self.all_buckets();
        let mut ranks = [(lower, None), (upper, None)];
        let mut rank = 0.0;
        for bucket in &buckets {
            self.set_ranks(*bucket, rank, &mut ranks);
            if ranks.iter().all(|(_, rank)| rank.is_some()) {
                break;
            }
            rank += bucket.count;
        }
        let mut count = self.count;
        let mut excluded_nan = false;
        if self.sum.is_nan() {
            count = buckets.iter().map(|bucket| bucket.count).sum();
            excluded_nan = count < self.count;
        }
        let [lower_rank, upper_rank] = ranks.map(|(_, rank)| rank.filter(|rank| *rank <= count || rank.is_nan()).unwrap_or(count));
        FractionResult { value: (upper_rank - lower_rank) / self.count, excluded_nan }
    }

    /// Sets the rank of each value that is at the start of `bucket` or in it. `rank` is the count of all buckets before.
    fn set_ranks(&self, mut bucket: Bucket, rank: f64, ranks: &mut [(f64, Option<f64>); 2]) {
        let mut scale = if self.uses_custom_buckets() { Scale::Linear } else { Scale::Logarithmic };
        if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            scale = Scale::Linear;
            self.narrow_zero_bucket(&mut bucket);
        }
        for (value, value_rank) in ranks.iter_mut().filter(|(_, rank)| rank.is_none()) {
            if bucket.lower >= *value {
                *value_rank = Some(rank);
            } else if bucket.upper > *value {
                let open = scale == Scale::Linear && bucket.lower == f64::NEG_INFINITY;
                *value_rank = Some(if open { bucket.count } else { rank + bucket.count * bucket.fraction_below(*value, scale) });
            }
        }
    }

    /// The variance of the observations, each taken to be in the middle of its bucket.
    pub fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut variance = KahanSum::default();
        for bucket in self.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.uses_custom_buckets() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let delta = middle - mean;
            variance.add(bucket.count * delta * delta);
        }
        variance.value() / self.count
    }
}

/// The first bucket at which the running count reaches `rank` (or the last populated one), its position and that count.
fn find_rank(buckets: &[Bucket], rank: f64) -> Option<(usize, Bucket, f64)> {
    let mut found = None;
    let mut count = 0.0;
    for (position, bucket) in buckets.iter().enumerate() {
        found = Some((position, *bucket, count));
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        found = Some((position, *bucket, count));
        if count >= rank {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Span;

    fn one_to_eight() -> FloatHistogram {
        FloatHistogram {
            count: 12.0,
            sum: 40.0,
            positive_spans: vec![Span { offset: 1, length: 3 }],
            positive_buckets: vec![4.0, 4.0, 4.0],
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn quantile_interpolates_on_a_logarithmic_scale() {
        let histogram = one_to_eight();
        assert!((histogram.quantile(0.5).value - 8f64.sqrt()).abs() < 1e-12);
        assert_eq!(histogram.quantile(0.0).value, 1.0);
        assert_eq!(histogram.quantile(1.0).value, 8.0);
        assert_eq!(histogram.quantile(1.1).value, f64::INFINITY);
    }

    #[test]
    fn fraction_is_the_inverse_of_quantile() {
        let histogram = one_to_eight();
        for q in [0.1, 0.35, 0.5, 0.9] {
            let fraction = histogram.fraction(f64::NEG_INFINITY, histogram.quantile(q).value).value;
            assert!((fraction - q).abs() < 1e-12, "{fraction} for {q}");
        }
    }

    #[test]
    fn nan_observations_are_noted() {
        let histogram = FloatHistogram { count: 20.0, sum: f64::NAN, ..one_to_eight() };
        assert_eq!(histogram.quantile(0.9).note, Some(NanNote::ResultIsNan));
        assert_eq!(histogram.quantile(0.1).note, Some(NanNote::Skewed));
        assert!(histogram.fraction(f64::NEG_INFINITY, f64::INFINITY).excluded_nan);
    }
}
