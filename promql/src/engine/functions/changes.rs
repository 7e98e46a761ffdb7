//! `changes` and `resets`: counting what happens between neighbouring samples.

use super::start_time::restarted;
use super::window::Window;
use crate::ast::Extension;
use crate::histogram::FloatHistogram;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Any other value; NaN is like NaN.
    Change,
    /// A counter that started anew. A change between floats and histograms is one too.
    Reset,
}

impl Event {
    /// Whether it happened between two floats.
    #[inline]
    pub fn happened(self, before: f64, after: f64) -> bool {
        match self {
            Event::Change => after != before && !(after.is_nan() && before.is_nan()),
            Event::Reset => after < before,
        }
    }
}

#[derive(Clone, Copy)]
struct Sample<'a> {
    time: i64,
    start: i64,
    float: f64,
    histogram: Option<&'a FloatHistogram>,
}

/// How often it happened. None when there is nothing to look at.
pub fn count_events(window: &Window, event: Event) -> Option<f64> {
    let (first_float, first_histogram) = first_positions(window)?;
    let mut samples = merged(window, first_float, first_histogram);
    let mut previous = samples.next()?;
    let mut count = 0u32;
    for sample in samples {
        count += u32::from(happened(&previous, &sample, event));
        previous = sample;
    }
    Some(f64::from(count))
}

fn happened(previous: &Sample, sample: &Sample, event: Event) -> bool {
    let restarted = || event == Event::Reset && restarted(previous.start, previous.time, sample.start, sample.time);
    match (previous.histogram, sample.histogram, event) {
        (None, None, _) => event.happened(previous.float, sample.float) || restarted(),
        (Some(before), Some(after), Event::Change) => !after.same_data(before),
        (Some(before), Some(after), Event::Reset) => restarted() || after.detect_reset(before),
        _ => true,
    }
}

/// Floats and histograms in order of time.
fn merged<'a>(window: &Window<'a>, mut float: usize, mut histogram: usize) -> impl Iterator<Item = Sample<'a>> {
    let (floats, histograms) = (window.floats, window.histograms);
    std::iter::from_fn(move || {
        let next_is_float = match (floats.times.get(float), histograms.times.get(histogram)) {
            (None, None) => return None,
            (float_time, None) => float_time.is_some(),
            (None, Some(_)) => false,
            (Some(float_time), Some(histogram_time)) => float_time < histogram_time,
        };
        if next_is_float {
            let start = floats.starts.get(float).copied().unwrap_or(0);
            let sample = Sample { time: floats.times[float], start, float: floats.values[float], histogram: None };
            float += 1;
            return Some(sample);
        }
        let start = histograms.starts.get(histogram).copied().unwrap_or(0);
        let value = histograms.values[histogram].as_ref();
        let sample = Sample { time: histograms.times[histogram], start, float: 0.0, histogram: Some(value) };
        histogram += 1;
        Some(sample)
    })
}

/// From where on samples count. In an anchored range that is the last sample, of either kind, at or before its start; None
/// when there is no sample after the start.
fn first_positions(window: &Window) -> Option<(usize, usize)> {
    if window.extension != Extension::Anchored {
        return Some((0, 0));
    }
    let floats = window.floats.times.partition_point(|time| *time <= window.start_ms);
    let histograms = window.histograms.times.partition_point(|time| *time <= window.start_ms);
    if floats == window.floats.len() && histograms == window.histograms.len() {
        return None;
    }
    let last_float = floats.checked_sub(1).map(|position| window.floats.times[position]);
    let last_histogram = histograms.checked_sub(1).map(|position| window.histograms.times[position]);
    Some(match (last_float, last_histogram) {
        (None, None) => (0, 0),
        (Some(float), Some(histogram)) if float < histogram => (floats, histograms - 1),
        (None, Some(_)) => (floats, histograms - 1),
        (Some(_), _) => (floats - 1, histograms),
    })
}
