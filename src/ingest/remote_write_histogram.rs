//! The native histogram of remote write 1.0 and 2.0, which have the same message.
//!
//! ```text
//! Histogram  { oneof { uint64 count_int = 1; double count_float = 2; } double sum = 3; sint32 schema = 4; double zero_threshold = 5;
//!              oneof { uint64 zero_count_int = 6; double zero_count_float = 7; }
//!              repeated BucketSpan negative_spans = 8; repeated sint64 negative_deltas = 9; repeated double negative_counts = 10;
//!              repeated BucketSpan positive_spans = 11; repeated sint64 positive_deltas = 12; repeated double positive_counts = 13;
//!              ResetHint reset_hint = 14; int64 timestamp = 15; repeated double custom_values = 16; }
//! BucketSpan { sint32 offset = 1; uint32 length = 2; }
//! ```
//! Integer buckets come as differences: of the first to zero, of each other to the one before. A histogram has float counts if its
//! count is one.

use storage::Histogram;
use storage::histogram::{Counts, ResetHint, Span};

use super::decode_error::DecodeError;
use super::protobuf::{Cursor, FIXED64, LENGTH, VARINT, tag};

/// A decoded histogram and its time, or what is wrong with it.
pub type Parsed = Result<(i64, Histogram), String>;

/// The numbers of a message before it is known which of them count.
#[derive(Default)]
struct Fields {
    count_int: u64,
    count_float: Option<f64>,
    zero_count_int: u64,
    zero_count_float: f64,
    negative: Side,
    positive: Side,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    reset_hint: ResetHint,
    timestamp_ms: i64,
    custom_values: Vec<f64>,
}

#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Reads one message. An error means that the bytes are no protobuf; what is merely no valid histogram is part of the answer.
pub fn parse(mut message: Cursor) -> Result<Parsed, DecodeError> {
    let mut fields = Fields::default();
    while !message.is_empty() {
        match message.tag()? {
            tag if tag >> 3 >= 8 && tag >> 3 <= 10 => fields.negative.take(tag, 8, &mut message)?,
            tag if tag >> 3 >= 11 && tag >> 3 <= 13 => fields.positive.take(tag, 11, &mut message)?,
            tag => fields.take(tag, &mut message)?,
        }
    }
    Ok(fields.into_histogram())
}

impl Fields {
    fn take(&mut self, field: u32, message: &mut Cursor) -> Result<(), DecodeError> {
        const COUNT_INT: u32 = tag(1, VARINT);
        const COUNT_FLOAT: u32 = tag(2, FIXED64);
        const SUM: u32 = tag(3, FIXED64);
        const SCHEMA: u32 = tag(4, VARINT);
        const ZERO_THRESHOLD: u32 = tag(5, FIXED64);
        const ZERO_COUNT_INT: u32 = tag(6, VARINT);
        const ZERO_COUNT_FLOAT: u32 = tag(7, FIXED64);
        const RESET_HINT: u32 = tag(14, VARINT);
        const TIMESTAMP: u32 = tag(15, VARINT);
        const CUSTOM_VALUES: u32 = tag(16, LENGTH);
        const CUSTOM_VALUE: u32 = tag(16, FIXED64);
        match field {
            COUNT_INT => (self.count_int, self.count_float) = (message.varint()?, None),
            COUNT_FLOAT => self.count_float = Some(float(message)?),
            SUM => self.sum = float(message)?,
            SCHEMA => self.schema = signed(message)? as i32,
            ZERO_THRESHOLD => self.zero_threshold = float(message)?,
            ZERO_COUNT_INT => self.zero_count_int = message.varint()?,
            ZERO_COUNT_FLOAT => self.zero_count_float = float(message)?,
            RESET_HINT => {
                self.reset_hint = match message.varint()? {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NotReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            TIMESTAMP => self.timestamp_ms = message.varint()? as i64,
            CUSTOM_VALUES => floats(message.message()?, &mut self.custom_values)?,
            CUSTOM_VALUE => self.custom_values.push(float(message)?),
            other => message.skip(other)?,
        }
        Ok(())
    }

    fn into_histogram(self) -> Parsed {
        let counts = match self.count_float {
            Some(count) => {
                let (zero_count, positive, negative) = (self.zero_count_float, self.positive.counts, self.negative.counts);
                Counts::Float { count, zero_count, positive, negative }
            }
            None => {
                let (positive, negative) = (absolute(&self.positive.deltas)?, absolute(&self.negative.deltas)?);
                Counts::Integer { count: self.count_int, zero_count: self.zero_count_int, positive, negative }
            }
        };
        let histogram = Histogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            counts,
            positive_spans: self.positive.spans,
            negative_spans: self.negative.spans,
            custom_values: self.custom_values,
        };
        let histogram = histogram.reduced();
        histogram.validate().map_err(|problem| problem.to_string())?;
        Ok((self.timestamp_ms, histogram))
    }
}

impl Side {
    /// Reads one of the three fields of a side, the first of which has the number `first`.
    fn take(&mut self, field: u32, first: u32, message: &mut Cursor) -> Result<(), DecodeError> {
        match (field >> 3) - first {
            0 if field & 7 == LENGTH => self.spans.push(span(message.message()?)?),
            1 if field & 7 == LENGTH => {
                let mut packed = message.message()?;
                while !packed.is_empty() {
                    self.deltas.push(signed(&mut packed)?);
                }
            }
            1 if field & 7 == VARINT => self.deltas.push(signed(message)?),
            2 if field & 7 == LENGTH => floats(message.message()?, &mut self.counts)?,
            2 if field & 7 == FIXED64 => self.counts.push(float(message)?),
            _ => message.skip(field)?,
        }
        Ok(())
    }
}

fn span(mut message: Cursor) -> Result<Span, DecodeError> {
    const OFFSET: u32 = tag(1, VARINT);
    const LENGTH_OF_SPAN: u32 = tag(2, VARINT);
    let mut span = Span::default();
    while !message.is_empty() {
        match message.tag()? {
            OFFSET => span.offset = signed(&mut message)? as i32,
            LENGTH_OF_SPAN => span.length = message.varint()? as u32,
            other => message.skip(other)?,
        }
    }
    Ok(span)
}

fn float(message: &mut Cursor) -> Result<f64, DecodeError> {
    Ok(f64::from_bits(message.fixed64()?))
}

fn floats(mut packed: Cursor, into: &mut Vec<f64>) -> Result<(), DecodeError> {
    while !packed.is_empty() {
        into.push(float(&mut packed)?);
    }
    Ok(())
}

fn signed(message: &mut Cursor) -> Result<i64, DecodeError> {
    Ok(storage::varint::unzigzag(message.varint()?))
}

fn absolute(deltas: &[i64]) -> Result<Vec<u64>, String> {
    let mut count = 0i64;
    let next = |(position, delta): (usize, &i64)| {
        count = count.checked_add(*delta).filter(|count| *count >= 0).ok_or_else(|| {
            format!("bucket number {} has an observation count below zero or too large: histogram has a bucket whose observation count is negative", position + 1)
        })?;
        Ok(count as u64)
    };
    deltas.iter().enumerate().map(next).collect()
}

#[cfg(test)]
pub(super) mod wire {
    //! The message as prost reads and writes it, and what it means.

    use proptest::prelude::*;
    use prost::Message;
    use storage::Histogram;
    use storage::histogram::{Counts, ResetHint, Span};

    #[derive(Clone, PartialEq, Message)]
    pub struct WireSpan {
        #[prost(sint32, tag = "1")]
        pub offset: i32,
        #[prost(uint32, tag = "2")]
        pub length: u32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct WireHistogram {
        #[prost(oneof = "WireCount", tags = "1, 2")]
        pub count: Option<WireCount>,
        #[prost(double, tag = "3")]
        pub sum: f64,
        #[prost(sint32, tag = "4")]
        pub schema: i32,
        #[prost(double, tag = "5")]
        pub zero_threshold: f64,
        #[prost(uint64, tag = "6")]
        pub zero_count_int: u64,
        #[prost(double, tag = "7")]
        pub zero_count_float: f64,
        #[prost(message, repeated, tag = "8")]
        pub negative_spans: Vec<WireSpan>,
        #[prost(sint64, repeated, tag = "9")]
        pub negative_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "10")]
        pub negative_counts: Vec<f64>,
        #[prost(message, repeated, tag = "11")]
        pub positive_spans: Vec<WireSpan>,
        #[prost(sint64, repeated, tag = "12")]
        pub positive_deltas: Vec<i64>,
        #[prost(double, repeated, tag = "13")]
        pub positive_counts: Vec<f64>,
        #[prost(uint64, tag = "14")]
        pub reset_hint: u64,
        #[prost(int64, tag = "15")]
        pub timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub custom_values: Vec<f64>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum WireCount {
        #[prost(uint64, tag = "1")]
        Integer(u64),
        #[prost(double, tag = "2")]
        Float(f64),
    }

    impl WireHistogram {
        /// The histogram and its time, unless it breaks a rule.
        pub fn meant(&self) -> Option<(i64, Histogram)> {
            let spans = |spans: &[WireSpan]| spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect::<Vec<_>>();
            let counts = match self.count {
                Some(WireCount::Float(count)) => Counts::Float {
                    count,
                    zero_count: self.zero_count_float,
                    positive: self.positive_counts.clone(),
                    negative: self.negative_counts.clone(),
                },
                _ => Counts::Integer {
                    count: if let Some(WireCount::Integer(count)) = self.count { count } else { 0 },
                    zero_count: self.zero_count_int,
                    positive: sums(&self.positive_deltas)?,
                    negative: sums(&self.negative_deltas)?,
                },
            };
            let histogram = Histogram {
                reset_hint: [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge]
                    .get(usize::try_from(self.reset_hint).unwrap_or(usize::MAX))
                    .copied()
                    .unwrap_or_default(),
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                sum: self.sum,
                counts,
                positive_spans: spans(&self.positive_spans),
                negative_spans: spans(&self.negative_spans),
                custom_values: self.custom_values.clone(),
            }
            .reduced();
            histogram.validate().is_ok().then_some((self.timestamp, histogram))
        }
    }

    fn sums(deltas: &[i64]) -> Option<Vec<u64>> {
        let mut sum = 0i128;
        let all: Vec<i128> = deltas
            .iter()
            .map(|delta| {
                sum += i128::from(*delta);
                sum
            })
            .collect();
        all.into_iter().map(|sum| i64::try_from(sum).ok().and_then(|sum| u64::try_from(sum).ok())).collect()
    }

    /// A counter of latencies, of `count` observations.
    pub fn counter(timestamp: i64, count: u64) -> WireHistogram {
        WireHistogram {
            count: Some(WireCount::Integer(3 * count)),
            sum: count as f64,
            schema: 3,
            zero_count_int: count,
            positive_spans: vec![WireSpan { offset: -2, length: 1 }, WireSpan { offset: 4, length: 1 }],
            positive_deltas: vec![count as i64, 0],
            timestamp,
            ..WireHistogram::default()
        }
    }

    /// Valid ones.
    pub fn histograms() -> impl Strategy<Value = Vec<WireHistogram>> {
        let exponential = (any::<i64>(), 0u64..1 << 40, 0u64..4)
            .prop_map(|(time, count, hint)| WireHistogram { reset_hint: hint, ..counter(time, count) });
        let custom = (any::<i64>(), 0u32..1000).prop_map(|(timestamp, count)| WireHistogram {
            count: Some(WireCount::Float(f64::from(count))),
            schema: -53,
            positive_spans: vec![WireSpan { offset: 0, length: 2 }],
            positive_counts: vec![f64::from(count), 0.5],
            custom_values: vec![0.1, 0.2],
            timestamp,
            ..WireHistogram::default()
        });
        prop::collection::vec(prop_oneof![exponential, custom], 0..3)
    }
}

#[cfg(test)]
mod tests {
    use super::wire::{WireCount, WireHistogram, counter};
    use super::*;
    use prost::Message;

    fn parsed(message: &WireHistogram) -> Parsed {
        parse(Cursor::new(&message.encode_to_vec())).expect("protobuf")
    }

    #[test]
    fn differences_become_counts() {
        let (time, histogram) = parsed(&counter(7, 5)).expect("valid");
        assert_eq!((time, histogram.schema), (7, 3));
        assert_eq!(histogram.counts, Counts::Integer { count: 15, zero_count: 5, positive: vec![5, 5], negative: vec![] });
    }

    #[test]
    fn broken_ones_are_refused_with_a_reason() {
        let cases = [
            WireHistogram { positive_deltas: vec![5, -6], ..counter(7, 5) },
            WireHistogram { positive_deltas: vec![i64::MAX, 1], ..counter(7, 5) },
            WireHistogram { positive_deltas: vec![5], ..counter(7, 5) },
            WireHistogram { count: Some(WireCount::Integer(14)), ..counter(7, 5) },
            WireHistogram { schema: -53, ..counter(7, 5) },
            WireHistogram { schema: 99, ..counter(7, 5) },
        ];
        for broken in cases {
            assert!(!parsed(&broken).expect_err("broken").is_empty());
        }
    }

    #[test]
    fn a_resolution_finer_than_stored_is_reduced() {
        let (_, histogram) = parsed(&WireHistogram { schema: 10, ..counter(7, 5) }).expect("valid");
        assert_eq!(histogram.schema, 8);
    }
}
