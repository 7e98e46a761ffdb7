//! `deriv`, `predict_linear` and `double_exponential_smoothing`.

use super::super::error::QueryError;
use super::window::Samples;
use crate::kahan::KahanSum;

/// The line through the samples with the smallest squared distances: its slope per second and its value at `at_ms`. There are at
/// least two samples.
pub fn linear_regression(samples: Samples<'_, f64>, at_ms: i64) -> (f64, f64) {
    let first = samples.values[0];
    let mut sums = [KahanSum::default(); 4];
    for (time, y) in samples.times.iter().zip(samples.values) {
        let x = (time - at_ms) as f64 / 1e3;
        for (sum, term) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            sum.add(term);
        }
    }
    if samples.values[1..].iter().all(|y| *y == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = samples.len() as f64;
    let [sum_x, sum_y, sum_xy, sum_x2] = sums.map(KahanSum::value);
    let covariance = sum_xy - sum_x * sum_y / n;
    let variance = sum_x2 - sum_x * sum_x / n;
    let slope = covariance / variance;
    (slope, sum_y / n - slope * sum_x / n)
}

/// The last value after smoothing. There are at least two values.
pub fn double_exponential_smoothing(values: &[f64], factors: Factors) -> f64 {
    let Factors { smoothing, trend } = factors;
    let (mut before, mut smoothed) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (position, value) in values.iter().enumerate().skip(1) {
        if position > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let scaled = smoothing * value;
        let carried = (1.0 - smoothing) * (smoothed + slope);
        (before, smoothed) = (smoothed, scaled + carried);
    }
    smoothed
}

/// How fast old values and old trends are forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    smoothing: f64,
    trend: f64,
}

impl Factors {
    /// Both must be strictly between 0 and 1.
    pub fn new(smoothing: f64, trend: f64) -> Result<Factors, QueryError> {
        if smoothing <= 0.0 || smoothing >= 1.0 {
            return Err(QueryError::execution(format!("invalid smoothing factor. Expected: 0 < sf < 1, got: {smoothing:.6}")));
        }
        if trend <= 0.0 || trend >= 1.0 {
            return Err(QueryError::execution(format!("invalid trend factor. Expected: 0 < tf < 1, got: {trend:.6}")));
        }
        Ok(Factors { smoothing, trend })
    }
}
