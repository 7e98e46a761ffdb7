//! Exemplars of data points.
//!
//! ```text
//! Exemplar { fixed64 time_unix_nano = 2; oneof { double as_double = 3; sfixed64 as_int = 6; } bytes span_id = 4;
//!            bytes trace_id = 5; repeated KeyValue filtered_attributes = 7; }
//! ```

use std::fmt::Write;

use storage::Exemplar;

use super::super::decode_error::DecodeError;
use super::super::protobuf::{Cursor, FIXED64, LENGTH, tag};
use super::fault::Fault;
use super::labels::attributes;
use super::points::milliseconds;

/// OpenMetrics' bound of an exemplar's labels; attributes are left out rather than go beyond it.
const CHARACTERS_MAX: usize = 128;
/// A trace id has sixteen bytes, a span id eight.
const ID_BYTES_MAX: usize = 16;

/// The exemplars under a field of a point, read as they are asked for. Those without a value are passed over.
pub struct Exemplars<'a> {
    point: Cursor<'a>,
    field: u32,
    /// For those without a time of their own.
    timestamp_ms: i64,
}

impl<'a> Exemplars<'a> {
    pub fn of(point: Cursor<'a>, field: u32, timestamp_ms: i64) -> Exemplars<'a> {
        Exemplars { point, field: tag(field, LENGTH), timestamp_ms }
    }

    pub fn next(&mut self) -> Result<Option<Exemplar>, DecodeError> {
        while !self.point.is_empty() {
            let found = self.point.tag()?;
            if found != self.field {
                self.point.skip(found)?;
                continue;
            }
            if let Some(exemplar) = read(self.point.message()?, self.timestamp_ms)? {
                return Ok(Some(exemplar));
            }
        }
        Ok(None)
    }
}

fn read(whole: Cursor, timestamp_ms: i64) -> Result<Option<Exemplar>, DecodeError> {
    const TIME: u32 = tag(2, FIXED64);
    const AS_DOUBLE: u32 = tag(3, FIXED64);
    const SPAN: u32 = tag(4, LENGTH);
    const TRACE: u32 = tag(5, LENGTH);
    const AS_INT: u32 = tag(6, FIXED64);
    let mut exemplar = whole;
    let (mut time, mut value, mut span, mut trace) = (0, None, String::new(), String::new());
    while !exemplar.is_empty() {
        match exemplar.tag()? {
            TIME => time = milliseconds(exemplar.fixed64()?),
            AS_DOUBLE => value = Some(f64::from_bits(exemplar.fixed64()?)),
            AS_INT => value = Some(exemplar.fixed64()? as i64 as f64),
            SPAN => span = hex(&mut exemplar)?,
            TRACE => trace = hex(&mut exemplar)?,
            other => exemplar.skip(other)?,
        }
    }
    let Some(value) = value else { return Ok(None) };
    let ids = [("trace_id", trace), ("span_id", span)].into_iter().filter(|(_, id)| !id.is_empty());
    let mut labels: Vec<(String, String)> = ids.map(|(name, id)| (name.to_string(), id)).collect();
    add_attributes(whole, &mut labels)?;
    labels.sort();
    labels.dedup_by(|later, earlier| later.0 == earlier.0);
    Ok(Some(Exemplar { timestamp_ms: if time == 0 { timestamp_ms } else { time }, value, labels }))
}

/// All of the attributes or none.
fn add_attributes(exemplar: Cursor, labels: &mut Vec<(String, String)>) -> Result<(), DecodeError> {
    let found = match attributes(exemplar, tag(7, LENGTH)) {
        Ok(found) => found,
        Err(Fault::Refused(_)) => return Ok(()),
        Err(Fault::Broken(error)) => return Err(error),
    };
    let own = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count());
    let added = found.iter().map(|(key, text)| key.chars().count() + text.chars().count());
    if own.chain(added).sum::<usize>() <= CHARACTERS_MAX {
        labels.extend(found.into_iter().map(|(key, text)| (key.to_string(), text.into_owned())));
    }
    Ok(())
}

/// An id as hexadecimal digits; zeros alone mean that there is none.
fn hex(exemplar: &mut Cursor) -> Result<String, DecodeError> {
    let start = exemplar.at();
    let bytes = exemplar.bytes()?;
    if bytes.len() > ID_BYTES_MAX {
        return Err(DecodeError::protobuf(start, "trace or span id is longer than 16 bytes"));
    }
    let mut digits = String::with_capacity(2 * bytes.len());
    if bytes.iter().any(|&byte| byte != 0) {
        for byte in bytes {
            // Writing to a String cannot fail.
            write!(digits, "{byte:02x}").unwrap_or_default();
        }
    }
    Ok(digits)
}
