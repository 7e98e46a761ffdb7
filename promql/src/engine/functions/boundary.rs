//! Values at the edges of `anchored` and `smoothed` ranges.

use std::sync::Arc;

use super::super::notes::Notes;
use super::histogram_rate::{add, sub};
use super::window::{Samples, Subject};
use crate::histogram::{CounterResetHint, FloatHistogram};

/// Whether a falling value is a counter that started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monotonicity {
    Counter,
    Gauge,
}

/// The value at `time` on the line between two samples. After a counter reset the line begins at zero.
pub fn interpolate(first: (i64, f64), second: (i64, f64), time: i64, monotonicity: Monotonicity) -> f64 {
    let reset = monotonicity == Monotonicity::Counter && second.1 < first.1;
    let from = if reset { 0.0 } else { first.1 };
    from + (second.1 - from) * (time - first.0) as f64 / (second.0 - first.0) as f64
}

/// As [`interpolate`], for histograms. None when the two do not fit together.
pub fn interpolate_histograms(
    first: (i64, &FloatHistogram),
    second: (i64, &FloatHistogram),
    time: i64,
    monotonicity: Monotonicity,
    subject: Subject,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    if time == first.0 {
        return Some(first.1.clone());
    }
    let mut result = second.1.clone();
    if time == second.0 {
        return Some(result);
    }
    let fraction = (time - first.0) as f64 / (second.0 - first.0) as f64;
    if monotonicity == Monotonicity::Counter && second.1.detect_reset(first.1) {
        result.mul(fraction);
        return Some(result);
    }
    sub(&mut result, first.1, subject, notes)?;
    result.mul(fraction);
    add(&mut result, first.1, subject, notes)?;
    Some(result)
}

/// Which samples of an extended window stand for a range: from the last one at or before its start (or the first after
/// it) to the last one in it (smoothed: or the first at or after its end).
#[derive(Clone, Copy, Debug)]
pub struct Edges {
    pub first: usize,
    pub last: usize,
}

impl Edges {
    /// None: no sample says anything about the range.
    pub fn find<T>(samples: &Samples<'_, T>, start_ms: i64, end_ms: i64, smoothed: bool) -> Option<Edges> {
        let times = samples.times;
        let mut last = times.len().checked_sub(1)?;
        let first = times[..last].partition_point(|time| *time <= start_ms).saturating_sub(1);
        if smoothed {
            last = times[..last].partition_point(|time| *time < end_ms);
        }
        (times[last] > start_ms && !(smoothed && times[first] > end_ms)).then_some(Edges { first, last })
    }
}

/// The floats at both edges of the range.
pub fn edge_floats(
    samples: &Samples<'_, f64>,
    edges: Edges,
    start_ms: i64,
    end_ms: i64,
    smoothed: bool,
    monotonicity: Monotonicity,
) -> (f64, f64) {
    let sample = |position: usize| (samples.times[position], samples.values[position]);
    let Edges { first, last } = edges;
    let left = if smoothed && samples.times[first] < start_ms {
        interpolate(sample(first), sample(first + 1), start_ms, monotonicity)
    } else {
        samples.values[first]
    };
    let right = if smoothed && last > 0 && samples.times[last] > end_ms {
        interpolate(sample(last - 1), sample(last), end_ms, monotonicity)
    } else {
        samples.values[last]
    };
    (left, right)
}

/// The histogram at the left or right edge: interpolated between two samples, or a copy of one.
pub fn edge_histogram(
    samples: &Samples<'_, Arc<FloatHistogram>>,
    pair: (usize, usize),
    nearest: usize,
    time: Option<i64>,
    monotonicity: Monotonicity,
    subject: Subject,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let sample = |position: usize| (samples.times[position], samples.values[position].as_ref());
    match time {
        Some(time) => interpolate_histograms(sample(pair.0), sample(pair.1), time, monotonicity, subject, notes),
        None => Some(samples.values[nearest].as_ref().clone()),
    }
}

/// A counter histogram unless both are marked as gauges.
pub fn monotonicity_of(first: &FloatHistogram, second: &FloatHistogram) -> Monotonicity {
    let gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if gauge(first) && gauge(second) { Monotonicity::Gauge } else { Monotonicity::Counter }
}
