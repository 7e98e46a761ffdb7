//! Families as `io.prometheus.client.MetricFamily`, each behind its length. The only format that carries native histograms.

use storage::histogram::{Counts, Span};
use storage::{Histogram, varint};

use super::family::{Kind, Newest, NewestValue};
use super::names::Escaping;
use crate::remote_read::message::{
    put_bytes, put_differences, put_double, put_floats, put_integer, put_message, put_signed, put_spans, put_unsigned,
};

/// `MetricType`
fn type_number(kind: Kind) -> u64 {
    match kind {
        Kind::Float => 3,
        Kind::Histogram => 4,
        Kind::GaugeHistogram => 5,
    }
}

/// Appends the samples of one family:
/// `MetricFamily { string name = 1; MetricType type = 3; repeated Metric metric = 4; }`
pub fn put_family(out: &mut Vec<u8>, samples: &[Newest], escaping: Escaping) {
    let Some(first) = samples.first() else { return };
    let mut family = Vec::new();
    put_bytes(&mut family, 1, escaping.apply(&first.name).as_bytes());
    put_unsigned(&mut family, 3, type_number(first.kind()));
    for sample in samples {
        put_message(&mut family, 4, |out| put_metric(out, sample, escaping));
    }
    varint::put(out, family.len() as u64);
    out.extend_from_slice(&family);
}

/// `Metric { repeated LabelPair label = 1; Untyped untyped = 5; int64 timestamp_ms = 6; Histogram histogram = 7; }`
fn put_metric(out: &mut Vec<u8>, sample: &Newest, escaping: Escaping) {
    for label in &sample.labels {
        put_message(out, 1, |out| {
            put_bytes(out, 1, escaping.apply(&label.name).as_bytes());
            put_bytes(out, 2, label.value.as_bytes());
        });
    }
    if let NewestValue::Float(value) = &sample.value {
        put_message(out, 5, |out| put_double(out, 1, *value));
    }
    put_integer(out, 6, sample.timestamp_ms);
    if let NewestValue::Histogram(histogram) = &sample.value {
        put_message(out, 7, |out| put_histogram(out, histogram));
    }
}

/// Integer counts stay integers.
///
/// ```text
/// Histogram  { uint64 sample_count = 1; double sample_sum = 2; double sample_count_float = 4; sint32 schema = 5;
///              double zero_threshold = 6; uint64 zero_count = 7; double zero_count_float = 8;
///              repeated BucketSpan negative_span = 9; repeated sint64 negative_delta = 10; repeated double negative_count = 11;
///              repeated BucketSpan positive_span = 12; repeated sint64 positive_delta = 13; repeated double positive_count = 14; }
/// BucketSpan { sint32 offset = 1; uint32 length = 2; }
/// ```
fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    put_double(out, 2, histogram.sum);
    put_signed(out, 5, i64::from(histogram.schema));
    put_double(out, 6, histogram.zero_threshold);
    put_spans(out, 9, &histogram.negative_spans);
    put_spans(out, 12, &histogram.positive_spans);
    let is_bare = histogram.zero_threshold == 0.0 && histogram.negative_spans.is_empty() && histogram.positive_spans.is_empty();
    if is_bare {
        // A span of nothing says that the histogram is a native one.
        put_spans(out, 12, &[Span::default()]);
    }
    match &histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            put_unsigned(out, 1, *count);
            put_unsigned(out, 7, *zero_count);
            put_differences(out, 10, negative);
            put_differences(out, 13, positive);
        }
        Counts::Float { count, zero_count, positive, negative } => {
            put_double(out, 4, *count);
            put_double(out, 8, *zero_count);
            put_floats(out, 11, negative);
            put_floats(out, 14, positive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::labels::Label;
    use storage::histogram::ResetHint;

    #[test]
    fn a_family_is_the_bytes_of_its_message() {
        let sample = Newest { name: "up".into(), labels: vec![Label::new("a", "b")], timestamp_ms: 300, value: NewestValue::Float(1.0) };
        let mut out = Vec::new();
        put_family(&mut out, &[sample], Escaping::Underscores);
        let mut expected = vec![30, 0x0a, 2, b'u', b'p', 0x18, 3, 0x22, 22, 0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b', 0x2a, 9, 0x09];
        expected.extend(1.0f64.to_le_bytes());
        expected.extend([0x30, 0xac, 0x02]);
        assert_eq!(out, expected);
    }

    fn family_of(histogram: Histogram) -> Vec<u8> {
        let value = NewestValue::Histogram(Box::new(histogram));
        let mut out = Vec::new();
        put_family(&mut out, &[Newest { name: "h".into(), labels: vec![], timestamp_ms: 0, value }], Escaping::Underscores);
        out
    }

    #[test]
    fn histograms_keep_their_kind_of_counts() {
        let counts = Counts::Integer { count: 6, zero_count: 1, positive: vec![2, 3], negative: vec![] };
        let positive_spans = vec![Span { offset: -1, length: 2 }];
        let (negative_spans, custom_values) = (vec![], vec![]);
        let reset_hint = ResetHint::Unknown;
        let integer =
            Histogram { reset_hint, schema: 3, zero_threshold: 0.5, sum: 2.0, counts, positive_spans, negative_spans, custom_values };
        let mut expected = vec![0x11];
        expected.extend(2.0f64.to_le_bytes());
        expected.extend([0x28, 6, 0x31]);
        expected.extend(0.5f64.to_le_bytes());
        expected.extend([0x62, 4, 0x08, 1, 0x10, 2, 0x08, 6, 0x38, 1, 0x6a, 2, 4, 2]);
        let family = family_of(integer.clone());
        assert_eq!(
            family[..10],
            [expected.len() as u8 + 9, 0x0a, 1, b'h', 0x18, 4, 0x22, expected.len() as u8 + 2, 0x3a, expected.len() as u8]
        );
        assert_eq!(family[10..], expected);

        let counts = Counts::Float { count: 0.5, zero_count: 0.0, positive: vec![], negative: vec![0.5] };
        let negative_spans = vec![Span { offset: 0, length: 1 }];
        let gauge = Histogram { reset_hint: ResetHint::Gauge, counts, negative_spans, positive_spans: vec![], ..integer };
        let family = family_of(gauge);
        assert_eq!(family[4..6], [0x18, 5], "a gauge histogram");
        let mut floats = vec![0x4a, 2, 0x10, 1, 0x21];
        floats.extend(0.5f64.to_le_bytes());
        floats.extend([0x5a, 8]);
        floats.extend(0.5f64.to_le_bytes());
        assert!(family.ends_with(&floats), "{family:?}");
    }

    #[test]
    fn a_histogram_without_buckets_is_known_as_a_native_one() {
        let counts = Counts::Integer { count: 0, zero_count: 0, positive: vec![], negative: vec![] };
        let (positive_spans, negative_spans, custom_values) = (vec![], vec![], vec![]);
        let reset_hint = ResetHint::Unknown;
        let empty =
            Histogram { reset_hint, schema: 0, zero_threshold: 0.0, sum: 0.0, counts, positive_spans, negative_spans, custom_values };
        assert!(family_of(empty).ends_with(&[0x62, 0]));
    }
}
