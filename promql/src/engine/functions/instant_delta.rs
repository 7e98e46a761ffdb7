//! `irate` and `idelta`: the difference between the last two samples of a range.

use std::sync::Arc;

use super::super::notes::Notes;
use super::histogram_rate::sub;
use super::start_time::restarted;
use super::window::{Samples, Subject, Window};
use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::sample::SampleValue;

/// Which of the two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstantKind {
    /// Of a counter, per second.
    Rate,
    /// Of a gauge.
    Delta,
}

/// One of the last two samples.
#[derive(Clone, Copy)]
struct Last<'a> {
    time: i64,
    start: i64,
    value: Either<'a>,
}

#[derive(Clone, Copy)]
enum Either<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

pub fn instant_delta(window: &Window, kind: InstantKind, subject: Subject, notes: &mut Notes) -> Option<SampleValue> {
    let (first, second) = last_two(window)?;
    let interval_ms = second.time - first.time;
    if interval_ms == 0 {
        return None;
    }
    let seconds = interval_ms as f64 / 1000.0;
    let restarted = restarted(first.start, first.time, second.start, second.time);
    match (first.value, second.value) {
        (Either::Float(before), Either::Float(after)) => Some(SampleValue::Float(match kind {
            InstantKind::Delta => after - before,
            InstantKind::Rate if after < before || restarted => after / seconds,
            InstantKind::Rate => (after - before) / seconds,
        })),
        (Either::Histogram(before), Either::Histogram(after)) => {
            let mut result = difference(before, after, kind, restarted, subject, notes)?;
            if kind == InstantKind::Rate {
                result.div(seconds);
            }
            Some(SampleValue::Histogram(Arc::new(result)))
        }
        _ => {
            subject.mixed_floats_histograms(notes);
            None
        }
    }
}

fn difference(
    before: &FloatHistogram,
    after: &FloatHistogram,
    kind: InstantKind,
    restarted: bool,
    subject: Subject,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let gauges = [before, after].iter().filter(|histogram| histogram.counter_reset_hint == CounterResetHint::Gauge).count();
    if kind == InstantKind::Rate && gauges > 0 {
        subject.not_a_counter(notes);
    }
    if kind == InstantKind::Delta && gauges < 2 {
        subject.not_a_gauge(notes);
    }
    let mut result = after.clone();
    if kind == InstantKind::Delta || !(restarted || after.detect_reset(before)) {
        sub(&mut result, before, subject, notes)?;
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact(0);
    Some(result)
}

/// The last two samples of any kind, in order of time.
fn last_two<'a>(window: &Window<'a>) -> Option<(Last<'a>, Last<'a>)> {
    if window.histograms.is_empty() {
        let mut floats = tail(window.floats, |value| Either::Float(*value));
        return Some((floats.next()?, floats.next()?));
    }
    let floats = tail(window.floats, |value| Either::Float(*value));
    let histograms = tail(window.histograms, |histogram| Either::Histogram(histogram));
    let mut last: Vec<Last> = floats.chain(histograms).collect();
    last.sort_by_key(|sample| sample.time);
    match last.as_slice() {
        [.., first, second] => Some((*first, *second)),
        _ => None,
    }
}

fn tail<'a, T>(samples: Samples<'a, T>, value: impl Fn(&'a T) -> Either<'a>) -> impl Iterator<Item = Last<'a>> {
    (samples.len().saturating_sub(2)..samples.len()).map(move |position| Last {
        time: samples.times[position],
        start: samples.starts.get(position).copied().unwrap_or(0),
        value: value(&samples.values[position]),
    })
}
