//! What a histogram must satisfy to be stored: the rules, and the words, of Prometheus.

use super::{BUCKETS_MAX, CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, Span};

/// Exponential schemas that are stored.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Why a histogram is refused; the sender must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramProblem {
    /// A schema that is neither exponential nor custom.
    #[error("histogram schema {0} is not one of -4 to 8 or -53")]
    Schema(i32),
    /// Spans that do not go with the buckets.
    #[error("{side} side: {detail}")]
    Spans {
        /// `positive` or `negative`.
        side: &'static str,
        /// What was seen.
        detail: String,
    },
    /// A count below zero.
    #[error("{0}: histogram has a bucket whose observation count is negative")]
    NegativeCount(&'static str),
    /// The buckets and the zero bucket hold more than all observations.
    #[error("{in_buckets} observations found in buckets, but the Count field is {count}: {rule}")]
    Count {
        /// Observations in all buckets.
        in_buckets: u128,
        /// Observations said to be there.
        count: u64,
        /// The rule that is broken.
        rule: &'static str,
    },
    /// A histogram with custom buckets that has what only exponential ones have.
    #[error("custom buckets: must not have {0}")]
    CustomWith(&'static str),
    /// Bounds of custom buckets that are not in order, not finite or too few.
    #[error("custom buckets: {0}")]
    CustomBounds(String),
    /// An exponential histogram that has custom bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithCustom,
}

/// See [`Histogram::validate`].
pub(super) fn validate(histogram: &Histogram) -> Result<(), HistogramProblem> {
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        check_custom(histogram)?;
    } else if !SCHEMAS.contains(&histogram.schema) {
        return Err(HistogramProblem::Schema(histogram.schema));
    } else if !histogram.custom_values.is_empty() {
        return Err(HistogramProblem::ExponentialWithCustom);
    }
    let (positives, negatives) = match &histogram.counts {
        Counts::Integer { positive, negative, .. } => (positive.len(), negative.len()),
        Counts::Float { positive, negative, .. } => (positive.len(), negative.len()),
    };
    check_spans("positive", &histogram.positive_spans, positives)?;
    check_spans("negative", &histogram.negative_spans, negatives)?;
    check_counts(histogram)
}

fn check_spans(side: &'static str, spans: &[Span], buckets: usize) -> Result<(), HistogramProblem> {
    let problem = |detail| Err(HistogramProblem::Spans { side, detail });
    let (mut spanned, mut end) = (0usize, 0i32);
    for (number, span) in spans.iter().enumerate() {
        if number > 0 && span.offset < 0 {
            return problem(format!(
                "span number {} with offset {}: histogram has a span whose offset is negative",
                number + 1,
                span.offset
            ));
        }
        spanned = spanned.saturating_add(span.length as usize);
        let length = i32::try_from(span.length).ok().filter(|_| spanned <= BUCKETS_MAX);
        let next = length.and_then(|length| end.checked_add(span.offset)?.checked_add(length));
        let Some(next) = next else {
            return problem(format!("span number {}: more than {BUCKETS_MAX} buckets, or beyond the last index", number + 1));
        };
        end = next;
    }
    if spanned == buckets {
        return Ok(());
    }
    problem(format!(
        "spans need {spanned} buckets, have {buckets} buckets: histogram spans specify different number of buckets than provided"
    ))
}

fn check_counts(histogram: &Histogram) -> Result<(), HistogramProblem> {
    match &histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            let in_buckets = positive.iter().chain(negative).chain([zero_count]).map(|&bucket| u128::from(bucket)).sum();
            let problem = |rule| Err(HistogramProblem::Count { in_buckets, count: *count, rule });
            // Observations that are no number count, but fall into no bucket; a stale marker counts nothing.
            if in_buckets > u128::from(*count) {
                return problem("histogram's observation count should be at least the number of observations found in the buckets");
            }
            if !histogram.sum.is_nan() && in_buckets != u128::from(*count) {
                return problem(
                    "histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)",
                );
            }
            Ok(())
        }
        Counts::Float { count, zero_count, positive, negative } => {
            let sides: [(&str, &[f64]); 4] =
                [("zero bucket", &[*zero_count]), ("count", &[*count]), ("positive side", positive), ("negative side", negative)];
            match sides.iter().find(|(_, counts)| counts.iter().any(|count| *count < 0.0)) {
                Some((place, _)) => Err(HistogramProblem::NegativeCount(place)),
                None => Ok(()),
            }
        }
    }
}

fn check_custom(histogram: &Histogram) -> Result<(), HistogramProblem> {
    let has_zero_count = match &histogram.counts {
        Counts::Integer { zero_count, .. } => *zero_count != 0,
        Counts::Float { zero_count, .. } => *zero_count != 0.0,
    };
    let with = |what| Err(HistogramProblem::CustomWith(what));
    if has_zero_count {
        return with("zero bucket count");
    }
    if histogram.zero_threshold != 0.0 {
        return with("zero threshold");
    }
    if !histogram.negative_spans.is_empty() {
        return with("negative spans");
    }
    let bounds = &histogram.custom_values;
    let problem = |detail| Err(HistogramProblem::CustomBounds(detail));
    if let Some(bound) = bounds.iter().find(|bound| !bound.is_finite()) {
        return problem(format!("histogram custom bounds must be finite, got {bound}"));
    }
    if let Some(at) = (1..bounds.len()).find(|&at| bounds[at] <= bounds[at - 1]) {
        let rule = "histogram custom bounds must be in strictly increasing order";
        return problem(format!("previous bound is {} and current is {}: {rule}", bounds[at - 1], bounds[at]));
    }
    if bounds.len() > BUCKETS_MAX {
        return problem(format!("more than {BUCKETS_MAX} bounds"));
    }
    if histogram.positive_spans.first().is_some_and(|span| span.offset < 0) {
        return problem("histogram has a span whose offset is negative".to_string());
    }
    let reach: i64 = histogram.positive_spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    if reach > bounds.len() as i64 + 1 {
        let rule = "histogram custom bounds are too few";
        return problem(format!(
            "only {} custom bounds defined which is insufficient to cover total span length of {reach}: {rule}",
            bounds.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    type Change = fn(&mut Histogram);

    fn problem(mut histogram: Histogram, change: Change) -> String {
        assert_eq!(histogram.validate(), Ok(()));
        change(&mut histogram);
        histogram.validate().expect_err("invalid").to_string()
    }

    fn integers(histogram: &mut Histogram) -> (&mut u64, &mut Vec<u64>) {
        match &mut histogram.counts {
            Counts::Integer { count, positive, .. } => (count, positive),
            Counts::Float { .. } => panic!("not an integer histogram"),
        }
    }

    #[test]
    fn broken_exponential_histograms_are_refused() {
        let cases: [(Change, &str); 8] = [
            (|h| h.schema = 9, "schema 9"),
            (|h| h.schema = -5, "schema -5"),
            (|h| h.custom_values.push(1.0), "must not have custom bounds"),
            (|h| h.positive_spans[1].offset = -1, "offset is negative"),
            (|h| h.positive_spans[0].length += 1, "spans need"),
            (|h| h.positive_spans[0].offset = i32::MAX, "beyond the last index"),
            (|h| *integers(h).0 -= 1, "at least"),
            (|h| *integers(h).0 += 1, "should equal"),
        ];
        for (change, text) in cases {
            let message = problem(samples::latencies(1), change);
            assert!(message.contains(text), "{message}");
        }
        let mut with_nan = samples::latencies(1);
        with_nan.sum = f64::NAN;
        *integers(&mut with_nan).0 += 1;
        assert_eq!(with_nan.validate(), Ok(()), "observations of NaN are in no bucket");
    }

    #[test]
    fn broken_custom_histograms_are_refused() {
        let cases: [(Change, &str); 7] = [
            (|h| h.custom_values[1] = h.custom_values[0], "strictly increasing"),
            (|h| *h.custom_values.last_mut().expect("bounds") = f64::INFINITY, "finite"),
            (|h| h.custom_values[0] = f64::NAN, "finite"),
            (|h| h.custom_values.truncate(1), "too few"),
            (|h| h.zero_threshold = 0.1, "zero threshold"),
            (|h| h.negative_spans.push(Span::default()), "negative spans"),
            (|h| h.positive_spans[0].offset = -1, "offset is negative"),
        ];
        for (change, text) in cases {
            let message = problem(samples::custom(1), change);
            assert!(message.contains(text), "{message}");
        }
    }

    #[test]
    fn float_counts_may_not_be_negative_but_need_not_add_up() {
        let mut histogram = samples::gauge(1);
        assert_eq!(histogram.validate(), Ok(()));
        if let Counts::Float { count, positive, .. } = &mut histogram.counts {
            *count += 7.0;
            positive[0] = -0.5;
        }
        assert_eq!(histogram.validate(), Err(HistogramProblem::NegativeCount("positive side")));
    }

    #[test]
    fn a_stale_marker_is_valid() {
        assert_eq!(samples::stale().validate(), Ok(()));
        assert!(samples::stale().is_stale() && !samples::latencies(1).is_stale());
    }
}
