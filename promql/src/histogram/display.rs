//! The textual form of a histogram: total count, sum and the populated buckets in ascending order.

use std::fmt;

use super::FloatHistogram;
use crate::number::general;

impl fmt::Display for FloatHistogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{count:{}, sum:{}", general(self.count), general(self.sum))?;
        let mut buckets: Vec<_> = self.negative().collect();
        buckets.reverse();
        if !self.uses_custom_buckets() {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive());
        for bucket in buckets.iter().filter(|bucket| bucket.count != 0.0) {
            let open = if bucket.lower_inclusive { '[' } else { '(' };
            let close = if bucket.upper_inclusive { ']' } else { ')' };
            let (lower, upper, count) = (general(bucket.lower), general(bucket.upper), general(bucket.count));
            write!(formatter, ", {open}{lower},{upper}{close}:{count}")?;
        }
        formatter.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Span;

    #[test]
    fn prints_bounds_and_counts() {
        let histogram = FloatHistogram {
            count: 10.0,
            sum: -3.5,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![4.0, 0.0],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative_buckets: vec![2.0],
            ..FloatHistogram::default()
        };
        assert_eq!(histogram.to_string(), "{count:10, sum:-3.5, [-2,-1):2, [-0.001,0.001]:1, (0.5,1]:4}");
    }
}
