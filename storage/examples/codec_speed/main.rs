//! Prints bytes and nanoseconds a sample of the chunk codec and of the batch format.
//!
//! `cargo run --release -p tern-storage --example codec_speed`

mod batches;
mod gorilla;
mod series;
mod victoria;

use series::{CLASSES, Class};
use tern_storage::chunk::{ChunkView, Encoder, Hint};
use tern_storage::rollup;

/// Values a series.
const VALUES: usize = 3840;
/// Chunks that are compressed together, as a RocksDB block would.
const GROUP_BYTES: usize = 32 * 1024;
/// Head, count, id of the times block and checksum: what a chunk has besides its values.
const ENVELOPE_BYTES: f64 = 5.0;

struct Row {
    chunks: usize,
    samples: usize,
    bytes: usize,
    zstd_bytes: usize,
    victoria_bytes: usize,
    encode_ns: f64,
    decode_ns: f64,
}

fn main() {
    let all = series::generate(VALUES);
    println!("values, bytes a sample (of which up to {ENVELOPE_BYTES} bytes a chunk are its envelope) and ns a sample");
    println!(
        "{:>14} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "class", "chunk", "tern", "values", "+zstd", "vm", "xor", "encode", "decode", "xor dec"
    );
    for size in [15, 60, 120, 480, 1920] {
        for class in CLASSES.map(|(class, _)| Some(class)).into_iter().chain([None]) {
            let chosen: Vec<&[f64]> =
                all.iter().filter(|(kind, _)| class.is_none_or(|class| class == *kind)).map(|(_, values)| &values[..]).collect();
            print_row(class, size, &measure(&chosen, size), &measure_xor(&chosen, size));
        }
    }
    timestamps();
    rollups(&all);
    batches::report(&all);
}

fn print_row(class: Option<Class>, size: usize, row: &Row, xor: &(usize, f64)) {
    let name = class.map_or("all 722".to_owned(), |class| format!("{class:?}"));
    let samples = row.samples as f64;
    println!(
        "{name:>14} {size:>6} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {:>7.1} {:>7.2} {:>7.2}",
        row.bytes as f64 / samples,
        (row.bytes as f64 - ENVELOPE_BYTES * row.chunks as f64) / samples,
        row.zstd_bytes as f64 / samples,
        row.victoria_bytes as f64 / samples,
        xor.0 as f64 / samples,
        row.encode_ns,
        row.decode_ns,
        xor.1,
    );
}

fn measure(series: &[&[f64]], size: usize) -> Row {
    let mut encoder = Encoder::new();
    let samples = series.len() * VALUES;
    let (mut ends, mut bytes) = (Vec::new(), Vec::new());
    let encode_ns = best_of(samples, || {
        ends.clear();
        bytes.clear();
        for values in series {
            let mut hint = Hint::default();
            for chunk in values.chunks(size) {
                encoder.encode_shared(700, chunk, &mut hint, &mut bytes);
                ends.push(bytes.len());
            }
        }
    });
    let mut values = Vec::with_capacity(size);
    let decode_ns = best_of(samples, || {
        let mut start = 0;
        for &end in &ends {
            values.clear();
            ChunkView::parse(&bytes[start..end], 0).and_then(|view| view.decode_values_into(&mut values)).expect("our own chunk");
            std::hint::black_box(&values);
            start = end;
        }
    });
    let victoria_bytes = series.iter().flat_map(|values| values.chunks(size)).map(victoria::bytes).sum();
    let zstd_bytes = zstd_bytes(&bytes, &ends);
    Row { chunks: ends.len(), samples, bytes: bytes.len(), zstd_bytes, victoria_bytes, encode_ns, decode_ns }
}

/// Nanoseconds a sample of the fastest of several runs of `work` over `samples`: others use this machine too.
pub fn best_of(samples: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let rounds = 1 + 300_000 / samples;
        let begin = on_processor_ns();
        for _ in 0..rounds {
            work();
        }
        best = best.min((on_processor_ns() - begin) as f64 / (rounds * samples) as f64);
    }
    best
}

/// Nanoseconds that this thread has run, without those it waited for a processor.
fn on_processor_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call and is written only within it.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(outcome, 0, "read the thread's clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn zstd_bytes(bytes: &[u8], ends: &[usize]) -> usize {
    let (mut total, mut start) = (0, 0);
    for (index, &end) in ends.iter().enumerate() {
        if end - start >= GROUP_BYTES || index + 1 == ends.len() {
            total += zstd::bulk::compress(&bytes[start..end], 3).expect("compress into memory").len();
            start = end;
        }
    }
    total
}

fn measure_xor(series: &[&[f64]], size: usize) -> (usize, f64) {
    let mut chunks = Vec::new();
    for values in series {
        for chunk in values.chunks(size) {
            let mut writer = gorilla::BitWriter::default();
            gorilla::encode(chunk, &mut writer);
            chunks.push((writer.bytes, chunk));
        }
    }
    let bytes = chunks.iter().map(|(bytes, _)| bytes.len()).sum();
    let mut values = Vec::with_capacity(size);
    let decode_ns = best_of(series.len() * VALUES, || {
        for (bytes, chunk) in &chunks {
            values.clear();
            gorilla::decode(bytes, chunk.len(), &mut values);
            assert_eq!(&values, chunk, "the yardstick is lossless");
        }
    });
    (bytes, decode_ns)
}

fn timestamps() {
    println!("\ntimestamps, bytes a block and ns a timestamp");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
    for (name, jitter, sleepy) in
        [("regular", 0, false), ("jitter 4 ms", 4, false), ("jitter 40 ms", 40, false), ("sleeps, 4 ms late", 4, true)]
    {
        for size in [120usize, 480, 1920] {
            let mut last = 5000;
            let times: Vec<i64> = (0..size as i64)
                .map(|index| {
                    let late = rand::Rng::random_range(&mut random, 0..=jitter);
                    last += 15_000 + late;
                    if sleepy { last } else { 5000 + index * 15_000 + late }
                })
                .collect();
            let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
            let encode_ns = best_of(size, || {
                bytes.clear();
                encoder.encode_times(0, &times, &mut bytes);
            });
            let mut read = Vec::with_capacity(size);
            let decode_ns = best_of(size, || {
                read.clear();
                let view = tern_storage::chunk::TimesView::parse(&bytes, 0).expect("our own block");
                view.decode_into(&mut read).expect("our own block");
                std::hint::black_box(&read);
            });
            println!("{name:>18} {size:>6} {:>6} {encode_ns:>7.1} {decode_ns:>7.2}", bytes.len());
        }
    }
}

/// Five-minute buckets of the same series.
fn rollups(all: &[(Class, Vec<f64>)]) {
    println!("\nrollups of 5 minutes, bytes a bucket, of day records, and as a share of the samples' bytes in chunks of 1920");
    for (class, _) in CLASSES {
        let (mut encoder, mut buckets, mut records, mut chunks) = (Encoder::new(), Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for (_, values) in all.iter().filter(|(kind, _)| *kind == class) {
            let times: Vec<i64> = (1..=VALUES as i64).map(|index| index * 15_000).collect();
            buckets.clear();
            rollup::fold(&times, values, 300_000, &mut buckets);
            count += buckets.len();
            rollup::encode(0, &buckets, &mut encoder, &mut records);
            for (times, values) in times.chunks(1920).zip(values.chunks(1920)) {
                encoder.encode(0, times, values, &mut Hint::default(), &mut chunks);
            }
        }
        let share = records.len() as f64 / chunks.len() as f64 * 100.0;
        println!("{:>14} {:>7.3} {share:>5.0} %", format!("{class:?}"), records.len() as f64 / count as f64);
    }
}
