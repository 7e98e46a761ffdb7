//! Bodies of writes. Whatever a decoder stages must become a batch that every replica reads as what was staged.

use std::sync::LazyLock;

use bytes::Bytes;
use storage::batch::{BatchReader, ConflictPolicy};
use storage::labels;

use crate::config::{Layers, Manual, Settings};
use crate::ingest::columns::{Columns, Staged};
use crate::ingest::compression::{self, Encoding};
use crate::ingest::csv::RowFormat;
use crate::ingest::decode_error::DecodeError;
use crate::ingest::influx::{Options, Precision};
use crate::ingest::line_blocks::{LineBlocks, Quotes};
use crate::ingest::shard_encoder::{ShardBatch, ShardEncoder};
use crate::ingest::unpacker::Unpacker;
use crate::ingest::{self, otlp};

/// As the default configuration has it.
const DECOMPRESSED_BYTES_MAX: usize = 32 << 20;
const NOW_MS: i64 = 1_700_000_000_000;

/// The OTLP translations that an input may choose among.
static TRANSLATIONS: LazyLock<Vec<Settings>> = LazyLock::new(|| {
    let with = |flags: &[(&str, &str)]| {
        let mut layers = Layers::defaults(Manual::read());
        for (name, value) in flags {
            assert!(layers.lay_flag(name, (*value).to_string()).is_ok(), "{name} is no setting");
        }
        Settings::read(&layers).ok()
    };
    let promoting =
        [("otlp.translation_strategy", "NoTranslation"), ("otlp.promote_all_resource_attributes", "true"), ("otlp.accept_delta", "true")];
    let custom = [("otlp.convert_histograms_to_nhcb", "true"), ("otlp.promote_scope_metadata", "true")];
    [with(&[]), with(&promoting), with(&custom)].into_iter().flatten().collect()
});

/// The first byte, which chooses among ways, and the rest.
fn choice(bytes: &[u8]) -> (usize, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(first, rest)| (usize::from(*first), rest))
}

/// An odd first byte says that the rest is compressed.
fn compressed_or_not(bytes: &[u8], decode: impl Fn(&[u8], &mut Columns) -> Result<(), DecodeError>) {
    let (way, body) = choice(bytes);
    if way % 2 == 0 {
        stage(body, decode);
    } else if let Ok(body) = compression::decompress("snappy", Bytes::copy_from_slice(body), DECOMPRESSED_BYTES_MAX) {
        stage(&body, decode);
    }
}

pub fn remote_write_v1(bytes: &[u8]) {
    compressed_or_not(bytes, ingest::remote_write_v1::decode);
}

pub fn remote_write_v2(bytes: &[u8]) {
    compressed_or_not(bytes, ingest::remote_write_v2::decode);
}

/// The text format, or OpenMetrics when the first byte is odd; with labels of the address when its second bit is set.
pub fn exposition(bytes: &[u8]) {
    let (way, body) = choice(bytes);
    stage(body, |body, columns| {
        match way % 2 {
            0 => ingest::exposition::decode(body, NOW_MS, columns)?,
            _ => ingest::exposition::decode_openmetrics(body, NOW_MS, columns)?,
        }
        if way & 2 != 0 { columns.set_labels(body, &[("job".to_string(), "a".to_string())]) } else { Ok(()) }
    });
}

pub fn influx(bytes: &[u8]) {
    let (way, body) = choice(bytes);
    let precisions = ["", "n", "u", "ms", "s", "m", "h"];
    let precision = Precision::parse(precisions[way % precisions.len()]).unwrap_or(Precision::BySize);
    let database = if way & 0x80 == 0 { "" } else { "telegraf" };
    let options = Options { precision, database, separator: "_", now_ms: NOW_MS };
    stage(body, |body, columns| ingest::influx::decode(body, options, columns));
}

pub fn otlp_protobuf(bytes: &[u8]) {
    let (way, body) = choice(bytes);
    translate(way, body);
}

pub fn otlp_json(bytes: &[u8]) {
    let (way, body) = choice(bytes);
    if let Ok(body) = otlp::json::to_protobuf(body) {
        translate(way, &body);
    }
}

fn translate(way: usize, body: &[u8]) {
    let settings = &TRANSLATIONS[way % TRANSLATIONS.len()];
    stage(body, |body, columns| otlp::translate::decode(body, &settings.otlp, settings.query.lookback, columns));
}

pub fn native_json(bytes: &[u8]) {
    stage(bytes, |body, columns| ingest::native_json::decode(body, NOW_MS, columns));
}

pub fn json_lines(bytes: &[u8]) {
    in_blocks(bytes, Quotes::MeanNothing, ingest::json_lines::decode);
}

/// The first line describes the columns.
pub fn csv(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let Ok(Ok(format)) = std::str::from_utf8(&bytes[..end]).map(RowFormat::parse) else { return };
    let rows = bytes.get(end + 1..).unwrap_or(b"");
    in_blocks(rows, Quotes::HoldLineBreaks, |block, first_line, columns| ingest::csv::decode(block, first_line, &format, NOW_MS, columns));
}

fn in_blocks(bytes: &[u8], quotes: Quotes, decode: impl Fn(&[u8], usize, &mut Columns) -> Result<(), DecodeError>) {
    let mut blocks = LineBlocks::new(quotes);
    blocks.pending().extend_from_slice(bytes);
    if let Some(block) = blocks.last_block() {
        stage(&block.bytes, |body, columns| decode(body, block.first_line, columns));
    }
}

/// A whole body at once and the same in pieces come out alike.
pub fn decompression(bytes: &[u8]) {
    let (way, packed) = choice(bytes);
    let name = ["", "gzip", "deflate", "zstd", "snappy"][way % 5];
    let at_once = compression::decompress(name, Bytes::copy_from_slice(packed), DECOMPRESSED_BYTES_MAX);
    let in_pieces = Encoding::from_header(name).and_then(|encoding| unpack(encoding, packed));
    if let (Ok(at_once), Ok(Some(in_pieces))) = (at_once, in_pieces) {
        assert!(at_once == in_pieces, "{name}: {} bytes at once, {} in pieces", at_once.len(), in_pieces.len());
    }
}

/// `None` when it becomes larger than a body may be.
fn unpack(encoding: Encoding, packed: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut unpacker = Unpacker::new(encoding)?;
    let mut plain = Vec::new();
    for mut piece in packed.chunks(61) {
        while !piece.is_empty() {
            piece = &piece[unpacker.step(piece, &mut plain)?..];
            if plain.len() > DECOMPRESSED_BYTES_MAX {
                return Ok(None);
            }
        }
    }
    unpacker.finish(&mut plain)?;
    Ok(Some(plain))
}

/// Decodes a body and follows what was staged on its way into a replica.
fn stage(body: &[u8], decode: impl FnOnce(&[u8], &mut Columns) -> Result<(), DecodeError>) {
    let mut columns = Columns::default();
    if let Err(error) = decode(body, &mut columns) {
        assert!(!error.to_string().is_empty());
        return;
    }
    let mut encoder = ShardEncoder::new(0, ConflictPolicy::Reject);
    let mut staged = Vec::new();
    let mut pairs = Vec::new();
    for series in 0..columns.series_count() {
        let _ = (columns.key(body, series), columns.key_seed(series), columns.line(body, series));
        let mut canonical = Vec::new();
        if columns.labels(body, series, &mut pairs).is_err() || labels::canonicalize(&mut pairs, &mut canonical).is_err() {
            continue;
        }
        let samples = columns.samples(series);
        staged.extend(columns.mixed(samples.clone()).map(|(time, value)| (canonical.clone(), time, bits(value))));
        encoder.push_new_mixed(&canonical, columns.mixed(samples));
    }
    let replicated: Vec<_> = encoder.finish().iter().flat_map(read_again).collect();
    assert!(staged == replicated, "{} samples were staged, {} others read again", staged.len(), replicated.len());
}

fn bits(value: Staged) -> (u64, Option<Vec<u8>>) {
    match value {
        Staged::Float(value) => (value.to_bits(), None),
        Staged::Histogram(encoded) => (storage::histogram::marker_of(encoded), Some(encoded.to_vec())),
    }
}

type ReadSample = (Vec<u8>, i64, (u64, Option<Vec<u8>>));

fn read_again(batch: &ShardBatch) -> Vec<ReadSample> {
    let mut columns = storage::batch::Columns::default();
    // Invariant: what this node encoded, every node reads; else an entry would stop all replicas.
    let reader = BatchReader::parse(&batch.payload).expect("an own batch");
    reader.decode_into(&mut columns).expect("an own batch's columns");
    let mut histograms = columns.histograms.iter();
    let samples = columns.targets.iter().zip(&columns.timestamps).zip(&columns.values);
    let read = |((target, time), value): ((&u32, &i64), &f64)| {
        let histogram = storage::histogram::is_marker(value.to_bits()).then(|| histograms.next().map(|encoded| encoded.to_vec())).flatten();
        (reader.definitions()[*target as usize].to_vec(), *time, (value.to_bits(), histogram))
    };
    samples.map(read).collect()
}
