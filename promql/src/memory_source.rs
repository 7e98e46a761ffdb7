//! A database in memory: for test scripts, rule unit tests and examples.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::histogram::FloatHistogram;
use crate::labels::Labels;
use crate::sample::SampleValue;
use crate::source::{SelectRequest, SeriesBuffer, SeriesCursor, Source, SourceError};

/// Series sorted by labels. Selection looks at every series.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    series: BTreeMap<Labels, MemorySeries>,
    /// Into how many cursors an answer is split.
    partitions: usize,
}

/// The samples of a series, ascending in time.
#[derive(Clone, Debug, Default)]
struct MemorySeries {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// By position; None where the sample is a float. Empty when all are.
    histograms: Vec<Option<Arc<FloatHistogram>>>,
    /// Empty when no sample has one.
    start_timestamps: Vec<i64>,
}

impl MemorySource {
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits every answer into this many cursors (at least one), each with a contiguous part of the series.
    pub fn with_partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// Appends a float sample.
    pub fn push(&mut self, labels: &Labels, time_ms: i64, value: f64) {
        self.push_sample(labels, time_ms, 0, SampleValue::Float(value));
    }

    /// Adds a sample whose counter started at `start_ms` (0: unknown). A later sample of the same time replaces it.
    pub fn push_sample(&mut self, labels: &Labels, time_ms: i64, start_ms: i64, value: SampleValue) {
        if !self.series.contains_key(labels) {
            self.series.insert(labels.clone(), MemorySeries::default());
        }
        if let Some(series) = self.series.get_mut(labels) {
            series.insert(time_ms, start_ms, value);
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// The label sets of all series, sorted.
    pub fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.series.keys()
    }
}

impl MemorySeries {
    fn insert(&mut self, time_ms: i64, start_ms: i64, value: SampleValue) {
        let position = self.timestamps.partition_point(|timestamp| *timestamp < time_ms);
        let (float, histogram) = match value {
            SampleValue::Float(float) => (float, None),
            SampleValue::Histogram(histogram) => (histogram.sum, Some(histogram)),
        };
        if histogram.is_some() && self.histograms.is_empty() {
            self.histograms.resize(self.timestamps.len(), None);
        }
        if start_ms != 0 && self.start_timestamps.is_empty() {
            self.start_timestamps.resize(self.timestamps.len(), 0);
        }
        let has_histograms = histogram.is_some() || !self.histograms.is_empty();
        let has_starts = start_ms != 0 || !self.start_timestamps.is_empty();
        if self.timestamps.get(position) == Some(&time_ms) {
            self.values[position] = float;
            if has_histograms {
                self.histograms[position] = histogram;
            }
            if has_starts {
                self.start_timestamps[position] = start_ms;
            }
            return;
        }
        self.timestamps.insert(position, time_ms);
        self.values.insert(position, float);
        if has_histograms {
            self.histograms.insert(position, histogram);
        }
        if has_starts {
            self.start_timestamps.insert(position, start_ms);
        }
    }
}

impl Source for MemorySource {
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Box<dyn SeriesCursor + Send + 'a>>, SourceError> {
        let matches = |labels: &Labels| request.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)));
        let selected: Vec<_> = self.series.iter().filter(|(labels, _)| matches(labels)).collect();
        let part = selected.len().div_ceil(self.partitions.max(1)).max(1);
        let cursor = |part: &[(&'a Labels, &'a MemorySeries)]| -> Box<dyn SeriesCursor + Send + 'a> {
            Box::new(MemoryCursor { series: part.to_vec(), next: 0, start_ms: request.start_ms, end_ms: request.end_ms })
        };
        Ok(selected.chunks(part).map(cursor).collect())
    }
}

struct MemoryCursor<'a> {
    series: Vec<(&'a Labels, &'a MemorySeries)>,
    next: usize,
    start_ms: i64,
    end_ms: i64,
}

impl SeriesCursor for MemoryCursor<'_> {
    fn next(&mut self, buffer: &mut SeriesBuffer) -> Result<bool, SourceError> {
        let Some((labels, series)) = self.series.get(self.next).copied() else { return Ok(false) };
        self.next += 1;
        let from = series.timestamps.partition_point(|timestamp| *timestamp < self.start_ms);
        let to = series.timestamps.partition_point(|timestamp| *timestamp <= self.end_ms).max(from);
        buffer.clear();
        buffer.labels = labels.clone();
        buffer.timestamps.extend_from_slice(&series.timestamps[from..to]);
        buffer.values.extend_from_slice(&series.values[from..to]);
        if !series.histograms.is_empty() {
            let histograms = series.histograms[from..to].iter().enumerate();
            buffer.histograms.extend(histograms.filter_map(|(position, histogram)| Some((position as u32, histogram.clone()?))));
        }
        if !series.start_timestamps.is_empty() {
            buffer.start_timestamps.extend_from_slice(&series.start_timestamps[from..to]);
        }
        Ok(true)
    }

    fn series_left(&self) -> Option<usize> {
        Some(self.series.len() - self.next)
    }
}
