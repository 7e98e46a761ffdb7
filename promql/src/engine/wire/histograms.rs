//! Native histograms.

use super::bytes::{Malformed, Reader, Wire, Writer};
use super::floats::{put_floats, take_floats};
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span, is_exponential_schema};

impl Wire for CounterResetHint {
    fn put(&self, out: &mut Writer) {
        out.byte(match self {
            CounterResetHint::Unknown => 0,
            CounterResetHint::Reset => 1,
            CounterResetHint::NotReset => 2,
            CounterResetHint::Gauge => 3,
        });
    }

    fn take(from: &mut Reader) -> Result<CounterResetHint, Malformed> {
        match from.byte()? {
            0 => Ok(CounterResetHint::Unknown),
            1 => Ok(CounterResetHint::Reset),
            2 => Ok(CounterResetHint::NotReset),
            3 => Ok(CounterResetHint::Gauge),
            _ => Err(Malformed("an unknown reset hint")),
        }
    }
}

impl Wire for Span {
    fn put(&self, out: &mut Writer) {
        out.signed(self.offset.into());
        out.number(self.length.into());
    }

    fn take(from: &mut Reader) -> Result<Span, Malformed> {
        let offset = i32::try_from(from.signed()?).map_err(|_| Malformed("a span too far away"))?;
        let length = u32::try_from(from.number()?).map_err(|_| Malformed("a span too long"))?;
        Ok(Span { offset, length })
    }
}

impl Wire for FloatHistogram {
    fn put(&self, out: &mut Writer) {
        self.counter_reset_hint.put(out);
        out.signed(self.schema.into());
        for value in [self.zero_threshold, self.zero_count, self.count, self.sum] {
            out.float(value);
        }
        for (spans, buckets) in [(&self.positive_spans, &self.positive_buckets), (&self.negative_spans, &self.negative_buckets)] {
            out.list(spans);
            put_floats(buckets, out);
        }
        out.number(self.custom_values.len() as u64);
        put_floats(&self.custom_values, out);
    }

    fn take(from: &mut Reader) -> Result<FloatHistogram, Malformed> {
        let counter_reset_hint = CounterResetHint::take(from)?;
        let schema = i32::try_from(from.signed()?).map_err(|_| Malformed("an unknown schema"))?;
        if schema != CUSTOM_BUCKETS_SCHEMA && !is_exponential_schema(schema) {
            return Err(Malformed("an unknown schema"));
        }
        let [zero_threshold, zero_count, count, sum] = [from.float()?, from.float()?, from.float()?, from.float()?];
        let (positive_spans, positive_buckets) = take_side(from)?;
        let (negative_spans, negative_buckets) = take_side(from)?;
        let bounds = from.length()?;
        let custom_values = take_floats(bounds, from)?.into();
        Ok(FloatHistogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values,
        })
    }
}

/// Spans and a count for each of their buckets. All indices stay far from the ends of their type.
fn take_side(from: &mut Reader) -> Result<(Vec<Span>, Vec<f64>), Malformed> {
    const INDEX_MAX: i64 = 1 << 30;
    let spans: Vec<Span> = from.list()?;
    let (mut index, mut buckets) = (0i64, 0usize);
    for (position, span) in spans.iter().enumerate() {
        if position > 0 && span.offset < 0 {
            return Err(Malformed("a span that goes back"));
        }
        index += i64::from(span.offset) + i64::from(span.length);
        buckets = buckets.saturating_add(span.length as usize);
        if index.abs() > INDEX_MAX {
            return Err(Malformed("a bucket too far away"));
        }
    }
    Ok((spans, take_floats(buckets, from)?))
}
