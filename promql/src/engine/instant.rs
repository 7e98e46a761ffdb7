//! The value of a series at an instant: its last sample before it.

use std::sync::Arc;

use super::column::Column;
use super::functions::window::{Bounds, SplitSeries, Subject};
use super::functions::{Monotonicity, interpolate, interpolate_histograms, monotonicity_of};
use super::grid::Grid;
use super::notes::Notes;
use super::plan::Selector;
use crate::histogram::CounterResetHint;
use crate::sample::{SampleValue, is_stale};
use crate::source::SeriesBuffer;

/// For each step the position of the sample that holds: the last one at or before the selector's time, not older than the
/// lookback and not a staleness marker.
pub fn for_each_holding(
    selector: &Selector,
    buffer: &SeriesBuffer,
    grid: &Grid,
    lookback_ms: i64,
    mut found: impl FnMut(usize, usize, Option<&Arc<crate::histogram::FloatHistogram>>),
) {
    let times = &buffer.timestamps;
    let mut after = 0;
    let mut histograms = buffer.histograms.iter().peekable();
    for step in 0..grid.steps {
        let reference_ms = selector.reference_ms(grid.time_ms(step));
        while after < times.len() && times[after] <= reference_ms {
            after += 1;
        }
        let Some(position) = after.checked_sub(1) else { continue };
        if times[position] <= reference_ms - lookback_ms {
            continue;
        }
        while histograms.next_if(|(at, _)| (*at as usize) < position).is_some() {}
        match histograms.peek().filter(|(at, _)| *at as usize == position) {
            Some((_, histogram)) if !is_stale(histogram.sum) => found(step, position, Some(histogram)),
            None if !is_stale(buffer.values[position]) => found(step, position, None),
            _ => {}
        }
    }
}

/// The values of a selector at all steps. `column` is empty before.
pub fn values_at_steps(selector: &Selector, buffer: &SeriesBuffer, grid: &Grid, lookback_ms: i64, column: &mut Column, notes: &mut Notes) {
    for_each_holding(selector, buffer, grid, lookback_ms, |step, position, histogram| match histogram {
        None => {
            column.floats[step] = buffer.values[position];
            notes.count(step, 1);
        }
        Some(histogram) => {
            column.set(step, Some(SampleValue::Histogram(Arc::clone(histogram))));
            notes.count(step, histogram.size_in_samples());
        }
    });
}

/// The values of a `smoothed` selector: on the line between the samples before and after each step, when both are within
/// the lookback; without one after it, the sample before.
pub fn smoothed_values(
    selector: &Selector,
    series: &SplitSeries,
    grid: &Grid,
    lookback_ms: i64,
    column: &mut Column,
    subject: Subject,
    notes: &mut Notes,
) {
    let (mut float_bounds, mut histogram_bounds) = (Bounds::default(), Bounds::default());
    for step in 0..grid.steps {
        let time = selector.reference_ms(grid.time_ms(step));
        float_bounds.advance(&series.floats.times, time - lookback_ms, time + lookback_ms);
        histogram_bounds.advance(&series.histograms.times, time - lookback_ms, time + lookback_ms);
        let (floats, histograms) = (series.floats_view(float_bounds), series.histograms_view(histogram_bounds));
        if !floats.is_empty() && !histograms.is_empty() {
            subject.mixed_floats_histograms(notes);
            continue;
        }
        if let Some(neighbours) = Neighbours::find(floats.times, time) {
            let sample = |position: usize| (floats.times[position], floats.values[position]);
            let value = match neighbours {
                Neighbours::At(position) | Neighbours::Before(position) => floats.values[position],
                Neighbours::Between(before) => interpolate(sample(before), sample(before + 1), time, Monotonicity::Gauge),
            };
            column.set(step, Some(SampleValue::Float(value)));
        }
        if let Some(neighbours) = Neighbours::find(histograms.times, time) {
            let value = match neighbours {
                Neighbours::At(position) => Some(histograms.values[position].as_ref().clone()),
                Neighbours::Before(position) => {
                    // The hint is about the sample before, not about the value.
                    let mut histogram = histograms.values[position].as_ref().clone();
                    histogram.counter_reset_hint = CounterResetHint::Unknown;
                    Some(histogram)
                }
                Neighbours::Between(before) => {
                    let (first, second) = (&histograms.values[before], &histograms.values[before + 1]);
                    if first.uses_custom_buckets() != second.uses_custom_buckets() {
                        subject.mixed_schemas(notes);
                        continue;
                    }
                    let (first_time, second_time) = (histograms.times[before], histograms.times[before + 1]);
                    let monotonicity = monotonicity_of(first, second);
                    interpolate_histograms((first_time, first), (second_time, second), time, monotonicity, subject, notes)
                }
            };
            column.set(step, value.map(|histogram| SampleValue::Histogram(Arc::new(histogram))));
        }
    }
}

/// Where a time lies among samples.
enum Neighbours {
    /// At the time of a sample.
    At(usize),
    /// Between this sample and the next.
    Between(usize),
    /// After this sample, the last one.
    Before(usize),
}

impl Neighbours {
    /// None: all samples are later, or there are none.
    fn find(times: &[i64], time: i64) -> Option<Neighbours> {
        let next = times.partition_point(|sample| *sample < time);
        if times.get(next) == Some(&time) {
            return Some(Neighbours::At(next));
        }
        let before = next.checked_sub(1)?;
        Some(if next < times.len() { Neighbours::Between(before) } else { Neighbours::Before(before) })
    }
}
