//! OTLP's JSON, turned into the protobuf that says the same, so that one walk translates both.
//!
//! The mapping is protobuf's JSON mapping with OTLP's exceptions (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>):
//! trace and span ids are hexadecimal; enums may be names or numbers; 64-bit integers texts or numbers; field names camelCase or
//! snake_case; unknown fields are ignored; `null` is an absent field. The bytes are read once, in any order of keys, and what is
//! written is at most a few times as long as what was read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::decode_error::DecodeError;
use super::super::protobuf::{FIXED64, LENGTH, VARINT, tag};
#[cfg(test)]
pub use super::schema::KEY_VALUE;
use super::schema::{Field, Kind, METRICS_REQUEST, Message};

/// A message's length is written after its content, so it always takes this many bytes; a long varint is a valid one.
const LENGTH_BYTES: usize = 5;

/// An `ExportMetricsServiceRequest` as protobuf.
pub fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    to_protobuf_as(&METRICS_REQUEST, body)
}

/// Any message of the schema as protobuf.
pub fn to_protobuf_as(message: &'static Message, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "OTLP request", limit_bytes: u32::MAX as usize });
    }
    let refuse = |error: serde_json::Error| DecodeError::OtlpJson { reason: error.to_string() };
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut input = serde_json::Deserializer::from_slice(body);
    Content { message, out: &mut out }.deserialize(&mut input).map_err(refuse)?;
    input.end().map_err(refuse)?;
    Ok(out)
}

/// The fields of one message, appended to `out`.
struct Content<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(FieldName(self.message))? {
            match field {
                Some(field) => map.next_value_seed(FieldValue { field, out: &mut *self.out, in_list: false })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds a key's field without a copy of the key.
struct FieldName(&'static Message);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Option<&'static Field>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| is_name_of(field, key)))
    }
}

/// `timeUnixNano` and `time_unix_nano` are the same field.
fn is_name_of(field: &Field, key: &str) -> bool {
    let mut name = field.name.bytes();
    let mut capital = false;
    for byte in key.bytes() {
        if byte == b'_' {
            capital = true;
            continue;
        }
        let byte = if std::mem::take(&mut capital) { byte.to_ascii_uppercase() } else { byte };
        if name.next() != Some(byte) {
            return false;
        }
    }
    name.next().is_none()
}

/// The value of one field, or one item of a list of them.
struct FieldValue<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let item = if self.field.repeated && !self.in_list { "a list of " } else { "" };
        write!(out, "{item}{} for {}", self.field.kind.what(), self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.field.repeated || self.in_list {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        while list.next_element_seed(FieldValue { field: self.field, out: &mut *self.out, in_list: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        self.check_place()?;
        push_varint(self.out, u64::from(tag(self.field.number, LENGTH)));
        let start = self.out.len() + LENGTH_BYTES;
        self.out.resize(start, 0);
        Content { message, out: &mut *self.out }.visit_map(map)?;
        let length = self.out.len() - start;
        for place in 0..LENGTH_BYTES {
            let more = if place + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            self.out[start - LENGTH_BYTES + place] = (length >> (7 * place)) as u8 & 0x7f | more;
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool => self.varint(u64::from(truth)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(truth), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => self.fixed((number as f64).to_bits()),
            _ => self.integer(i128::from(number)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => self.fixed((number as f64).to_bits()),
            _ => self.integer(i128::from(number)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => self.fixed(number.to_bits()),
            // JSON has but one kind of number: 1e3 and 1000.0 are integers too.
            _ if number.fract() == 0.0 && number.abs() < 1e18 => self.integer(number as i128),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let wrong = |this: &Self| E::invalid_value(serde::de::Unexpected::Str(text), this);
        match self.field.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => match hex(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(wrong(&self)),
            },
            Kind::Base64 => match base64(text) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(wrong(&self)),
            },
            Kind::Double => match double(text) {
                Some(number) => self.fixed(number.to_bits()),
                None => Err(wrong(&self)),
            },
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => self.varint(number as u64),
                None => Err(wrong(&self)),
            },
            Kind::Bool | Kind::Message(_) => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
            Kind::Int64 | Kind::Uint64 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed64 | Kind::Sfixed64 => match text.parse() {
                Ok(number) => self.integer(number),
                Err(_) => Err(wrong(&self)),
            },
        }
    }
}

impl FieldValue<'_> {
    fn check_place<E: Error>(&self) -> Result<(), E> {
        if self.field.repeated == self.in_list { Ok(()) } else { Err(E::custom(format_args!("{} is a list", self.field.name))) }
    }

    fn integer<E: Error>(self, number: i128) -> Result<(), E> {
        let range = match self.field.kind {
            Kind::Int64 | Kind::Sfixed64 => i128::from(i64::MIN)..=i128::from(i64::MAX),
            Kind::Uint64 | Kind::Fixed64 => 0..=i128::from(u64::MAX),
            Kind::Uint32 => 0..=i128::from(u32::MAX),
            Kind::Sint32 | Kind::Enum(_) => i128::from(i32::MIN)..=i128::from(i32::MAX),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Other("a number"), &self)),
        };
        if !range.contains(&number) {
            return Err(E::custom(format_args!("{number} is out of range for {}", self.field.name)));
        }
        let bits = number as u64;
        match self.field.kind {
            Kind::Fixed64 | Kind::Sfixed64 => self.fixed(bits),
            Kind::Sint32 => self.varint(zigzag(number as i32)),
            _ => self.varint(bits),
        }
    }

    fn varint<E: Error>(self, bits: u64) -> Result<(), E> {
        self.check_place()?;
        push_varint(self.out, u64::from(tag(self.field.number, VARINT)));
        push_varint(self.out, bits);
        Ok(())
    }

    fn fixed<E: Error>(self, bits: u64) -> Result<(), E> {
        self.check_place()?;
        push_varint(self.out, u64::from(tag(self.field.number, FIXED64)));
        self.out.extend_from_slice(&bits.to_le_bytes());
        Ok(())
    }

    fn bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.check_place()?;
        push_varint(self.out, u64::from(tag(self.field.number, LENGTH)));
        push_varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

fn push_varint(out: &mut Vec<u8>, mut bits: u64) {
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Small numbers of either sign in few bytes.
fn zigzag(number: i32) -> u64 {
    u64::from((number << 1 ^ number >> 31) as u32)
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Both alphabets, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0u32, 0);
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(json: &str) -> String {
        to_protobuf(json.as_bytes()).map(|_| "accepted".to_string()).unwrap_or_else(|error| error.to_string())
    }

    /// A request with this text where the data points of a gauge stand.
    fn with_points(points: &str) -> String {
        format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"gauge\":{{\"dataPoints\":{points}}}}}]}}]}}]}}")
    }

    #[test]
    fn names_numbers_and_nulls_may_be_written_in_several_ways() {
        let one = with_points(r#"[{"timeUnixNano":"5","asInt":"-1","flags":1}]"#);
        let other = r#"{"unknown":{"a":[1,{}]},"resource_metrics":[{"resource":null,"scope_metrics":[{"metrics":[{"gauge":{"data_points":[
            {"time_unix_nano":5,"as_int":-1.0,"attributes":null,"flags":"1"}]}}]}]}]}"#;
        assert_eq!(to_protobuf(one.as_bytes()).unwrap(), to_protobuf(other.as_bytes()).unwrap());
    }

    #[test]
    fn errors_say_what_was_expected_and_where() {
        for (json, expected) in [
            ("", "malformed OTLP JSON: EOF while parsing a value at line 1 column 0".to_string()),
            ("[]", "malformed OTLP JSON: invalid type: sequence, expected an object at line 1 column 0".to_string()),
            ("{} x", "malformed OTLP JSON: trailing characters at line 1 column 4".to_string()),
            ("{\"resourceMetrics\":{}}", "malformed OTLP JSON: resourceMetrics is a list at line 1 column 21".to_string()),
        ] {
            assert_eq!(refused(json), expected, "{json}");
        }
        for (points, expected) in [
            (r#"[{"asInt":"x"}]"#, "invalid value: string \"x\", expected an integer for asInt"),
            (r#"[{"asInt":1.5}]"#, "invalid type: floating point `1.5`, expected an integer for asInt"),
            (r#"[{"timeUnixNano":-1}]"#, "-1 is out of range for timeUnixNano"),
            (r#"[{"flags":4294967296}]"#, "4294967296 is out of range for flags"),
            (r#"[{"asDouble":"many"}]"#, "expected a number for asDouble"),
            (r#"[{"asDouble":true}]"#, "invalid type: boolean `true`, expected a number for asDouble"),
            (r#"[[]]"#, "invalid type: sequence, expected an object for dataPoints"),
            (r#"[{"exemplars":[{"traceId":"0g"}]}]"#, "expected hexadecimal digits for traceId"),
            (r#"[{"attributes":[{"value":{"bytesValue":"*"}}]}]"#, "expected base64 for bytesValue"),
        ] {
            let error = refused(&with_points(points));
            assert!(error.contains(expected), "{points}: {error}");
        }
        let nested = format!("{}null{}", r#"{"arrayValue":{"values":["#.repeat(1000), "]}}".repeat(1000));
        let error = refused(&with_points(&format!(r#"[{{"attributes":[{{"value":{nested}}}]}}]"#)));
        assert!(error.contains("recursion limit"), "{error}");
    }

    #[test]
    fn base64_and_hex_read_back() {
        assert_eq!(base64("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64("-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(hex("00fF").as_deref(), Some(&[0, 255][..]));
        assert_eq!(hex("0"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            let _ = to_protobuf(&bytes);
        }

        #[test]
        fn what_is_written_is_bounded_by_what_is_read(points in "[0-9\\[\\]{},\":]{0,60}") {
            let json = with_points(&points);
            if let Ok(wire) = to_protobuf(json.as_bytes()) {
                prop_assert!(wire.len() <= 5 * json.len(), "{} from {}", wire.len(), json.len());
            }
        }
    }
}
