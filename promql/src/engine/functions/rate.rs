//! `rate`, `increase` and `delta` of floats.

use super::super::column::{ABSENT, Column};
use super::super::notes::Notes;
use super::extrapolation::{RateKind, Reach};
use super::start_time::{has_overlap, is_reset};
use super::window::{Bounds, Samples, Subject};
use super::windows::Windows;
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
    let reach = Reach::new((first_ms, last_ms), samples.len(), (start_ms, end_ms));
    let reach = match counter_start_ms {
        Some(counter_start_ms) => reach.since_counter_start(counter_start_ms, last_ms),
        None if kind.is_counter() => reach.not_below_zero(value, samples.values[0]),
        None => reach,
    };
    Some(value * (reach.factor() / kind.divisor(end_ms - start_ms)))
}

/// The counter's start, when it is known and lies in the range before the first sample.
pub fn counter_start<T>(samples: &Samples<'_, T>, kind: RateKind, start_ms: i64) -> Option<i64> {
    let start = *samples.starts.first()?;
    (kind.is_counter() && start != 0 && start > start_ms && start < samples.times[0]).then_some(start)
}

pub fn note_overlap(subject: Subject, notes: &mut Notes) {
    notes.push(AnnotationKind::StartTimeOverlap { metric: subject.metric(), occurrences: 1 }, subject.position);
}

/// The values of all windows for a series of floats without start times and without extension, in O(samples + steps): the
/// increase in a window is its last value minus its first, plus the values before the resets in it, which are found once.
/// `windows` know how far increases are carried on.
pub fn rate_over_windows(values: &[f64], kind: RateKind, windows: &mut Windows, range_ms: i64, column: &mut Column) {
    let floats = column.floats.as_mut_slice();
    let mut firsts = std::mem::take(&mut windows.room);
    firsts.clear();
    for (increase, window) in floats.iter_mut().zip(windows.bounds()) {
        let (first, last) = if window.len() < 2 { (ABSENT, ABSENT) } else { (values[window.from], values[window.to - 1]) };
        firsts.push(first);
        *increase = last - first;
    }
    if kind.is_counter() {
        add_lost_in_resets(values, windows.bounds(), floats);
    }
    windows.extrapolate(floats, kind.is_counter().then_some(&firsts), kind.divisor(range_ms));
    for (value, window) in floats.iter_mut().zip(windows.bounds()) {
        *value = if window.len() < 2 { ABSENT } else { *value };
    }
    windows.room = firsts;
}

/// Adds to the increase in each window the values before the resets in it.
fn add_lost_in_resets(values: &[f64], windows: &[Bounds], increases: &mut [f64]) {
    let resets = resets_of(values);
    if resets.is_empty() {
        return;
    }
    let mut first_reset = 0;
    for (increase, window) in increases.iter_mut().zip(windows) {
        while first_reset < resets.len() && resets[first_reset] <= window.from {
            first_reset += 1;
        }
        for reset in resets[first_reset..].iter().take_while(|reset| **reset < window.to) {
            *increase += values[*reset - 1];
        }
    }
}

/// The positions of the samples that are lower than the one before. Most blocks of samples have none, which is found without
/// a branch a sample.
fn resets_of(values: &[f64]) -> Vec<usize> {
    const BLOCK: usize = 16;
    let mut resets = Vec::new();
    for from in (1..values.len()).step_by(BLOCK) {
        let to = (from + BLOCK).min(values.len());
        let (before, after) = (&values[from - 1..to - 1], &values[from..to]);
        let count: u32 = before.iter().zip(after).map(|(before, after)| u32::from(after < before)).sum();
        if count > 0 {
            resets.extend((from..to).filter(|position| values[*position] < values[*position - 1]));
        }
    }
    resets
}
