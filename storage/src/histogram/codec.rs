//! The encoded form of one histogram: compact, without context, one form for each histogram.
//!
//! ```text
//! flags           bit 0 float counts, bits 1-2 reset hint, bits 3-4 zero threshold (0: 0.0, 1: 2^-128, 2: eight bytes follow)
//! signed(schema)  [zero threshold (8)]  sum (8)
//! spans           positive, then negative: varint(count) { signed(offset) varint(length) }
//! custom values   varint(count) { bound (8) }
//! counts          integer: varint(count) varint(zero count) { signed(difference to the bucket before) }, each side from zero
//!                 float:   count (8) zero count (8) { bucket (8) }
//! ```

use super::{BUCKETS_MAX, Counts, Histogram, ResetHint, Span, bucket_count};
use crate::error::Result;
use crate::varint::{self, Cursor};

const FORMAT: &str = "histogram";
const FLAG_FLOAT: u8 = 1;
const HINT_SHIFT: u8 = 1;
const THRESHOLD_SHIFT: u8 = 3;
const FLAGS_USED: u8 = 0x1f;
const THRESHOLD_ZERO: u8 = 0;
const THRESHOLD_USUAL: u8 = 1;
const THRESHOLD_RAW: u8 = 2;
/// What instrumentation libraries use unless told otherwise: 2^-128.
const USUAL_THRESHOLD_BITS: u64 = 0x37f0_0000_0000_0000;

/// See [`Histogram::encode`].
pub(super) fn encode(histogram: &Histogram, out: &mut Vec<u8>) {
    let is_float = matches!(histogram.counts, Counts::Float { .. });
    let threshold = match histogram.zero_threshold.to_bits() {
        0 => THRESHOLD_ZERO,
        USUAL_THRESHOLD_BITS => THRESHOLD_USUAL,
        _ => THRESHOLD_RAW,
    };
    let hint = histogram.reset_hint.to_bits() << HINT_SHIFT;
    out.push(if is_float { FLAG_FLOAT } else { 0 } | hint | (threshold << THRESHOLD_SHIFT));
    varint::put_signed(out, i64::from(histogram.schema));
    if threshold == THRESHOLD_RAW {
        put_float(out, histogram.zero_threshold);
    }
    put_float(out, histogram.sum);
    put_spans(out, &histogram.positive_spans);
    put_spans(out, &histogram.negative_spans);
    varint::put(out, histogram.custom_values.len() as u64);
    histogram.custom_values.iter().for_each(|bound| put_float(out, *bound));
    match &histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            varint::put(out, *count);
            varint::put(out, *zero_count);
            put_differences(out, positive);
            put_differences(out, negative);
        }
        Counts::Float { count, zero_count, positive, negative } => {
            for value in [count, zero_count].into_iter().chain(positive).chain(negative) {
                put_float(out, *value);
            }
        }
    }
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a list of spans.
pub(super) fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    varint::put(out, spans.len() as u64);
    for span in spans {
        varint::put_signed(out, i64::from(span.offset));
        varint::put(out, u64::from(span.length));
    }
}

fn put_differences(out: &mut Vec<u8>, buckets: &[u64]) {
    let mut before = 0;
    for &bucket in buckets {
        varint::put_signed(out, bucket.wrapping_sub(before) as i64);
        before = bucket;
    }
}

/// See [`Histogram::decode`].
pub(super) fn decode(bytes: &[u8]) -> Result<Histogram> {
    let mut cursor = Cursor::new(bytes, FORMAT);
    let histogram = take(&mut cursor)?;
    if !cursor.is_empty() {
        return Err(cursor.corrupt("bytes left over"));
    }
    let mut again = Vec::with_capacity(bytes.len());
    encode(&histogram, &mut again);
    if again == bytes { Ok(histogram) } else { Err(cursor.corrupt("not in its one form")) }
}

fn take(cursor: &mut Cursor<'_>) -> Result<Histogram> {
    let flags = cursor.byte()?;
    if flags & !FLAGS_USED != 0 {
        return Err(cursor.corrupt("unknown flags"));
    }
    let schema = i32::try_from(cursor.signed()?).map_err(|_| cursor.corrupt("schema out of range"))?;
    let zero_threshold = match flags >> THRESHOLD_SHIFT {
        THRESHOLD_ZERO => 0.0,
        THRESHOLD_USUAL => f64::from_bits(USUAL_THRESHOLD_BITS),
        _ => take_float(cursor)?,
    };
    let sum = take_float(cursor)?;
    let positive_spans = take_spans(cursor)?;
    let negative_spans = take_spans(cursor)?;
    let custom_values = cursor.count(cursor.rest().len() / 8)?;
    let custom_values = take_floats(cursor, custom_values)?;
    let (positives, negatives) = (bucket_count(&positive_spans), bucket_count(&negative_spans));
    // Every bucket has a byte at least.
    if positives + negatives > cursor.rest().len().min(BUCKETS_MAX) {
        return Err(cursor.corrupt("more buckets than bytes for them"));
    }
    let counts = if flags & FLAG_FLOAT != 0 {
        let (count, zero_count) = (take_float(cursor)?, take_float(cursor)?);
        Counts::Float { count, zero_count, positive: take_floats(cursor, positives)?, negative: take_floats(cursor, negatives)? }
    } else {
        let (count, zero_count) = (cursor.varint()?, cursor.varint()?);
        let positive = take_differences(cursor, positives)?;
        Counts::Integer { count, zero_count, positive, negative: take_differences(cursor, negatives)? }
    };
    let reset_hint = ResetHint::from_bits(flags >> HINT_SHIFT);
    Ok(Histogram { reset_hint, schema, zero_threshold, sum, counts, positive_spans, negative_spans, custom_values })
}

fn take_float(cursor: &mut Cursor<'_>) -> Result<f64> {
    Ok(f64::from_bits(u64::from_le_bytes(cursor.array()?)))
}

fn take_floats(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<f64>> {
    let (values, _) = cursor.take(count * 8)?.as_chunks::<8>();
    Ok(values.iter().map(|bytes| f64::from_bits(u64::from_le_bytes(*bytes))).collect())
}

/// Reads a list of spans; together they have at most [`BUCKETS_MAX`] buckets, whose indexes fit and rise.
pub(super) fn take_spans(cursor: &mut Cursor<'_>) -> Result<Vec<Span>> {
    // A span has two bytes at least.
    let count = cursor.count(cursor.rest().len() / 2)?;
    let mut spans = Vec::with_capacity(count);
    let (mut buckets, mut end) = (0, 0i32);
    for number in 0..count {
        let offset = i32::try_from(cursor.signed()?).map_err(|_| cursor.corrupt("span out of range"))?;
        let length = cursor.count(BUCKETS_MAX)? as u32;
        if number > 0 && offset < 0 {
            return Err(cursor.corrupt("spans overlap"));
        }
        buckets += length as usize;
        let next = end.checked_add(offset).and_then(|first| first.checked_add(length as i32));
        end = next.filter(|_| buckets <= BUCKETS_MAX).ok_or_else(|| cursor.corrupt("spans out of range"))?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn take_differences(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<u64>> {
    let mut bucket = 0u64;
    let next = |_| {
        bucket = bucket.wrapping_add(cursor.signed()? as u64);
        Ok(bucket)
    };
    (0..count).map(next).collect()
}

impl ResetHint {
    /// As two bits.
    pub(super) fn to_bits(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Reset => 1,
            Self::NotReset => 2,
            Self::Gauge => 3,
        }
    }

    /// From the lowest two bits.
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Unknown,
            1 => Self::Reset,
            2 => Self::NotReset,
            _ => Self::Gauge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn histograms_come_back(histogram in samples::any_histogram()) {
            let bytes = histogram.encoded();
            let decoded = decode(&bytes).unwrap();
            // By their one form, for NaN differs from itself.
            prop_assert_eq!(decoded.encoded(), bytes.clone());
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes[..length]).is_err());
            }
        }

        #[test]
        fn any_bytes_end_well(bytes: Vec<u8>, histogram in samples::any_histogram(), place: prop::sample::Index, byte: u8) {
            let _ = decode(&bytes);
            let mut damaged = histogram.encoded();
            let place = place.index(damaged.len());
            damaged[place] = byte;
            if let Ok(decoded) = decode(&damaged) {
                prop_assert_eq!(decoded.encoded(), damaged);
            }
        }
    }

    #[test]
    fn a_usual_histogram_is_small() {
        let bytes = samples::latencies(1).encoded().len();
        assert!(bytes < 60, "{bytes} bytes");
    }

    #[test]
    fn a_second_spelling_is_refused() {
        let mut bytes = samples::latencies(1).encoded();
        let last = bytes.pop().unwrap();
        bytes.extend_from_slice(&[last | 0x80, 0]);
        assert!(decode(&bytes).is_err());
    }

    /// Logs outlive builds: a change of the format needs a new section of the batch, not a new expectation here.
    #[test]
    fn the_format_is_what_it_was() {
        let hex: String = samples::latencies(3).encoded().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0806ccccccccccdc5e400207010602000027030c0c0c");
    }
}
