//! The three ways a staged key encodes labels, each decoded into borrowed `(name, value)` pairs, and the rules that
//! labels must satisfy whatever protocol brought them (those of Prometheus 3 with UTF-8 names).

use super::protobuf::{Cursor, LENGTH, tag};
use thiserror::Error;

pub const METRIC_NAME: &str = "__name__";

/// Bounds of one series' labels. Far above anything sane; they keep one series from filling a batch.
pub const LABELS_MAX: usize = 256;
pub const LABEL_NAME_BYTES_MAX: usize = 1 << 10;
pub const LABEL_VALUE_BYTES_MAX: usize = 16 << 10;
/// All names and values of one series together.
pub const SERIES_BYTES_MAX: usize = 64 << 10;

/// Why a series' labels are not acceptable. All are about this series alone except [`LabelProblem::Malformed`]: that
/// one means that the request's bytes are damaged, and the whole request must be refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LabelProblem {
    #[error("malformed label encoding")]
    Malformed,
    #[error("label names and values must be valid UTF-8")]
    NotUtf8,
    #[error("missing metric name")]
    MissingMetricName,
    #[error("empty label name")]
    EmptyLabelName,
    #[error("duplicate label name {0:?}")]
    Duplicate(String),
    #[error("more than {LABELS_MAX} labels")]
    TooManyLabels,
    #[error("label name longer than {LABEL_NAME_BYTES_MAX} bytes")]
    NameTooLong,
    #[error("labels longer than {SERIES_BYTES_MAX} bytes together")]
    SeriesTooLong,
    #[error("value of label {0:?} longer than {LABEL_VALUE_BYTES_MAX} bytes")]
    ValueTooLong(String),
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn text(bytes: &[u8]) -> Result<&str, LabelProblem> {
    std::str::from_utf8(bytes).map_err(|_| LabelProblem::NotUtf8)
}

fn push<'a>(out: &mut Pairs<'a>, name: &'a str, value: &'a str) -> Result<(), LabelProblem> {
    if out.len() == LABELS_MAX {
        return Err(LabelProblem::TooManyLabels);
    }
    out.push((name, value));
    Ok(())
}

/// `Label { string name = 1; string value = 2; }` records, each behind the tag of `TimeSeries.labels = 1`.
pub fn protobuf_labels<'a>(key: &'a [u8], out: &mut Pairs<'a>) -> Result<(), LabelProblem> {
    let malformed = |_| LabelProblem::Malformed;
    let mut records = Cursor::new(key);
    while !records.is_empty() {
        if records.tag().map_err(malformed)? != tag(1, LENGTH) {
            return Err(LabelProblem::Malformed);
        }
        let (name, value) = protobuf_label(records.message().map_err(malformed)?).map_err(malformed)?;
        push(out, text(name)?, text(value)?)?;
    }
    Ok(())
}

/// Name and value of one `Label` message; absent fields are empty, the last of a repeated field counts.
pub fn protobuf_label<'a>(mut label: Cursor<'a>) -> Result<(&'a [u8], &'a [u8]), super::decode_error::DecodeError> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    while !label.is_empty() {
        let field = label.tag()?;
        if field == tag(1, LENGTH) {
            name = label.bytes()?;
        } else if field == tag(2, LENGTH) {
            value = label.bytes()?;
        } else {
            label.skip(field)?;
        }
    }
    Ok((name, value))
}

/// `name{a="b",c="d"}`, `name`, `{"name with dots",a="b"}`: as [`super::exposition`] accepted it, without escapes.
pub fn text_labels<'a>(key: &'a [u8], out: &mut Pairs<'a>) -> Result<(), LabelProblem> {
    let key = text(key)?;
    let (name, mut rest) = match key.find('{') {
        Some(brace) => (key[..brace].trim_end_matches([' ', '\t']), &key[brace + 1..]),
        None => (key, "}"),
    };
    if !name.is_empty() {
        push(out, METRIC_NAME, name)?;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.starts_with('}') {
            return Ok(());
        }
        let (name, after) = text_label_name(rest).ok_or(LabelProblem::Malformed)?;
        let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            push(out, METRIC_NAME, name)?;
            rest = after;
            continue;
        };
        let (value, after) = quoted(value.trim_start_matches([' ', '\t'])).ok_or(LabelProblem::Malformed)?;
        push(out, name, value)?;
        rest = after;
    }
}

/// A bare or quoted label name, and what follows it.
fn text_label_name(rest: &str) -> Option<(&str, &str)> {
    if rest.starts_with('"') {
        return quoted(rest);
    }
    let end = rest.find([' ', '\t', '=', ',', '}'])?;
    Some(rest.split_at(end))
}

/// The content of a quoted string that holds no escapes, and what follows it.
fn quoted(rest: &str) -> Option<(&str, &str)> {
    rest.strip_prefix('"')?.split_once('"')
}

/// Appends one label in the form that [`pair_labels`] reads: each text behind its length as a varint.
#[inline]
pub fn push_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_text(out, name);
    push_text(out, value);
}

/// Appends one text behind its length.
#[inline]
pub fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(text);
}

pub fn pair_labels<'a>(key: &'a [u8], out: &mut Pairs<'a>) -> Result<(), LabelProblem> {
    let malformed = |_| LabelProblem::Malformed;
    let mut pairs = Cursor::new(key);
    while !pairs.is_empty() {
        let name = pairs.bytes().map_err(malformed)?;
        let value = pairs.bytes().map_err(malformed)?;
        push(out, text(name)?, text(value)?)?;
    }
    Ok(())
}

/// Sorts by name (senders nearly always have) and checks what every series must satisfy.
pub fn sort_and_validate(labels: &mut Pairs<'_>) -> Result<(), LabelProblem> {
    if !labels.is_sorted_by(|one, next| one.0 <= next.0) {
        labels.sort_by_key(|label| label.0);
    }
    if labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > SERIES_BYTES_MAX {
        return Err(LabelProblem::SeriesTooLong);
    }
    for (position, &(name, value)) in labels.iter().enumerate() {
        if name.is_empty() {
            return Err(LabelProblem::EmptyLabelName);
        }
        if name.len() > LABEL_NAME_BYTES_MAX {
            return Err(LabelProblem::NameTooLong);
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return Err(LabelProblem::ValueTooLong(name.to_string()));
        }
        if position > 0 && labels[position - 1].0 == name {
            return Err(LabelProblem::Duplicate(name.to_string()));
        }
    }
    let named = labels.binary_search_by_key(&METRIC_NAME, |label| label.0).is_ok_and(|at| !labels[at].1.is_empty());
    if named { Ok(()) } else { Err(LabelProblem::MissingMetricName) }
}
