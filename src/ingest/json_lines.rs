//! JSON lines as `/api/v1/export` gives them out, one series a line; the format is VictoriaMetrics'.
//!
//! ```json
//! {"metric":{"__name__":"up","job":"node"},"values":[1,0,null],"timestamps":[1549891472010,1549891487724,1549891503438]}
//! ```
//! Timestamps are milliseconds. A value is a number, `null` for NaN, or a text as `sample_text` has it: `"Infinity"`,
//! `"-Infinity"`, `"StaleNaN"`, …, or a native histogram as Tern's export writes it, `"histogram:"` and hexadecimal digits.
//! A series may be split over several lines.
//!
//! Texts and numbers go straight into the columns; nothing is allocated for a sample.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use storage::Histogram;
use storage::histogram::ordinary;

use super::columns::Columns;
use super::decode_error::DecodeError;
use crate::sample_text::{NORMAL_NAN_BITS, parse_histogram_text, parse_sample_text};

/// Stages some lines; `first_line` is the number of the first one, for errors. After an error nothing that was staged may be used.
pub fn decode(lines: &[u8], first_line: usize, columns: &mut Columns) -> Result<(), DecodeError> {
    for (position, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mut json = serde_json::Deserializer::from_slice(line);
        let read = Line { columns: &mut *columns }.deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| DecodeError::Text { line: first_line + position, reason: error.to_string() })?;
    }
    Ok(())
}

/// Reads one line and stages it.
struct Line<'c> {
    columns: &'c mut Columns,
}

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Line<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object {metric, values, timestamps}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let columns = self.columns;
        let mark = columns.arena_mark();
        let first_sample = columns.sample_count();
        let mut has_labels = false;
        while let Some(field) = map.next_key::<std::borrow::Cow<str>>()? {
            match &*field {
                "metric" if !has_labels => {
                    has_labels = true;
                    map.next_value_seed(LabelMap { columns: &mut *columns })?;
                }
                "values" => map.next_value_seed(Values { columns: &mut *columns })?,
                "timestamps" => map.next_value_seed(Times { numbers: &mut columns.timestamps })?,
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom(format_args!("unknown or repeated field `{other}`, expected metric, values, timestamps")));
                }
            }
        }
        if !has_labels {
            return Err(A::Error::custom("missing field `metric`"));
        }
        let (values, timestamps) = (columns.values.len() - first_sample, columns.timestamps.len() - first_sample);
        if values != timestamps {
            return Err(A::Error::custom(format_args!("{values} values but {timestamps} timestamps")));
        }
        if values == 0 {
            columns.rewind_arena(mark);
        } else {
            columns.begin_series_behind(mark, first_sample);
        }
        Ok(())
    }
}

/// Reads `{"__name__":"up"}` into the arena.
struct LabelMap<'c> {
    columns: &'c mut Columns,
}

impl<'de> DeserializeSeed<'de> for LabelMap<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LabelMap<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("labels as an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Text { columns: &mut *self.columns })?.is_some() {
            map.next_value_seed(Text { columns: &mut *self.columns })?;
        }
        Ok(())
    }
}

struct Text<'c> {
    columns: &'c mut Columns,
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
        out.write_str("a label as a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.columns.push_text(text.as_bytes());
        Ok(())
    }
}

/// Reads an array of times into the end of their column.
struct Times<'c> {
    numbers: &'c mut Vec<i64>,
}

impl<'de> DeserializeSeed<'de> for Times<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Times<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(time) = array.next_element_seed(Timestamp)? {
            self.numbers.push(time);
        }
        Ok(())
    }
}

/// Reads an array of values into the end of their column.
struct Values<'c> {
    columns: &'c mut Columns,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(value) = array.next_element_seed(Value)? {
            match value {
                Stored::Float(float) => self.columns.values.push(float),
                Stored::Histogram(histogram) => self.columns.push_histogram_value(&histogram),
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Timestamp;

impl<'de> DeserializeSeed<'de> for Timestamp {
    type Value = i64;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<i64, D::Error> {
        json.deserialize_i64(self)
    }
}

impl Visitor<'_> for Timestamp {
    type Value = i64;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a timestamp in whole milliseconds")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::custom("the timestamp is out of range"))
    }
}

/// The value of a sample.
enum Stored {
    Float(f64),
    Histogram(Box<Histogram>),
}

#[derive(Clone, Copy)]
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Stored;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Stored, D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Value {
    type Value = Stored;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a number, null, or a text such as \"Infinity\"")
    }

    fn visit_unit<E: Error>(self) -> Result<Stored, E> {
        Ok(Stored::Float(f64::from_bits(NORMAL_NAN_BITS)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Stored, E> {
        Ok(Stored::Float(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Stored, E> {
        Ok(Stored::Float(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Stored, E> {
        Ok(Stored::Float(ordinary(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Stored, E> {
        match parse_histogram_text(text) {
            Some(histogram) => histogram.map(|histogram| Stored::Histogram(histogram.into())).map_err(E::custom),
            None => {
                let value = parse_sample_text(text).ok_or_else(|| E::custom(format_args!("value {text:?} is not a number")))?;
                Ok(Stored::Float(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn staged(text: &str) -> Result<Vec<String>, String> {
        let mut columns = Columns::new();
        decode(text.as_bytes(), 1, &mut columns).map_err(|error| error.to_string())?;
        let of_series = |series| {
            let mut labels = Vec::new();
            columns.labels(text.as_bytes(), series, &mut labels).expect("valid labels");
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let samples: Vec<String> =
                columns.samples(series).map(|at| format!("{}@{}", columns.values[at], columns.timestamps[at])).collect();
            format!("{} {}", labels.join("|"), samples.join(" "))
        };
        Ok((0..columns.series_count()).map(of_series).collect())
    }

    #[test]
    fn lines_are_series_in_any_order_of_fields() {
        let text = concat!(
            "{\"metric\":{\"__name__\":\"up\",\"a\\\"b\":\"\\u00e9\"},\"values\":[1,2.5,null],\"timestamps\":[10,20,30]}\n\n",
            "{\"timestamps\":[-1,5],\"values\":[\"Infinity\",\"-Inf\"],\"metric\":{\"__name__\":\"x\"}}\r\n",
            "{\"metric\":{\"__name__\":\"none\"},\"values\":[],\"timestamps\":[]}",
        );
        assert_eq!(staged(text).expect("valid"), ["__name__=up|a\"b=é 1@10 2.5@20 NaN@30", "__name__=x inf@-1 -inf@5"]);
    }

    #[test]
    fn errors_name_the_line_and_the_reason() {
        let good = r#"{"metric":{"__name__":"x"},"values":[1],"timestamps":[1]}"#;
        let cases = [
            (r#"{"metric":{"__name__":"x"},"values":[1,2],"timestamps":[1]}"#, "line 2: 2 values but 1 timestamps"),
            (r#"{"values":[1],"timestamps":[1]}"#, "line 2: missing field `metric`"),
            (r#"{"metric":{},"metric":{}}"#, "line 2: unknown or repeated field `metric`"),
            (r#"{"metric":{},"value":[1]}"#, "line 2: unknown or repeated field `value`"),
            (r#"{"metric":{"a":1}}"#, "line 2: invalid type: integer `1`, expected a label as a string"),
            (r#"{"metric":{},"values":["many"],"timestamps":[1]}"#, "line 2: value \"many\" is not a number"),
            (r#"{"metric":{},"values":[1],"timestamps":[1.5]}"#, "line 2: invalid type: floating point `1.5`"),
            (r#"{"metric":{},"values":[1],"timestamps":[1]} x"#, "line 2: trailing characters"),
            ("[1]", "line 2: invalid type: sequence"),
            ("{", "line 2: EOF while parsing"),
        ];
        for (line, expected) in cases {
            let error = staged(&format!("{good}\n{line}\n{good}")).expect_err(line);
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>, text in "[\\[\\]{}:,\"a1e. \nmetric]{0,60}") {
            let _ = decode(&bytes, 1, &mut Columns::new());
            let _ = decode(text.as_bytes(), 1, &mut Columns::new());
        }
    }
}
