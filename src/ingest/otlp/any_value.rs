//! Attribute values as label values: the text that OpenTelemetry's own libraries make of them.
//!
//! ```text
//! AnyValue     { oneof { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4;
//!                        ArrayValue array_value = 5; KeyValueList kvlist_value = 6; bytes bytes_value = 7; } }
//! ArrayValue   { repeated AnyValue values = 1; }
//! KeyValueList { repeated KeyValue values = 1; }
//! KeyValue     { string key = 1; AnyValue value = 2; }
//! ```
//!
//! Texts are borrowed; numbers are printed as JSON prints them, bytes as base64, lists and maps as JSON with sorted keys in
//! the layout of Go's encoder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::decode_error::DecodeError;
use super::super::protobuf::{Cursor, FIXED64, LENGTH, VARINT, tag};
use crate::number;

const TEXT: u32 = tag(1, LENGTH);
const BOOL: u32 = tag(2, VARINT);
const INT: u32 = tag(3, VARINT);
const DOUBLE: u32 = tag(4, FIXED64);
const LIST: u32 = tag(5, LENGTH);
const MAP: u32 = tag(6, LENGTH);
const BYTES: u32 = tag(7, LENGTH);

const ITEM: u32 = tag(1, LENGTH);
const KEY: u32 = tag(1, LENGTH);
const VALUE: u32 = tag(2, LENGTH);

/// Lists in lists in lists.
const DEPTH_MAX: usize = 32;
/// A list or map of more bytes makes no label value; far above the bound of those.
const STRUCTURE_BYTES_MAX: usize = 256 << 10;

/// A value that is not looked into yet.
enum Value<'a> {
    Nothing,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Cursor<'a>),
    Map(Cursor<'a>),
    Bytes(&'a [u8]),
}

/// A `KeyValue` as key and text.
pub fn key_and_text<'a>(mut pair: Cursor<'a>) -> Result<(&'a str, Cow<'a, str>), DecodeError> {
    let (key, value) = key_and_value(&mut pair)?;
    Ok((key, text(value)?))
}

fn text(value: Value) -> Result<Cow<str>, DecodeError> {
    Ok(Cow::Owned(match value {
        Value::Nothing => return Ok(Cow::Borrowed("")),
        Value::Text(text) => return Ok(Cow::Borrowed(text)),
        Value::Bool(truth) => return Ok(Cow::Borrowed(if truth { "true" } else { "false" })),
        Value::Int(number) => number.to_string(),
        Value::Double(number) if number.is_finite() => double(number),
        Value::Double(number) => format!("json: unsupported value: {}", double(number)),
        Value::Bytes(bytes) => base64(bytes),
        Value::List(_) | Value::Map(_) => {
            let mut json = String::new();
            push_json(value, 0, &mut json)?;
            json
        }
    }))
}

fn key_and_value<'a>(pair: &mut Cursor<'a>) -> Result<(&'a str, Value<'a>), DecodeError> {
    let (mut key, mut value) = ("", Value::Nothing);
    while !pair.is_empty() {
        match pair.tag()? {
            KEY => key = utf8(pair)?,
            VALUE => value = read(pair.message()?)?,
            other => pair.skip(other)?,
        }
    }
    Ok((key, value))
}

/// The next length-delimited record as text.
pub fn utf8<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let start = cursor.at();
    std::str::from_utf8(cursor.bytes()?).map_err(|_| DecodeError::protobuf(start, "text is not valid UTF-8"))
}

/// The last of the alternatives counts, as in every protobuf decoder.
fn read(mut any: Cursor) -> Result<Value, DecodeError> {
    let mut value = Value::Nothing;
    while !any.is_empty() {
        match any.tag()? {
            TEXT => value = Value::Text(utf8(&mut any)?),
            BOOL => value = Value::Bool(any.varint()? != 0),
            INT => value = Value::Int(any.varint()? as i64),
            DOUBLE => value = Value::Double(f64::from_bits(any.fixed64()?)),
            LIST => value = Value::List(structure(&mut any)?),
            MAP => value = Value::Map(structure(&mut any)?),
            BYTES => value = Value::Bytes(any.bytes()?),
            other => any.skip(other)?,
        }
    }
    Ok(value)
}

fn structure<'a>(any: &mut Cursor<'a>) -> Result<Cursor<'a>, DecodeError> {
    let content = any.message()?;
    if any.at() - content.at() > STRUCTURE_BYTES_MAX {
        return Err(DecodeError::protobuf(content.at(), "list or map of an attribute is too long"));
    }
    Ok(content)
}

fn push_json(value: Value, depth: usize, out: &mut String) -> Result<(), DecodeError> {
    match value {
        Value::Nothing => out.push_str("null"),
        Value::Text(text) => push_quoted(text, out),
        Value::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
        // Writing to a String cannot fail.
        Value::Int(number) => write!(out, "{number}").unwrap_or_default(),
        Value::Double(number) => out.push_str(&double(number)),
        Value::Bytes(bytes) => push_quoted(&base64(bytes), out),
        Value::List(list) => push_list(list, depth, out)?,
        Value::Map(map) => push_map(map, depth, out)?,
    }
    Ok(())
}

fn check_depth(cursor: &Cursor, depth: usize) -> Result<(), DecodeError> {
    if depth < DEPTH_MAX { Ok(()) } else { Err(DecodeError::protobuf(cursor.at(), "an attribute's lists are nested too deeply")) }
}

fn push_list(mut list: Cursor, depth: usize, out: &mut String) -> Result<(), DecodeError> {
    check_depth(&list, depth)?;
    out.push('[');
    let start = out.len();
    while !list.is_empty() {
        match list.tag()? {
            ITEM => {
                if out.len() > start {
                    out.push(',');
                }
                push_json(read(list.message()?)?, depth + 1, out)?;
            }
            other => list.skip(other)?,
        }
    }
    out.push(']');
    Ok(())
}

/// Sorted by key; of a key given twice the last counts.
fn push_map(mut map: Cursor, depth: usize, out: &mut String) -> Result<(), DecodeError> {
    check_depth(&map, depth)?;
    let mut entries = BTreeMap::new();
    while !map.is_empty() {
        match map.tag()? {
            ITEM => {
                let (key, value) = key_and_value(&mut map.message()?)?;
                entries.insert(key, value);
            }
            other => map.skip(other)?,
        }
    }
    out.push('{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_quoted(key, out);
        out.push(':');
        push_json(value, depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

/// Go's encoder also escapes what browsers could take for markup.
fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => write!(out, "\\u{:04x}", c as u32).unwrap_or_default(),
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// As JSON's numbers are printed: like a sample value, but an exponent has no needless zero.
fn double(number: f64) -> String {
    let mut digits = Vec::new();
    number::push_value(&mut digits, number);
    // Invariant: digits are ASCII.
    let digits = String::from_utf8(digits).unwrap_or_default();
    match digits.split_once("e-0") {
        Some((mantissa, exponent)) => format!("{mantissa}e-{exponent}"),
        None => digits,
    }
}

/// Standard base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - part.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= part.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::otlp::json;

    /// The text of a value that is given in OTLP's JSON.
    fn shown(any: &str) -> Result<String, String> {
        let wire = json::to_protobuf_as(&json::KEY_VALUE, format!("{{\"key\":\"k\",\"value\":{any}}}").as_bytes());
        let wire = wire.map_err(|error| error.to_string())?;
        key_and_text(Cursor::new(&wire)).map(|(_, text)| text.into_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_printed_as_the_collector_prints_them() {
        for (any, expected) in [
            (r#"{"stringValue":"a\"b"}"#, "a\"b"),
            (r#"{"boolValue":true}"#, "true"),
            (r#"{"boolValue":false}"#, "false"),
            (r#"{"intValue":"-12"}"#, "-12"),
            (r#"{"doubleValue":1}"#, "1"),
            (r#"{"doubleValue":0.5}"#, "0.5"),
            (r#"{"doubleValue":1e-7}"#, "1e-7"),
            (r#"{"doubleValue":1e21}"#, "1e+21"),
            (r#"{"doubleValue":"NaN"}"#, "json: unsupported value: NaN"),
            (r#"{"doubleValue":"-Infinity"}"#, "json: unsupported value: -Inf"),
            (r#"{"bytesValue":"aGVsbG8="}"#, "aGVsbG8="),
            (r#"{}"#, ""),
            (r#"{"arrayValue":{}}"#, "[]"),
            (
                r#"{"arrayValue":{"values":[{"stringValue":"<a>"},{"intValue":1},{},{"boolValue":true}]}}"#,
                r#"["\u003ca\u003e",1,null,true]"#,
            ),
            (
                r#"{"kvlistValue":{"values":[{"key":"b","value":{"intValue":1}},{"key":"a","value":{"arrayValue":{}}},{"key":"b","value":{"doubleValue":2.5}}]}}"#,
                r#"{"a":[],"b":2.5}"#,
            ),
        ] {
            assert_eq!(shown(any).as_deref(), Ok(expected), "{any}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(depth), "]}}".repeat(depth));
        assert!(shown(&nested(20)).is_ok());
        let error = shown(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert!(error.contains("nested too deeply"), "{error}");
    }

    #[test]
    fn base64_has_padding() {
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }
}
