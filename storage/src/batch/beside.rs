//! The sections of a batch that are not samples: exemplars, metadata and deletions, which are rare and so are plain records.
//!
//! ```text
//!   6 exemplars   varint(count)  { varint(number << 1 | known) varint(time) value (8) labels }
//!                 labels: varint(count) { text text }
//!   7 metadata    varint(count)  { text metric  varint(type)  text help  text unit }
//!   8 deletions   varint(count)  { varint(count) { operator (1) text name text value }  varint(start) varint(end) }
//! ```
//! A text is `varint(length) bytes`; times go through zigzag.

use super::Columns;
use crate::error::Result;
use crate::exemplar::{Exemplar, LABEL_CHARS_MAX, Metadata, MetricType};
use crate::index::{MatchOp, Matcher};
use crate::labels::SeriesId;
use crate::varint::{self, Cursor};

/// The most exemplars, entries of metadata or deletions in one batch.
pub const RECORDS_MAX: usize = 1 << 20;
/// The most matchers of one deletion.
const MATCHERS_MAX: usize = 256;
/// Bytes of the longest text: a regular expression.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The series of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExemplarTarget {
    /// By the position of its definition in the batch.
    Defined(u32),
    /// By its number.
    Known(SeriesId),
}

/// Takes away the samples and exemplars that the log holds before it, of the series that pass all matchers, from `start_ms` to
/// `end_ms`, both inclusive. What comes after it stays.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// At least one.
    pub matchers: Vec<Matcher>,
    /// Unix milliseconds, inclusive.
    pub start_ms: i64,
    /// Unix milliseconds, inclusive.
    pub end_ms: i64,
}

/// Appends one exemplar.
pub(super) fn put_exemplar(out: &mut Vec<u8>, target: ExemplarTarget, exemplar: &Exemplar) {
    let target = match target {
        ExemplarTarget::Defined(position) => u64::from(position) << 1,
        ExemplarTarget::Known(series) => u64::from(series) << 1 | 1,
    };
    varint::put(out, target);
    put_exemplar_body(out, exemplar);
}

/// Appends an exemplar without its series.
pub(crate) fn put_exemplar_body(out: &mut Vec<u8>, exemplar: &Exemplar) {
    varint::put_signed(out, exemplar.timestamp_ms);
    out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    varint::put(out, exemplar.labels.len() as u64);
    for text in exemplar.labels.iter().flat_map(|(name, value)| [name, value]) {
        put_text(out, text);
    }
}

/// Appends one entry of metadata.
pub(crate) fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    put_text(out, &metadata.metric);
    varint::put(out, metadata.metric_type.number());
    put_text(out, &metadata.help);
    put_text(out, &metadata.unit);
}

/// Appends one deletion.
pub(super) fn put_deletion(out: &mut Vec<u8>, deletion: &Deletion) {
    varint::put(out, deletion.matchers.len() as u64);
    for matcher in &deletion.matchers {
        out.push(match matcher.op() {
            MatchOp::Eq => 0,
            MatchOp::Ne => 1,
            MatchOp::Re => 2,
            MatchOp::Nre => 3,
        });
        put_text(out, matcher.name());
        put_text(out, matcher.value());
    }
    varint::put_signed(out, deletion.start_ms);
    varint::put_signed(out, deletion.end_ms);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads all exemplars; each is valid, and its definition is one of `definitions`.
pub(super) fn read_exemplars(body: &[u8], definitions: usize) -> Result<Vec<(ExemplarTarget, Exemplar)>> {
    let exemplars = read_all(body, |cursor| {
        let target = cursor.varint()?;
        let number = u32::try_from(target >> 1).map_err(|_| cursor.corrupt("an exemplar's series is too large"))?;
        let target = if target & 1 == 1 { ExemplarTarget::Known(number) } else { ExemplarTarget::Defined(number) };
        if matches!(target, ExemplarTarget::Defined(position) if position as usize >= definitions) {
            return Err(cursor.corrupt("an exemplar of a series that is not defined"));
        }
        Ok((target, read_exemplar_body(cursor)?))
    })?;
    Ok(exemplars)
}

/// Reads what [`put_exemplar_body`] wrote.
pub(crate) fn read_exemplar_body(cursor: &mut Cursor<'_>) -> Result<Exemplar> {
    let timestamp_ms = cursor.signed()?;
    let value = f64::from_bits(u64::from_le_bytes(cursor.array()?));
    let count = cursor.count(LABEL_CHARS_MAX)?;
    let mut exemplar = Exemplar { timestamp_ms, value, labels: Vec::new() };
    for _ in 0..count {
        let (name, value) = (read_text(cursor)?, read_text(cursor)?);
        exemplar.labels.push((name.to_owned(), value.to_owned()));
    }
    if exemplar.is_valid() { Ok(exemplar) } else { Err(cursor.corrupt("labels that no exemplar may have")) }
}

/// Reads all metadata.
pub(super) fn read_metadata(body: &[u8]) -> Result<Vec<Metadata>> {
    read_all(body, read_metadata_entry)
}

/// Reads what [`put_metadata`] wrote.
pub(crate) fn read_metadata_entry(cursor: &mut Cursor<'_>) -> Result<Metadata> {
    let metric = read_text(cursor)?.to_owned();
    let metric_type = MetricType::from_number(cursor.varint()?);
    let help = read_text(cursor)?.to_owned();
    let unit = read_text(cursor)?.to_owned();
    Ok(Metadata { metric, metric_type, help, unit }.shortened())
}

/// Reads all deletions.
pub(super) fn read_deletions(body: &[u8]) -> Result<Vec<Deletion>> {
    read_all(body, |cursor| {
        let count = cursor.count(MATCHERS_MAX)?;
        if count == 0 {
            return Err(cursor.corrupt("a deletion without matchers"));
        }
        let matchers = (0..count).map(|_| read_matcher(cursor)).collect::<Result<Vec<_>>>()?;
        Ok(Deletion { matchers, start_ms: cursor.signed()?, end_ms: cursor.signed()? })
    })
}

fn read_matcher(cursor: &mut Cursor<'_>) -> Result<Matcher> {
    let op = match cursor.byte()? {
        0 => MatchOp::Eq,
        1 => MatchOp::Ne,
        2 => MatchOp::Re,
        3 => MatchOp::Nre,
        _ => return Err(cursor.corrupt("an unknown comparison")),
    };
    let (name, value) = (read_text(cursor)?, read_text(cursor)?);
    Matcher::new(name, op, value).map_err(|_| cursor.corrupt("a matcher's value is no regular expression"))
}

fn read_all<T>(body: &[u8], mut read: impl FnMut(&mut Cursor<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut cursor = Cursor::new(body, Columns::FORMAT);
    let count = cursor.count(RECORDS_MAX.min(body.len()))?;
    let records = (0..count).map(|_| read(&mut cursor)).collect::<Result<Vec<_>>>()?;
    if cursor.is_empty() { Ok(records) } else { Err(cursor.corrupt("records have bytes left over")) }
}

fn read_text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str> {
    let length = cursor.count(TEXT_BYTES_MAX)?;
    std::str::from_utf8(cursor.take(length)?).map_err(|_| cursor.corrupt("not UTF-8"))
}
