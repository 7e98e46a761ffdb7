//! Extrapolating an increase between samples to the whole range: what `rate`, `increase` and `delta` have in common.

use super::super::plan::seconds_of_ms;

/// What a function makes of the values in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// `rate`: of a counter, per second.
    Rate,
    /// `increase`: of a counter, over the range.
    Increase,
    /// `delta`: of a gauge, over the range.
    Delta,
}

impl RateKind {
    pub fn is_counter(self) -> bool {
        self != RateKind::Delta
    }

    /// By what an increase over a range of this length is divided.
    pub fn divisor(self, range_ms: i64) -> f64 {
        if self == RateKind::Rate { seconds_of_ms(range_ms) } else { 1.0 }
    }
}

/// An increase between the first and the last sample of a range.
#[derive(Clone, Copy, Debug)]
pub struct Increase {
    /// Of the counts, for a histogram.
    pub value: f64,
    /// The first sample, where counting up from zero would have begun. None for gauges.
    pub first_value: Option<f64>,
    pub first_ms: i64,
    pub last_ms: i64,
    pub samples: usize,
    /// The counter started at this time within the range, at zero: nothing to extrapolate on the left.
    pub counter_start_ms: Option<i64>,
}

/// By what the increase is multiplied to cover the range from `start_ms` to `end_ms`.
///
/// Where the first or last sample is close to the edge (by 1.1 times the average distance of samples), the increase is
/// carried on to the edge; otherwise by half the average distance. A counter is not carried on below zero.
#[inline]
pub fn factor(increase: &Increase, start_ms: i64, end_ms: i64) -> f64 {
    let mut sampled = (increase.last_ms - increase.first_ms) as f64 / 1000.0;
    let intervals = increase.samples - 1;
    let average = if intervals > 0 { sampled / intervals as f64 } else { 0.0 };
    let threshold = average * 1.1;
    let mut to_start = (increase.first_ms - start_ms) as f64 / 1000.0;
    let mut to_end = (end_ms - increase.last_ms) as f64 / 1000.0;
    if let Some(counter_start_ms) = increase.counter_start_ms {
        to_start = 0.0;
        sampled = (increase.last_ms - counter_start_ms) as f64 / 1000.0;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if let Some(first_value) = increase.first_value
            && increase.value > 0.0
            && first_value >= 0.0
        {
            let to_zero = sampled * (first_value / increase.value);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled }
}
