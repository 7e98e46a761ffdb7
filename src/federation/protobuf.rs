//! Families as `io.prometheus.client.MetricFamily`, each behind its length.

use storage::varint;

use super::family::Newest;
use super::names::Escaping;
use crate::remote_read::message::{put_bytes, put_double, put_integer, put_message, put_unsigned};

/// `MetricType.UNTYPED`
const UNTYPED: u64 = 3;

/// Appends the samples of one name:
/// `MetricFamily { string name = 1; MetricType type = 3; repeated Metric metric = 4; }`
pub fn put_family(out: &mut Vec<u8>, samples: &[Newest], escaping: Escaping) {
    let Some(first) = samples.first() else { return };
    let mut family = Vec::new();
    put_bytes(&mut family, 1, escaping.apply(&first.name).as_bytes());
    put_unsigned(&mut family, 3, UNTYPED);
    for sample in samples {
        put_message(&mut family, 4, |out| put_metric(out, sample, escaping));
    }
    varint::put(out, family.len() as u64);
    out.extend_from_slice(&family);
}

/// `Metric { repeated LabelPair label = 1; Untyped untyped = 5; int64 timestamp_ms = 6; }`
fn put_metric(out: &mut Vec<u8>, sample: &Newest, escaping: Escaping) {
    for label in &sample.labels {
        put_message(out, 1, |out| {
            put_bytes(out, 1, escaping.apply(&label.name).as_bytes());
            put_bytes(out, 2, label.value.as_bytes());
        });
    }
    put_message(out, 5, |out| put_double(out, 1, sample.value));
    put_integer(out, 6, sample.timestamp_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::labels::Label;

    #[test]
    fn a_family_is_the_bytes_of_its_message() {
        let sample = Newest { name: "up".into(), labels: vec![Label::new("a", "b")], timestamp_ms: 300, value: 1.0 };
        let mut out = Vec::new();
        put_family(&mut out, &[sample], Escaping::Underscores);
        let mut expected = vec![30, 0x0a, 2, b'u', b'p', 0x18, 3, 0x22, 22, 0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b', 0x2a, 9, 0x09];
        expected.extend(1.0f64.to_le_bytes());
        expected.extend([0x30, 0xac, 0x02]);
        assert_eq!(out, expected);
    }
}
