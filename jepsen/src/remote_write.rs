//! Bodies of Prometheus remote write 1.0 and 2.0, written by hand.
//!
//! Protobuf by hand instead of generated code, so that the harness shares nothing with the server that it judges, and so that a benchmark can
//! encode millions of samples before its clock starts. Specifications: <https://prometheus.io/docs/specs/prw/remote_write_spec/> and
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

use std::collections::HashMap;

use crate::history::Sample;

/// `Content-Type` of a 2.0 body; a 1.0 body says plain `application/x-protobuf`.
pub const CONTENT_TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
pub const CONTENT_TYPE_V1: &str = "application/x-protobuf";

/// Wire type 2 of protobuf: a length and bytes. The others used here are 0 (varint) and 1 (64 bits).
const LENGTH_DELIMITED: u64 = 2;

/// One series of a request: labels (the name among them as `__name__`), sorted by the caller, and samples in time order.
#[derive(Clone, Debug)]
pub struct TimeSeries<'a> {
    pub labels: &'a [(String, String)],
    pub samples: &'a [Sample],
}

/// The snappy-compressed body of a 1.0 request.
pub fn encode_v1<'a>(series: impl IntoIterator<Item = TimeSeries<'a>>) -> Vec<u8> {
    let mut request = Vec::new();
    let mut message = Vec::new();
    for one in series {
        message.clear();
        for (name, value) in one.labels {
            let size = string_size(name) + string_size(value);
            put_key(&mut message, 1, LENGTH_DELIMITED);
            put_varint(&mut message, size as u64);
            put_bytes(&mut message, 1, name.as_bytes());
            put_bytes(&mut message, 2, value.as_bytes());
        }
        put_samples(&mut message, one.samples);
        put_bytes(&mut request, 1, &message);
    }
    compress(&request)
}

/// The snappy-compressed body of a 2.0 request: label strings are references into one table of symbols, whose first entry is empty.
pub fn encode_v2<'a>(series: impl IntoIterator<Item = TimeSeries<'a>>) -> Vec<u8> {
    let mut symbols = Symbols::default();
    let mut all_series = Vec::new();
    let mut message = Vec::new();
    let mut references = Vec::new();
    for one in series {
        message.clear();
        references.clear();
        for (name, value) in one.labels {
            put_varint(&mut references, symbols.reference(name));
            put_varint(&mut references, symbols.reference(value));
        }
        put_bytes(&mut message, 1, &references);
        put_samples(&mut message, one.samples);
        put_bytes(&mut all_series, 5, &message);
    }
    let mut request = Vec::new();
    for symbol in std::iter::once("").chain(symbols.in_order.iter().copied()) {
        put_bytes(&mut request, 4, symbol.as_bytes());
    }
    request.extend_from_slice(&all_series);
    compress(&request)
}

/// The strings of one 2.0 request, each once.
#[derive(Default)]
struct Symbols<'a> {
    in_order: Vec<&'a str>,
    positions: HashMap<&'a str, u64>,
}

impl<'a> Symbols<'a> {
    fn reference(&mut self, symbol: &'a str) -> u64 {
        if symbol.is_empty() {
            return 0;
        }
        *self.positions.entry(symbol).or_insert_with(|| {
            self.in_order.push(symbol);
            self.in_order.len() as u64
        })
    }
}

/// `repeated Sample samples = 2` with `double value = 1; int64 timestamp = 2`: the same in both versions.
fn put_samples(message: &mut Vec<u8>, samples: &[Sample]) {
    for &(timestamp_ms, value) in samples {
        let timestamp = timestamp_ms as u64;
        put_key(message, 2, LENGTH_DELIMITED);
        put_varint(message, 1 + 8 + 1 + varint_size(timestamp) as u64);
        put_key(message, 1, 1);
        message.extend_from_slice(&value.to_le_bytes());
        put_key(message, 2, 0);
        put_varint(message, timestamp);
    }
}

fn string_size(text: &str) -> usize {
    1 + varint_size(text.len() as u64) + text.len()
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, LENGTH_DELIMITED);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Snappy's block format. Fails only above 4 GiB, which no request of the harness comes near.
fn compress(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(request).expect("a remote write request is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompressed(body: &[u8]) -> Vec<u8> {
        snap::raw::Decoder::new().decompress_vec(body).unwrap()
    }

    #[test]
    fn version_1_is_the_bytes_of_the_specification() {
        let labels = [("__name__".to_owned(), "up".to_owned())];
        let body = encode_v1([TimeSeries { labels: &labels, samples: &[(300, 1.0)] }]);
        let mut expected = vec![0x0a, 30, 0x0a, 14, 0x0a, 8];
        expected.extend(b"__name__");
        expected.extend([0x12, 2]);
        expected.extend(b"up");
        expected.extend([0x12, 12, 0x09]);
        expected.extend(1.0f64.to_le_bytes());
        expected.extend([0x10, 0xac, 0x02]);
        assert_eq!(decompressed(&body), expected);
    }

    #[test]
    fn version_2_writes_each_symbol_once() {
        let labels = [("__name__".to_owned(), "up".to_owned()), ("job".to_owned(), "up".to_owned())];
        let body = encode_v2([TimeSeries { labels: &labels, samples: &[(1, 0.0)] }]);
        let mut expected = vec![0x22, 0, 0x22, 8];
        expected.extend(b"__name__");
        expected.extend([0x22, 2]);
        expected.extend(b"up");
        expected.extend([0x22, 3]);
        expected.extend(b"job");
        expected.extend([0x2a, 19, 0x0a, 4, 1, 2, 3, 2, 0x12, 11, 0x09]);
        expected.extend(0.0f64.to_le_bytes());
        expected.extend([0x10, 1]);
        assert_eq!(decompressed(&body), expected);
    }

    #[test]
    fn sizes_of_varints_agree_with_what_is_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_size(value), "{value}");
        }
    }
}
