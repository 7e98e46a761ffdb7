//! CSV rows, one sample each, with the fields that the caller names: `format=__name__,job,__value__,__timestamp__:unix_s`.
//! A label that a series lacks is an empty field.

use crate::ingest::csv_time::TimeForm;
use crate::query::ordered::StoredSeries;
use crate::sample_text::push_sample_text;

const VALUE: &str = "__value__";
const TIMESTAMP: &str = "__timestamp__";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Value,
    Timestamp(TimeForm),
    Label(String),
}

/// The fields of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFields(Vec<Field>);

impl RowFields {
    /// Errors say what is wrong with the description.
    pub fn parse(text: &str) -> Result<RowFields, String> {
        let fields: Result<Vec<Field>, String> = text.split(',').map(|field| field_of(field.trim())).collect();
        Ok(RowFields(fields?))
    }

    pub fn put_series(&self, out: &mut Vec<u8>, series: &StoredSeries) {
        for (&timestamp_ms, &value) in series.timestamps.iter().zip(&series.values) {
            for (position, field) in self.0.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                match field {
                    Field::Value => push_sample_text(out, value),
                    Field::Label(name) => put_field(out, series.labels.get(name).as_bytes()),
                    Field::Timestamp(form) => {
                        let mut text = Vec::new();
                        form.write(timestamp_ms, &mut text);
                        put_field(out, &text);
                    }
                }
            }
            out.push(b'\n');
        }
    }
}

fn field_of(text: &str) -> Result<Field, String> {
    match text.split_once(':') {
        _ if text == VALUE => Ok(Field::Value),
        _ if text == TIMESTAMP => Ok(Field::Timestamp(TimeForm::Milliseconds)),
        Some((TIMESTAMP, form)) => {
            let form = TimeForm::parse(form);
            form.map(Field::Timestamp).ok_or_else(|| format!("{text:?}: write unix_s, unix_ms, unix_ns, rfc3339 or custom:LAYOUT"))
        }
        _ if text.is_empty() => Err("a field has no name; write label names, __value__ or __timestamp__:FORM".to_string()),
        _ => Ok(Field::Label(text.to_string())),
    }
}

/// In quotes where it must be.
fn put_field(out: &mut Vec<u8>, text: &[u8]) {
    if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::columns::Columns;
    use crate::ingest::csv::{RowFormat, decode};
    use promql::labels::Labels;
    use proptest::prelude::*;
    use storage::histogram::ordinary;

    #[test]
    fn a_row_has_the_named_fields() {
        let fields = RowFields::parse("__name__,job,missing,__value__,__timestamp__:unix_s").expect("valid");
        let series = StoredSeries {
            labels: Labels::from_pairs([("__name__", "up"), ("job", "a,\"b\"")]),
            timestamps: vec![1_700_000_000_000],
            values: vec![f64::INFINITY],
            histograms: Vec::new(),
        };
        let mut out = Vec::new();
        fields.put_series(&mut out, &series);
        assert_eq!(String::from_utf8_lossy(&out), "up,\"a,\"\"b\"\"\",,Infinity,1700000000\n");
        for wrong in ["", "a,,b", "__timestamp__:when"] {
            assert!(RowFields::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_import_restores_every_bit(
            value in "[a-z,\"\n\r é]{0,8}",
            samples in prop::collection::btree_map(-8_000_000_000_000i64..8_000_000_000_000, any::<u64>(), 1..20),
        ) {
            let series = StoredSeries {
                labels: Labels::from_pairs([("__name__", "m"), ("l", &value)]),
                timestamps: samples.keys().copied().collect(),
                values: samples.values().map(|&bits| ordinary(f64::from_bits(bits))).collect(),
                histograms: Vec::new(),
            };
            let mut out = Vec::new();
            RowFields::parse("l,__timestamp__,__value__").expect("valid").put_series(&mut out, &series);
            let format = RowFormat::parse("1:label:l,2:time:unix_ms,3:metric:m").expect("valid");
            let mut columns = Columns::new();
            decode(&out, 1, &format, 0, &mut columns).expect("sound");
            prop_assert_eq!(&columns.timestamps, &series.timestamps);
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&columns.values), bits(&series.values));
            let mut pairs = Vec::new();
            columns.labels(&out, 0, &mut pairs).expect("labels");
            prop_assert_eq!(Labels::from_pairs(pairs), series.labels);
        }
    }
}
