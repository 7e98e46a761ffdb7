//! Compensated summation (Kahan's, with Neumaier's improvement), the way Prometheus adds floats.
//!
//! Prometheus defines the sum of samples to the last bit as "add in order, carry the compensation, add it at the end", so
//! every place that adds samples uses these two functions.

/// Adds `increment` to the pair (sum, compensation) and returns the new pair.
/// An infinite sum loses its compensation, which would otherwise turn it into NaN.
#[inline]
pub fn add(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= increment.abs() {
        compensation + ((sum - total) + increment)
    } else {
        compensation + ((increment - total) + sum)
    };
    (total, compensation)
}

/// A running sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct KahanSum {
    pub sum: f64,
    pub compensation: f64,
}

impl KahanSum {
    #[inline]
    pub fn add(&mut self, increment: f64) {
        (self.sum, self.compensation) = add(increment, self.sum, self.compensation);
    }

    /// The sum with its compensation. For a sum that ran over, infinity.
    #[inline]
    pub fn value(self) -> f64 {
        self.sum + self.compensation
    }
}
