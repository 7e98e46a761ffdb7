//! One series over all steps of a grid: what every vector expression evaluates to, series by series.

use std::sync::Arc;

use crate::histogram::FloatHistogram;
use crate::labels::{Label, Labels, METRIC_NAME, TYPE_LABEL, UNIT_LABEL};
use crate::sample::{STALE_MARKER, SampleValue, is_stale};

/// A time and a value. Histograms count as so many samples as they are larger.
pub const SAMPLE_BYTES: usize = 16;

/// Stands in a column where a series has no float. No value of an expression is ever the staleness marker: selectors
/// filter it out, and calculations make quiet NaN only.
pub const ABSENT: f64 = STALE_MARKER;

#[inline]
pub fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// Whether a label tells about the metric itself, so that it goes when a calculation makes something else of it.
pub fn is_metadata(name: &str) -> bool {
    matches!(name, METRIC_NAME | TYPE_LABEL | UNIT_LABEL)
}

/// Bytes of a series without values.
pub fn series_bytes(labels: &Labels) -> usize {
    size_of::<Column>() + labels.len() * size_of::<Label>()
}

/// The values of one series at the steps of a grid.
#[derive(Clone, Debug, Default)]
pub struct Column {
    pub labels: Labels,
    /// Whether the metric name is to be removed at the end of the query.
    pub drop_name: bool,
    /// One entry a step, `ABSENT` where there is no float.
    pub floats: Vec<f64>,
    /// One entry a step, or empty when the series has no histogram at all. A step has a float or a histogram, never both.
    pub histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl Column {
    /// A column without values.
    pub fn empty(labels: Labels, steps: usize) -> Column {
        Column { labels, drop_name: false, floats: vec![ABSENT; steps], histograms: Vec::new() }
    }

    /// Makes every step absent, keeping the memory.
    pub fn reset(&mut self, steps: usize) {
        self.floats.clear();
        self.floats.resize(steps, ABSENT);
        self.histograms.clear();
        self.drop_name = false;
    }

    pub fn steps(&self) -> usize {
        self.floats.len()
    }

    #[inline]
    pub fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    #[inline]
    pub fn is_present(&self, step: usize) -> bool {
        !is_absent(self.floats[step]) || self.histogram(step).is_some()
    }

    pub fn value(&self, step: usize) -> Option<SampleValue> {
        match self.histogram(step) {
            Some(histogram) => Some(SampleValue::Histogram(Arc::clone(histogram))),
            None if is_absent(self.floats[step]) => None,
            None => Some(SampleValue::Float(self.floats[step])),
        }
    }

    /// Sets or removes the value at a step.
    pub fn set(&mut self, step: usize, value: Option<SampleValue>) {
        match value {
            Some(SampleValue::Float(float)) => self.set_float(step, float),
            Some(SampleValue::Histogram(histogram)) => {
                if self.histograms.is_empty() {
                    self.histograms.resize(self.floats.len(), None);
                }
                self.floats[step] = ABSENT;
                self.histograms[step] = Some(histogram);
            }
            None => self.set_float(step, ABSENT),
        }
    }

    fn set_float(&mut self, step: usize, float: f64) {
        self.floats[step] = float;
        if let Some(histogram) = self.histograms.get_mut(step) {
            *histogram = None;
        }
    }

    pub fn has_histograms(&self) -> bool {
        self.histograms.iter().any(Option::is_some)
    }

    pub fn has_floats(&self) -> bool {
        self.floats.iter().any(|value| !is_absent(*value))
    }

    /// Whether there is no value at any step.
    pub fn is_empty(&self) -> bool {
        !self.has_floats() && !self.has_histograms()
    }

    /// Replaces every float; steps without one stay so. Histograms are dropped.
    pub fn map_floats(&mut self, change: impl Fn(f64) -> f64) {
        self.histograms.clear();
        for value in self.floats.iter_mut().filter(|value| !is_absent(**value)) {
            *value = change(*value);
        }
    }

    /// Bytes of memory that it takes, about. Texts of labels are shared with those who gave them, and histograms that hold over
    /// several steps are one.
    pub fn bytes(&self) -> usize {
        let mut histograms = 0;
        let mut last: Option<&Arc<FloatHistogram>> = None;
        for histogram in self.histograms.iter().flatten() {
            if last.is_none_or(|last| !Arc::ptr_eq(last, histogram)) {
                histograms += histogram.size_in_samples() * SAMPLE_BYTES;
            }
            last = Some(histogram);
        }
        series_bytes(&self.labels) + (self.floats.len() + self.histograms.len()) * size_of::<f64>() + histograms
    }

    /// As how many samples its memory counts in the limit on samples: a sample is 16 bytes, a step takes 8 whether it has a
    /// value or not.
    pub fn memory_in_samples(&self) -> usize {
        let histograms: usize = self.histograms.iter().flatten().map(|histogram| histogram.size_in_samples()).sum();
        let floats = self.floats.iter().filter(|value| !is_absent(**value)).count();
        floats.max(self.floats.len() / 2) + histograms
    }
}
