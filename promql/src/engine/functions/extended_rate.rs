//! `rate`, `increase` and `delta` over `anchored` and `smoothed` ranges: exact differences between the edges of the
//! range instead of extrapolation.

use std::sync::Arc;

use super::super::error::QueryError;
use super::super::notes::Notes;
use super::boundary::{Edges, Monotonicity, edge_floats, edge_histogram};
use super::extrapolation::RateKind;
use super::histogram_rate::{add, sub};
use super::window::{Bounds, Samples, SplitSeries, Subject, Window};
use crate::ast::Extension;
use crate::histogram::{CounterResetHint, FloatHistogram};

fn monotonicity(kind: RateKind) -> Monotonicity {
    if kind.is_counter() { Monotonicity::Counter } else { Monotonicity::Gauge }
}

/// The value of one window of floats.
pub fn extended_rate_of_floats(window: &Window, kind: RateKind) -> Option<f64> {
    let samples = window.floats;
    let smoothed = window.extension == Extension::Smoothed;
    let edges = Edges::find(&samples, window.start_ms, window.end_ms, smoothed)?;
    let (left, right) = edge_floats(&samples, edges, window.start_ms, window.end_ms, smoothed, monotonicity(kind));
    let mut value = right - left;
    if kind.is_counter() {
        // The edges themselves are taken care of; only samples strictly inside may hide resets.
        let first = edges.first + usize::from(samples.times[edges.first] <= window.start_ms);
        let end = edges.last + usize::from(samples.times[edges.last] < window.end_ms);
        let inside = samples.values.get(first..end).unwrap_or_default();
        value += lost_in_resets(left, inside, right);
    }
    Some(value / kind.divisor(window.end_ms - window.start_ms))
}

fn lost_in_resets(left: f64, inside: &[f64], right: f64) -> f64 {
    let mut lost = 0.0;
    let mut previous = left;
    for value in inside.iter().chain(std::iter::once(&right)) {
        if *value < previous {
            lost += previous;
        }
        previous = *value;
    }
    lost
}

/// The value of one window of histograms.
pub fn extended_rate_of_histograms(window: &Window, kind: RateKind, subject: Subject, notes: &mut Notes) -> Option<FloatHistogram> {
    let samples = window.histograms;
    let smoothed = window.extension == Extension::Smoothed;
    let edges = Edges::find(&samples, window.start_ms, window.end_ms, smoothed)?;
    let Edges { first, last } = edges;
    check_kinds(&samples.values[first..=last], kind, subject, notes)?;

    let left_time = (smoothed && samples.times[first] < window.start_ms).then_some(window.start_ms);
    let left = edge_histogram(&samples, (first, first + 1), first, left_time, monotonicity(kind), subject, notes)?;
    let right_time = (smoothed && last > 0 && samples.times[last] > window.end_ms).then_some(window.end_ms);
    let right = edge_histogram(&samples, (last.saturating_sub(1), last), last, right_time, monotonicity(kind), subject, notes)?;

    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    let both_gauges = is_gauge(&left) && is_gauge(&right);
    if kind == RateKind::Delta && !both_gauges {
        subject.not_a_gauge(notes);
    }
    let mut result = right.clone();
    sub(&mut result, &left, subject, notes)?;
    if kind.is_counter() {
        let lost = histogram_lost_in_resets(&samples, edges, (&left, &right), left_time.is_some(), subject, notes)?;
        if let Some(lost) = lost {
            add(&mut result, &lost, subject, notes)?;
        }
    }
    if kind == RateKind::Rate {
        result.div(kind.divisor(window.end_ms - window.start_ms));
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact(0);
    Some(result)
}

fn check_kinds(histograms: &[Arc<FloatHistogram>], kind: RateKind, subject: Subject, notes: &mut Notes) -> Option<()> {
    let custom = histograms.first()?.uses_custom_buckets();
    for histogram in histograms {
        if histogram.uses_custom_buckets() != custom {
            subject.mixed_schemas(notes);
            return None;
        }
        if kind.is_counter() && histogram.counter_reset_hint == CounterResetHint::Gauge {
            subject.not_a_counter(notes);
        }
    }
    Some(())
}

/// The sum of what was there before each reset; the inner None when there was none, the outer when histograms do not fit
/// together.
fn histogram_lost_in_resets(
    samples: &Samples<'_, Arc<FloatHistogram>>,
    edges: Edges,
    (left, right): (&FloatHistogram, &FloatHistogram),
    left_interpolated: bool,
    subject: Subject,
    notes: &mut Notes,
) -> Option<Option<FloatHistogram>> {
    let Edges { first, last } = edges;
    let mut from = first + 1;
    let mut previous = left;
    if left_interpolated && samples.values[first + 1].detect_reset(&samples.values[first]) {
        // The interpolation went over this reset already.
        previous = &samples.values[first + 1];
        from += 1;
    }
    // The last sample is represented by `right`, which carries the same hint.
    if from > last {
        return Some(None);
    }
    let mut lost: Option<FloatHistogram> = None;
    let inside = samples.values[from..last].iter().map(Arc::as_ref);
    for histogram in inside.chain(std::iter::once(right)) {
        if histogram.detect_reset(previous) {
            match &mut lost {
                None => lost = Some(previous.clone()),
                Some(lost) => add(lost, previous, subject, notes)?,
            }
        }
        previous = histogram;
    }
    Some(lost)
}

/// Replaces the samples around a range by values at its two edges: a range selector as a whole query.
pub fn extended_samples(series: &mut SplitSeries, extension: Extension, (start_ms, end_ms): (i64, i64)) -> Result<(), QueryError> {
    let smoothed = extension == Extension::Smoothed;
    if !series.histograms.times.is_empty() {
        let modifier = if smoothed { "smoothed" } else { "anchored" };
        return Err(QueryError::execution(format!("{modifier} modifier is not supported with histograms")));
    }
    let samples = series.floats_view(Bounds { from: 0, to: series.floats.times.len() });
    let Some(edges) = Edges::find(&samples, start_ms, end_ms, smoothed) else {
        series.floats.times.clear();
        series.floats.values.clear();
        return Ok(());
    };
    let (left, right) = edge_floats(&samples, edges, start_ms, end_ms, smoothed, Monotonicity::Gauge);
    let first = edges.first + usize::from(samples.times[edges.first] <= start_ms);
    let end = edges.last + usize::from(samples.times[edges.last] < end_ms);
    let (mut times, mut values) = (vec![start_ms], vec![left]);
    times.extend_from_slice(samples.times.get(first..end).unwrap_or_default());
    values.extend_from_slice(samples.values.get(first..end).unwrap_or_default());
    times.push(end_ms);
    values.push(right);
    (series.floats.times, series.floats.values) = (times, values);
    Ok(())
}
