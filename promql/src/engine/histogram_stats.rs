//! Dropping the buckets of histograms where only counts and sums matter.
//!
//! The work of finding counter resets needs buckets, so it is done here, and its outcome kept in the reset hints.

use std::sync::Arc;

use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::sample::is_stale;
use crate::source::SeriesBuffer;

/// Replaces the histograms of a series by ones without buckets.
pub fn drop_buckets(buffer: &mut SeriesBuffer) {
    let mut last: Option<Arc<FloatHistogram>> = None;
    for (_, histogram) in &mut buffer.histograms {
        let mut reduced = histogram.without_buckets();
        if !is_stale(histogram.sum) {
            if let (CounterResetHint::Unknown, Some(last)) = (histogram.counter_reset_hint, &last) {
                let reset = histogram.detect_reset(last);
                reduced.counter_reset_hint = if reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
            }
            last = Some(Arc::clone(histogram));
        }
        *histogram = Arc::new(reduced);
    }
}
