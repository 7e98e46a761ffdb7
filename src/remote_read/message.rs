//! Writing protobuf by hand, without a tree of messages: the parts that remote read's and federation's answers are made of.

use promql::labels::Labels;
use storage::histogram::Span;
use storage::varint;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;

/// A whole number; negative ones take ten bytes, as `int64` demands. Zero is the default and is left out.
pub fn put_integer(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        varint::put(out, field << 3 | VARINT);
        varint::put(out, value as u64);
    }
}

/// A whole number, small ones of either sign being short: `sint32`, `sint64`.
pub fn put_signed(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        varint::put(out, field << 3 | VARINT);
        varint::put_signed(out, value);
    }
}

pub fn put_unsigned(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint::put(out, field << 3 | VARINT);
        varint::put(out, value);
    }
}

/// Positive zero is the default and is left out; a negative one is not the same bits and is written.
pub fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    if value.to_bits() != 0 {
        varint::put(out, field << 3 | FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

pub fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_length(out, field, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The head of a record whose content follows.
pub fn put_length(out: &mut Vec<u8>, field: u64, length: u64) {
    varint::put(out, field << 3 | LENGTH);
    varint::put(out, length);
}

/// A message as a field: `write` writes its content. Its length, which stands before it, is put in afterwards.
pub fn put_message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    varint::put(out, field << 3 | LENGTH);
    let start = out.len();
    // Most messages are shorter than 128 bytes, and then nothing has to be moved.
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if let Ok(length @ 0..=0x7f) = u8::try_from(length) {
        out[start] = length;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    varint::put(&mut prefix, length as u64);
    out.splice(start..=start, prefix);
}

/// `repeated Label labels`, each `{ string name = 1; string value = 2; }`.
pub fn put_labels(out: &mut Vec<u8>, field: u64, labels: &Labels) {
    for label in labels {
        put_message(out, field, |out| {
            put_bytes(out, 1, label.name.as_bytes());
            put_bytes(out, 2, label.value.as_bytes());
        });
    }
}

/// Spans of a native histogram, each `{ sint32 offset = 1; uint32 length = 2; }`.
pub fn put_spans(out: &mut Vec<u8>, field: u64, spans: &[Span]) {
    for span in spans {
        put_message(out, field, |out| {
            put_signed(out, 1, i64::from(span.offset));
            put_unsigned(out, 2, u64::from(span.length));
        });
    }
}

/// Counts as `repeated sint64`: each less the one before it.
pub fn put_differences(out: &mut Vec<u8>, field: u64, counts: &[u64]) {
    let mut packed = Vec::new();
    let mut before = 0u64;
    for &count in counts {
        varint::put_signed(&mut packed, count.wrapping_sub(before) as i64);
        before = count;
    }
    put_packed(out, field, &packed);
}

/// `repeated double`, packed.
pub fn put_floats(out: &mut Vec<u8>, field: u64, values: &[f64]) {
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    put_packed(out, field, &packed);
}

/// An empty list is left out.
fn put_packed(out: &mut Vec<u8>, field: u64, packed: &[u8]) {
    if !packed.is_empty() {
        put_bytes(out, field, packed);
    }
}

/// The labels with those of this system that they lack, as Prometheus adds `external_labels`.
pub fn with_external(labels: &Labels, external: &Labels) -> Labels {
    if external.is_empty() {
        return labels.clone();
    }
    // Of a name given twice the last stays.
    external.iter().chain(labels).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::protobuf::{Cursor, LENGTH as LENGTH_TYPE, tag};

    #[test]
    fn messages_of_every_length_read_back() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
            let mut out = vec![0xee];
            put_message(&mut out, 3, |out| out.extend(std::iter::repeat_n(7, length)));
            put_bytes(&mut out, 4, b"after");
            let mut cursor = Cursor::new(&out[1..]);
            assert_eq!(cursor.tag().expect("tag"), tag(3, LENGTH_TYPE));
            assert_eq!(cursor.bytes().expect("content"), vec![7; length]);
            assert_eq!(cursor.tag().expect("tag"), tag(4, LENGTH_TYPE));
            assert_eq!(cursor.bytes().expect("content"), b"after");
        }
    }

    #[test]
    fn defaults_are_left_out_but_no_bits_are_lost() {
        let mut out = Vec::new();
        put_integer(&mut out, 1, 0);
        put_unsigned(&mut out, 1, 0);
        put_double(&mut out, 1, 0.0);
        assert!(out.is_empty());
        put_double(&mut out, 1, -0.0);
        assert_eq!(out, [9, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        out.clear();
        put_integer(&mut out, 2, -1);
        assert_eq!(out.len(), 11);
    }

    #[test]
    fn a_series_own_labels_win_over_external_ones() {
        let labels = Labels::from_pairs([("__name__", "up"), ("region", "own")]);
        let external = Labels::from_pairs([("region", "eu"), ("zone", "b")]);
        let expected = Labels::from_pairs([("__name__", "up"), ("region", "own"), ("zone", "b")]);
        assert_eq!(with_external(&labels, &external), expected);
        assert_eq!(with_external(&labels, &Labels::empty()), labels);
    }
}
