//! Annotations: kind and position. The numbers of the kinds are part of the format.

use super::bytes::{Malformed, Reader, Wire, Writer};
use crate::annotations::{Annotation, AnnotationKind, ForcedMonotonicity, HistogramOperation};
use crate::position::PositionRange;

impl Wire for Annotation {
    fn put(&self, out: &mut Writer) {
        self.kind.put(out);
        out.number(self.position.start as u64);
        out.number(self.position.end as u64);
    }

    fn take(from: &mut Reader) -> Result<Annotation, Malformed> {
        let kind = AnnotationKind::take(from)?;
        let mut place = || usize::try_from(from.number()?).map_err(|_| Malformed("a position too far away"));
        let (start, end) = (place()?, place()?);
        Ok(Annotation::new(kind, PositionRange::new(start, end)))
    }
}

impl Wire for AnnotationKind {
    fn put(&self, out: &mut Writer) {
        use AnnotationKind as Kind;
        let mut of_metric = |number: u8, metric: &str| {
            out.byte(number);
            out.text(metric);
        };
        match self {
            Kind::MixedFloatsHistograms { metric } => of_metric(3, metric),
            Kind::MixedClassicNativeHistograms { metric } => of_metric(5, metric),
            Kind::NativeHistogramNotCounter { metric } => of_metric(6, metric),
            Kind::NativeHistogramNotGauge { metric } => of_metric(7, metric),
            Kind::MixedExponentialCustomHistograms { metric } => of_metric(8, metric),
            Kind::IncompatibleBucketLayout { operator } => of_metric(9, operator),
            Kind::PossibleNonCounter { metric } => of_metric(13, metric),
            Kind::HistogramIgnoredInAggregation { aggregation } => of_metric(17, aggregation),
            Kind::HistogramIgnoredInMixedRange { metric } => of_metric(18, metric),
            Kind::QuantileOfNanHistogramIsNan { metric } => of_metric(19, metric),
            Kind::QuantileOfNanHistogramIsSkewed { metric } => of_metric(20, metric),
            Kind::FractionOfNanHistogram { metric } => of_metric(21, metric),
            Kind::Source(text) => of_metric(23, text),
            Kind::BadBucketLabel { metric, value } => {
                of_metric(2, metric);
                out.text(value);
            }
            Kind::StartTimeOverlap { metric, occurrences } => {
                of_metric(12, metric);
                out.number(*occurrences);
            }
            Kind::PossibleNonCounterLabel { metric, type_label } => {
                of_metric(14, metric);
                out.text(type_label);
            }
            Kind::ForcedMonotonicity { metric, extent } => {
                of_metric(15, metric);
                extent.put(out);
            }
            Kind::IncompatibleTypes { left, operator, right } => {
                of_metric(16, left);
                out.text(operator);
                out.text(right);
            }
            Kind::InvalidQuantile { quantile } => {
                out.byte(0);
                out.float(*quantile);
            }
            Kind::InvalidRatio { ratio, capped_to } => {
                out.byte(1);
                out.float(*ratio);
                out.float(*capped_to);
            }
            Kind::MixedFloatsHistogramsInAggregation => out.byte(4),
            Kind::SortInRangeQuery => out.byte(10),
            Kind::HistogramCounterResetCollision { operation } => {
                out.byte(11);
                operation.put(out);
            }
            Kind::MismatchedCustomBuckets { operation } => {
                out.byte(22);
                operation.put(out);
            }
        }
    }

    fn take(from: &mut Reader) -> Result<AnnotationKind, Malformed> {
        use AnnotationKind as Kind;
        let number = from.byte()?;
        let mut text = || from.text().map(str::to_owned);
        Ok(match number {
            2 => Kind::BadBucketLabel { metric: text()?, value: text()? },
            3 => Kind::MixedFloatsHistograms { metric: text()? },
            5 => Kind::MixedClassicNativeHistograms { metric: text()? },
            6 => Kind::NativeHistogramNotCounter { metric: text()? },
            7 => Kind::NativeHistogramNotGauge { metric: text()? },
            8 => Kind::MixedExponentialCustomHistograms { metric: text()? },
            9 => Kind::IncompatibleBucketLayout { operator: text()? },
            12 => Kind::StartTimeOverlap { metric: text()?, occurrences: from.number()? },
            13 => Kind::PossibleNonCounter { metric: text()? },
            14 => Kind::PossibleNonCounterLabel { metric: text()?, type_label: text()? },
            15 => Kind::ForcedMonotonicity { metric: text()?, extent: ForcedMonotonicity::take(from)? },
            16 => Kind::IncompatibleTypes { left: text()?, operator: text()?, right: text()? },
            17 => Kind::HistogramIgnoredInAggregation { aggregation: text()? },
            18 => Kind::HistogramIgnoredInMixedRange { metric: text()? },
            19 => Kind::QuantileOfNanHistogramIsNan { metric: text()? },
            20 => Kind::QuantileOfNanHistogramIsSkewed { metric: text()? },
            21 => Kind::FractionOfNanHistogram { metric: text()? },
            23 => Kind::Source(text()?),
            0 => Kind::InvalidQuantile { quantile: from.float()? },
            1 => Kind::InvalidRatio { ratio: from.float()?, capped_to: from.float()? },
            4 => Kind::MixedFloatsHistogramsInAggregation,
            10 => Kind::SortInRangeQuery,
            11 => Kind::HistogramCounterResetCollision { operation: HistogramOperation::take(from)? },
            22 => Kind::MismatchedCustomBuckets { operation: HistogramOperation::take(from)? },
            _ => return Err(Malformed("an unknown annotation")),
        })
    }
}

impl Wire for HistogramOperation {
    fn put(&self, out: &mut Writer) {
        out.byte(match self {
            HistogramOperation::Addition => 0,
            HistogramOperation::Subtraction => 1,
            HistogramOperation::Aggregation => 2,
        });
    }

    fn take(from: &mut Reader) -> Result<HistogramOperation, Malformed> {
        match from.byte()? {
            0 => Ok(HistogramOperation::Addition),
            1 => Ok(HistogramOperation::Subtraction),
            2 => Ok(HistogramOperation::Aggregation),
            _ => Err(Malformed("an unknown operation")),
        }
    }
}

impl Wire for ForcedMonotonicity {
    fn put(&self, out: &mut Writer) {
        out.signed(self.first_ms);
        out.signed(self.last_ms);
        for value in [self.bucket_min, self.bucket_max, self.difference_max] {
            out.float(value);
        }
        out.number(self.samples);
    }

    fn take(from: &mut Reader) -> Result<ForcedMonotonicity, Malformed> {
        Ok(ForcedMonotonicity {
            first_ms: from.signed()?,
            last_ms: from.signed()?,
            bucket_min: from.float()?,
            bucket_max: from.float()?,
            difference_max: from.float()?,
            samples: from.number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of every kind, by its number.
    fn all() -> Vec<AnnotationKind> {
        use AnnotationKind as Kind;
        let metric = || "m".to_owned();
        let operation = HistogramOperation::Subtraction;
        vec![
            Kind::InvalidQuantile { quantile: 2.0 },
            Kind::InvalidRatio { ratio: 2.0, capped_to: 1.0 },
            Kind::BadBucketLabel { metric: metric(), value: "x".to_owned() },
            Kind::MixedFloatsHistograms { metric: metric() },
            Kind::MixedFloatsHistogramsInAggregation,
            Kind::MixedClassicNativeHistograms { metric: metric() },
            Kind::NativeHistogramNotCounter { metric: metric() },
            Kind::NativeHistogramNotGauge { metric: metric() },
            Kind::MixedExponentialCustomHistograms { metric: metric() },
            Kind::IncompatibleBucketLayout { operator: "+".to_owned() },
            Kind::SortInRangeQuery,
            Kind::HistogramCounterResetCollision { operation },
            Kind::StartTimeOverlap { metric: metric(), occurrences: 3 },
            Kind::PossibleNonCounter { metric: metric() },
            Kind::PossibleNonCounterLabel { metric: metric(), type_label: "gauge".to_owned() },
            Kind::ForcedMonotonicity { metric: metric(), extent: ForcedMonotonicity::at(-5, 0.5, 1.0, 0.25) },
            Kind::IncompatibleTypes { left: "float".to_owned(), operator: "+".to_owned(), right: "histogram".to_owned() },
            Kind::HistogramIgnoredInAggregation { aggregation: "max".to_owned() },
            Kind::HistogramIgnoredInMixedRange { metric: metric() },
            Kind::QuantileOfNanHistogramIsNan { metric: metric() },
            Kind::QuantileOfNanHistogramIsSkewed { metric: metric() },
            Kind::FractionOfNanHistogram { metric: metric() },
            Kind::MismatchedCustomBuckets { operation },
            Kind::Source("a shard is away".to_owned()),
        ]
    }

    #[test]
    fn every_kind_comes_back_under_its_number() {
        for (number, kind) in all().into_iter().enumerate() {
            let annotation = Annotation::new(kind, PositionRange::new(3, 300));
            let mut out = Writer::default();
            annotation.put(&mut out);
            assert_eq!(usize::from(out.bytes[0]), number);
            let mut from = Reader::new(&out.bytes);
            assert_eq!(Annotation::take(&mut from), Ok(annotation));
            assert_eq!(from.end(), Ok(()));
        }
    }
}
