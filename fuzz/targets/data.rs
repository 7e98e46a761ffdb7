//! The series that queries of the fuzz targets see: counters with resets, gauges with NaN and staleness, native histograms of
//! both kinds, buckets of a classic histogram; in three shards.

use std::sync::Arc;

use promql::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::sample::{STALE_MARKER, SampleValue};

pub const START_MS: i64 = 0;
pub const END_MS: i64 = 600_000;

pub fn shards() -> Vec<MemorySource> {
    let mut shards = vec![MemorySource::new(); 3];
    for number in 0..18usize {
        let name = ["a_total", "b", "h", "c_bucket", "h", "b"][number % 6];
        let le = if name == "c_bucket" { ["0.1", "1", "+Inf"][number / 6 % 3] } else { "" };
        let labels = Labels::from_pairs([
            ("__name__", name.to_owned()),
            ("n", (number / 3).to_string()),
            ("g", (number % 2).to_string()),
            ("le", le.to_owned()),
        ]);
        for sample in 0..40i64 {
            let value = value(number, sample);
            shards[number % 3].push_sample(&labels, sample * 15_000 + number as i64 * 100, 0, value);
        }
    }
    shards
}

fn value(number: usize, sample: i64) -> SampleValue {
    let step = sample + number as i64;
    match number % 6 {
        0 | 3 => SampleValue::Float(if step % 13 == 0 { 1.0 } else { (step * 7) as f64 }),
        2 => SampleValue::Histogram(Arc::new(exponential(step, number))),
        4 if number % 12 == 4 => SampleValue::Histogram(Arc::new(custom(step))),
        4 if step % 2 == 0 => SampleValue::Histogram(Arc::new(exponential(step, number))),
        _ => SampleValue::Float(match step % 11 {
            3 => f64::NAN,
            5 => STALE_MARKER,
            7 => f64::INFINITY,
            _ => (step * 31 % 17) as f64 / 8.0,
        }),
    }
}

fn exponential(step: i64, number: usize) -> FloatHistogram {
    let counts: Vec<f64> = (0..4).map(|bucket| (step * (bucket + 1)) as f64).collect();
    FloatHistogram {
        counter_reset_hint: if step % 9 == 0 { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
        schema: (number / 6) as i32,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: counts.iter().sum::<f64>() + 2.0,
        sum: step as f64 * 1.5,
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: counts[..3].to_vec(),
        negative_buckets: counts[3..].to_vec(),
        custom_values: Vec::new().into(),
    }
}

fn custom(step: i64) -> FloatHistogram {
    let bounds = if step % 5 == 0 { vec![1.0, 5.0] } else { vec![1.0, 2.0, 5.0] };
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: step as f64 * 2.0,
        sum: step as f64,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![step as f64, step as f64],
        custom_values: bounds.into(),
        ..FloatHistogram::default()
    }
}
