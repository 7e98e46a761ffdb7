//! Prometheus' chunks of native histograms: bits like an XOR chunk's, with a column for each bucket. Format:
//! <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>
//!
//! ```text
//! u16 count, big endian   u8 flags: 0xc0 gauge, 0x80 a counter reset lies before the first sample, 0x00 unknown
//! layout     zero threshold, schema, spans of positive buckets, of negative ones, bounds of custom buckets (Prometheus 3)
//! integers   time, count, zero count, sum, buckets; the first as they are (of buckets the differences from one to the next),
//!            then changes of their steps; the sum as XOR
//! floats     the same; all but the time as XOR
//! ```
//! All samples of a chunk have one layout. Readers take it that no counter reset lies inside a chunk.

use storage::Histogram;
use storage::histogram::chunk::Sample;
use storage::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, ResetHint, Span};

use super::bit_writer::BitWriter;
use super::xor_chunk::{SAMPLES_MAX, Xor};

/// `Chunk.Encoding`
const INTEGERS: u64 = 2;
const FLOATS: u64 = 3;

/// Numbers in a chunk; ten bytes each at most, so that a chunk of wide histograms stays far below the size of a frame.
const CELLS_MAX: usize = 16 << 10;

const FLAG_GAUGE: u8 = 0xc0;
const FLAG_RESET: u8 = 0x80;

/// How many of the samples (at least one) go into one chunk.
pub fn run_length(samples: &[Sample]) -> usize {
    let Some((_, first)) = samples.first() else { return 0 };
    let fitting = (CELLS_MAX / (bucket_count(first) + 4)).clamp(1, SAMPLES_MAX);
    let pairs = samples.iter().zip(&samples[1..]).take(fitting - 1);
    1 + pairs.take_while(|((_, before), (_, next))| continues(before, next)).count()
}

/// `Chunk.Encoding` of a chunk that begins with this sample.
pub fn encoding(first: &Histogram) -> u64 {
    if matches!(first.counts, Counts::Integer { .. }) { INTEGERS } else { FLOATS }
}

/// Appends a chunk of as many samples as [`run_length`] says; `before` is the sample just before the first.
pub fn encode(before: Option<&Histogram>, samples: &[Sample], out: &mut Vec<u8>) {
    let Some((_, first)) = samples.first() else { return };
    debug_assert!(samples.len() <= SAMPLES_MAX);
    out.extend_from_slice(&(samples.len() as u16).to_be_bytes());
    out.push(flags(before, first));
    let mut bits = BitWriter::new(out);
    put_layout(first, &mut bits);
    match first.counts {
        Counts::Integer { .. } => put_integers(samples, &mut bits),
        Counts::Float { .. } => put_floats(samples, &mut bits),
    }
    bits.finish();
}

fn flags(before: Option<&Histogram>, first: &Histogram) -> u8 {
    match first.reset_hint {
        ResetHint::Gauge => FLAG_GAUGE,
        ResetHint::Reset => FLAG_RESET,
        _ if before.is_some_and(|before| has_same_layout(before, first) && falls(before, first)) => FLAG_RESET,
        // With another layout before it, the reader compares.
        _ => 0,
    }
}

fn continues(before: &Histogram, next: &Histogram) -> bool {
    let is_gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
    // A stale histogram has no buckets at all.
    !before.is_stale()
        && !next.is_stale()
        && has_same_layout(before, next)
        && is_gauge(before) == is_gauge(next)
        && (is_gauge(next) || next.reset_hint != ResetHint::Reset && !falls(before, next))
}

fn has_same_layout(one: &Histogram, other: &Histogram) -> bool {
    std::mem::discriminant(&one.counts) == std::mem::discriminant(&other.counts)
        && one.schema == other.schema
        && one.zero_threshold.to_bits() == other.zero_threshold.to_bits()
        && (&one.positive_spans, &one.negative_spans) == (&other.positive_spans, &other.negative_spans)
        && one.custom_values.iter().map(|bound| bound.to_bits()).eq(other.custom_values.iter().map(|bound| bound.to_bits()))
}

/// Whether any number of a counter is lower than before, in the same layout.
fn falls(before: &Histogram, next: &Histogram) -> bool {
    fn any<T: PartialOrd>(before: &[T], next: &[T]) -> bool {
        before.iter().zip(next).any(|(before, next)| next < before)
    }
    match (&before.counts, &next.counts) {
        (
            Counts::Integer { count: a, zero_count: b, positive: c, negative: d },
            Counts::Integer { count, zero_count, positive, negative },
        ) => count < a || zero_count < b || any(c, positive) || any(d, negative),
        (Counts::Float { count: a, zero_count: b, positive: c, negative: d }, Counts::Float { count, zero_count, positive, negative }) => {
            count < a || zero_count < b || any(c, positive) || any(d, negative)
        }
        _ => true,
    }
}

fn bucket_count(histogram: &Histogram) -> usize {
    match &histogram.counts {
        Counts::Integer { positive, negative, .. } => positive.len() + negative.len(),
        Counts::Float { positive, negative, .. } => positive.len() + negative.len(),
    }
}

fn put_layout(histogram: &Histogram, bits: &mut BitWriter) {
    if histogram.is_stale() {
        // Threshold zero, schema zero, no spans on either side.
        bits.put(0, 8);
        return bits.put(0, 3);
    }
    put_zero_threshold(histogram.zero_threshold, bits);
    bits.put_varbit_signed(i64::from(histogram.schema));
    put_spans(&histogram.positive_spans, bits);
    put_spans(&histogram.negative_spans, bits);
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        bits.put_varbit(histogram.custom_values.len() as u64);
        histogram.custom_values.iter().for_each(|bound| put_bound(*bound, bits));
    }
}

/// One byte: 0 for zero, the exponent of a power of two from 2^-243 to 2^10 as a number from 1 on, or 255 before eight bytes.
fn put_zero_threshold(threshold: f64, bits: &mut BitWriter) {
    let (exponent, mantissa) = ((threshold.to_bits() >> 52) as i64 - 1023, threshold.to_bits() << 12);
    if threshold == 0.0 {
        bits.put(0, 8);
    } else if mantissa == 0 && (-243..=10).contains(&exponent) {
        bits.put((exponent + 244) as u64, 8);
    } else {
        bits.put(255, 8);
        bits.put(threshold.to_bits(), 64);
    }
}

fn put_spans(spans: &[Span], bits: &mut BitWriter) {
    bits.put_varbit(spans.len() as u64);
    for span in spans {
        bits.put_varbit(u64::from(span.length));
        bits.put_varbit_signed(i64::from(span.offset));
    }
}

/// A bound of at most three decimals as a whole number from 1 on, any other as a zero and eight bytes.
fn put_bound(bound: f64, bits: &mut BitWriter) {
    let thousandths = (bound * 1000.0).round();
    if (0.0..=33_554_430.0).contains(&(bound * 1000.0)) && thousandths / 1000.0 == bound {
        bits.put_varbit(thousandths as u64 + 1);
    } else {
        bits.put_bit(false);
        bits.put(bound.to_bits(), 64);
    }
}

/// Time, count, zero count and the buckets' differences.
fn integer_row(time: i64, histogram: &Histogram) -> Vec<i64> {
    let Counts::Integer { count, zero_count, positive, negative } = &histogram.counts else { return vec![time, 0, 0] };
    if histogram.is_stale() {
        return vec![time, 0, 0];
    }
    let differences = |side: &[u64]| {
        let mut before = 0u64;
        let step = |count: &u64| count.wrapping_sub(std::mem::replace(&mut before, *count)) as i64;
        side.iter().map(step).collect::<Vec<_>>()
    };
    [vec![time, *count as i64, *zero_count as i64], differences(positive), differences(negative)].concat()
}

fn put_integers(samples: &[Sample], bits: &mut BitWriter) {
    let mut sum = Xor::default();
    let (mut before, mut steps): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    for (position, (time, histogram)) in samples.iter().enumerate() {
        let row = integer_row(*time, histogram);
        if position == 0 {
            bits.put_varbit_signed(row[0]);
            row[1..3].iter().for_each(|&count| bits.put_varbit(count as u64));
            sum.begin(histogram.sum, bits);
            row[3..].iter().for_each(|&difference| bits.put_varbit_signed(difference));
            steps = vec![0; row.len()];
        } else {
            for column in 0..row.len() {
                if column == 3 {
                    sum.put(histogram.sum, bits);
                }
                let step = row[column].wrapping_sub(before[column]);
                bits.put_varbit_signed(step.wrapping_sub(steps[column]));
                steps[column] = step;
            }
            if row.len() == 3 {
                sum.put(histogram.sum, bits);
            }
        }
        before = row;
    }
}

/// Count, zero count, sum and buckets.
fn float_row(histogram: &Histogram) -> Vec<f64> {
    match &histogram.counts {
        Counts::Float { count, zero_count, positive, negative } if !histogram.is_stale() => {
            [&[*count, *zero_count, histogram.sum], &positive[..], negative].concat()
        }
        _ => vec![0.0, 0.0, histogram.sum],
    }
}

fn put_floats(samples: &[Sample], bits: &mut BitWriter) {
    let mut columns: Vec<Xor> = Vec::new();
    let (mut time_before, mut step_before) = (0i64, 0i64);
    for (position, (time, histogram)) in samples.iter().enumerate() {
        let row = float_row(histogram);
        if position == 0 {
            bits.put_varbit_signed(*time);
            columns.resize_with(row.len(), Xor::default);
            columns.iter_mut().zip(&row).for_each(|(column, value)| column.begin(*value, bits));
        } else {
            let step = time.wrapping_sub(time_before);
            bits.put_varbit_signed(step.wrapping_sub(step_before));
            step_before = step;
            columns.iter_mut().zip(&row).for_each(|(column, value)| column.put(*value, bits));
        }
        time_before = *time;
    }
}
