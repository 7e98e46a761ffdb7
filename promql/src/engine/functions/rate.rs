//! `rate`, `increase` and `delta` of floats.

use super::super::column::Column;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::extrapolation::{Increase, RateKind, factor};
use super::start_time::{has_overlap, is_reset};
use super::window::{Bounds, Samples, Subject};
use crate::annotations::AnnotationKind;

/// The value of one window; None when there are too few samples.
pub fn rate_of_floats(
    samples: Samples<'_, f64>,
    kind: RateKind,
    (start_ms, end_ms): (i64, i64),
    subject: Subject,
    notes: &mut Notes,
) -> Option<f64> {
    let last = samples.len().checked_sub(1)?;
    let mut value = samples.values[last] - samples.values[0];
    if kind.is_counter() {
        if has_overlap(&samples) {
            note_overlap(subject, notes);
        }
        for position in 1..samples.len() {
            if samples.values[position] < samples.values[position - 1] || is_reset(&samples, position) {
                value += samples.values[position - 1];
            }
        }
    }
    let counter_start_ms = counter_start(&samples, kind, start_ms);
    if counter_start_ms.is_some() {
        value += samples.values[0];
    } else if last == 0 {
        return None;
    }
    let (first_ms, last_ms) = (samples.times[0], samples.times[last]);
    let first_value = kind.is_counter().then_some(samples.values[0]);
    let increase = Increase { value, first_value, first_ms, last_ms, samples: samples.len(), counter_start_ms };
    Some(value * (factor(&increase, start_ms, end_ms) / kind.divisor(end_ms - start_ms)))
}

/// The counter's start, when it is known and lies in the range before the first sample.
pub fn counter_start<T>(samples: &Samples<'_, T>, kind: RateKind, start_ms: i64) -> Option<i64> {
    let start = *samples.starts.first()?;
    (kind.is_counter() && start != 0 && start > start_ms && start < samples.times[0]).then_some(start)
}

pub fn note_overlap(subject: Subject, notes: &mut Notes) {
    notes.push(AnnotationKind::StartTimeOverlap { metric: subject.metric(), occurrences: 1 }, subject.position);
}

/// The values of all steps for a series of floats without start times and without extension, in O(samples + steps): the
/// increase in a window is its last value minus its first, plus the values before the resets in it, which are found once.
pub fn rate_over_grid(
    (times, values): (&[i64], &[f64]),
    kind: RateKind,
    (grid, range_ms): (&Grid, i64),
    end_of: impl Fn(i64) -> i64,
    column: &mut Column,
    notes: &mut Notes,
) {
    let resets: Vec<usize> = if kind.is_counter() {
        (1..values.len()).filter(|position| values[*position] < values[*position - 1]).collect()
    } else {
        Vec::new()
    };
    let divisor = kind.divisor(range_ms);
    let mut bounds = Bounds::default();
    let mut first_reset = 0;
    for step in 0..grid.steps {
        let end_ms = end_of(grid.time_ms(step));
        let start_ms = end_ms - range_ms;
        let entered = bounds.advance(times, start_ms, end_ms);
        notes.count_window(step, bounds.len(), entered.len());
        if bounds.len() < 2 {
            continue;
        }
        let (first, last) = (bounds.from, bounds.to - 1);
        let mut value = values[last] - values[first];
        while first_reset < resets.len() && resets[first_reset] <= first {
            first_reset += 1;
        }
        for reset in resets[first_reset..].iter().take_while(|reset| **reset <= last) {
            value += values[*reset - 1];
        }
        let increase = Increase {
            value,
            first_value: kind.is_counter().then_some(values[first]),
            first_ms: times[first],
            last_ms: times[last],
            samples: bounds.len(),
            counter_start_ms: None,
        };
        column.floats[step] = value * (factor(&increase, start_ms, end_ms) / divisor);
    }
}
