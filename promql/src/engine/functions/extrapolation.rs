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

/// How far an increase is carried on beyond the first and the last sample of a range, all in seconds. It depends on times
/// only, so it serves all series that were sampled at the same times.
///
/// Where the first or last sample is close to the edge (by 1.1 times the average distance of samples), the increase is
/// carried on to the edge; otherwise by half the average distance.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// From the first sample, or from the counter's start, to the last.
    pub sampled: f64,
    pub to_start: f64,
    pub to_end: f64,
}

impl Reach {
    /// Of `samples` samples from `first_ms` to `last_ms` in the range from `start_ms` to `end_ms`.
    #[inline]
    pub fn new((first_ms, last_ms): (i64, i64), samples: usize, (start_ms, end_ms): (i64, i64)) -> Reach {
        let sampled = (last_ms - first_ms) as f64 / 1000.0;
        let intervals = samples - 1;
        let average = if intervals > 0 { sampled / intervals as f64 } else { 0.0 };
        let threshold = average * 1.1;
        let bounded = |distance: f64| if distance >= threshold { average / 2.0 } else { distance };
        let to_start = bounded((first_ms - start_ms) as f64 / 1000.0);
        let to_end = bounded((end_ms - last_ms) as f64 / 1000.0);
        Reach { sampled, to_start, to_end }
    }

    /// The counter started at this time within the range, at zero: nothing to extrapolate on the left.
    pub fn since_counter_start(self, counter_start_ms: i64, last_ms: i64) -> Reach {
        Reach { sampled: (last_ms - counter_start_ms) as f64 / 1000.0, to_start: 0.0, ..self }
    }

    /// A counter is not carried on below zero: from its first value it reaches zero, at the pace of the increase `value`, before
    /// the start of the range.
    #[inline]
    pub fn not_below_zero(self, value: f64, first_value: f64) -> Reach {
        let to_zero = self.sampled * (first_value / value);
        // Bits, not branches: the loop over many windows becomes vector instructions.
        let goes_below = (value > 0.0) & (first_value >= 0.0) & (to_zero < self.to_start);
        Reach { to_start: if goes_below { to_zero } else { self.to_start }, ..self }
    }

    /// By what the increase is multiplied to cover the range.
    #[inline]
    pub fn factor(self) -> f64 {
        let factor = (self.sampled + self.to_start + self.to_end) / self.sampled;
        if self.sampled == 0.0 { 1.0 } else { factor }
    }
}
