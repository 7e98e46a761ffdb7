//! Query answers as the Prometheus API writes them.

use std::io::{self, Write};

use promql::histogram::FloatHistogram;
use promql::labels::Labels;
use promql::sample::SampleValue;
use promql::value::{Sample, Series, Value};
use promql::value_type::ValueType;

use crate::number::{push_timestamp, push_value};

/// Bytes collected before they go to the stream.
const PIECE_BYTES: usize = 32 * 1024;

/// How many numbers and texts an answer holds; of histograms, which have many, it is told that they are too many.
pub fn values(value: &Value) -> usize {
    match value {
        Value::Scalar { .. } | Value::String { .. } => 1,
        Value::Vector(samples) => match samples.iter().all(|sample| matches!(sample.value, SampleValue::Float(_))) {
            true => samples.iter().map(|sample| 1 + sample.labels.len()).sum(),
            false => usize::MAX,
        },
        Value::Matrix(series) => match series.iter().all(|one| one.histograms.is_empty()) {
            true => series.iter().map(|one| one.labels.len() + one.floats.len()).sum(),
            false => usize::MAX,
        },
    }
}

/// `"resultType":…,"result":…`, without the braces around them, so that statistics can follow.
pub fn write_result(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    let mut buffer = Vec::new();
    buffer.extend_from_slice(b"\"resultType\":\"");
    buffer.extend_from_slice(type_name(value.value_type()).as_bytes());
    buffer.extend_from_slice(b"\",\"result\":");
    match value {
        Value::Scalar { time_ms, value } => push_point(&mut buffer, *time_ms, *value),
        Value::String { time_ms, value } => {
            buffer.push(b'[');
            push_timestamp(&mut buffer, *time_ms);
            buffer.push(b',');
            push_text(&mut buffer, value);
            buffer.push(b']');
        }
        Value::Vector(samples) => write_list(out, &mut buffer, samples, push_sample)?,
        Value::Matrix(series) => write_list(out, &mut buffer, series, push_series)?,
    }
    out.write_all(&buffer)
}

fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        _ => "matrix",
    }
}

/// Writes `[…]`, handing full pieces to the stream between items.
pub fn write_list<T>(out: &mut dyn Write, buffer: &mut Vec<u8>, items: &[T], push: impl Fn(&mut Vec<u8>, &T)) -> io::Result<()> {
    buffer.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            buffer.push(b',');
        }
        push(buffer, item);
        if buffer.len() >= PIECE_BYTES {
            out.write_all(buffer)?;
            buffer.clear();
        }
    }
    buffer.push(b']');
    Ok(())
}

fn push_sample(out: &mut Vec<u8>, sample: &Sample) {
    out.extend_from_slice(b"{\"metric\":");
    push_labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            push_point(out, sample.time_ms, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            push_histogram_point(out, sample.time_ms, histogram);
        }
    }
    out.push(b'}');
}

fn push_series(out: &mut Vec<u8>, series: &Series) {
    out.extend_from_slice(b"{\"metric\":");
    push_labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.extend_from_slice(b",\"values\":[");
        for (at, (time_ms, value)) in series.floats.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_point(out, *time_ms, *value);
        }
        out.push(b']');
    }
    if !series.histograms.is_empty() {
        out.extend_from_slice(b",\"histograms\":[");
        for (at, (time_ms, histogram)) in series.histograms.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_histogram_point(out, *time_ms, histogram);
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn push_point(out: &mut Vec<u8>, time_ms: i64, value: f64) {
    out.push(b'[');
    push_timestamp(out, time_ms);
    out.extend_from_slice(b",\"");
    push_value(out, value);
    out.extend_from_slice(b"\"]");
}

/// `[t,{"count":"…","sum":"…","buckets":[[rule,"lower","upper","count"],…]}]`; empty buckets are left out.
fn push_histogram_point(out: &mut Vec<u8>, time_ms: i64, histogram: &FloatHistogram) {
    out.push(b'[');
    push_timestamp(out, time_ms);
    out.extend_from_slice(b",{\"count\":\"");
    push_value(out, histogram.count);
    out.extend_from_slice(b"\",\"sum\":\"");
    push_value(out, histogram.sum);
    out.push(b'"');
    let buckets = histogram.all_buckets();
    let mut filled = buckets.iter().filter(|bucket| bucket.count != 0.0).peekable();
    if filled.peek().is_some() {
        out.extend_from_slice(b",\"buckets\":");
        let mut separator = b'[';
        for bucket in filled {
            out.push(separator);
            separator = b',';
            let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => b'0',
                (true, false) => b'1',
                (false, false) => b'2',
                (true, true) => b'3',
            };
            out.extend_from_slice(&[b'[', rule]);
            for number in [bucket.lower, bucket.upper, bucket.count] {
                out.extend_from_slice(b",\"");
                push_value(out, number);
                out.push(b'"');
            }
            out.push(b']');
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}]");
}

/// `{"__name__":"up","job":"x"}`.
pub fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    push_pairs(out, labels.iter().map(|label| (&*label.name, &*label.value)));
}

/// The same from borrowed pairs.
pub fn push_pairs<'a>(out: &mut Vec<u8>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (at, (name, value)) in pairs.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_text(out, name);
        out.push(b':');
        push_text(out, value);
    }
    out.push(b'}');
}

/// A JSON text. Nearly all label texts need no escaping, which one pass over the bytes finds out.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing text to a Vec cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> String {
        let mut out = b"{".to_vec();
        write_result(&mut out, value).expect("in memory");
        out.push(b'}');
        let text = String::from_utf8(out).expect("UTF-8");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        text
    }

    #[test]
    fn each_type_has_the_documented_shape() {
        assert_eq!(written(&Value::Scalar { time_ms: 4_000, value: 2.0 }), r#"{"resultType":"scalar","result":[4,"2"]}"#);
        assert_eq!(written(&Value::String { time_ms: 4_500, value: "a\"b".into() }), r#"{"resultType":"string","result":[4.500,"a\"b"]}"#);
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\\b")]);
        let sample = Sample { labels: labels.clone(), time_ms: 1_000, value: SampleValue::Float(f64::NAN) };
        assert_eq!(
            written(&Value::Vector(vec![sample])),
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a\\b"},"value":[1,"NaN"]}]}"#
        );
        let series = Series { labels: Labels::empty(), floats: vec![(1_000, 1.5), (2_000, 1e21)], histograms: vec![] };
        assert_eq!(
            written(&Value::Matrix(vec![series])),
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1.5"],[2,"1e+21"]]}]}"#
        );
        assert_eq!(written(&Value::Matrix(vec![])), r#"{"resultType":"matrix","result":[]}"#);
    }

    #[test]
    fn long_lists_flow_in_pieces() {
        let series = |at: i64| Series { labels: Labels::empty(), floats: vec![(at, at as f64); 100], histograms: vec![] };
        let all: Vec<Series> = (0..500).map(series).collect();
        let text = written(&Value::Matrix(all));
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["result"].as_array().map(Vec::len), Some(500));
    }
}
