//! Comparing an answer with what a script expects.

use crate::histogram::FloatHistogram;
use crate::parser::SequenceValue;
use crate::sample::{SampleValue, is_stale};
use crate::testlang::{Eval, ExpectedSeries, ExpectedValue};
use crate::value::{Sample, Series, Value};

/// The relative difference up to which floats are taken as equal.
const TOLERANCE: f64 = 1e-6;

/// Compares a value. `times` are start, end and step of the expected values of a matrix.
pub fn value(eval: &Eval, value: &Value, times: (i64, i64, i64)) -> Result<(), String> {
    match (&eval.value, value) {
        (ExpectedValue::Scalar(expected), Value::Scalar { value, .. }) => {
            if almost_equal(*expected, *value) {
                Ok(())
            } else {
                Err(format!("expected {expected}, got {value}"))
            }
        }
        (ExpectedValue::String(expected), Value::String { value, .. }) => {
            if expected.as_str() == &**value {
                Ok(())
            } else {
                Err(format!("expected {expected:?}, got {value:?}"))
            }
        }
        (ExpectedValue::Series(series) | ExpectedValue::RangeVector { series, .. }, Value::Matrix(matrix)) => {
            if eval.ordered {
                Err("an ordered result cannot be a matrix".to_owned())
            } else {
                matrices(series, matrix, times)
            }
        }
        (ExpectedValue::Series(series), Value::Vector(vector)) => vectors(series, vector, eval.ordered),
        (expected, got) => Err(format!("expected {expected:?}, got {got:?}")),
    }
}

fn vectors(expected: &[ExpectedSeries], vector: &[Sample], ordered: bool) -> Result<(), String> {
    let mut seen = vec![false; expected.len()];
    for (position, sample) in vector.iter().enumerate() {
        let Some(at) = expected.iter().rposition(|series| series.labels == sample.labels) else {
            return Err(format!("unexpected series {} with {}", sample.labels, show(&sample.value)));
        };
        if ordered && at != position {
            return Err(format!("expected {} at position {}, it was at {}", sample.labels, at + 1, position + 1));
        }
        seen[at] = true;
        match expected[at].values.first() {
            Some(wanted) if same(wanted, &sample.value) => {}
            wanted => return Err(format!("expected {wanted:?} for {}, got {}", sample.labels, show(&sample.value))),
        }
    }
    missing(expected, &seen)
}

fn matrices(expected: &[ExpectedSeries], matrix: &[Series], (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Result<(), String> {
    let mut seen = vec![false; expected.len()];
    if matrix.windows(2).any(|pair| pair[0].labels > pair[1].labels) {
        return Err("the matrix is not sorted".to_owned());
    }
    for series in matrix {
        let Some(at) = expected.iter().rposition(|expected| expected.labels == series.labels) else {
            return Err(format!("unexpected series {}", show_series(series)));
        };
        seen[at] = true;
        let (mut floats, mut histograms) = (series.floats.iter(), series.histograms.iter());
        for (step, wanted) in expected[at].values.iter().enumerate() {
            let time_ms = start_ms + step_ms * step as i64;
            if time_ms > end_ms {
                return Err(format!("{} values expected for {}, more than there are steps", expected[at].values.len(), series.labels));
            }
            let got = match wanted {
                SequenceValue::Omitted => continue,
                SequenceValue::Float(_) => floats.next().map(|(time, value)| (*time, SampleValue::Float(*value))),
                SequenceValue::Histogram { .. } => {
                    histograms.next().map(|(time, histogram)| (*time, SampleValue::Histogram(histogram.clone())))
                }
            };
            if !got.as_ref().is_some_and(|(time, value)| *time == time_ms && same(wanted, value)) {
                return Err(format!("expected {wanted:?} at {time_ms} ms, got {}", show_series(series)));
            }
        }
        if floats.len() + histograms.len() > 0 {
            return Err(format!("more values than expected: {}", show_series(series)));
        }
    }
    missing(expected, &seen)
}

fn missing(expected: &[ExpectedSeries], seen: &[bool]) -> Result<(), String> {
    let later = |at: usize| expected[at + 1..].iter().any(|series| series.labels == expected[at].labels);
    match (0..expected.len()).find(|at| !seen[*at] && !later(*at)) {
        Some(at) => Err(format!("expected series {} not found", expected[at].labels)),
        None => Ok(()),
    }
}

fn same(expected: &SequenceValue, value: &SampleValue) -> bool {
    match (expected, value) {
        (SequenceValue::Float(expected), SampleValue::Float(value)) => almost_equal(*expected, *value),
        (SequenceValue::Histogram { histogram: expected, hint_given }, SampleValue::Histogram(value)) => {
            same_histogram(expected, value) && (!hint_given || expected.counter_reset_hint == value.counter_reset_hint)
        }
        _ => false,
    }
}

fn same_histogram(expected: &FloatHistogram, value: &FloatHistogram) -> bool {
    let (mut expected, mut value) = (expected.clone(), value.clone());
    expected.compact(0);
    value.compact(0);
    let all_equal =
        |left: &[f64], right: &[f64]| left.len() == right.len() && left.iter().zip(right).all(|(left, right)| almost_equal(*left, *right));
    expected.schema == value.schema
        && almost_equal(expected.count, value.count)
        && almost_equal(expected.sum, value.sum)
        && (!expected.uses_custom_buckets() || expected.custom_values == value.custom_values)
        && expected.zero_threshold == value.zero_threshold
        && almost_equal(expected.zero_count, value.zero_count)
        && expected.negative_spans == value.negative_spans
        && all_equal(&expected.negative_buckets, &value.negative_buckets)
        && expected.positive_spans == value.positive_spans
        && all_equal(&expected.positive_buckets, &value.positive_buckets)
}

/// NaN is equal to NaN, the staleness marker only to itself.
fn almost_equal(left: f64, right: f64) -> bool {
    if is_stale(left) || is_stale(right) {
        return is_stale(left) && is_stale(right);
    }
    if left.is_nan() && right.is_nan() || left == right {
        return true;
    }
    let sum = left.abs() + right.abs();
    let difference = (left - right).abs();
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => format!("{histogram} (schema {}, hint {:?})", histogram.schema, histogram.counter_reset_hint),
    }
}

fn show_series(series: &Series) -> String {
    let histograms: Vec<String> =
        series.histograms.iter().map(|(time, histogram)| format!("{time}: {}", show(&SampleValue::Histogram(histogram.clone())))).collect();
    format!("{} {:?} {histograms:?}", series.labels, series.floats)
}
