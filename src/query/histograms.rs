//! Native histograms on their way from the disk to the engine, on this node and between nodes.

use std::sync::Arc;

use promql::histogram::{CounterResetHint, FloatHistogram, Span};
use promql::sample::is_stale;
use promql::source::SeriesBuffer;
use storage::Histogram;
use storage::histogram::chunk::Sample;
use storage::histogram::{self as disk, Counts, ResetHint};

/// Converts the histograms of one series: positions among its samples, which rise.
///
/// The hints are those that Prometheus' storage would give: of a counter it says of each sample that directly follows another
/// whether a reset lies between them, and it finds that out by comparison, except that a reset which the sender reports is believed.
pub fn to_engine(histograms: impl Iterator<Item = (u32, Histogram)>, into: &mut Vec<(u32, Arc<FloatHistogram>)>) {
    for (position, histogram) in histograms {
        let mut float = float_histogram(histogram);
        let before = into.last().filter(|(before, _)| before + 1 == position).map(|(_, before)| before);
        if let Some(before) = before.filter(|before| !is_stale(before.sum)) {
            if float.custom_values == before.custom_values {
                float.custom_values = Arc::clone(&before.custom_values);
            }
            let comparable = before.counter_reset_hint != CounterResetHint::Gauge && !is_stale(float.sum);
            if comparable && float.counter_reset_hint == CounterResetHint::Unknown {
                let is_reset = float.detect_reset(before);
                float.counter_reset_hint = if is_reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
            }
        }
        into.push((position, Arc::new(float)));
    }
}

fn float_histogram(histogram: Histogram) -> FloatHistogram {
    let (count, zero_count, positive_buckets, negative_buckets) = match histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            let floats = |counts: Vec<u64>| counts.into_iter().map(|count| count as f64).collect();
            (count as f64, zero_count as f64, floats(positive), floats(negative))
        }
        Counts::Float { count, zero_count, positive, negative } => (count, zero_count, positive, negative),
    };
    FloatHistogram {
        counter_reset_hint: match histogram.reset_hint {
            // What a sender says about the sample before is about a sample it sent, which need not be the one before here.
            ResetHint::Unknown | ResetHint::NotReset => CounterResetHint::Unknown,
            ResetHint::Reset => CounterResetHint::Reset,
            ResetHint::Gauge => CounterResetHint::Gauge,
        },
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count,
        count,
        sum: histogram.sum,
        positive_spans: spans(&histogram.positive_spans),
        negative_spans: spans(&histogram.negative_spans),
        positive_buckets,
        negative_buckets,
        custom_values: histogram.custom_values.into(),
    }
}

fn spans(spans: &[disk::Span]) -> Vec<Span> {
    spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect()
}

/// Takes the histograms at these positions out of the columns of a series, so that only floats stay.
pub fn take_out(histograms: &mut Vec<(u32, Histogram)>, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Vec<Sample> {
    let positions: Vec<u32> = histograms.iter().map(|(position, _)| *position).collect();
    let taken = histograms.drain(..).map(|(position, histogram)| (timestamps[position as usize], histogram)).collect();
    let mut next = positions.iter().peekable();
    let mut kept = 0;
    for at in 0..timestamps.len() {
        if next.next_if(|position| **position as usize == at).is_some() {
            continue;
        }
        (timestamps[kept], values[kept]) = (timestamps[at], values[at]);
        kept += 1;
    }
    timestamps.truncate(kept);
    values.truncate(kept);
    taken
}

/// Puts histograms, which are in the order of time, among the floats of a series.
pub fn put_in(samples: Vec<Sample>, buffer: &mut SeriesBuffer) {
    let (timestamps, values) = (std::mem::take(&mut buffer.timestamps), std::mem::take(&mut buffer.values));
    let mut floats = timestamps.into_iter().zip(values).peekable();
    let mut placed = Vec::with_capacity(samples.len());
    for (time, histogram) in samples {
        while let Some((float_time, value)) = floats.next_if(|float| float.0 < time) {
            buffer.timestamps.push(float_time);
            buffer.values.push(value);
        }
        placed.push((buffer.timestamps.len() as u32, histogram));
        buffer.timestamps.push(time);
        buffer.values.push(f64::NAN);
    }
    for (float_time, value) in floats {
        buffer.timestamps.push(float_time);
        buffer.values.push(value);
    }
    to_engine(placed.into_iter(), &mut buffer.histograms);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(count: u64) -> Histogram {
        Histogram {
            reset_hint: ResetHint::NotReset,
            schema: 0,
            zero_threshold: 0.0,
            sum: count as f64,
            counts: Counts::Integer { count, zero_count: 0, positive: vec![count], negative: vec![] },
            positive_spans: vec![disk::Span { offset: 1, length: 1 }],
            negative_spans: vec![],
            custom_values: vec![],
        }
    }

    #[test]
    fn resets_are_found_by_comparison() {
        let reported = Histogram { reset_hint: ResetHint::Reset, ..counter(20) };
        let gauge = Histogram { reset_hint: ResetHint::Gauge, ..counter(1) };
        let samples = [(0, counter(5)), (1, counter(7)), (2, counter(6)), (3, reported), (5, counter(30)), (6, gauge), (7, counter(40))];
        let mut converted = Vec::new();
        to_engine(samples.into_iter(), &mut converted);
        let hints: Vec<CounterResetHint> = converted.iter().map(|(_, histogram)| histogram.counter_reset_hint).collect();
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        assert_eq!(hints, [Unknown, NotReset, Reset, Reset, Unknown, Gauge, Unknown]);
    }

    #[test]
    fn what_is_taken_out_is_put_in_again() {
        let mut histograms = vec![(0, counter(1)), (3, counter(2))];
        let (mut timestamps, mut values) = (vec![10, 20, 30, 40, 50], vec![f64::NAN, 2.0, 3.0, f64::NAN, 5.0]);
        let taken = take_out(&mut histograms, &mut timestamps, &mut values);
        assert_eq!((&timestamps[..], &values[..]), (&[20, 30, 50][..], &[2.0, 3.0, 5.0][..]));
        let mut buffer = SeriesBuffer { timestamps, values, ..SeriesBuffer::default() };
        put_in(taken, &mut buffer);
        assert_eq!(buffer.timestamps, [10, 20, 30, 40, 50]);
        assert_eq!(
            buffer.histograms.iter().map(|(position, histogram)| (*position, histogram.count)).collect::<Vec<_>>(),
            [(0, 1.0), (3, 2.0)]
        );
        assert_eq!(buffer.values[4], 5.0);
    }
}
