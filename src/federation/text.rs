//! Families as text: Prometheus' format 0.0.4, and OpenMetrics, which differs in words, numbers and its end.

use super::family::{Kind, Newest, NewestValue};
use super::names::{Escaping, is_classic};
use crate::number::{push_exponent, push_integer, push_timestamp, push_value};

/// Which of the two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    Prometheus,
    OpenMetrics,
}

/// Appends the samples of one family. Text has no words for native histograms: their families are left out.
pub fn put_family(out: &mut Vec<u8>, samples: &[Newest], format: TextFormat, escaping: Escaping) {
    let Some(first) = samples.first().filter(|first| first.kind() == Kind::Float) else { return };
    let name = escaping.apply(&first.name);
    out.extend_from_slice(b"# TYPE ");
    put_name(out, &name);
    out.extend_from_slice(if format == TextFormat::Prometheus { b" untyped\n" } else { b" unknown\n" });
    for sample in samples {
        if let NewestValue::Float(value) = sample.value {
            put_sample(out, &name, sample, value, format, escaping);
        }
    }
}

/// Appends what stands behind the last family.
pub fn put_end(out: &mut Vec<u8>, format: TextFormat) {
    if format == TextFormat::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}

fn put_sample(out: &mut Vec<u8>, name: &str, sample: &Newest, value: f64, format: TextFormat, escaping: Escaping) {
    let is_outside = is_classic(name);
    let mut separator = b'{';
    if is_outside {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'{');
        put_quoted(out, name);
        separator = b',';
    }
    for label in &sample.labels {
        out.push(separator);
        separator = b',';
        put_name(out, &escaping.apply(&label.name));
        out.push(b'=');
        put_quoted(out, &label.value);
    }
    if separator == b',' {
        out.push(b'}');
    }
    out.push(b' ');
    let start = out.len();
    put_number(out, value);
    let is_whole = out[start..].iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
    match format {
        TextFormat::Prometheus => {
            out.push(b' ');
            push_integer(out, sample.timestamp_ms);
        }
        TextFormat::OpenMetrics => {
            if is_whole {
                out.extend_from_slice(b".0");
            }
            out.push(b' ');
            push_timestamp(out, sample.timestamp_ms);
        }
    }
    out.push(b'\n');
}

/// A name, in quotes if it is none of the classic ones.
fn put_name(out: &mut Vec<u8>, name: &str) {
    if is_classic(name) { out.extend_from_slice(name.as_bytes()) } else { put_quoted(out, name) }
}

fn put_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.push(other),
        }
    }
    out.push(b'"');
}

/// Go's `'g'` with the shortest digits: an exponent below 1e-4 and from 1e21 on. (Go changes at 1e6 for some numbers of few
/// digits; both read back the same.)
fn put_number(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if value.is_finite() && magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        push_exponent(out, value);
    } else {
        push_value(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::labels::Label;

    fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Newest {
        let labels = labels.iter().map(|(name, value)| Label::new(*name, *value)).collect();
        Newest { name: name.into(), labels, timestamp_ms: 1_700_000_000_123, value: NewestValue::Float(value) }
    }

    fn page(samples: &[Newest], format: TextFormat, escaping: Escaping) -> String {
        let mut out = Vec::new();
        put_family(&mut out, samples, format, escaping);
        put_end(&mut out, format);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_family_has_one_type_line_and_escaped_values() {
        let samples = [sample("up", &[("job", "a\\\"b\nc"), ("instance", "")], 1.0), sample("up", &[], f64::NEG_INFINITY)];
        assert_eq!(
            page(&samples, TextFormat::Prometheus, Escaping::Underscores),
            "# TYPE up untyped\nup{job=\"a\\\\\\\"b\\nc\",instance=\"\"} 1 1700000000123\nup -Inf 1700000000123\n"
        );
        assert_eq!(
            page(&samples, TextFormat::OpenMetrics, Escaping::Underscores),
            "# TYPE up unknown\nup{job=\"a\\\\\\\"b\\nc\",instance=\"\"} 1.0 1700000000.123\nup -Inf 1700000000.123\n# EOF\n"
        );
    }

    #[test]
    fn names_beyond_the_alphabet_are_quoted_or_escaped() {
        let samples = [sample("http.requests", &[("a.b", "1")], 0.5)];
        assert_eq!(
            page(&samples, TextFormat::Prometheus, Escaping::AllowUtf8),
            "# TYPE \"http.requests\" untyped\n{\"http.requests\",\"a.b\"=\"1\"} 0.5 1700000000123\n"
        );
        assert_eq!(
            page(&samples, TextFormat::Prometheus, Escaping::Underscores),
            "# TYPE http_requests untyped\nhttp_requests{a_b=\"1\"} 0.5 1700000000123\n"
        );
    }

    #[test]
    fn pages_read_back_to_the_same_bits() {
        use crate::ingest::columns::Columns;
        let values = [0.0, -0.0, 0.1, 1e-5, 1e300, 5e-324, 123_456_789.0, f64::INFINITY];
        let samples: Vec<Newest> = values.iter().map(|&value| sample("a.b", &[("l", "\"\\\n")], value)).collect();
        for format in [TextFormat::Prometheus, TextFormat::OpenMetrics] {
            let text = page(&samples, format, Escaping::AllowUtf8);
            let mut columns = Columns::new();
            let read = match format {
                TextFormat::Prometheus => crate::ingest::exposition::decode(text.as_bytes(), 0, &mut columns),
                TextFormat::OpenMetrics => crate::ingest::exposition::decode_openmetrics(text.as_bytes(), 0, &mut columns),
            };
            read.expect(&text);
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&columns.values), bits(&values), "{text}");
            assert!(columns.timestamps.iter().all(|&timestamp| timestamp == 1_700_000_000_123), "{text}");
        }
    }
}
