//! Quantiles and fractions of classic histograms: cumulative buckets in separate series.

/// Differences between buckets below this share are taken for floating point errors.
const TOLERANCE: f64 = 1e-12;
const MIN_POSITIVE_NORMAL: f64 = f64::MIN_POSITIVE;

/// A cumulative bucket.
#[derive(Clone, Copy, Debug)]
pub struct ClassicBucket {
    pub upper: f64,
    pub count: f64,
}

/// How far counts had to be raised so that they do not fall from bucket to bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mended {
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub difference_max: f64,
}

/// The `q`-quantile, interpolated linearly. `buckets` has at least one; it is sorted and mended.
pub fn quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Mended>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !sort_and_join(buckets) {
        return (f64::NAN, None);
    }
    let mended = mend(buckets);
    (quantile_of_mended(q, buckets), mended)
}

fn quantile_of_mended(q: f64, buckets: &[ClassicBucket]) -> f64 {
    let highest = buckets.len() - 1;
    let observations = buckets[highest].count;
    if buckets.len() < 2 || observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    // The first bucket that reaches the rank, the highest when none of the others does. NaN reaches nothing.
    let reaches = |bucket: &ClassicBucket| bucket.count >= rank;
    let position = buckets[..highest].partition_point(|bucket| !reaches(bucket));
    if position == highest {
        return buckets[highest - 1].upper;
    }
    let bucket = buckets[position];
    let Some(before) = position.checked_sub(1).map(|before| buckets[before]) else {
        return if bucket.upper <= 0.0 { bucket.upper } else { bucket.upper * (rank / bucket.count) };
    };
    rank -= before.count;
    before.upper + (bucket.upper - before.upper) * (rank / (bucket.count - before.count))
}

/// The share of observations between `lower` and `upper`. `buckets` has at least one; it is sorted.
pub fn fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !sort_and_join(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut ranks = [(lower, None), (upper, None)];
    let mut bucket_start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let mut rank = 0.0;
    for bucket in buckets.iter() {
        for (value, value_rank) in ranks.iter_mut().filter(|(_, rank)| rank.is_none()) {
            if bucket_start >= *value {
                *value_rank = Some(rank);
            } else if bucket.upper > *value {
                *value_rank = Some(if bucket_start == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (*value - bucket_start) / (bucket.upper - bucket_start)
                });
            }
        }
        rank = bucket.count;
        bucket_start = bucket.upper;
    }
    let [lower_rank, upper_rank] = ranks.map(|(_, rank)| rank.filter(|rank| *rank <= count || rank.is_nan()).unwrap_or(count));
    (upper_rank - lower_rank) / count
}

/// Sorts by bound and adds up buckets of the same bound. False: the highest bound is not +Inf.
fn sort_and_join(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|left, right| left.upper.partial_cmp(&right.upper).unwrap_or(std::cmp::Ordering::Equal));
    if buckets.last().is_none_or(|highest| highest.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|later, earlier| {
        let same = later.upper == earlier.upper;
        if same {
            earlier.count += later.count;
        }
        same
    });
    true
}

/// Evens out tiny differences and raises counts that fall.
fn mend(buckets: &mut [ClassicBucket]) -> Option<Mended> {
    let mut mended: Option<Mended> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == previous {
            continue;
        }
        if almost_equal(previous, bucket.count) {
            bucket.count = previous;
        } else if bucket.count < previous {
            let extent = mended.get_or_insert(Mended { bucket_min: f64::INFINITY, bucket_max: f64::NEG_INFINITY, difference_max: 0.0 });
            extent.bucket_min = extent.bucket_min.min(bucket.upper);
            extent.bucket_max = extent.bucket_max.max(bucket.upper);
            extent.difference_max = extent.difference_max.max(previous - bucket.count);
            bucket.count = previous;
        } else {
            previous = bucket.count;
        }
    }
    mended
}

fn almost_equal(left: f64, right: f64) -> bool {
    if left.is_nan() && right.is_nan() || left == right {
        return true;
    }
    let sum = left.abs() + right.abs();
    let difference = (left - right).abs();
    if left == 0.0 || right == 0.0 || sum < MIN_POSITIVE_NORMAL {
        return difference < TOLERANCE * MIN_POSITIVE_NORMAL;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(list: &[(f64, f64)]) -> Vec<ClassicBucket> {
        list.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantile_interpolates_within_its_bucket() {
        let list = [(f64::INFINITY, 10.0), (1.0, 2.0), (3.0, 6.0)];
        assert_eq!(quantile(0.4, &mut buckets(&list)), (2.0, None));
        assert_eq!(quantile(0.9, &mut buckets(&list)), (3.0, None));
        assert!(quantile(0.4, &mut buckets(&list[1..])).0.is_nan());
    }

    #[test]
    fn falling_counts_are_raised() {
        let (value, mended) = quantile(0.5, &mut buckets(&[(1.0, 4.0), (2.0, 3.0), (4.0, 8.0), (f64::INFINITY, 8.0)]));
        assert_eq!(value, 1.0);
        assert_eq!(mended, Some(Mended { bucket_min: 2.0, bucket_max: 2.0, difference_max: 1.0 }));
    }

    #[test]
    fn fraction_between_bounds() {
        let list = [(1.0, 2.0), (3.0, 6.0), (f64::INFINITY, 10.0)];
        assert_eq!(fraction(0.0, 2.0, &mut buckets(&list)), 0.4);
        assert_eq!(fraction(f64::NEG_INFINITY, f64::INFINITY, &mut buckets(&list)), 1.0);
    }
}
