//! Answers of the native API: numbers as JSON numbers, times in seconds. `NaN`, `+Inf` and `-Inf`, which JSON lacks, are texts.

use std::io::{self, Write};

use promql::labels::{Labels, METRIC_NAME};
use promql::sample::SampleValue;
use promql::value::{Sample, Series};

use super::query_json::{push_pairs, push_text, write_list};
use crate::number::{push_timestamp, push_value};

/// `{"series":[{"metric":"x","labels":{…},"values":[[t,v],…]},…],"warnings":[…]}`
pub fn write_series(out: &mut dyn Write, series: &[Series], warnings: &[String]) -> io::Result<()> {
    let mut buffer = b"{\"series\":".to_vec();
    write_list(out, &mut buffer, series, |buffer, series| {
        buffer.push(b'{');
        push_identity(buffer, &series.labels);
        buffer.extend_from_slice(b",\"values\":[");
        for (at, (time_ms, value)) in series.floats.iter().enumerate() {
            buffer.extend_from_slice(if at > 0 { b",[" } else { b"[" });
            push_timestamp(buffer, *time_ms);
            buffer.push(b',');
            push_number(buffer, *value);
            buffer.push(b']');
        }
        buffer.extend_from_slice(b"]}");
    })?;
    push_warnings(&mut buffer, warnings);
    buffer.push(b'}');
    out.write_all(&buffer)
}

/// `{"results":[{"metric":"x","labels":{…},"value":v,"timestamp":t},…],"warnings":[…]}`
pub fn write_samples(out: &mut dyn Write, samples: &[Sample], warnings: &[String]) -> io::Result<()> {
    let mut buffer = b"{\"results\":".to_vec();
    write_list(out, &mut buffer, samples, |buffer, sample| {
        buffer.push(b'{');
        push_identity(buffer, &sample.labels);
        buffer.push(b',');
        push_value_and_time(buffer, number_of(sample), sample.time_ms);
        buffer.push(b'}');
    })?;
    push_warnings(&mut buffer, warnings);
    buffer.push(b'}');
    out.write_all(&buffer)
}

/// `{"value":v,"timestamp":t,"warnings":[…]}`
pub fn single(value: f64, time_ms: i64, warnings: &[String]) -> Vec<u8> {
    let mut out = b"{".to_vec();
    push_value_and_time(&mut out, value, time_ms);
    push_warnings(&mut out, warnings);
    out.push(b'}');
    out
}

/// What alert rules compare: a float as it is, of a histogram its count.
pub fn number_of(sample: &Sample) -> f64 {
    match &sample.value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => histogram.count,
    }
}

fn push_value_and_time(out: &mut Vec<u8>, value: f64, time_ms: i64) {
    out.extend_from_slice(b"\"value\":");
    push_number(out, value);
    out.extend_from_slice(b",\"timestamp\":");
    push_timestamp(out, time_ms);
}

/// The name apart from the other labels, as the native API writes samples too.
fn push_identity(out: &mut Vec<u8>, labels: &Labels) {
    if labels.has(METRIC_NAME) {
        out.extend_from_slice(b"\"metric\":");
        push_text(out, labels.metric_name());
        out.push(b',');
    }
    out.extend_from_slice(b"\"labels\":");
    let others = labels.iter().filter(|label| &*label.name != METRIC_NAME);
    push_pairs(out, others.map(|label| (&*label.name, &*label.value)));
}

fn push_number(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_value(out, value);
    } else {
        out.push(b'"');
        push_value(out, value);
        out.push(b'"');
    }
}

fn push_warnings(out: &mut Vec<u8>, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"warnings\":");
    // Writing texts to a Vec cannot fail.
    let _ = serde_json::to_writer(out, warnings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_results_are_json_with_plain_numbers() {
        let labels = Labels::from_pairs([("__name__", "x"), ("env", "prod")]);
        let series = Series { labels: labels.clone(), floats: vec![(60_000, 0.5), (61_500, f64::NAN)], histograms: vec![] };
        let mut out = Vec::new();
        write_series(&mut out, &[series], &[]).expect("in memory");
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"series":[{"metric":"x","labels":{"env":"prod"},"values":[[60,0.5],[61.500,"NaN"]]}]}"#
        );
        let sample = Sample { labels: Labels::empty(), time_ms: 60_000, value: SampleValue::Float(3.0) };
        let mut out = Vec::new();
        write_samples(&mut out, &[sample], &["stale".to_string()]).expect("in memory");
        assert_eq!(String::from_utf8_lossy(&out), r#"{"results":[{"labels":{},"value":3,"timestamp":60}],"warnings":["stale"]}"#);
        assert_eq!(single(f64::INFINITY, 1_000, &[]), br#"{"value":"+Inf","timestamp":1}"#);
    }
}
