//! What a rollup wants to know of a run of samples.

use super::values::STALE_MARKER_BITS;

/// Aggregates over samples in time order. Stale markers are not samples and are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregates {
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least value; NaN only when all are NaN.
    pub min: f64,
    /// The greatest value; NaN only when all are NaN.
    pub max: f64,
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
    /// How much a counter grew between first and last: `last - first`, plus the value before each reset.
    pub increase: f64,
    /// Times a value was smaller than the one before.
    pub resets: u64,
}

impl Aggregates {
    /// Of no samples; to be filled in.
    pub(crate) const NOTHING: Self = Self { count: 0, sum: 0.0, min: 0.0, max: 0.0, first: 0.0, last: 0.0, increase: 0.0, resets: 0 };

    /// Folds `values`; none when there is nothing but stale markers. Sums are compensated, so that those of decimals
    /// are decimals again.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut samples = values.iter().copied().filter(|value| value.to_bits() != STALE_MARKER_BITS);
        let first = samples.next()?;
        let mut aggregates = Self { count: 1, sum: first, min: first, max: first, first, last: first, increase: 0.0, resets: 0 };
        let mut sum = Sum::from(first);
        let mut before_resets = Sum::from(0.0);
        for value in samples {
            aggregates.count += 1;
            sum.add(value);
            aggregates.min = aggregates.min.min(value);
            aggregates.max = aggregates.max.max(value);
            if value < aggregates.last {
                aggregates.resets += 1;
                before_resets.add(aggregates.last);
            }
            aggregates.last = value;
        }
        aggregates.sum = sum.total();
        aggregates.increase =
            if aggregates.resets == 0 { aggregates.last - first } else { increase(first, aggregates.last, before_resets) };
        Some(aggregates)
    }

    /// Appends the aggregates of later samples of the same series.
    pub fn merge(&mut self, later: &Self) {
        let mut sum = Sum::from(self.sum);
        sum.add(later.sum);
        self.count += later.count;
        self.sum = sum.total();
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        let reset = later.first < self.last;
        self.resets += later.resets + u64::from(reset);
        let mut increase = Sum::from(self.increase);
        increase.add(later.increase);
        increase.add(later.first);
        increase.add(if reset { 0.0 } else { -self.last });
        self.increase = increase.total();
        self.last = later.last;
    }
}

fn increase(first: f64, last: f64, before_resets: Sum) -> f64 {
    let mut sum = before_resets;
    sum.add(last);
    sum.add(-first);
    sum.total()
}

/// A sum that carries along what its additions round off (Neumaier 1974).
#[derive(Clone, Copy)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn from(value: f64) -> Self {
        Self { sum: value, lost: 0.0 }
    }

    #[inline]
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    /// Infinite terms leave no number in `lost`.
    fn total(self) -> f64 {
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_and_stale_markers_are_seen() {
        let stale = f64::from_bits(STALE_MARKER_BITS);
        let aggregates = Aggregates::of(&[stale, 10.0, 15.0, 3.0, stale, 4.0]).unwrap();
        assert_eq!(aggregates.count, 4);
        assert_eq!(aggregates.sum, 32.0);
        assert_eq!((aggregates.min, aggregates.max), (3.0, 15.0));
        assert_eq!((aggregates.first, aggregates.last), (10.0, 4.0));
        assert_eq!((aggregates.increase, aggregates.resets), (9.0, 1));
        assert_eq!(Aggregates::of(&[stale]), None);
    }

    #[test]
    fn sums_of_decimals_are_decimals() {
        let tenths: Vec<f64> = (0..1000).map(|index| f64::from(index % 10) / 10.0).collect();
        assert_eq!(Aggregates::of(&tenths).unwrap().sum, 450.0);
        assert_eq!(Aggregates::of(&[f64::INFINITY, 1.0]).unwrap().sum, f64::INFINITY);
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let values = [5.0, 7.5, 2.0, 2.0, 9.0, 1.0, 4.0];
        let whole = Aggregates::of(&values).unwrap();
        for cut in 1..values.len() {
            let mut merged = Aggregates::of(&values[..cut]).unwrap();
            merged.merge(&Aggregates::of(&values[cut..]).unwrap());
            assert_eq!(merged, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_nan_does_not_hide_the_extremes() {
        let aggregates = Aggregates::of(&[f64::NAN, 1.0, 2.0]).unwrap();
        assert_eq!((aggregates.min, aggregates.max), (1.0, 2.0));
        assert!(aggregates.sum.is_nan());
    }
}
