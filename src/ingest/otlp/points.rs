//! The data points of the five kinds of metrics, read from their bytes.
//!
//! ```text
//! NumberDataPoint { fixed64 time_unix_nano = 3; oneof { double as_double = 4; sfixed64 as_int = 6; }
//!                   repeated Exemplar exemplars = 5; repeated KeyValue attributes = 7; uint32 flags = 8; }
//! HistogramDataPoint { fixed64 time_unix_nano = 3; fixed64 count = 4; optional double sum = 5; repeated fixed64 bucket_counts = 6;
//!                   repeated double explicit_bounds = 7; repeated Exemplar exemplars = 8; repeated KeyValue attributes = 9;
//!                   uint32 flags = 10; }
//! ExponentialHistogramDataPoint { repeated KeyValue attributes = 1; fixed64 time_unix_nano = 3; fixed64 count = 4;
//!                   optional double sum = 5; sint32 scale = 6; fixed64 zero_count = 7; Buckets positive = 8; Buckets negative = 9;
//!                   uint32 flags = 10; repeated Exemplar exemplars = 11; }
//! Buckets         { sint32 offset = 1; repeated uint64 bucket_counts = 2; }
//! SummaryDataPoint { fixed64 time_unix_nano = 3; fixed64 count = 4; double sum = 5; repeated ValueAtQuantile quantile_values = 6;
//!                   repeated KeyValue attributes = 7; uint32 flags = 8; }
//! ValueAtQuantile { double quantile = 1; double value = 2; }
//! ```

use storage::histogram::BUCKETS_MAX;

use super::super::decode_error::DecodeError;
use super::super::protobuf::{Cursor, FIXED64, LENGTH, VARINT, tag};
use super::fault::Fault;

/// All kinds of points have their time here.
pub const TIME: u32 = tag(3, FIXED64);
/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`: the series has ended.
const NO_RECORDED_VALUE: u64 = 1;

/// A point's time in milliseconds, and whether it marks the end of its series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    pub timestamp_ms: i64,
    pub is_stale: bool,
}

impl Moment {
    fn at(nanoseconds: u64) -> Moment {
        Moment { timestamp_ms: milliseconds(nanoseconds), is_stale: false }
    }

    fn flag(&mut self, flags: u64) {
        self.is_stale = flags & NO_RECORDED_VALUE != 0;
    }
}

pub fn milliseconds(nanoseconds: u64) -> i64 {
    nanoseconds as i64 / 1_000_000
}

/// Of a gauge or a sum.
pub fn number(mut point: Cursor) -> Result<(Moment, f64), DecodeError> {
    const AS_DOUBLE: u32 = tag(4, FIXED64);
    const AS_INT: u32 = tag(6, FIXED64);
    const FLAGS: u32 = tag(8, VARINT);
    let (mut moment, mut value) = (Moment::default(), 0.0);
    while !point.is_empty() {
        match point.tag()? {
            TIME => moment.timestamp_ms = milliseconds(point.fixed64()?),
            AS_DOUBLE => value = f64::from_bits(point.fixed64()?),
            AS_INT => value = point.fixed64()? as i64 as f64,
            FLAGS => moment.flag(point.varint()?),
            other => point.skip(other)?,
        }
    }
    Ok((moment, value))
}

/// A histogram with explicit bounds.
#[derive(Debug, Default, PartialEq)]
pub struct ExplicitPoint {
    pub moment: Moment,
    pub count: u64,
    pub sum: Option<f64>,
    /// One more than there are bounds, or none.
    pub counts: Vec<u64>,
    pub bounds: Vec<f64>,
}

pub fn explicit(mut point: Cursor) -> Result<ExplicitPoint, Fault> {
    const COUNT: u32 = tag(4, FIXED64);
    const SUM: u32 = tag(5, FIXED64);
    const COUNTS: u32 = tag(6, LENGTH);
    const ONE_COUNT: u32 = tag(6, FIXED64);
    const BOUNDS: u32 = tag(7, LENGTH);
    const ONE_BOUND: u32 = tag(7, FIXED64);
    const FLAGS: u32 = tag(10, VARINT);
    let mut read = ExplicitPoint::default();
    while !point.is_empty() {
        match point.tag()? {
            TIME => read.moment = Moment { is_stale: read.moment.is_stale, ..Moment::at(point.fixed64()?) },
            COUNT => read.count = point.fixed64()?,
            SUM => read.sum = Some(f64::from_bits(point.fixed64()?)),
            COUNTS => packed(point.message()?, &mut read.counts, Cursor::fixed64)?,
            ONE_COUNT => read.counts.push(point.fixed64()?),
            BOUNDS => packed(point.message()?, &mut read.bounds, |bounds| bounds.fixed64().map(f64::from_bits))?,
            ONE_BOUND => read.bounds.push(f64::from_bits(point.fixed64()?)),
            FLAGS => read.moment.flag(point.varint()?),
            other => point.skip(other)?,
        }
    }
    check_count(read.counts.len().max(read.bounds.len()))?;
    Ok(read)
}

/// One side of an exponential histogram: dense counts from a bucket on.
#[derive(Debug, Default, PartialEq)]
pub struct Buckets {
    pub offset: i32,
    pub counts: Vec<u64>,
}

/// A histogram with exponential buckets.
#[derive(Debug, Default, PartialEq)]
pub struct ExponentialPoint {
    pub moment: Moment,
    pub count: u64,
    pub sum: Option<f64>,
    pub scale: i32,
    pub zero_count: u64,
    pub positive: Buckets,
    pub negative: Buckets,
}

pub fn exponential(mut point: Cursor) -> Result<ExponentialPoint, Fault> {
    const COUNT: u32 = tag(4, FIXED64);
    const SUM: u32 = tag(5, FIXED64);
    const SCALE: u32 = tag(6, VARINT);
    const ZERO_COUNT: u32 = tag(7, FIXED64);
    const POSITIVE: u32 = tag(8, LENGTH);
    const NEGATIVE: u32 = tag(9, LENGTH);
    const FLAGS: u32 = tag(10, VARINT);
    let mut read = ExponentialPoint::default();
    while !point.is_empty() {
        match point.tag()? {
            TIME => read.moment.timestamp_ms = milliseconds(point.fixed64()?),
            COUNT => read.count = point.fixed64()?,
            SUM => read.sum = Some(f64::from_bits(point.fixed64()?)),
            SCALE => read.scale = signed(point.varint()?),
            ZERO_COUNT => read.zero_count = point.fixed64()?,
            POSITIVE => buckets(point.message()?, &mut read.positive)?,
            NEGATIVE => buckets(point.message()?, &mut read.negative)?,
            FLAGS => read.moment.flag(point.varint()?),
            other => point.skip(other)?,
        }
    }
    Ok(read)
}

fn buckets(mut side: Cursor, into: &mut Buckets) -> Result<(), Fault> {
    const OFFSET: u32 = tag(1, VARINT);
    const COUNTS: u32 = tag(2, LENGTH);
    const ONE_COUNT: u32 = tag(2, VARINT);
    while !side.is_empty() {
        match side.tag()? {
            OFFSET => into.offset = signed(side.varint()?),
            COUNTS => packed(side.message()?, &mut into.counts, Cursor::varint)?,
            ONE_COUNT => into.counts.push(side.varint()?),
            other => side.skip(other)?,
        }
        check_count(into.counts.len())?;
    }
    Ok(())
}

/// A summary, and a value for each of its quantiles.
#[derive(Debug, Default, PartialEq)]
pub struct SummaryPoint {
    pub moment: Moment,
    pub count: u64,
    pub sum: f64,
    pub quantiles: Vec<(f64, f64)>,
}

pub fn summary(mut point: Cursor) -> Result<SummaryPoint, Fault> {
    const COUNT: u32 = tag(4, FIXED64);
    const SUM: u32 = tag(5, FIXED64);
    const QUANTILE: u32 = tag(6, LENGTH);
    const FLAGS: u32 = tag(8, VARINT);
    let mut read = SummaryPoint::default();
    while !point.is_empty() {
        match point.tag()? {
            TIME => read.moment.timestamp_ms = milliseconds(point.fixed64()?),
            COUNT => read.count = point.fixed64()?,
            SUM => read.sum = f64::from_bits(point.fixed64()?),
            QUANTILE => {
                check_count(read.quantiles.len() + 1)?;
                read.quantiles.push(quantile(point.message()?)?);
            }
            FLAGS => read.moment.flag(point.varint()?),
            other => point.skip(other)?,
        }
    }
    Ok(read)
}

fn quantile(mut pair: Cursor) -> Result<(f64, f64), DecodeError> {
    const QUANTILE: u32 = tag(1, FIXED64);
    const VALUE: u32 = tag(2, FIXED64);
    let (mut quantile, mut value) = (0.0, 0.0);
    while !pair.is_empty() {
        match pair.tag()? {
            QUANTILE => quantile = f64::from_bits(pair.fixed64()?),
            VALUE => value = f64::from_bits(pair.fixed64()?),
            other => pair.skip(other)?,
        }
    }
    Ok((quantile, value))
}

/// A run of numbers without tags between them, as encoders write most lists of numbers.
fn packed<'a, T>(
    mut run: Cursor<'a>,
    out: &mut Vec<T>,
    mut next: impl FnMut(&mut Cursor<'a>) -> Result<T, DecodeError>,
) -> Result<(), Fault> {
    while !run.is_empty() {
        check_count(out.len() + 1)?;
        out.push(next(&mut run)?);
    }
    Ok(())
}

fn check_count(buckets: usize) -> Result<(), Fault> {
    if buckets <= BUCKETS_MAX { Ok(()) } else { Err(Fault::Refused(format!("more than {BUCKETS_MAX} buckets"))) }
}

/// Zigzag: small numbers of either sign in few bytes.
fn signed(bits: u64) -> i32 {
    let bits = bits as u32;
    (bits >> 1) as i32 ^ -((bits & 1) as i32)
}
