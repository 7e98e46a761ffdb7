//! Rollups: what is left of a series when its samples are too old or too many, a few aggregates per time bucket.
//!
//! A bucket of width `w` holds the samples in `(k*w, (k+1)*w]`. Range selectors are left-open too, so a window
//! whose ends lie on bucket borders is exactly a union of buckets, and:
//! `count`, `sum`, `min`, `max`, `avg` and `last_over_time` over it are exact; `increase` is exact before extrapolation
//! ([`Aggregates::merge`] closes the gaps between buckets), and the times of the first and last sample are kept for that.
//!
//! A record holds up to [`BUCKETS_MAX`] consecutive buckets of one series, column by column, lossless:
//!
//! ```text
//! record    version (1)  varint(count)  body  checksum (2, lower half of CRC-32C)
//! body      times of first samples, spans from first to last sample, counts, layout (1), values, growth
//! values    Decimal (exponent in the layout): columns of integers: last, first - last of the bucket before,
//!           min(first, last) - min, max - max(first, last), sum - count * (first + last) / 2, steps of the sum
//!           Plain: sum, min, max, first, last as columns of values
//! growth    Derived: nothing, there are no resets and increase is last - first
//!           Listed: increase - (last - first) and steps of the increase, or, in plain layout, increases as
//!           a column of values; then resets as integers
//! ```
//!
//! Sum and increase of decimals are decimals but for rounding: their *steps* say how many doubles they are off.

use crate::chunk::{Aggregates, Encoder, Hint, STALE_MARKER_BITS, take_integers, take_times, take_values};
use crate::decimal;
use crate::error::{Error, Result};
use crate::varint::{self, Cursor};

/// The most buckets in a record.
pub const BUCKETS_MAX: usize = crate::chunk::SAMPLES_MAX;

const FORMAT: &str = "rollup record";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 2;

/// Layout byte: an exponent, or [`LAYOUT_PLAIN`]; with [`LAYOUT_LISTED`] when the growth is listed.
const LAYOUT_PLAIN: u8 = 31;
const LAYOUT_LISTED: u8 = 1 << 5;

/// One bucket of one series. A bucket without samples does not exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The time of the first sample.
    pub first_ms: i64,
    /// The time of the last sample.
    pub last_ms: i64,
    /// What its samples amount to.
    pub aggregates: Aggregates,
}

impl Bucket {
    /// Appends a later bucket of the same series, for a wider one.
    pub fn merge(&mut self, later: &Self) {
        self.last_ms = later.last_ms;
        self.aggregates.merge(&later.aggregates);
    }
}

/// The number of the bucket of width `width_ms` that holds `timestamp_ms`.
pub fn bucket_of(timestamp_ms: i64, width_ms: i64) -> i64 {
    timestamp_ms.wrapping_sub(1).div_euclid(width_ms)
}

/// Appends the buckets of samples in time order. Stale markers are no samples.
pub fn fold(timestamps: &[i64], values: &[f64], width_ms: i64, buckets: &mut Vec<Bucket>) {
    let mut start = 0;
    while start < timestamps.len() {
        let number = bucket_of(timestamps[start], width_ms);
        let length = timestamps[start..].iter().take_while(|&&time| bucket_of(time, width_ms) == number).count();
        let range = start..start + length;
        if let Some(aggregates) = Aggregates::of(&values[range.clone()]) {
            let is_sample = |index: &usize| values[*index].to_bits() != STALE_MARKER_BITS;
            // Invariant: there are aggregates, so there is a sample in the range.
            let first = range.clone().find(is_sample).expect("a sample");
            let last = range.clone().rev().find(is_sample).unwrap_or(first);
            buckets.push(Bucket { first_ms: timestamps[first], last_ms: timestamps[last], aggregates });
        }
        start += length;
    }
}

/// Merges consecutive buckets into ones of `width_ms`, a multiple of their own width, and appends these.
pub fn widen(narrow: &[Bucket], width_ms: i64, wide: &mut Vec<Bucket>) {
    for group in narrow.chunk_by(|left, right| bucket_of(left.last_ms, width_ms) == bucket_of(right.last_ms, width_ms)) {
        let mut merged = group[0];
        group[1..].iter().for_each(|bucket| merged.merge(bucket));
        wide.push(merged);
    }
}

/// Appends a record of `buckets` in time order to `out`. `base_ms` as in [`crate::chunk`].
///
/// # Panics
/// With no or more than [`BUCKETS_MAX`] buckets.
pub fn encode(base_ms: i64, buckets: &[Bucket], encoder: &mut Encoder, out: &mut Vec<u8>) {
    assert!((1..=BUCKETS_MAX).contains(&buckets.len()), "{} buckets in a record", buckets.len());
    let start = out.len();
    out.push(VERSION);
    varint::put(out, buckets.len() as u64);
    let first_times: Vec<i64> = buckets.iter().map(|bucket| bucket.first_ms).collect();
    encoder.put_times(base_ms, &first_times, out);
    put_integers(encoder, buckets, out, |bucket| bucket.last_ms.wrapping_sub(bucket.first_ms));
    put_integers(encoder, buckets, out, |bucket| bucket.aggregates.count as i64);
    put_values(encoder, buckets, out);
    let checksum = crc32c::crc32c(&out[start..]) as u16;
    out.extend_from_slice(&checksum.to_le_bytes());
}

fn put_integers(encoder: &mut Encoder, buckets: &[Bucket], out: &mut Vec<u8>, column: impl Fn(&Bucket) -> i64) {
    let column: Vec<i64> = buckets.iter().map(column).collect();
    encoder.put_integers(&column, out);
}

fn put_values(encoder: &mut Encoder, buckets: &[Bucket], out: &mut Vec<u8>) {
    let derived = buckets.iter().all(|bucket| has_derived_growth(&bucket.aggregates));
    let growth = if derived { 0 } else { LAYOUT_LISTED };
    match decimals(buckets) {
        Some((exponent, decimals)) => {
            out.push(exponent | growth);
            let columns = to_columns(buckets, &decimals);
            let written = if derived { VALUE_COLUMNS } else { COLUMNS };
            columns[..written].iter().for_each(|column| encoder.put_integers(column, out));
        }
        None => {
            out.push(LAYOUT_PLAIN | growth);
            for column in 0..5 {
                put_column(encoder, buckets, out, |aggregates| plain_columns(aggregates)[column]);
            }
            if !derived {
                put_column(encoder, buckets, out, |aggregates| aggregates.increase);
            }
        }
    }
    if !derived {
        put_integers(encoder, buckets, out, |bucket| bucket.aggregates.resets as i64);
    }
}

fn put_column(encoder: &mut Encoder, buckets: &[Bucket], out: &mut Vec<u8>, column: impl Fn(&Aggregates) -> f64) {
    let column: Vec<f64> = buckets.iter().map(|bucket| column(&bucket.aggregates)).collect();
    encoder.put_values(&column, &mut Hint::default(), out);
}

fn has_derived_growth(aggregates: &Aggregates) -> bool {
    aggregates.resets == 0 && (aggregates.last - aggregates.first).to_bits() == aggregates.increase.to_bits()
}

fn plain_columns(aggregates: &Aggregates) -> [f64; 5] {
    [aggregates.sum, aggregates.min, aggregates.max, aggregates.first, aggregates.last]
}

/// Columns of integers in the decimal layout, and how many of them are values and no growth.
const COLUMNS: usize = 8;
const VALUE_COLUMNS: usize = 6;

/// A bucket's values as mantissas, with the steps that sum and increase are off.
#[derive(Clone, Copy)]
struct Decimals {
    min: i64,
    max: i64,
    first: i64,
    last: i64,
    sum: (i64, i64),
    increase: (i64, i64),
}

/// All values as decimals of one exponent, if they are.
fn decimals(buckets: &[Bucket]) -> Option<(u8, Vec<Decimals>)> {
    let mut exponent = 0;
    for Bucket { aggregates, .. } in buckets {
        for value in [aggregates.min, aggregates.max, aggregates.first, aggregates.last] {
            exponent = exponent.max(decimal::smallest(value)?.0);
        }
    }
    let power = decimal::power(exponent);
    let of_bucket = |Bucket { aggregates, .. }: &Bucket| {
        Some(Decimals {
            min: decimal::mantissa(aggregates.min, power)?,
            max: decimal::mantissa(aggregates.max, power)?,
            first: decimal::mantissa(aggregates.first, power)?,
            last: decimal::mantissa(aggregates.last, power)?,
            sum: decimal::nearest(aggregates.sum, power)?,
            increase: decimal::nearest(aggregates.increase, power)?,
        })
    };
    Some((exponent, buckets.iter().map(of_bucket).collect::<Option<_>>()?))
}

/// What the sum of a bucket is near to.
fn expected_sum(count: u64, first: i64, last: i64) -> i64 {
    (count as i64).wrapping_mul(first.wrapping_add(last)) / 2
}

/// The integer columns: each is small where the buckets of a series are as usual.
fn to_columns(buckets: &[Bucket], decimals: &[Decimals]) -> [Vec<i64>; COLUMNS] {
    let mut columns = [const { Vec::new() }; COLUMNS];
    let mut last_before = decimals[0].last;
    for (bucket, &Decimals { min, max, first, last, sum, increase }) in buckets.iter().zip(decimals) {
        let row = [
            last,
            first.wrapping_sub(last_before),
            first.min(last).wrapping_sub(min),
            max.wrapping_sub(first.max(last)),
            sum.0.wrapping_sub(expected_sum(bucket.aggregates.count, first, last)),
            sum.1,
            increase.0.wrapping_sub(last.wrapping_sub(first)),
            increase.1,
        ];
        columns.iter_mut().zip(row).for_each(|(column, number)| column.push(number));
        last_before = last;
    }
    columns
}

/// The inverse of one row of [`to_columns`].
fn from_row(row: [i64; COLUMNS], last_before: i64, count: u64) -> Decimals {
    let [last, first_step, below, above, sum, sum_steps, increase, increase_steps] = row;
    let first = last_before.wrapping_add(first_step);
    Decimals {
        min: first.min(last).wrapping_sub(below),
        max: first.max(last).wrapping_add(above),
        first,
        last,
        sum: (sum.wrapping_add(expected_sum(count, first, last)), sum_steps),
        increase: (increase.wrapping_add(last.wrapping_sub(first)), increase_steps),
    }
}

/// Appends the buckets of a record to `buckets`. Never panics, whatever the bytes; on an error what was
/// appended is unspecified.
pub fn decode(bytes: &[u8], base_ms: i64, buckets: &mut Vec<Bucket>) -> Result<()> {
    let corrupt = |detail| Error::Corrupt { what: FORMAT, detail };
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(corrupt("ends too early"))?;
    if (crc32c::crc32c(body) as u16).to_le_bytes() != *checksum {
        return Err(corrupt("checksum differs"));
    }
    let mut cursor = Cursor::new(body, FORMAT);
    match cursor.byte()? {
        VERSION => {}
        version => return Err(Error::Unsupported { what: "rollup version", found: u64::from(version) }),
    }
    let count = cursor.count(BUCKETS_MAX)?;
    if count == 0 {
        return Err(corrupt("no buckets"));
    }
    let from = buckets.len();
    let (mut first_times, mut spans, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    take_times(&mut cursor, base_ms, count, &mut first_times)?;
    take_integers(&mut cursor, count, &mut spans)?;
    take_integers(&mut cursor, count, &mut counts)?;
    buckets.extend((0..count).map(|index| Bucket {
        first_ms: first_times[index],
        last_ms: first_times[index].wrapping_add(spans[index]),
        aggregates: Aggregates { count: counts[index] as u64, ..Aggregates::NOTHING },
    }));
    take_all_values(&mut cursor, &mut buckets[from..])?;
    if cursor.is_empty() { Ok(()) } else { Err(corrupt("bytes left over")) }
}

fn take_all_values(cursor: &mut Cursor<'_>, buckets: &mut [Bucket]) -> Result<()> {
    let layout = cursor.byte()?;
    let listed = layout & LAYOUT_LISTED != 0;
    match layout & !LAYOUT_LISTED {
        LAYOUT_PLAIN => take_plain(cursor, buckets, listed)?,
        exponent if exponent <= decimal::EXPONENT_MAX => take_decimals(cursor, exponent, buckets, listed)?,
        _ => return Err(cursor.corrupt("unknown layout")),
    }
    if !listed {
        for Bucket { aggregates, .. } in buckets {
            aggregates.increase = aggregates.last - aggregates.first;
        }
        return Ok(());
    }
    let mut resets = Vec::new();
    take_integers(cursor, buckets.len(), &mut resets)?;
    buckets.iter_mut().zip(resets).for_each(|(bucket, resets)| bucket.aggregates.resets = resets as u64);
    Ok(())
}

fn take_plain(cursor: &mut Cursor<'_>, buckets: &mut [Bucket], listed: bool) -> Result<()> {
    let mut columns = [const { Vec::new() }; 6];
    let written = if listed { 6 } else { 5 };
    for column in &mut columns[..written] {
        take_values(cursor, buckets.len(), column)?;
    }
    columns[written..].iter_mut().for_each(|column| column.resize(buckets.len(), 0.0));
    for (index, bucket) in buckets.iter_mut().enumerate() {
        let [sum, min, max, first, last, increase] = columns.each_ref().map(|column| column[index]);
        bucket.aggregates = Aggregates { sum, min, max, first, last, increase, ..bucket.aggregates };
    }
    Ok(())
}

fn take_decimals(cursor: &mut Cursor<'_>, exponent: u8, buckets: &mut [Bucket], listed: bool) -> Result<()> {
    let mut columns = [const { Vec::new() }; COLUMNS];
    let written = if listed { COLUMNS } else { VALUE_COLUMNS };
    for column in &mut columns[..written] {
        take_integers(cursor, buckets.len(), column)?;
    }
    columns[written..].iter_mut().for_each(|column| column.resize(buckets.len(), 0));
    let power = decimal::power(exponent);
    let exact = |mantissa: i64| mantissa as f64 / power;
    let mut last_before = columns[0][0];
    for (index, bucket) in buckets.iter_mut().enumerate() {
        let decimals = from_row(columns.each_ref().map(|column| column[index]), last_before, bucket.aggregates.count);
        bucket.aggregates = Aggregates {
            sum: decimal::from_nearest(decimals.sum.0, power, decimals.sum.1),
            min: exact(decimals.min),
            max: exact(decimals.max),
            first: exact(decimals.first),
            last: exact(decimals.last),
            increase: decimal::from_nearest(decimals.increase.0, power, decimals.increase.1),
            ..bucket.aggregates
        };
        last_before = decimals.last;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
