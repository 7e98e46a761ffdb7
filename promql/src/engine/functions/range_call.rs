//! Functions of range vectors: one series, all steps.

use std::sync::Arc;

use super::super::budget::Budget;
use super::super::column::Column;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::RangeCall;
use super::changes::{Event, count_events};
use super::extended_rate::{extended_rate_of_floats, extended_rate_of_histograms};
use super::extrapolation::RateKind;
use super::histogram_over_time;
use super::histogram_rate::rate_of_histograms;
use super::instant_delta::{InstantKind, instant_delta};
use super::order_statistics::quantile_of;
use super::over_time::{self, Extreme, first_extreme, last_extreme};
use super::rate::{rate_of_floats, rate_over_windows};
use super::sliding;
use super::trend::{Factors, double_exponential_smoothing, linear_regression};
use super::window::{Bounds, SplitSeries, StartTimes, Subject, Window};
use super::windows::Windows;
use crate::annotations::AnnotationKind;
use crate::ast::Extension;
use crate::function_signatures::Function;
use crate::histogram::FloatHistogram;
use crate::sample::SampleValue;

/// A call with its scalar arguments evaluated, ready to be applied to one series after the other.
pub struct RangeFunction<'a> {
    call: &'a RangeCall,
    grid: Grid,
    lookback_ms: i64,
    /// One list a scalar argument, one value a step.
    scalars: &'a [Vec<f64>],
    budget: &'a Budget,
}

impl<'a> RangeFunction<'a> {
    pub fn new(call: &'a RangeCall, grid: Grid, lookback_ms: i64, scalars: &'a [Vec<f64>], budget: &'a Budget) -> RangeFunction<'a> {
        RangeFunction { call, grid, lookback_ms, scalars, budget }
    }

    /// The values of the function for `series` at all steps. `column` is empty before. `windows` are those of this function and
    /// no other, new before its first series.
    pub fn evaluate(
        &self,
        series: &SplitSeries,
        windows: &mut Windows,
        column: &mut Column,
        subject: Subject,
        notes: &mut Notes,
    ) -> Result<(), QueryError> {
        if series.histograms.times.is_empty() && self.evaluate_fast(series, windows, column, subject, notes)? {
            return Ok(());
        }
        let mut ticker = self.budget.ticker();
        let (mut floats, mut histograms) = (Bounds::default(), Bounds::default());
        for step in 0..self.grid.steps {
            let time_ms = self.grid.time_ms(step);
            let mut window = self.window(time_ms);
            let (after_ms, until_ms) = self.reach(&window);
            let new_floats = floats.advance(&series.floats.times, after_ms, until_ms);
            let new_histograms = histograms.advance(&series.histograms.times, after_ms, until_ms);
            if floats.len() + histograms.len() == 0 {
                continue;
            }
            let new = new_floats.len() + series.histogram_size(new_histograms);
            notes.count_window(step, floats.len() + series.histogram_size(histograms), new);
            ticker.tick(floats.len() + histograms.len())?;
            window.floats = series.floats_view(floats);
            window.histograms = series.histograms_view(histograms);
            let value = self.evaluate_window(&window, step, subject, notes)?;
            column.set(step, value);
        }
        Ok(())
    }

    /// Functions of floats that are evaluated over all windows at once. False: do it the general way.
    fn evaluate_fast(
        &self,
        series: &SplitSeries,
        windows: &mut Windows,
        column: &mut Column,
        subject: Subject,
        notes: &mut Notes,
    ) -> Result<bool, QueryError> {
        if self.call.source.extension() != Extension::None || !series.floats.starts.is_empty() {
            return Ok(false);
        }
        let (times, values) = (series.floats.times.as_slice(), series.floats.values.as_slice());
        windows.find(times, self.ranges());
        if let Some(kind) = rate_kind_of(self.call.function) {
            windows.find_reaches(self.ranges());
            rate_over_windows(values, kind, windows, self.call.source.range_ms(), column);
            notes.count_windows(windows.samples(), windows.read());
            return Ok(true);
        }
        let mut ticker = self.budget.ticker();
        let mut room = std::mem::take(&mut windows.room);
        let bounds = windows.bounds();
        let time_of = |position: usize| times[position] as f64 / 1000.0;
        match self.call.function {
            Function::MaxOverTime => sliding::maxima(values, bounds, &mut room, column),
            Function::MinOverTime => sliding::minima(values, bounds, &mut room, column),
            Function::TsOfMaxOverTime => sliding::last_extremes(values, bounds, Extreme::Max, time_of, column),
            Function::TsOfMinOverTime => sliding::last_extremes(values, bounds, Extreme::Min, time_of, column),
            Function::SumOverTime => sliding::sums(values, bounds, column, &mut ticker)?,
            Function::AvgOverTime => sliding::averages(values, bounds, column, &mut ticker)?,
            Function::StdvarOverTime => sliding::variances(values, bounds, column, &mut ticker, |variance| variance)?,
            Function::StddevOverTime => sliding::variances(values, bounds, column, &mut ticker, f64::sqrt)?,
            Function::Changes => sliding::events(values, bounds, Event::Change, column),
            Function::Resets => sliding::events(values, bounds, Event::Reset, column),
            Function::QuantileOverTime => {
                let quantiles = self.scalars.first().map_or(&[][..], Vec::as_slice);
                self.note_quantiles(bounds, quantiles, subject, notes);
                sliding::quantiles(values, bounds, quantiles, column, &mut ticker)?;
            }
            Function::CountOverTime => of_each(bounds, column, |window| window.len() as f64),
            Function::PresentOverTime => of_each(bounds, column, |_| 1.0),
            Function::FirstOverTime => of_each(bounds, column, |window| values[window.from]),
            Function::LastOverTime => of_each(bounds, column, |window| values[window.to - 1]),
            Function::TsOfFirstOverTime => of_each(bounds, column, |window| time_of(window.from)),
            Function::TsOfLastOverTime => of_each(bounds, column, |window| time_of(window.to - 1)),
            _ => return Ok(false),
        }
        notes.count_windows(windows.samples(), windows.read());
        windows.room = room;
        Ok(true)
    }

    /// After which time each step's window begins, and until which time it reaches.
    fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        let source = &self.call.source;
        self.grid.times_ms().map(|time_ms| (source.end_ms(time_ms) - source.range_ms(), source.end_ms(time_ms)))
    }

    fn note_quantiles(&self, windows: &[Bounds], quantiles: &[f64], subject: Subject, notes: &mut Notes) {
        let used = windows.iter().zip(quantiles).filter(|(window, _)| window.len() > 0);
        for (_, quantile) in used.filter(|(_, quantile)| !(0.0..=1.0).contains(*quantile)) {
            notes.push(AnnotationKind::InvalidQuantile { quantile: *quantile }, subject.position);
        }
    }

    /// The window of a step, still without samples.
    fn window(&self, time_ms: i64) -> Window<'static> {
        let end_ms = self.call.source.end_ms(time_ms);
        let start_ms = end_ms - self.call.source.range_ms();
        Window::empty(start_ms, end_ms, time_ms, self.call.source.extension())
    }

    /// After which and until which time samples belong to a window, its extension included.
    fn reach(&self, window: &Window) -> (i64, i64) {
        match window.extension {
            Extension::None => (window.start_ms, window.end_ms),
            Extension::Anchored => (window.start_ms - self.lookback_ms, window.end_ms),
            Extension::Smoothed => (window.start_ms - self.lookback_ms, window.end_ms + self.lookback_ms),
        }
    }

    fn evaluate_window(
        &self,
        window: &Window,
        step: usize,
        subject: Subject,
        notes: &mut Notes,
    ) -> Result<Option<SampleValue>, QueryError> {
        let scalar = |position: usize| self.scalars.get(position).map_or(f64::NAN, |values| values[step]);
        Ok(match self.call.function {
            Function::Rate => rate(window, RateKind::Rate, subject, notes),
            Function::Increase => rate(window, RateKind::Increase, subject, notes),
            Function::Delta => rate(window, RateKind::Delta, subject, notes),
            Function::Irate => instant_delta(window, InstantKind::Rate, subject, notes),
            Function::Idelta => instant_delta(window, InstantKind::Delta, subject, notes),
            Function::SumOverTime | Function::AvgOverTime => self.total(window, subject, notes),
            Function::CountOverTime => float((window.floats.len() + window.histograms.len()) as f64),
            Function::PresentOverTime | Function::AbsentOverTime => float(1.0),
            Function::FirstOverTime => first_sample(window),
            Function::LastOverTime => last_sample(window),
            Function::TsOfFirstOverTime => {
                let times = [window.floats.first().map(|(time, _)| time), window.histograms.first().map(|(time, _)| time)];
                times.into_iter().flatten().min().map(seconds)
            }
            Function::TsOfLastOverTime => {
                let times = [window.floats.last().map(|(time, _)| time), window.histograms.last().map(|(time, _)| time)];
                times.into_iter().flatten().max().map(seconds)
            }
            Function::Changes => count_events(window, Event::Change).map(SampleValue::Float),
            Function::Resets => count_events(window, Event::Reset).map(SampleValue::Float),
            Function::DoubleExponentialSmoothing => {
                let factors = Factors::new(scalar(0), scalar(1))?;
                self.trend(window, subject, notes, |window| double_exponential_smoothing(window.floats.values, factors))
            }
            Function::Deriv => self.trend(window, subject, notes, |window| linear_regression(window.floats, window.floats.times[0]).0),
            Function::PredictLinear => self.trend(window, subject, notes, |window| {
                let (slope, intercept) = linear_regression(window.floats, window.time_ms);
                slope * scalar(0) + intercept
            }),
            _ => self.of_floats_only(window, scalar(0), subject, notes),
        })
    }

    /// Functions that ignore histograms and need one float.
    fn of_floats_only(&self, window: &Window, scalar: f64, subject: Subject, notes: &mut Notes) -> Option<SampleValue> {
        let values = window.floats.values;
        if values.is_empty() {
            return None;
        }
        if self.call.function == Function::QuantileOverTime && !(0.0..=1.0).contains(&scalar) {
            notes.push(AnnotationKind::InvalidQuantile { quantile: scalar }, subject.position);
        }
        if !window.histograms.is_empty() {
            subject.ignored_histograms(notes);
        }
        let time_of = |position: usize| window.floats.times[position] as f64 / 1000.0;
        float(match self.call.function {
            Function::MaxOverTime => values[first_extreme(values, Extreme::Max)],
            Function::MinOverTime => values[first_extreme(values, Extreme::Min)],
            Function::TsOfMaxOverTime => time_of(last_extreme(values, Extreme::Max)),
            Function::TsOfMinOverTime => time_of(last_extreme(values, Extreme::Min)),
            Function::StdvarOverTime => over_time::variance(values),
            Function::StddevOverTime => over_time::variance(values).sqrt(),
            Function::MadOverTime => over_time::median_absolute_deviation(values),
            Function::QuantileOverTime => quantile_of(scalar, &mut values.to_vec()),
            _ => return None,
        })
    }

    /// `sum_over_time` and `avg_over_time`.
    fn total(&self, window: &Window, subject: Subject, notes: &mut Notes) -> Option<SampleValue> {
        let is_sum = self.call.function == Function::SumOverTime;
        let (floats, histograms) = (window.floats.values, window.histograms.values);
        match (floats.is_empty(), histograms.is_empty()) {
            (false, false) => {
                subject.mixed_floats_histograms(notes);
                None
            }
            (true, false) if is_sum => histogram(histogram_over_time::sum(histograms, subject, notes)),
            (true, false) => histogram(histogram_over_time::average(histograms, subject, notes)),
            (false, true) if is_sum => float(over_time::sum(floats)),
            (false, true) => float(over_time::average(floats)),
            (true, true) => None,
        }
    }

    /// Functions that fit something to at least two floats.
    fn trend(&self, window: &Window, subject: Subject, notes: &mut Notes, fit: impl Fn(&Window) -> f64) -> Option<SampleValue> {
        if !window.floats.is_empty() && !window.histograms.is_empty() {
            subject.ignored_histograms(notes);
        }
        if window.floats.len() < 2 { None } else { float(fit(window)) }
    }
}

fn rate_kind_of(function: Function) -> Option<RateKind> {
    match function {
        Function::Rate => Some(RateKind::Rate),
        Function::Increase => Some(RateKind::Increase),
        Function::Delta => Some(RateKind::Delta),
        _ => None,
    }
}

/// The value of every window that has samples.
fn of_each(windows: &[Bounds], column: &mut Column, value: impl Fn(&Bounds) -> f64) {
    for (step, window) in windows.iter().enumerate().filter(|(_, window)| window.len() > 0) {
        column.floats[step] = value(window);
    }
}

fn rate(window: &Window, kind: RateKind, subject: Subject, notes: &mut Notes) -> Option<SampleValue> {
    let (start_ms, end_ms) = (window.start_ms, window.end_ms);
    match (window.floats.is_empty(), window.histograms.is_empty()) {
        (false, false) => {
            subject.mixed_floats_histograms(notes);
            None
        }
        (false, true) if window.extension != Extension::None => extended_rate_of_floats(window, kind).map(SampleValue::Float),
        (false, true) => rate_of_floats(window.floats, kind, (start_ms, end_ms), subject, notes).map(SampleValue::Float),
        (true, false) if window.extension != Extension::None => histogram(extended_rate_of_histograms(window, kind, subject, notes)),
        (true, false) => histogram(rate_of_histograms(window.histograms, kind, (start_ms, end_ms), subject, notes)),
        (true, true) => None,
    }
}

fn first_sample(window: &Window) -> Option<SampleValue> {
    match (window.floats.first(), window.histograms.first()) {
        (Some((float_time, _)), Some((time, histogram))) if time <= float_time => Some(SampleValue::Histogram(Arc::clone(histogram))),
        (Some((_, value)), _) => float(*value),
        (None, histogram) => histogram.map(|(_, histogram)| SampleValue::Histogram(Arc::clone(histogram))),
    }
}

fn last_sample(window: &Window) -> Option<SampleValue> {
    match (window.floats.last(), window.histograms.last()) {
        (Some((float_time, _)), Some((time, histogram))) if time >= float_time => Some(SampleValue::Histogram(Arc::clone(histogram))),
        (Some((_, value)), _) => float(*value),
        (None, histogram) => histogram.map(|(_, histogram)| SampleValue::Histogram(Arc::clone(histogram))),
    }
}

fn float(value: f64) -> Option<SampleValue> {
    Some(SampleValue::Float(value))
}

fn seconds(time_ms: i64) -> SampleValue {
    SampleValue::Float(time_ms as f64 / 1000.0)
}

fn histogram(histogram: Option<FloatHistogram>) -> Option<SampleValue> {
    histogram.map(|histogram| SampleValue::Histogram(Arc::new(histogram)))
}

/// Whether a function looks at the start times of counters.
pub fn start_times_of(function: Function) -> StartTimes {
    match function {
        Function::Rate | Function::Irate | Function::Increase | Function::Resets => StartTimes::Use,
        _ => StartTimes::Ignore,
    }
}

/// Whether a function's result is still a sample of the series itself.
pub fn keeps_metric_name(function: Function) -> bool {
    matches!(function, Function::LastOverTime | Function::FirstOverTime)
}
