//! What comes from the disk and from other replicas. A checksum would keep almost every input out, so the right one is put to
//! the bytes here.

use std::sync::Arc;

use storage::batch::{self, BatchBuilder, BatchReader, Columns, ConflictPolicy};
use storage::chunk::{ChunkView, Encoder, Hint, TimesView};
use storage::histogram::chunk::{self as histogram_chunk, Sample};
use storage::{Engine, Histogram, varint};

/// From this length on a chunk has two bytes of its checksum, else one.
const LONG_CHUNK_BYTES: usize = 48;

/// A chunk of floats that is read is written and read again as the same, and so is a block of times.
pub fn chunk(bytes: &[u8]) {
    let Some((base, content)) = bytes.split_first_chunk::<8>() else { return };
    let base_ms = i64::from_le_bytes(*base) >> 16;
    let mut encoded = content.to_vec();
    let checksum = crc32c::crc32c(content).to_le_bytes();
    encoded.extend_from_slice(&checksum[..if content.len() < LONG_CHUNK_BYTES { 1 } else { 2 }]);
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    if let Ok(view) = ChunkView::parse(&encoded, base_ms) {
        let _ = view.aggregates(&mut Vec::new());
        if view.decode_into(&mut timestamps, &mut values).is_ok() {
            chunk_again(base_ms, &timestamps, &values);
        }
    }
    timestamps.clear();
    if let Ok(view) = TimesView::parse(&encoded, base_ms)
        && view.decode_into(&mut timestamps).is_ok()
    {
        assert_eq!(timestamps.len(), view.count());
    }
}

fn chunk_again(base_ms: i64, timestamps: &[i64], values: &[f64]) {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mut encoded = Vec::new();
    Encoder::new().encode(base_ms, timestamps, values, &mut Hint::default(), &mut encoded);
    let (mut times_again, mut values_again) = (Vec::new(), Vec::new());
    let read = ChunkView::parse(&encoded, base_ms).and_then(|view| view.decode_into(&mut times_again, &mut values_again));
    assert!(read.is_ok(), "{read:?}");
    assert_eq!((timestamps, bits(values)), (&times_again[..], bits(&values_again)));
}

/// One histogram, and a chunk of them.
pub fn histogram(bytes: &[u8]) {
    if let Ok(histogram) = Histogram::decode(bytes) {
        assert_eq!(histogram.encoded(), bytes);
        if histogram.validate().is_ok() {
            let _ = histogram.reduced();
        }
    }
    let mut chunk = bytes.to_vec();
    chunk.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    let mut run = Vec::new();
    varint::put(&mut run, chunk.len() as u64);
    run.extend_from_slice(&chunk);
    let _ = histogram_chunk::last_ms(&run, 0);
    let mut samples: Vec<Sample> = Vec::new();
    if histogram_chunk::decode(&run, 0, i64::MIN, i64::MAX, &mut samples).is_ok() {
        histograms_again(&samples);
    }
}

fn histograms_again(samples: &[Sample]) {
    let mut encoded = Vec::new();
    histogram_chunk::encode(&mut Encoder::new(), 0, samples, &mut encoded);
    let mut again = Vec::new();
    let read = histogram_chunk::decode(&encoded, 0, i64::MIN, i64::MAX, &mut again);
    assert!(read.is_ok(), "{read:?}");
    let forms = |samples: &[Sample]| samples.iter().map(|(time, histogram)| (*time, histogram.encoded())).collect::<Vec<_>>();
    assert_eq!(forms(samples), forms(&again));
}

/// What `apply` receives: a join of batches, or one batch with its checksum put right.
pub fn batch(bytes: &[u8]) {
    if let Ok(parts) = batch::parts(bytes) {
        parts.for_each(|part| drop(BatchReader::parse(part)));
    }
    let mut encoded = crc32c::crc32c(bytes).to_le_bytes().to_vec();
    encoded.extend_from_slice(bytes);
    let Ok(reader) = BatchReader::parse(&encoded) else { return };
    let mut columns = Columns::default();
    if reader.decode_into(&mut columns).is_ok() {
        batch_again(&reader, &columns);
    }
}

fn batch_again(reader: &BatchReader, columns: &Columns) {
    let mut builder = BatchBuilder::new(reader.policy());
    let defined: Vec<_> = reader.definitions().iter().map(|labels| builder.define(labels)).collect();
    let mut histograms = columns.histograms.iter();
    for (position, ((&target, &time), &value)) in columns.targets.iter().zip(&columns.timestamps).zip(&columns.values).enumerate() {
        let histogram = storage::histogram::is_marker(value.to_bits()).then(|| histograms.next()).flatten();
        match (position < reader.new_samples(), histogram) {
            (true, None) => builder.push_defined(defined[target as usize], time, value),
            (true, Some(encoded)) => builder.push_defined_histogram(defined[target as usize], time, encoded),
            (false, None) => builder.push(target, time, value),
            (false, Some(encoded)) => builder.push_histogram(target, time, encoded),
        }
    }
    let encoded = builder.encode();
    let mut again = Columns::default();
    let read = BatchReader::parse(&encoded).and_then(|reader| reader.decode_into(&mut again));
    assert!(read.is_ok(), "{read:?}");
    assert_eq!((&columns.targets, &columns.timestamps, &columns.histograms), (&again.targets, &again.timestamps, &again.histograms));
    assert!(columns.values.iter().map(|value| value.to_bits()).eq(again.values.iter().map(|value| value.to_bits())));
}

/// A snapshot on its way into a shard of `engine`: the frames of a real one with some bytes changed (four bytes a change: which
/// frame, where in it in two, what), or frames of the input's own (each after its length in two bytes) when the first byte is odd.
/// What is taken must be readable.
pub fn snapshot(engine: &Arc<Engine>, bytes: &[u8]) {
    let Some((&way, rest)) = bytes.split_first() else { return };
    let frames = if way % 2 == 0 { changed_frames(engine, rest) } else { Ok(own_frames(rest)) };
    assert!(frames.is_ok(), "{:?}", frames.err());
    let Ok(frames) = frames else { return };
    let Ok(mut import) = engine.import(1, 1) else { return };
    if frames.into_iter().map(with_checksum).all(|frame| import.push(&frame).is_ok())
        && let Ok(shard) = import.finish()
        && let Ok(series) = shard.select(&[], i64::MIN, i64::MAX)
    {
        let mut reader = shard.reader();
        for series in series {
            let _ = reader.read(series, i64::MIN, i64::MAX, &mut Vec::new(), &mut Vec::new());
            let _ = shard.labels(series);
        }
    }
    let dropped = engine.drop_shard(1);
    assert!(dropped.is_ok(), "{dropped:?}");
}

fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&content);
    content.extend_from_slice(&checksum.to_le_bytes());
    content
}

fn own_frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (frame, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// The last frame agrees with the changed ones, else every change would be refused at the end at the latest.
fn changed_frames(engine: &Arc<Engine>, changes: &[u8]) -> storage::Result<Vec<Vec<u8>>> {
    let mut frames = real_frames(engine)?;
    let Some(mut end) = frames.pop() else { return Ok(frames) };
    let count = frames.len();
    for [frame, high, low, value] in changes.as_chunks::<4>().0 {
        let frame = &mut frames[usize::from(*frame) % count];
        let at = (usize::from(*high) << 8 | usize::from(*low)) % frame.len();
        frame[at] = *value;
    }
    let hash = frames.iter().fold(0, |hash, frame| xxhash_rust::xxh3::xxh3_64_with_seed(&crc32c::crc32c(frame).to_le_bytes(), hash));
    end.truncate(end.len() - 8);
    end.extend_from_slice(&hash.to_le_bytes());
    frames.push(end);
    Ok(frames)
}

/// Frames, without their checksums, of a small shard.
fn real_frames(engine: &Arc<Engine>) -> storage::Result<Vec<Vec<u8>>> {
    engine.set_hash_key(storage::HashKey([7; 16]))?;
    let shard = engine.open_shard(0, 1)?;
    if shard.series_count() == 0 {
        shard.apply(1, &batch::join(&[example_batch().into()]))?;
        if let Some(frozen) = shard.freeze() {
            frozen.persist()?;
            shard.release(frozen);
        }
    }
    let mut export = shard.export()?;
    let mut frames = Vec::new();
    while let Some(frame) = export.next_frame()? {
        frames.push(frame[..frame.len() - 4].to_vec());
    }
    Ok(frames)
}

fn example_batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    for number in 0..3 {
        let mut labels = Vec::new();
        let value = number.to_string();
        let made = storage::labels::canonicalize(&mut vec![("__name__", "m"), ("n", &value)], &mut labels);
        assert!(made.is_ok(), "{made:?}");
        let series = builder.define(&labels);
        for sample in 0..20 {
            builder.push_defined(series, 1_700_000_000_000 + sample * 15_000, (sample * number) as f64);
        }
    }
    builder.encode()
}
