//! JSON lines in VictoriaMetrics' format, one series or part of one a line:
//! `{"metric":{"__name__":"up"},"values":[1,null],"timestamps":[1549891472010,1549891487724]}`.
//!
//! Importing them restores every sample bit for bit: `ingest::json_lines` reads all that is written here. An ordinary NaN is
//! `null`, which others understand; what else is no number is a text (see `sample_text`). Native histograms stand on lines of
//! their own, as texts too.

use promql::labels::Labels;
use storage::histogram::chunk::Sample;

use crate::number::{push_integer, push_value};
use crate::query::ordered::StoredSeries;
use crate::sample_text::{NORMAL_NAN_BITS, push_histogram_text, word};

/// Samples of a line unless told otherwise: it stays far below the longest line that an import takes.
pub const ROWS_DEFAULT: usize = 50_000;

/// Native histograms of a line: large ones have some thousand bytes.
const HISTOGRAMS_MAX: usize = 500;

/// Appends lines of at most `rows_max` samples.
pub fn put_series(out: &mut Vec<u8>, series: &StoredSeries, rows_max: usize) {
    let rows_max = rows_max.clamp(1, ROWS_DEFAULT);
    for (timestamps, values) in series.timestamps.chunks(rows_max).zip(series.values.chunks(rows_max)) {
        out.extend_from_slice(b"{\"metric\":");
        put_labels(out, &series.labels);
        out.extend_from_slice(b",\"values\":[");
        put_list(out, values, put_value);
        out.extend_from_slice(b"],\"timestamps\":[");
        put_list(out, timestamps, push_integer);
        out.extend_from_slice(b"]}\n");
    }
    for histograms in series.histograms.chunks(rows_max.min(HISTOGRAMS_MAX)) {
        put_histograms(out, &series.labels, histograms);
    }
}

fn put_histograms(out: &mut Vec<u8>, labels: &Labels, histograms: &[Sample]) {
    out.extend_from_slice(b"{\"metric\":");
    put_labels(out, labels);
    out.extend_from_slice(b",\"values\":[");
    put_list(out, &histograms.iter().collect::<Vec<_>>(), |out, (_, histogram)| {
        out.push(b'"');
        push_histogram_text(out, histogram);
        out.push(b'"');
    });
    out.extend_from_slice(b"],\"timestamps\":[");
    put_list(out, &histograms.iter().map(|(time, _)| *time).collect::<Vec<_>>(), push_integer);
    out.extend_from_slice(b"]}\n");
}

fn put_list<T: Copy>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, T)) {
    for (position, &item) in items.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        put(out, item);
    }
}

fn put_value(out: &mut Vec<u8>, value: f64) {
    match word(value) {
        None => push_value(out, value),
        Some(_) if value.to_bits() == NORMAL_NAN_BITS => out.extend_from_slice(b"null"),
        Some(word) => put_text(out, &word),
    }
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (position, label) in labels.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        put_text(out, &label.name);
        out.push(b':');
        put_text(out, &label.value);
    }
    out.push(b'}');
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Writing text to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::columns::Columns;
    use crate::ingest::json_lines::decode;
    use crate::sample_text::STALE_NAN_BITS;
    use proptest::prelude::*;
    use storage::Histogram;
    use storage::histogram::{Counts, ResetHint, Span, marker_of, ordinary};

    fn lines(series: &StoredSeries, rows_max: usize) -> String {
        let mut out = Vec::new();
        put_series(&mut out, series, rows_max);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_line_looks_as_documented() {
        let bits = [1f64.to_bits(), (-0.0f64).to_bits(), NORMAL_NAN_BITS, STALE_NAN_BITS, f64::INFINITY.to_bits()];
        let series = StoredSeries {
            labels: Labels::from_pairs([("__name__", "up"), ("a\"b", "\n")]),
            timestamps: (0..5).collect(),
            values: bits.into_iter().map(f64::from_bits).collect(),
            histograms: Vec::new(),
        };
        let metric = r#"{"__name__":"up","a\"b":"\n"}"#;
        assert_eq!(
            lines(&series, 1000),
            format!("{{\"metric\":{metric},\"values\":[1,-0,null,\"StaleNaN\",\"Infinity\"],\"timestamps\":[0,1,2,3,4]}}\n")
        );
        assert_eq!(lines(&series, 2).lines().count(), 3);
    }

    fn histogram(count: u64) -> Histogram {
        Histogram {
            reset_hint: ResetHint::Unknown,
            schema: 3,
            zero_threshold: 1e-9,
            sum: count as f64 / 3.0,
            counts: Counts::Integer { count: count + 1, zero_count: 1, positive: vec![count], negative: vec![] },
            positive_spans: vec![Span { offset: -4, length: 1 }],
            negative_spans: vec![],
            custom_values: vec![],
        }
    }

    #[test]
    fn native_histograms_are_restored_too() {
        let histograms: Vec<Sample> = (0..1200).map(|at| (at * 1000, histogram(at as u64))).collect();
        let labels = Labels::from_pairs([("__name__", "h")]);
        let series = StoredSeries { labels, timestamps: vec![500], values: vec![1.0], histograms };
        let text = lines(&series, ROWS_DEFAULT);
        assert_eq!(text.lines().count(), 4, "one of floats, three of histograms");
        let mut columns = Columns::new();
        decode(text.as_bytes(), 1, &mut columns).expect("what was written");
        assert_eq!((columns.timestamps[0], columns.values[0], columns.histogram_count()), (500, 1.0, 1200));
        for (at, (time, histogram)) in series.histograms.iter().enumerate() {
            assert_eq!(columns.timestamps[at + 1], *time);
            assert_eq!(columns.values[at + 1].to_bits(), marker_of(&histogram.encoded()));
        }
        for wrong in ["histogram:0", "histogram:xy", "histogram:00ff"] {
            let line = format!(r#"{{"metric":{{"__name__":"h"}},"values":["{wrong}"],"timestamps":[1]}}"#);
            assert!(decode(line.as_bytes(), 1, &mut Columns::new()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_import_restores_every_bit(
            labels in prop::collection::btree_map(".{1,6}", ".{1,8}", 0..4),
            samples in prop::collection::btree_map(any::<i64>(), prop_oneof![any::<u64>(), Just(STALE_NAN_BITS), Just(NORMAL_NAN_BITS)], 1..50),
            rows_max in 1usize..60,
        ) {
            let mut labels = labels;
            labels.insert("__name__".to_string(), "x".to_string());
            let series = StoredSeries {
                labels: Labels::from_pairs(labels.iter()),
                timestamps: samples.keys().copied().collect(),
                values: samples.values().map(|&bits| ordinary(f64::from_bits(bits))).collect(),
                histograms: Vec::new(),
            };
            let text = lines(&series, rows_max);
            let mut columns = Columns::new();
            decode(text.as_bytes(), 1, &mut columns).expect(&text);
            for read in 0..columns.series_count() {
                let mut pairs = Vec::new();
                columns.labels(text.as_bytes(), read, &mut pairs).expect("labels");
                prop_assert_eq!(Labels::from_pairs(pairs), series.labels.clone());
            }
            prop_assert_eq!(&columns.timestamps, &series.timestamps);
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&columns.values), bits(&series.values));
        }
    }
}
