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
    /// Folds `values`; none when there is nothing but stale markers.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut samples = values.iter().copied().filter(|value| value.to_bits() != STALE_MARKER_BITS);
        let first = samples.next()?;
        let mut aggregates = Self { count: 1, sum: first, min: first, max: first, first, last: first, increase: 0.0, resets: 0 };
        let mut before_resets = 0.0;
        for value in samples {
            aggregates.count += 1;
            aggregates.sum += value;
            aggregates.min = aggregates.min.min(value);
            aggregates.max = aggregates.max.max(value);
            if value < aggregates.last {
                aggregates.resets += 1;
                before_resets += aggregates.last;
            }
            aggregates.last = value;
        }
        aggregates.increase = aggregates.last - first + before_resets;
        Some(aggregates)
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
    fn a_nan_does_not_hide_the_extremes() {
        let aggregates = Aggregates::of(&[f64::NAN, 1.0, 2.0]).unwrap();
        assert_eq!((aggregates.min, aggregates.max), (1.0, 2.0));
        assert!(aggregates.sum.is_nan());
    }
}
