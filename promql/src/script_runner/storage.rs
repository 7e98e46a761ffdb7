//! Storing the samples of a script the way Prometheus' database would hand them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use crate::labels::{BUCKET_LABEL, Labels, METRIC_NAME};
use crate::memory_source::MemorySource;
use crate::sample::{SampleValue, is_stale};
use crate::testlang::{ClassicHistograms, Load, LoadedSeries};

/// The database starts a new chunk at every multiple of this.
const CHUNK_RANGE_MS: i64 = 24 * 60 * 60 * 1000;

/// Stores the series of a load command.
pub fn load(source: &mut MemorySource, load: &Load) -> Result<(), String> {
    for series in &load.series {
        store(source, series);
    }
    if load.classic_histograms == ClassicHistograms::AlsoAsNative {
        for (labels, samples) in native_histograms(&load.series) {
            let mut chunk = None;
            for (time_ms, classic) in samples {
                let histogram = classic.convert()?;
                source.push_sample(&labels, time_ms, 0, SampleValue::Histogram(Arc::new(with_stored_hint(histogram, time_ms, &mut chunk))));
            }
        }
    }
    Ok(())
}

fn store(source: &mut MemorySource, series: &LoadedSeries) {
    let mut chunk = None;
    for sample in &series.samples {
        let value = match &sample.value {
            SampleValue::Float(value) => {
                chunk = None;
                SampleValue::Float(*value)
            }
            SampleValue::Histogram(histogram) => {
                let histogram = with_stored_hint(histogram.as_ref().clone(), sample.time_ms, &mut chunk);
                SampleValue::Histogram(Arc::new(histogram))
            }
        };
        source.push_sample(&series.labels, sample.time_ms, sample.start_ms, value);
    }
}

/// The last histogram of the chunk being written and when it was.
type Chunk = Option<(FloatHistogram, i64)>;

/// The reset hint with which the database returns a histogram: within a chunk there is no reset; what was before the
/// first one of a chunk it does not know.
fn with_stored_hint(histogram: FloatHistogram, time_ms: i64, chunk: &mut Chunk) -> FloatHistogram {
    let is_gauge = histogram.counter_reset_hint == CounterResetHint::Gauge;
    let continues = chunk.as_ref().is_some_and(|(last, last_ms)| {
        let same_range = last_ms.div_euclid(CHUNK_RANGE_MS) == time_ms.div_euclid(CHUNK_RANGE_MS);
        let last_is_gauge = last.counter_reset_hint == CounterResetHint::Gauge;
        same_range && last_is_gauge == is_gauge && (is_stale(histogram.sum) || fits(last, &histogram))
    });
    let hint = match (is_gauge, continues) {
        (true, _) => CounterResetHint::Gauge,
        (false, true) => CounterResetHint::NotReset,
        (false, false) => CounterResetHint::Unknown,
    };
    *chunk = Some((histogram.clone(), time_ms));
    FloatHistogram { counter_reset_hint: hint, ..histogram }
}

/// Whether a histogram can stand behind another one in a chunk.
fn fits(last: &FloatHistogram, histogram: &FloatHistogram) -> bool {
    if is_stale(last.sum) || histogram.counter_reset_hint == CounterResetHint::Reset {
        return false;
    }
    let same_kind =
        histogram.schema == last.schema && histogram.zero_threshold == last.zero_threshold && histogram.custom_values == last.custom_values;
    let unmarked = FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..histogram.clone() };
    same_kind && !unmarked.detect_reset(last)
}

/// A classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// Cumulative counts by upper bound, ascending.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    fn set_bucket(&mut self, upper: f64, count: f64) {
        let position = self.buckets.partition_point(|(other, _)| *other < upper);
        if self.buckets.get(position).is_none_or(|(other, _)| *other != upper) {
            self.buckets.insert(position, (upper, count));
        }
    }

    fn convert(mut self) -> Result<FloatHistogram, String> {
        let count = self.count.or(self.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(upper, _)| *upper != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let highest = self.buckets[self.buckets.len() - 1].1;
        if self.buckets.windows(2).any(|pair| pair[1].1 < pair[0].1) || highest != count {
            return Err(format!("a classic histogram cannot be converted: buckets {:?}, count {count}", self.buckets));
        }
        let mut before = 0.0;
        let own_count = |(_, count): &(f64, f64)| count - std::mem::replace(&mut before, *count);
        let positive_buckets: Vec<f64> = self.buckets.iter().map(own_count).collect();
        let custom_values = self.buckets.iter().map(|(upper, _)| *upper).filter(|upper| *upper != f64::INFINITY).collect();
        let whole = self.buckets.iter().all(|(_, count)| count.fract() == 0.0) && count.fract() == 0.0;
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: positive_buckets.len() as u32 }],
            positive_buckets,
            custom_values,
            ..FloatHistogram::default()
        };
        histogram.compact(if whole { 2 } else { 0 });
        Ok(histogram)
    }
}

/// Native histograms with custom buckets for all classic histograms among the series.
fn native_histograms(series: &[LoadedSeries]) -> BTreeMap<Labels, BTreeMap<i64, Classic>> {
    let mut histograms: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for series in series {
        let name = series.labels.metric_name();
        let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
            let Ok(upper) = series.labels.get(BUCKET_LABEL).parse::<f64>() else { continue };
            (base, Part::Bucket(upper))
        } else if let Some(base) = name.strip_suffix("_count") {
            (base, Part::Count)
        } else if let Some(base) = name.strip_suffix("_sum") {
            (base, Part::Sum)
        } else {
            continue;
        };
        let labels = series.labels.without(BUCKET_LABEL).with(METRIC_NAME, base);
        let histogram = histograms.entry(labels).or_default();
        for sample in &series.samples {
            let Some(value) = sample.value.float() else { continue };
            let classic = histogram.entry(sample.time_ms).or_default();
            match part {
                Part::Bucket(upper) => classic.set_bucket(upper, value),
                Part::Count => classic.count = Some(value),
                Part::Sum => classic.sum = value,
            }
        }
    }
    histograms
}

/// What a series of a classic histogram holds.
#[derive(Clone, Copy)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
}
