//! Histograms of one series on disk and between nodes: columns over time, nothing lost.
//!
//! A chunk holds histograms of one *frame* (schema, zero threshold, custom bounds, integer or float counts). Which buckets there are
//! may change within it, as it does when a program meets new latencies: the *layouts* are listed, and every bucket that any of
//! them has is one column over all samples. So a bucket that appears costs a layout of a few bytes, not a new chunk.
//!
//! All chunks of a series in a run stand behind each other, `varint(length) chunk` each.
//!
//! ```text
//! head      version (1)  is float (1)  varint(samples)
//! frame     signed(schema)  zero threshold (8)  varint(bounds) { bound (8) }
//! times     see `chunk`
//! runs      { varint(samples)  byte(reset hint | has layout << 2)  [positive spans  negative spans] } until all samples are named
//! columns   sum, count, zero count, buckets by rising index, positive ones first; absent buckets count as zero
//! crc32c (4, little endian)
//! ```

use std::collections::BTreeSet;

use super::codec::{put_spans, take_spans};
use super::{BUCKETS_MAX, Counts, Histogram, ResetHint, Span, bucket_count, indexes};
use crate::chunk::{self, Encoder, Hint, SAMPLES_MAX};
use crate::error::{Error, Result};
use crate::varint::{self, Cursor};

const FORMAT: &str = "histogram chunk";
const VERSION: u8 = 0;
const CHECKSUM_BYTES: usize = 4;
const HAS_LAYOUT: u8 = 1 << 2;
/// Numbers in the columns of a chunk of several samples, so that a reader's memory is bounded.
const CELLS_MAX: usize = 1 << 20;
/// A chunk ends when its columns are more than twice those of its largest layout and this many.
const SPARE_COLUMNS: usize = 32;

/// A histogram and its time.
pub type Sample = (i64, Histogram);

/// Appends the samples, which are in the order of time, to `out`: as one chunk, or as more where frames change.
pub fn encode(encoder: &mut Encoder, base_ms: i64, mut samples: &[Sample], out: &mut Vec<u8>) {
    while !samples.is_empty() {
        let (length, buckets) = stretch(samples);
        let (now, later) = samples.split_at(length);
        let chunk = encode_one(encoder, base_ms, now, &buckets);
        varint::put(out, chunk.len() as u64);
        out.extend_from_slice(&chunk);
        samples = later;
    }
}

/// The buckets of all samples of a chunk.
#[derive(Clone, Default)]
struct Buckets {
    positive: BTreeSet<i32>,
    negative: BTreeSet<i32>,
}

impl Buckets {
    fn add(&mut self, layout: &Layout<'_>) {
        self.positive.extend(indexes(layout.positive));
        self.negative.extend(indexes(layout.negative));
    }

    fn count(&self) -> usize {
        self.positive.len() + self.negative.len()
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Layout<'a> {
    positive: &'a [Span],
    negative: &'a [Span],
}

impl<'a> Layout<'a> {
    fn of(histogram: &'a Histogram) -> Self {
        Self { positive: &histogram.positive_spans, negative: &histogram.negative_spans }
    }

    fn buckets(&self) -> usize {
        bucket_count(self.positive) + bucket_count(self.negative)
    }
}

/// How many of the samples (at least one) go into one chunk, and their buckets.
fn stretch(samples: &[Sample]) -> (usize, Buckets) {
    let first = &samples[0].1;
    let mut layout = Layout::of(first);
    let mut largest = layout.buckets();
    let mut buckets = Buckets::default();
    buckets.add(&layout);
    for (position, (_, histogram)) in samples.iter().enumerate().skip(1) {
        if position == SAMPLES_MAX || !same_frame(first, histogram) {
            return (position, buckets);
        }
        let here = Layout::of(histogram);
        if here != layout {
            let mut grown = buckets.clone();
            grown.add(&here);
            largest = largest.max(here.buckets());
            if grown.count() > 2 * largest + SPARE_COLUMNS {
                return (position, buckets);
            }
            if grown.count() * (position + 1) > CELLS_MAX {
                return (position, buckets);
            }
            (layout, buckets) = (here, grown);
        } else if buckets.count() * (position + 1) > CELLS_MAX {
            return (position, buckets);
        }
    }
    (samples.len(), buckets)
}

fn same_frame(one: &Histogram, other: &Histogram) -> bool {
    let bits = |histogram: &Histogram| histogram.custom_values.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>();
    one.schema == other.schema
        && one.zero_threshold.to_bits() == other.zero_threshold.to_bits()
        && std::mem::discriminant(&one.counts) == std::mem::discriminant(&other.counts)
        && (one.custom_values.is_empty() && other.custom_values.is_empty() || bits(one) == bits(other))
}

fn encode_one(encoder: &mut Encoder, base_ms: i64, samples: &[Sample], buckets: &Buckets) -> Vec<u8> {
    let mut out = Vec::new();
    let first = &samples[0].1;
    let is_float = matches!(first.counts, Counts::Float { .. });
    out.extend_from_slice(&[VERSION, u8::from(is_float)]);
    varint::put(&mut out, samples.len() as u64);
    varint::put_signed(&mut out, i64::from(first.schema));
    out.extend_from_slice(&first.zero_threshold.to_bits().to_le_bytes());
    varint::put(&mut out, first.custom_values.len() as u64);
    first.custom_values.iter().for_each(|bound| out.extend_from_slice(&bound.to_bits().to_le_bytes()));
    let times: Vec<i64> = samples.iter().map(|sample| sample.0).collect();
    encoder.put_times(base_ms, &times, &mut out);
    put_runs(samples, &mut out);
    let sums: Vec<f64> = samples.iter().map(|sample| sample.1.sum).collect();
    encoder.put_values(&sums, &mut Hint::default(), &mut out);
    let columns = Columns::of(samples, buckets);
    for column in columns.bits.chunks_exact(samples.len()) {
        if is_float {
            let values: Vec<f64> = column.iter().map(|bits| f64::from_bits(*bits as u64)).collect();
            encoder.put_values(&values, &mut Hint::default(), &mut out);
        } else {
            encoder.put_integers(column, &mut out);
        }
    }
    let checksum = crc32c::crc32c(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn put_runs(samples: &[Sample], out: &mut Vec<u8>) {
    let mut before = None;
    let alike = |one: &Sample, other: &Sample| one.1.reset_hint == other.1.reset_hint && Layout::of(&one.1) == Layout::of(&other.1);
    for run in samples.chunk_by(alike) {
        let histogram = &run[0].1;
        let layout = Layout::of(histogram);
        let is_new = before != Some(layout);
        varint::put(out, run.len() as u64);
        out.push(histogram.reset_hint.to_bits() | if is_new { HAS_LAYOUT } else { 0 });
        if is_new {
            put_spans(out, layout.positive);
            put_spans(out, layout.negative);
        }
        before = Some(layout);
    }
}

/// Count, zero count and buckets of all samples, one column after the other; floats as their bits.
struct Columns {
    bits: Vec<i64>,
}

impl Columns {
    fn of(samples: &[Sample], buckets: &Buckets) -> Self {
        let rows = samples.len();
        let mut bits = vec![0i64; (2 + buckets.count()) * rows];
        let positive: Vec<i32> = buckets.positive.iter().copied().collect();
        let negative: Vec<i32> = buckets.negative.iter().copied().collect();
        for (row, (_, histogram)) in samples.iter().enumerate() {
            let mut put = |column: usize, value: u64| bits[column * rows + row] = value as i64;
            let mut put_side = |first: usize, all: &[i32], spans: &[Span], values: &mut dyn Iterator<Item = u64>| {
                let mut column = 0;
                for (index, value) in indexes(spans).zip(values) {
                    while all[column] < index {
                        column += 1;
                    }
                    put(first + column, value);
                }
            };
            let (spans, more_spans, second) = (&histogram.positive_spans, &histogram.negative_spans, 2 + positive.len());
            match &histogram.counts {
                Counts::Integer { count, zero_count, positive: values, negative: more } => {
                    put_side(2, &positive, spans, &mut values.iter().copied());
                    put_side(second, &negative, more_spans, &mut more.iter().copied());
                    put(0, *count);
                    put(1, *zero_count);
                }
                Counts::Float { count, zero_count, positive: values, negative: more } => {
                    put_side(2, &positive, spans, &mut values.iter().map(|value| value.to_bits()));
                    put_side(second, &negative, more_spans, &mut more.iter().map(|value| value.to_bits()));
                    put(0, count.to_bits());
                    put(1, zero_count.to_bits());
                }
            }
        }
        Self { bits }
    }
}

/// The last time in chunks that were encoded with the same `base_ms`.
pub fn last_ms(bytes: &[u8], base_ms: i64) -> Result<i64> {
    let mut last = None;
    for chunk in parts(bytes) {
        last = open(chunk?, base_ms)?.1.times.last().copied();
    }
    last.ok_or(Error::Corrupt { what: FORMAT, detail: "no samples" })
}

/// Appends the samples of `start_ms..=end_ms` of chunks that were encoded with the same `base_ms`. Never panics, whatever the
/// bytes; on an error what was appended is unspecified.
pub fn decode(bytes: &[u8], base_ms: i64, start_ms: i64, end_ms: i64, samples: &mut Vec<Sample>) -> Result<()> {
    parts(bytes).try_for_each(|chunk| decode_one(chunk?, base_ms, start_ms, end_ms, samples))
}

fn parts(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    let mut cursor = Cursor::new(bytes, FORMAT);
    std::iter::from_fn(move || {
        if cursor.is_empty() {
            return None;
        }
        let chunk = cursor.count(usize::MAX).and_then(|length| cursor.take(length));
        if chunk.is_err() {
            cursor = Cursor::new(&[], FORMAT);
        }
        Some(chunk)
    })
}

fn decode_one(bytes: &[u8], base_ms: i64, start_ms: i64, end_ms: i64, samples: &mut Vec<Sample>) -> Result<()> {
    let (frame, Opened { times, mut cursor }) = open(bytes, base_ms)?;
    if times.first().is_none_or(|first| *first > end_ms) || times.last().is_none_or(|last| *last < start_ms) {
        return Ok(());
    }
    let runs = take_runs(&mut cursor, times.len())?;
    let columns = take_columns(&mut cursor, &frame, &runs, times.len())?;
    let mut row = 0;
    for run in &runs {
        for _ in 0..run.length {
            if (start_ms..=end_ms).contains(&times[row]) {
                samples.push((times[row], columns.histogram(&frame, run, row)));
            }
            row += 1;
        }
    }
    Ok(())
}

/// What all histograms of a chunk have in common.
struct Frame {
    is_float: bool,
    schema: i32,
    zero_threshold: f64,
    custom_values: Vec<f64>,
}

struct Opened<'a> {
    times: Vec<i64>,
    /// Begins at the runs.
    cursor: Cursor<'a>,
}

fn open(bytes: &[u8], base_ms: i64) -> Result<(Frame, Opened<'_>)> {
    let corrupt = |detail| Error::Corrupt { what: FORMAT, detail };
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(corrupt("too short"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Err(corrupt("checksum differs"));
    }
    let mut cursor = Cursor::new(body, FORMAT);
    match cursor.byte()? {
        VERSION => {}
        version => return Err(Error::Unsupported { what: "histogram chunk version", found: u64::from(version) }),
    }
    let is_float = cursor.byte()? != 0;
    let count = cursor.count(SAMPLES_MAX)?;
    if count == 0 {
        return Err(corrupt("no samples"));
    }
    let schema = i32::try_from(cursor.signed()?).map_err(|_| corrupt("schema out of range"))?;
    let zero_threshold = f64::from_bits(u64::from_le_bytes(cursor.array()?));
    let bounds = cursor.count(cursor.rest().len() / 8)?;
    let (bounds, _) = cursor.take(bounds * 8)?.as_chunks::<8>();
    let custom_values = bounds.iter().map(|bytes| f64::from_bits(u64::from_le_bytes(*bytes))).collect();
    let mut times = Vec::new();
    chunk::take_times(&mut cursor, base_ms, count, &mut times)?;
    Ok((Frame { is_float, schema, zero_threshold, custom_values }, Opened { times, cursor }))
}

/// Neighbouring samples with the same layout and hint.
struct Run {
    length: usize,
    reset_hint: ResetHint,
    positive: Vec<Span>,
    negative: Vec<Span>,
}

fn take_runs(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut left = count;
    while left > 0 {
        let length = cursor.count(left)?;
        let flags = cursor.byte()?;
        if length == 0 || flags & !(HAS_LAYOUT | 3) != 0 {
            return Err(cursor.corrupt("a run of no samples, or of an unknown kind"));
        }
        let (positive, negative) = if flags & HAS_LAYOUT != 0 {
            (take_spans(cursor)?, take_spans(cursor)?)
        } else {
            let last = runs.last().ok_or_else(|| cursor.corrupt("the first run has no layout"))?;
            (last.positive.clone(), last.negative.clone())
        };
        runs.push(Run { length, reset_hint: ResetHint::from_bits(flags), positive, negative });
        left -= length;
    }
    Ok(runs)
}

/// Decoded columns: each with the same number of rows.
struct Decoded {
    rows: usize,
    positive: Vec<i32>,
    negative: Vec<i32>,
    sums: Vec<f64>,
    /// Count, zero count, buckets; as `integers` or `floats`.
    integers: Vec<i64>,
    floats: Vec<f64>,
}

fn take_columns(cursor: &mut Cursor<'_>, frame: &Frame, runs: &[Run], rows: usize) -> Result<Decoded> {
    let mut buckets = Buckets::default();
    for run in runs {
        buckets.add(&Layout { positive: &run.positive, negative: &run.negative });
        if buckets.count() > 4 * BUCKETS_MAX {
            return Err(cursor.corrupt("too many buckets"));
        }
    }
    let columns = 2 + buckets.count();
    // Every column has a byte at least.
    if columns > cursor.rest().len() || rows > 1 && buckets.count() * rows > CELLS_MAX {
        return Err(cursor.corrupt("more columns than there can be"));
    }
    let (mut sums, mut integers, mut floats) = (Vec::new(), Vec::new(), Vec::new());
    chunk::take_values(cursor, rows, &mut sums)?;
    for _ in 0..columns {
        if frame.is_float {
            chunk::take_values(cursor, rows, &mut floats)?;
        } else {
            chunk::take_integers(cursor, rows, &mut integers)?;
        }
    }
    if !cursor.is_empty() || sums.len() != rows || integers.len() + floats.len() != columns * rows {
        return Err(cursor.corrupt("columns of another length"));
    }
    let (positive, negative) = (buckets.positive.into_iter().collect(), buckets.negative.into_iter().collect());
    Ok(Decoded { rows, positive, negative, sums, integers, floats })
}

impl Decoded {
    fn histogram(&self, frame: &Frame, run: &Run, row: usize) -> Histogram {
        let second = 2 + self.positive.len();
        let counts = if frame.is_float {
            let at = |column: usize| self.floats[column * self.rows + row];
            Counts::Float {
                count: at(0),
                zero_count: at(1),
                positive: side(&self.positive, &run.positive, |column| at(2 + column)),
                negative: side(&self.negative, &run.negative, |column| at(second + column)),
            }
        } else {
            let at = |column: usize| self.integers[column * self.rows + row] as u64;
            Counts::Integer {
                count: at(0),
                zero_count: at(1),
                positive: side(&self.positive, &run.positive, |column| at(2 + column)),
                negative: side(&self.negative, &run.negative, |column| at(second + column)),
            }
        };
        Histogram {
            reset_hint: run.reset_hint,
            schema: frame.schema,
            zero_threshold: frame.zero_threshold,
            sum: self.sums[row],
            counts,
            positive_spans: run.positive.clone(),
            negative_spans: run.negative.clone(),
            custom_values: frame.custom_values.clone(),
        }
    }
}

/// The counts of one side: `all` are the indexes of its columns, among them all those of `spans`; both rise.
fn side<T>(all: &[i32], spans: &[Span], at: impl Fn(usize) -> T) -> Vec<T> {
    let mut column = 0;
    let place = |index: i32| {
        while all[column] < index {
            column += 1;
        }
        at(column)
    };
    indexes(spans).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;

    fn encoded(samples: &[Sample]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut Encoder::new(), 1_000, samples, &mut bytes);
        bytes
    }

    fn chunks_of(samples: &[Sample]) -> Vec<Vec<u8>> {
        parts(&encoded(samples)).map(|chunk| chunk.unwrap().to_vec()).collect()
    }

    fn assert_come_back(samples: &[Sample]) -> usize {
        let bytes = encoded(samples);
        let mut decoded = Vec::new();
        decode(&bytes, 1_000, i64::MIN, i64::MAX, &mut decoded).unwrap();
        assert_eq!(last_ms(&bytes, 1_000).unwrap(), decoded.last().unwrap().0);
        let forms = |samples: &[Sample]| samples.iter().map(|(time, histogram)| (*time, histogram.encoded())).collect::<Vec<_>>();
        assert_eq!(forms(&decoded), forms(samples));
        bytes.len()
    }

    /// A counter that meets new buckets now and then.
    fn growing(count: u64) -> Vec<Sample> {
        let grown = |number: u64| {
            let mut histogram = samples::latencies(number + 1);
            let extra = (number / 50) as u32;
            histogram.positive_spans.push(Span { offset: 1, length: extra });
            let Counts::Integer { count, positive, .. } = &mut histogram.counts else { unreachable!("latencies are integers") };
            positive.extend((0..u64::from(extra)).map(|bucket| number * (bucket + 1) % 97));
            *count = positive.iter().sum::<u64>() + number + 1;
            (1_000 + number as i64 * 15_000, histogram)
        };
        (0..count).map(grown).collect()
    }

    proptest! {
        #[test]
        fn histograms_come_back(list in prop::collection::vec((0..9_000i64, samples::any_histogram(), 1..4usize), 1..12)) {
            let mut time = 0;
            let repeated = list.into_iter().flat_map(|(step, histogram, times)| std::iter::repeat_n((step, histogram), times));
            let samples: Vec<Sample> = repeated.map(|(step, histogram)| { time += step; (time, histogram) }).collect();
            assert_come_back(&samples);
        }

        #[test]
        fn damaged_chunks_end_well(place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut chunk = chunks_of(&growing(120)).remove(0);
            let body = chunk.len() - CHECKSUM_BYTES;
            chunk.truncate(body);
            let place = place.index(body);
            chunk[place] = byte;
            chunk.truncate(cut.index(body).max(body / 2) + 1);
            let checksum = crc32c::crc32c(&chunk);
            chunk.extend_from_slice(&checksum.to_le_bytes());
            let _ = decode_one(&chunk, 0, i64::MIN, i64::MAX, &mut Vec::new());
        }

        #[test]
        fn any_bytes_end_well(mut bytes: Vec<u8>) {
            let _ = decode(&bytes, 0, i64::MIN, i64::MAX, &mut Vec::new());
            let checksum = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&checksum.to_le_bytes());
            let _ = decode_one(&bytes, 0, i64::MIN, i64::MAX, &mut Vec::new());
        }
    }

    #[test]
    fn a_growing_counter_stays_one_chunk_and_is_small() {
        let samples = growing(480);
        assert_eq!(chunks_of(&samples).len(), 1);
        let bytes = assert_come_back(&samples);
        println!("{:.1} bytes a sample", bytes as f64 / 480.0);
        assert!(bytes < 480 * 16, "{bytes} bytes for 480 histograms of 3 to 12 buckets");
    }

    #[test]
    fn frames_are_told_apart() {
        let histograms = [samples::latencies(1), samples::custom(1), samples::gauge(1), samples::stale(), samples::latencies(2)];
        let samples: Vec<Sample> = histograms.into_iter().enumerate().map(|(number, histogram)| (number as i64, histogram)).collect();
        assert_eq!(chunks_of(&samples).len(), 5);
        assert_come_back(&samples);
    }

    #[test]
    fn a_range_is_cut_out() {
        let samples = growing(10);
        let mut decoded = Vec::new();
        decode(&encoded(&samples), 1_000, samples[3].0, samples[5].0, &mut decoded).unwrap();
        assert_eq!(decoded, samples[3..=5]);
    }
}
