//! The native API: `POST /ingest/metrics`.
//!
//! ```json
//! [{"name": "http_requests", "labels": {"service": "auth"}, "timestamp": 1700000000, "value": 17}]
//! ```
//! The body is an array of such elements, or one element a line (NDJSON). `timestamp`: Unix seconds, whole or with a
//! fraction; milliseconds from 1e11 on; RFC 3339; absent or null = now. `value`: a number, or a text with a number, "NaN",
//! "+Inf" or "-Inf". `labels` may be absent.
//!
//! The request is good as a whole or refused as a whole; the error names the element, from 0, and the reason. A field
//! that is not known is an error too: a misspelt `labels` must not silently merge series.
//!
//! Texts go straight from the JSON into the arena; nothing is allocated for an element.

use super::columns::Columns;
use super::decode_error::DecodeError;
use super::exposition::NORMAL_NAN;
use super::label_forms::METRIC_NAME;
use crate::time_text::{EARLIEST_MS, LATEST_MS, parse_time};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// From here on a number is milliseconds: as seconds it would lie past the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// Stages a whole body. After an error nothing that was staged may be used.
pub fn decode(body: &[u8], now_ms: i64, columns: &mut Columns) -> Result<(), DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "JSON body", limit_bytes: u32::MAX as usize });
    }
    let (text, damage) = match std::str::from_utf8(body) {
        Ok(text) => (text, None),
        // The sound part is read all the same, to know the element in which the damage is.
        Err(error) => (std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default(), Some(error)),
    };
    let mut elements = Elements { columns, now_ms, element: 0 };
    let outcome = match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => elements.lines(text),
        Some(_) => elements.array(text),
        None => Err(serde_json::Error::custom("the body is empty; send an array of {name, labels, timestamp, value}")),
    };
    let reason = damage.map(|error| error.to_string()).or(outcome.err().map(|error| error.to_string()));
    reason.map_or(Ok(()), |reason| Err(DecodeError::Json { element: elements.element, reason }))
}

struct Elements<'c> {
    columns: &'c mut Columns,
    now_ms: i64,
    /// The one being read, for errors.
    element: usize,
}

impl Elements<'_> {
    fn array(&mut self, text: &str) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_seq(ArrayVisitor(self))?;
        json.end()
    }

    fn lines(&mut self, text: &str) -> Result<(), serde_json::Error> {
        for line in text.split('\n').filter(|line| !line.trim_ascii().is_empty()) {
            let mut json = serde_json::Deserializer::from_str(line);
            Element { columns: &mut *self.columns, now_ms: self.now_ms }.deserialize(&mut json)?;
            json.end()?;
            self.element += 1;
        }
        Ok(())
    }
}

struct ArrayVisitor<'e, 'c>(&'e mut Elements<'c>);

impl<'de> Visitor<'de> for ArrayVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an array of {name, labels, timestamp, value}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Elements { columns, now_ms, element } = self.0;
        while array.next_element_seed(Element { columns, now_ms: *now_ms })?.is_some() {
            *element += 1;
        }
        Ok(())
    }
}

/// Reads one element and stages it.
struct Element<'c> {
    columns: &'c mut Columns,
    now_ms: i64,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object {name, labels, timestamp, value}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { columns, now_ms } = self;
        let mark = columns.arena_mark();
        let mut seen = Seen::default();
        let (mut timestamp_ms, mut value) = (now_ms, 0.0);
        while let Some(field) = map.next_key_seed(FieldName)? {
            seen.note(field).map_err(A::Error::custom)?;
            match field {
                Field::Name => {
                    columns.push_text(METRIC_NAME.as_bytes());
                    map.next_value_seed(Text { columns: &mut *columns, what: "a metric name", empty: Empty::Refused })?;
                }
                Field::Labels => map.next_value_seed(Labels { columns: &mut *columns })?,
                Field::Timestamp => timestamp_ms = map.next_value_seed(Timestamp { now_ms })?,
                Field::Value => value = map.next_value_seed(SampleValue)?,
            }
        }
        seen.check().map_err(A::Error::custom)?;
        columns.begin_series_from_arena(mark);
        columns.push_sample(timestamp_ms, value);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Labels,
    Timestamp,
    Value,
}

const FIELDS: [&str; 4] = ["name", "labels", "timestamp", "value"];

/// The fields an element had so far.
#[derive(Default)]
struct Seen([bool; 4]);

impl Seen {
    fn note(&mut self, field: Field) -> Result<(), String> {
        match std::mem::replace(&mut self.0[field as usize], true) {
            true => Err(format!("field `{}` is given twice", FIELDS[field as usize])),
            false => Ok(()),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        match (self.0[Field::Name as usize], self.0[Field::Value as usize]) {
            (false, _) => Err("missing field `name`"),
            (_, false) => Err("missing field `value`"),
            _ => Ok(()),
        }
    }
}

struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Field, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Field;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("name, labels, timestamp or value")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
        match name {
            "name" => Ok(Field::Name),
            "labels" => Ok(Field::Labels),
            "timestamp" => Ok(Field::Timestamp),
            "value" => Ok(Field::Value),
            _ => Err(E::unknown_field(name, &FIELDS)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Refused,
    Accepted,
}

/// Reads a text into the arena.
struct Text<'c> {
    columns: &'c mut Columns,
    what: &'static str,
    empty: Empty,
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{} as a string", self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text.is_empty() && self.empty == Empty::Refused {
            return Err(E::custom(format_args!("{} must not be empty", self.what)));
        }
        self.columns.push_text(text.as_bytes());
        Ok(())
    }
}

/// Reads `{"service": "auth"}` or null into the arena.
struct Labels<'c> {
    columns: &'c mut Columns,
}

impl<'de> DeserializeSeed<'de> for Labels<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Labels<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("labels as an object of strings")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let columns = self.columns;
        while map.next_key_seed(Text { columns: &mut *columns, what: "a label name", empty: Empty::Refused })?.is_some() {
            map.next_value_seed(Text { columns: &mut *columns, what: "a label value", empty: Empty::Accepted })?;
        }
        Ok(())
    }
}

struct Timestamp {
    now_ms: i64,
}

impl<'de> DeserializeSeed<'de> for Timestamp {
    type Value = i64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<i64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Timestamp {
    type Value = i64;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a timestamp: Unix seconds, milliseconds or RFC 3339")
    }

    fn visit_unit<E: Error>(self) -> Result<i64, E> {
        Ok(self.now_ms)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_or_else(|_| Err(out_of_range()), |number| self.visit_i64(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        let is_milliseconds = number.unsigned_abs() >= MILLISECONDS_FROM as u64;
        in_range(if is_milliseconds { Some(number) } else { number.checked_mul(1000) })
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        let milliseconds = if number.abs() >= MILLISECONDS_FROM { number } else { number * 1000.0 };
        in_range((milliseconds.abs() < 9e18).then_some(milliseconds.round() as i64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => self.visit_f64(number),
            _ => parse_time(text).ok_or_else(|| E::custom(format_args!("timestamp {text:?} is neither a number nor RFC 3339"))),
        }
    }
}

fn out_of_range<E: Error>() -> E {
    E::custom("the timestamp is out of range")
}

fn in_range<E: Error>(timestamp_ms: Option<i64>) -> Result<i64, E> {
    timestamp_ms.filter(|timestamp_ms| (EARLIEST_MS..=LATEST_MS).contains(timestamp_ms)).ok_or_else(out_of_range)
}

struct SampleValue;

impl<'de> DeserializeSeed<'de> for SampleValue {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<f64, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for SampleValue {
    type Value = f64;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a value: a number, \"NaN\", \"+Inf\" or \"-Inf\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        let value: f64 = text.parse().map_err(|_| E::custom(format_args!("value {text:?} is not a number")))?;
        Ok(if value.is_nan() { f64::from_bits(NORMAL_NAN) } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_123;

    fn staged(text: &str) -> Result<Vec<String>, String> {
        let mut columns = Columns::new();
        decode(text.as_bytes(), NOW, &mut columns).map_err(|error| error.to_string())?;
        let of_series = |series| {
            let mut labels = Vec::new();
            if let Err(problem) = columns.labels(text.as_bytes(), series, &mut labels) {
                return problem.to_string();
            }
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} @{}", labels.join("|"), columns.values[series], columns.timestamps[series])
        };
        Ok((0..columns.series_count()).map(of_series).collect())
    }

    #[test]
    fn reads_arrays_and_lines() {
        let element = r#"{"name": "up", "labels": {"service": "auth", "a\"b": "\u00e9"}, "timestamp": 1700000000, "value": 17}"#;
        let expected = "__name__=up|a\"b=é|service=auth 17 @1700000000000";
        assert_eq!(staged(&format!("[{element},\n{element}]")).unwrap(), [expected, expected]);
        assert_eq!(staged(&format!("{element}\n\n{element}\r\n")).unwrap(), [expected, expected]);
        assert_eq!(staged(" [ ] ").unwrap(), [""; 0]);
        assert_eq!(staged(r#"{"value":1,"labels":null,"name":"x"}"#).unwrap(), [format!("__name__=x 1 @{NOW}")]);
    }

    #[test]
    fn reads_every_form_of_time_and_value() {
        let of = |timestamp: &str, value: &str| staged(&format!(r#"[{{"name":"x","timestamp":{timestamp},"value":{value}}}]"#));
        let times = [
            ("1700000000", 1_700_000_000_000i64),
            ("1700000000.5", 1_700_000_000_500),
            ("1700000000500", 1_700_000_000_500),
            ("1700000000500.4", 1_700_000_000_500),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("-5", -5_000),
            ("\"1700000000.5\"", 1_700_000_000_500),
            ("\"2023-11-14T22:13:20.5Z\"", 1_700_000_000_500),
            ("\"2023-11-14T23:13:20+01:00\"", 1_700_000_000_000),
            ("null", NOW),
        ];
        for (text, expected) in times {
            assert_eq!(of(text, "1").unwrap(), [format!("__name__=x 1 @{expected}")], "{text}");
        }
        let values = [("1.5", "1.5"), ("\"NaN\"", "NaN"), ("\"+Inf\"", "inf"), ("\"-Inf\"", "-inf"), ("\"2e3\"", "2000"), ("-0.0", "-0")];
        for (text, expected) in values {
            assert_eq!(of("null", text).unwrap(), [format!("__name__=x {expected} @{NOW}")], "{text}");
        }
    }

    #[test]
    fn errors_name_the_element_and_the_reason() {
        let good = r#"{"name":"x","value":1}"#;
        let cases = [
            ("", "element 0: the body is empty"),
            ("17", "element 0: invalid type: integer `17`, expected an array of"),
            (&format!("[{good},17]"), "element 1: invalid type: integer `17`, expected an object"),
            (&format!("[{good},{{\"name\":\"x\"}}]"), "element 1: missing field `value`"),
            (&format!("[{good},{{\"value\":1}}]"), "element 1: missing field `name`"),
            (&format!("{good}\n{{\"name\":\"\",\"value\":1}}"), "element 1: a metric name must not be empty"),
            ("[{\"name\":\"x\",\"value\":null}]", "element 0: invalid type: null, expected a value"),
            ("[{\"name\":\"x\",\"value\":\"many\"}]", "element 0: value \"many\" is not a number"),
            ("[{\"name\":\"x\",\"value\":1,\"tags\":{}}]", "element 0: unknown field `tags`, expected one of"),
            ("[{\"name\":\"x\",\"value\":1,\"value\":2}]", "element 0: field `value` is given twice"),
            (
                "[{\"name\":\"x\",\"value\":1,\"labels\":{\"a\":1}}]",
                "element 0: invalid type: integer `1`, expected a label value as a string",
            ),
            ("[{\"name\":\"x\",\"value\":1,\"timestamp\":\"soon\"}]", "element 0: timestamp \"soon\" is neither"),
            ("[{\"name\":\"x\",\"value\":1,\"timestamp\":1e300}]", "element 0: the timestamp is out of range"),
            (&format!("[{good}"), "element 1: EOF while parsing a list"),
            (&format!("[{good}] x"), "element 1: trailing characters"),
            (&format!("{good} {good}"), "element 0: trailing characters"),
        ];
        for (text, expected) in cases {
            let error = staged(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        let damaged = [b"[{\"name\":\"x\",\"value\":1},{\"name\":\"".as_slice(), b"\xff\",\"value\":1}]"].concat();
        let error = decode(&damaged, NOW, &mut Columns::new()).unwrap_err().to_string();
        assert!(error.starts_with("element 1: invalid utf-8"), "{error}");
    }

    proptest! {
        #[test]
        fn what_serde_prints_reads_back(
            name in ".{1,8}",
            labels in prop::collection::btree_map(".{1,6}", ".{0,8}", 0..5),
            value in prop::num::f64::NORMAL | prop::num::f64::ZERO,
            timestamp_ms in 100_000_000_000i64..LATEST_MS,
        ) {
            let json = serde_json::json!([{"name": name, "labels": labels, "value": value, "timestamp": timestamp_ms}]).to_string();
            let mut columns = Columns::new();
            decode(json.as_bytes(), NOW, &mut columns).unwrap();
            let mut read = Vec::new();
            columns.labels(json.as_bytes(), 0, &mut read).unwrap();
            let mut expected: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            expected.push((METRIC_NAME, &name));
            expected.sort();
            prop_assert_eq!(read, expected);
            prop_assert_eq!(columns.values[0].to_bits(), value.to_bits());
            prop_assert_eq!(columns.timestamps[0], timestamp_ms);
        }

        #[test]
        fn any_bytes_are_no_panic(text in "[\\[\\]{}:,\"a1e. \n]{0,40}", bytes: Vec<u8>) {
            let _ = staged(&text);
            let _ = decode(&bytes, NOW, &mut Columns::new());
        }
    }
}
