//! The `*_over_time` functions of floats.

use super::order_statistics::quantile_of;
use crate::kahan::{self, KahanSum};

pub fn sum(values: &[f64]) -> f64 {
    sum_from((0.0, 0.0), values)
}

/// Goes on with a sum and its compensation.
pub fn sum_from((sum, compensation): (f64, f64), values: &[f64]) -> f64 {
    let mut sum = KahanSum { sum, compensation };
    values.iter().for_each(|value| sum.add(*value));
    if sum.sum.is_infinite() { sum.sum } else { sum.value() }
}

/// The mean: sum by count, or where the sum would run over, a running mean. `values` has at least one.
pub fn average(values: &[f64]) -> f64 {
    average_from(Mean::new(values[0]), &values[1..])
}

/// Goes on with a mean.
pub fn average_from(mut mean: Mean, values: &[f64]) -> f64 {
    values.iter().for_each(|value| mean.add(*value));
    mean.value()
}

/// A mean under construction.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    /// The sum, or once that would have run over, the mean so far.
    sum_or_mean: f64,
    compensation: f64,
    pub count: f64,
    incremental: bool,
}

impl Mean {
    pub fn new(first: f64) -> Mean {
        Mean { sum_or_mean: first, compensation: 0.0, count: 1.0, incremental: false }
    }

    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (sum, compensation) = kahan::add(value, self.sum_or_mean, self.compensation);
            if !sum.is_infinite() {
                (self.sum_or_mean, self.compensation) = (sum, compensation);
                return;
            }
            self.make_incremental(self.count - 1.0);
        }
        let share = (self.count - 1.0) / self.count;
        (self.sum_or_mean, self.compensation) = kahan::add(value / self.count, share * self.sum_or_mean, share * self.compensation);
    }

    /// All of its state: sum or mean, compensation, count, and whether it is a mean.
    pub fn parts(self) -> (f64, f64, f64, bool) {
        (self.sum_or_mean, self.compensation, self.count, self.incremental)
    }

    pub fn from_parts((sum_or_mean, compensation, count, incremental): (f64, f64, f64, bool)) -> Mean {
        Mean { sum_or_mean, compensation, count, incremental }
    }

    fn make_incremental(&mut self, count: f64) {
        self.incremental = true;
        self.sum_or_mean /= count;
        self.compensation /= count;
    }

    /// Takes in the mean of other values.
    pub fn merge(&mut self, mut other: Mean) {
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let (sum, compensation) = kahan::add(other.sum_or_mean, self.sum_or_mean, self.compensation + other.compensation);
            if !sum.is_infinite() {
                (self.sum_or_mean, self.compensation, self.count) = (sum, compensation, count);
                return;
            }
        }
        for mean in [&mut *self, &mut other].into_iter().filter(|mean| !mean.incremental) {
            mean.make_incremental(mean.count);
        }
        let (own_share, other_share) = (self.count / count, other.count / count);
        let compensation = own_share * self.compensation + other_share * other.compensation;
        (self.sum_or_mean, self.compensation) = kahan::add(other_share * other.sum_or_mean, own_share * self.sum_or_mean, compensation);
        self.count = count;
    }

    pub fn value(&self) -> f64 {
        if self.incremental { self.sum_or_mean + self.compensation } else { self.sum_or_mean / self.count + self.compensation / self.count }
    }
}

/// The population variance.
pub fn variance(values: &[f64]) -> f64 {
    variance_from((0.0, (0.0, 0.0), (0.0, 0.0)), values)
}

/// Goes on with a count of values, and the sums (with compensations) of which mean and variance are made.
pub fn variance_from((mut count, mean, squares): (f64, (f64, f64), (f64, f64)), values: &[f64]) -> f64 {
    let [mut mean, mut squares] = [mean, squares].map(|(sum, compensation)| KahanSum { sum, compensation });
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}

/// The median of the distances to the median; NaN when a value is.
pub fn median_absolute_deviation(values: &[f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut values = values.to_vec();
    let median = quantile_of(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile_of(0.5, &mut values)
}

/// Which end of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    Min,
    Max,
}

impl Extreme {
    #[inline]
    pub fn is_beyond(self, value: f64, than: f64) -> bool {
        match self {
            Extreme::Min => value < than,
            Extreme::Max => value > than,
        }
    }
}

/// The position of the extreme: the first of equal ones. NaN only counts when there is nothing else.
pub fn first_extreme(values: &[f64], extreme: Extreme) -> usize {
    let mut best = 0;
    for (position, value) in values.iter().enumerate() {
        if extreme.is_beyond(*value, values[best]) || values[best].is_nan() {
            best = position;
        }
    }
    best
}

/// The position of the extreme: the last of equal ones.
pub fn last_extreme(values: &[f64], extreme: Extreme) -> usize {
    let mut best = 0;
    for (position, value) in values.iter().enumerate() {
        if extreme.is_beyond(*value, values[best]) || *value == values[best] || values[best].is_nan() {
            best = position;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_lose_small_values() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }

    #[test]
    fn averages_do_not_run_over() {
        let almost_one = |mean: f64| (mean / 1.5e308 - 1.0).abs() < 1e-14;
        assert!(almost_one(average(&[1.5e308, 1.5e308, 1.5e308])));
        let mut merged = Mean::new(1.5e308);
        merged.merge(Mean::new(1.5e308));
        assert!(almost_one(merged.value()));
    }

    #[test]
    fn nan_is_never_the_extreme() {
        assert_eq!(first_extreme(&[f64::NAN, 2.0, f64::NAN, 1.0, 1.0], Extreme::Min), 3);
        assert_eq!(last_extreme(&[f64::NAN, 2.0, f64::NAN, 1.0, 1.0], Extreme::Min), 4);
    }
}
