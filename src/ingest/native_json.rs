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
    let mut elements = Elements { columns, now_ms, element: 0 };
    let outcome = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => elements.lines(body),
        Some(_) => elements.array(body),
        None => Err(serde_json::Error::custom("the body is empty; send an array of {name, labels, timestamp, value}")),
    };
    outcome.map_err(|error| DecodeError::Json { element: elements.element, reason: error.to_string() })
}

struct Elements<'c> {
    columns: &'c mut Columns,
    now_ms: i64,
    /// The one being read, for errors.
    element: usize,
}

impl Elements<'_> {
    fn array(&mut self, body: &[u8]) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(body);
        json.deserialize_seq(ArrayVisitor(self))?;
        json.end()
    }

    fn lines(&mut self, body: &[u8]) -> Result<(), serde_json::Error> {
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let mut json = serde_json::Deserializer::from_slice(line);
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
