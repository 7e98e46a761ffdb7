//! The samples of one series that a range covers at one step.

use std::sync::Arc;

use crate::annotations::AnnotationKind;
use crate::ast::Extension;
use crate::histogram::FloatHistogram;
use crate::labels::Labels;
use crate::position::PositionRange;
use crate::sample::is_stale;
use crate::source::SeriesBuffer;

use super::super::notes::Notes;

/// The samples of a series without staleness markers, floats and histograms apart. Reused from series to series.
#[derive(Debug, Default)]
pub struct SplitSeries {
    pub floats: SampleList<f64>,
    pub histograms: SampleList<Arc<FloatHistogram>>,
    /// For each position in `histograms`, the size in samples of all before it.
    sizes: Vec<usize>,
}

/// Samples of one kind in three parallel lists.
#[derive(Debug)]
pub struct SampleList<T> {
    pub times: Vec<i64>,
    pub values: Vec<T>,
    /// Start times of the counters, 0 for unknown; empty when the series has none.
    pub starts: Vec<i64>,
}

impl<T> Default for SampleList<T> {
    fn default() -> Self {
        SampleList { times: Vec::new(), values: Vec::new(), starts: Vec::new() }
    }
}

impl<T> SampleList<T> {
    fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
    }

    fn push(&mut self, time: i64, value: T, start: Option<&i64>) {
        self.times.push(time);
        self.values.push(value);
        self.starts.extend(start);
    }

    fn view(&self, from: usize, to: usize) -> Samples<'_, T> {
        let starts = if self.starts.is_empty() { &[][..] } else { &self.starts[from..to] };
        Samples { times: &self.times[from..to], values: &self.values[from..to], starts }
    }
}

impl SplitSeries {
    /// Takes over the samples of `buffer`. Start times are dropped unless wanted.
    pub fn fill(&mut self, buffer: &mut SeriesBuffer, start_times: StartTimes) {
        self.floats.clear();
        self.histograms.clear();
        self.sizes.clear();
        if start_times == StartTimes::Ignore {
            buffer.start_timestamps.clear();
        }
        if buffer.histograms.is_empty() && !buffer.values.iter().any(|value| is_stale(*value)) {
            // The usual case: nothing to sort out.
            std::mem::swap(&mut self.floats.times, &mut buffer.timestamps);
            std::mem::swap(&mut self.floats.values, &mut buffer.values);
            std::mem::swap(&mut self.floats.starts, &mut buffer.start_timestamps);
            return;
        }
        let mut histograms = buffer.histograms.iter().peekable();
        let mut size = 0;
        for (position, (time, value)) in buffer.timestamps.iter().zip(&buffer.values).enumerate() {
            let start = buffer.start_timestamps.get(position);
            if let Some((_, histogram)) = histograms.next_if(|(at, _)| *at as usize == position) {
                if !is_stale(histogram.sum) {
                    self.histograms.push(*time, Arc::clone(histogram), start);
                    self.sizes.push(size);
                    size += histogram.size_in_samples();
                }
            } else if !is_stale(*value) {
                self.floats.push(*time, *value, start);
            }
        }
        self.sizes.push(size);
    }

    pub fn is_empty(&self) -> bool {
        self.floats.times.is_empty() && self.histograms.times.is_empty()
    }

    /// How many samples it counts as.
    pub fn size(&self) -> usize {
        self.floats.times.len() + self.sizes.last().copied().unwrap_or(0)
    }

    pub fn floats_view(&self, bounds: Bounds) -> Samples<'_, f64> {
        self.floats.view(bounds.from, bounds.to)
    }

    pub fn histograms_view(&self, bounds: Bounds) -> Samples<'_, Arc<FloatHistogram>> {
        self.histograms.view(bounds.from, bounds.to)
    }

    /// How many samples the histograms within `bounds` count as.
    pub fn histogram_size(&self, bounds: Bounds) -> usize {
        if bounds.from == bounds.to { 0 } else { self.sizes[bounds.to] - self.sizes[bounds.from] }
    }
}

/// Whether functions shall see the times at which counters started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTimes {
    Use,
    Ignore,
}

/// Positions in a list of samples that a window covers. Windows move forward only, so each step continues where the last
/// one stood: O(samples + steps) for a whole series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub from: usize,
    pub to: usize,
}

impl Bounds {
    /// Moves to the window of samples after `after_ms` up to and including `until_ms`. The answer is the part of the window
    /// that was not in the one before.
    #[inline]
    pub fn advance(&mut self, times: &[i64], after_ms: i64, until_ms: i64) -> Bounds {
        let known = self.to;
        while self.to < times.len() && times[self.to] <= until_ms {
            self.to += 1;
        }
        while self.from < self.to && times[self.from] <= after_ms {
            self.from += 1;
        }
        Bounds { from: known.max(self.from), to: self.to }
    }

    pub fn len(&self) -> usize {
        self.to - self.from
    }
}

/// Samples of one kind within a window.
#[derive(Debug)]
pub struct Samples<'a, T> {
    pub times: &'a [i64],
    pub values: &'a [T],
    /// Empty when there are none.
    pub starts: &'a [i64],
}

impl<T> Clone for Samples<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Samples<'_, T> {}

impl<'a, T> Samples<'a, T> {
    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The last sample's time and value.
    pub fn last(&self) -> Option<(i64, &'a T)> {
        Some((*self.times.last()?, self.values.last()?))
    }

    pub fn first(&self) -> Option<(i64, &'a T)> {
        Some((*self.times.first()?, self.values.first()?))
    }
}

/// What a range function looks at for one step.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    pub floats: Samples<'a, f64>,
    pub histograms: Samples<'a, Arc<FloatHistogram>>,
    /// The range without its extension; exclusive.
    pub start_ms: i64,
    /// Inclusive.
    pub end_ms: i64,
    /// The time of the step.
    pub time_ms: i64,
    pub extension: Extension,
}

impl Window<'static> {
    /// A window without samples.
    pub fn empty(start_ms: i64, end_ms: i64, time_ms: i64, extension: Extension) -> Window<'static> {
        let floats = Samples { times: &[], values: &[], starts: &[] };
        let histograms = Samples { times: &[], values: &[], starts: &[] };
        Window { floats, histograms, start_ms, end_ms, time_ms, extension }
    }
}

/// Of which series and for which part of the query a function is evaluated: what annotations name.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub labels: &'a Labels,
    pub position: PositionRange,
}

impl Subject<'_> {
    pub fn metric(&self) -> String {
        self.labels.metric_name().to_owned()
    }

    pub fn mixed_floats_histograms(&self, notes: &mut Notes) {
        notes.push(AnnotationKind::MixedFloatsHistograms { metric: self.metric() }, self.position);
    }

    pub fn mixed_schemas(&self, notes: &mut Notes) {
        notes.push(AnnotationKind::MixedExponentialCustomHistograms { metric: self.metric() }, self.position);
    }

    pub fn not_a_counter(&self, notes: &mut Notes) {
        notes.push(AnnotationKind::NativeHistogramNotCounter { metric: self.metric() }, self.position);
    }

    pub fn not_a_gauge(&self, notes: &mut Notes) {
        notes.push(AnnotationKind::NativeHistogramNotGauge { metric: self.metric() }, self.position);
    }

    pub fn ignored_histograms(&self, notes: &mut Notes) {
        notes.push(AnnotationKind::HistogramIgnoredInMixedRange { metric: self.metric() }, self.position);
    }
}
