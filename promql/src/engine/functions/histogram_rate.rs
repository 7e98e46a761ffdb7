//! `rate`, `increase` and `delta` of native histograms.

use std::sync::Arc;

use super::super::notes::Notes;
use super::extrapolation::{RateKind, Reach};
use super::rate::{counter_start, note_overlap};
use super::start_time::{has_overlap, is_reset};
use super::window::{Samples, Subject};
use crate::annotations::{AnnotationKind, HistogramOperation};
use crate::histogram::{CounterResetHint, FloatHistogram};

/// The value of one window; None when there are too few samples or they do not fit together.
pub fn rate_of_histograms(
    samples: Samples<'_, Arc<FloatHistogram>>,
    kind: RateKind,
    (start_ms, end_ms): (i64, i64),
    subject: Subject,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let (first_ms, first) = samples.first()?;
    let (last_ms, _) = samples.last()?;
    let mut result = None;
    if samples.len() > 1 {
        result = Some(increase_between(samples, kind, subject, notes)?);
    }
    let counter_start_ms = counter_start(&samples, kind, start_ms);
    let mut result = match (counter_start_ms, result) {
        (Some(_), None) => FloatHistogram::clone(first),
        (Some(_), Some(mut result)) => {
            add(&mut result, first, subject, notes)?;
            result
        }
        (None, result) => result?,
    };
    let reach = Reach::new((first_ms, last_ms), samples.len(), (start_ms, end_ms));
    let reach = match counter_start_ms {
        Some(counter_start_ms) => reach.since_counter_start(counter_start_ms, last_ms),
        None if kind.is_counter() => reach.not_below_zero(result.count, first.count),
        None => reach,
    };
    result.mul(reach.factor() / kind.divisor(end_ms - start_ms));
    Some(result)
}

/// Last minus first, plus what was lost in resets.
fn increase_between(
    samples: Samples<'_, Arc<FloatHistogram>>,
    kind: RateKind,
    subject: Subject,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let histograms = samples.values;
    let (first, last) = (&histograms[0], histograms.last()?);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset_hint == CounterResetHint::Gauge;
    if kind.is_counter() && (is_gauge(first) || is_gauge(last)) {
        subject.not_a_counter(notes);
    }
    // After a reset the first sample's layout is nothing to be compatible with.
    let second = &histograms[1];
    let reset_at_start = kind.is_counter() && (is_reset(&samples, 1) || second.detect_reset(first));
    let base = if reset_at_start {
        FloatHistogram { schema: second.schema, custom_values: second.custom_values.clone(), ..FloatHistogram::default() }
    } else {
        FloatHistogram::clone(first)
    };
    let custom = base.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        subject.mixed_schemas(notes);
        return None;
    }
    let mut schema = last.schema.min(base.schema);
    if kind.is_counter() {
        for histogram in &histograms[1..histograms.len() - 1] {
            if is_gauge(histogram) {
                subject.not_a_counter(notes);
            }
            schema = schema.min(histogram.schema);
            if histogram.uses_custom_buckets() != custom {
                subject.mixed_schemas(notes);
                return None;
            }
        }
    }
    let mut result = last.to_schema(schema);
    sub(&mut result, &base, subject, notes)?;
    if kind.is_counter() {
        add_lost_in_resets(&mut result, &base, samples, subject, notes)?;
    } else if !is_gauge(first) || !is_gauge(last) {
        subject.not_a_gauge(notes);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    result.compact(0);
    Some(result)
}

fn add_lost_in_resets(
    result: &mut FloatHistogram,
    base: &FloatHistogram,
    samples: Samples<'_, Arc<FloatHistogram>>,
    subject: Subject,
    notes: &mut Notes,
) -> Option<()> {
    if has_overlap(&samples) {
        note_overlap(subject, notes);
    }
    let mut previous = base;
    for (position, histogram) in samples.values.iter().enumerate().skip(1) {
        if is_reset(&samples, position) || histogram.detect_reset(previous) {
            add(result, previous, subject, notes)?;
        }
        previous = histogram;
    }
    Some(())
}

/// Adds, and writes down what there is to say. None: the two do not fit together.
pub fn add(result: &mut FloatHistogram, other: &FloatHistogram, subject: Subject, notes: &mut Notes) -> Option<()> {
    note(result.add(other), HistogramOperation::Addition, subject, notes)
}

/// Subtracts, as [`add`] adds.
pub fn sub(result: &mut FloatHistogram, other: &FloatHistogram, subject: Subject, notes: &mut Notes) -> Option<()> {
    note(result.sub(other), HistogramOperation::Subtraction, subject, notes)
}

fn note(
    outcome: Result<crate::histogram::Addition, crate::histogram::IncompatibleSchemas>,
    operation: HistogramOperation,
    subject: Subject,
    notes: &mut Notes,
) -> Option<()> {
    match outcome {
        Err(_) => {
            subject.mixed_schemas(notes);
            None
        }
        Ok(addition) => {
            if addition.bounds_reconciled {
                notes.push(AnnotationKind::MismatchedCustomBuckets { operation }, subject.position);
            }
            Some(())
        }
    }
}
