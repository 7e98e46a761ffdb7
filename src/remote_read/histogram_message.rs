//! `prometheus.Histogram`, as plain answers carry it beside float samples.
//!
//! ```text
//! Histogram  { oneof { uint64 count_int = 1; double count_float = 2; }  double sum = 3; sint32 schema = 4; double zero_threshold = 5;
//!              oneof { uint64 zero_count_int = 6; double zero_count_float = 7; }
//!              repeated BucketSpan negative_spans = 8; repeated sint64 negative_deltas = 9; repeated double negative_counts = 10;
//!              repeated BucketSpan positive_spans = 11; repeated sint64 positive_deltas = 12; repeated double positive_counts = 13;
//!              ResetHint reset_hint = 14; int64 timestamp = 15; repeated double custom_values = 16; }
//! BucketSpan { sint32 offset = 1; uint32 length = 2; }
//! ```

use storage::Histogram;
use storage::histogram::{Counts, ResetHint};
use storage::varint;

use super::message::{put_differences, put_double, put_floats, put_integer, put_signed, put_spans, put_unsigned};

const VARINT: u64 = 0;
const FIXED64: u64 = 1;

/// Appends the content of the message.
pub fn put_histogram(out: &mut Vec<u8>, timestamp_ms: i64, histogram: &Histogram) {
    // Which member of a `oneof` stands there says whether the counts are integers: it is written also when it is zero.
    match &histogram.counts {
        Counts::Integer { count, .. } => put_whole(out, 1, *count),
        Counts::Float { count, .. } => put_float(out, 2, *count),
    }
    put_double(out, 3, histogram.sum);
    put_signed(out, 4, i64::from(histogram.schema));
    put_double(out, 5, histogram.zero_threshold);
    match &histogram.counts {
        Counts::Integer { zero_count, positive, negative, .. } => {
            put_whole(out, 6, *zero_count);
            put_spans(out, 8, &histogram.negative_spans);
            put_differences(out, 9, negative);
            put_spans(out, 11, &histogram.positive_spans);
            put_differences(out, 12, positive);
        }
        Counts::Float { zero_count, positive, negative, .. } => {
            put_float(out, 7, *zero_count);
            put_spans(out, 8, &histogram.negative_spans);
            put_floats(out, 10, negative);
            put_spans(out, 11, &histogram.positive_spans);
            put_floats(out, 13, positive);
        }
    }
    put_unsigned(out, 14, reset_hint(histogram.reset_hint));
    put_integer(out, 15, timestamp_ms);
    put_floats(out, 16, &histogram.custom_values);
}

/// What a sender said of the sample before it need not be true of the one before it here.
fn reset_hint(hint: ResetHint) -> u64 {
    match hint {
        ResetHint::Unknown | ResetHint::NotReset => 0,
        ResetHint::Reset => 1,
        ResetHint::Gauge => 3,
    }
}

fn put_whole(out: &mut Vec<u8>, field: u64, value: u64) {
    varint::put(out, field << 3 | VARINT);
    varint::put(out, value);
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f64) {
    varint::put(out, field << 3 | FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}
