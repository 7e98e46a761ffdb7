//! What a query's author should know about an answer that is not an error: warnings and infos.

use std::collections::HashMap;
use std::fmt;

use crate::number::{general, general_with_precision};
use crate::position::PositionRange;
use crate::quote::quote;
use crate::time_text::format_rfc3339_ms;

/// How much an annotation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Info,
    Warning,
}

/// A combination of histograms, as annotations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// One thing to say. `metric` is the metric's name, empty where it is not known.
#[derive(Clone, Debug, PartialEq)]
pub enum AnnotationKind {
    InvalidQuantile {
        quantile: f64,
    },
    InvalidRatio {
        ratio: f64,
        capped_to: f64,
    },
    BadBucketLabel {
        metric: String,
        value: String,
    },
    MixedFloatsHistograms {
        metric: String,
    },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNativeHistograms {
        metric: String,
    },
    NativeHistogramNotCounter {
        metric: String,
    },
    NativeHistogramNotGauge {
        metric: String,
    },
    MixedExponentialCustomHistograms {
        metric: String,
    },
    IncompatibleBucketLayout {
        operator: String,
    },
    SortInRangeQuery,
    HistogramCounterResetCollision {
        operation: HistogramOperation,
    },
    StartTimeOverlap {
        metric: String,
        occurrences: u64,
    },
    PossibleNonCounter {
        metric: String,
    },
    PossibleNonCounterLabel {
        metric: String,
        type_label: String,
    },
    ForcedMonotonicity {
        metric: String,
        extent: ForcedMonotonicity,
    },
    IncompatibleTypes {
        left: String,
        operator: String,
        right: String,
    },
    HistogramIgnoredInAggregation {
        aggregation: String,
    },
    HistogramIgnoredInMixedRange {
        metric: String,
    },
    QuantileOfNanHistogramIsNan {
        metric: String,
    },
    QuantileOfNanHistogramIsSkewed {
        metric: String,
    },
    FractionOfNanHistogram {
        metric: String,
    },
    MismatchedCustomBuckets {
        operation: HistogramOperation,
    },
    /// A warning of the data source, printed as it is, without a position.
    Source(String),
}

/// Where and how far `histogram_quantile` had to mend its buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedMonotonicity {
    pub first_ms: i64,
    pub last_ms: i64,
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub difference_max: f64,
    pub samples: u64,
}

impl ForcedMonotonicity {
    /// The extent of one mended sample.
    pub fn at(time_ms: i64, bucket_min: f64, bucket_max: f64, difference_max: f64) -> Self {
        Self { first_ms: time_ms, last_ms: time_ms, bucket_min, bucket_max, difference_max, samples: 1 }
    }

    fn merge(&mut self, other: &Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.bucket_min = self.bucket_min.min(other.bucket_min);
        self.bucket_max = self.bucket_max.max(other.bucket_max);
        self.difference_max = self.difference_max.max(other.difference_max);
        self.samples += other.samples;
    }
}

impl AnnotationKind {
    pub fn severity(&self) -> Severity {
        match self {
            Self::InvalidQuantile { .. }
            | Self::InvalidRatio { .. }
            | Self::BadBucketLabel { .. }
            | Self::MixedFloatsHistograms { .. }
            | Self::MixedFloatsHistogramsInAggregation
            | Self::MixedClassicNativeHistograms { .. }
            | Self::NativeHistogramNotCounter { .. }
            | Self::NativeHistogramNotGauge { .. }
            | Self::MixedExponentialCustomHistograms { .. }
            | Self::IncompatibleBucketLayout { .. }
            | Self::SortInRangeQuery
            | Self::HistogramCounterResetCollision { .. }
            | Self::StartTimeOverlap { .. }
            | Self::Source(_) => Severity::Warning,
            Self::PossibleNonCounter { .. }
            | Self::PossibleNonCounterLabel { .. }
            | Self::ForcedMonotonicity { .. }
            | Self::IncompatibleTypes { .. }
            | Self::HistogramIgnoredInAggregation { .. }
            | Self::HistogramIgnoredInMixedRange { .. }
            | Self::QuantileOfNanHistogramIsNan { .. }
            | Self::QuantileOfNanHistogramIsSkewed { .. }
            | Self::FractionOfNanHistogram { .. }
            | Self::MismatchedCustomBuckets { .. } => Severity::Info,
        }
    }

    /// Takes in another annotation of the same text.
    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::ForcedMonotonicity { extent, .. }, Self::ForcedMonotonicity { extent: more, .. }) => {
                extent.merge(more);
            }
            (Self::StartTimeOverlap { occurrences, .. }, Self::StartTimeOverlap { occurrences: more, .. }) => {
                *occurrences += more;
            }
            _ => {}
        }
    }

    fn fmt_warning(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidQuantile { quantile } => {
                write!(out, "quantile value should be between 0 and 1, got {}", general(*quantile))
            }
            Self::InvalidRatio { ratio, capped_to } => {
                let (ratio, capped_to) = (general(*ratio), general(*capped_to));
                write!(out, "ratio value should be between -1 and 1, got {ratio}, capping to {capped_to}")
            }
            Self::BadBucketLabel { metric, value } => {
                write!(out, "bucket label \"le\" is missing or has a malformed value of {}", quote(value))?;
                fmt_metric(out, metric)
            }
            Self::MixedFloatsHistograms { metric } => {
                write!(out, "encountered a mix of histograms and floats for metric name {}", quote(metric))
            }
            Self::MixedFloatsHistogramsInAggregation => out.write_str("encountered a mix of histograms and floats for aggregation"),
            Self::MixedClassicNativeHistograms { metric } => {
                out.write_str("vector contains a mix of classic and native histograms")?;
                fmt_metric(out, metric)
            }
            Self::NativeHistogramNotCounter { metric } => {
                write!(out, "this native histogram metric is not a counter: {}", quote(metric))
            }
            Self::NativeHistogramNotGauge { metric } => {
                write!(out, "this native histogram metric is not a gauge: {}", quote(metric))
            }
            Self::MixedExponentialCustomHistograms { metric } => {
                let metric = quote(metric);
                let what = "vector contains a mix of histograms with exponential and custom buckets schemas";
                write!(out, "{what} for metric name {metric}")
            }
            Self::IncompatibleBucketLayout { operator } => {
                write!(out, "incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::SortInRangeQuery => out.write_str("sort is ineffective for range queries since results are always ordered by labels"),
            Self::HistogramCounterResetCollision { operation } => {
                write!(out, "conflicting counter resets during histogram {}", operation.as_str())
            }
            Self::StartTimeOverlap { metric, .. } => {
                let metric = quote(metric);
                write!(out, "sample has start time that overlaps with previous sample timestamp for metric {metric}")
            }
            _ => self.fmt_info(out),
        }
    }

    fn fmt_info(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const QUANTILE_PAGE: &str = "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile";
        match self {
            Self::PossibleNonCounter { metric } => {
                let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
                write!(out, "{what} {}", quote(metric))
            }
            Self::PossibleNonCounterLabel { metric, type_label } => {
                let what = r#"metric might not be a counter, __type__ label is not set to "counter" or "histogram", got"#;
                write!(out, "{what} {}: {}", quote(type_label), quote(metric))
            }
            Self::ForcedMonotonicity { metric, .. } => {
                let what = "input to histogram_quantile needed to be fixed for monotonicity";
                write!(out, "{what} (see {QUANTILE_PAGE})")?;
                fmt_metric(out, metric)
            }
            Self::IncompatibleTypes { left, operator, right } => {
                let what = "incompatible sample types encountered for binary operator";
                write!(out, "{what} {}: {left} {operator} {right}", quote(operator))
            }
            Self::HistogramIgnoredInAggregation { aggregation } => {
                write!(out, "ignored histogram in {aggregation} aggregation")
            }
            Self::HistogramIgnoredInMixedRange { metric } => {
                let what = "ignored histograms in a range containing both floats and histograms for metric name";
                write!(out, "{what} {}", quote(metric))
            }
            Self::QuantileOfNanHistogramIsNan { metric } => {
                out.write_str("input to histogram_quantile has NaN observations, result is NaN")?;
                fmt_metric(out, metric)
            }
            Self::QuantileOfNanHistogramIsSkewed { metric } => {
                out.write_str("input to histogram_quantile has NaN observations, result is skewed higher")?;
                fmt_metric(out, metric)
            }
            Self::FractionOfNanHistogram { metric } => {
                let what = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                out.write_str(what)?;
                fmt_metric(out, metric)
            }
            Self::MismatchedCustomBuckets { operation } => {
                write!(out, "mismatched custom buckets were reconciled during {}", operation.as_str())
            }
            _ => Ok(()),
        }
    }
}

/// The text by which annotations are told apart: no position and no counts in it.
impl fmt::Display for AnnotationKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Source(text) = self {
            return out.write_str(text);
        }
        match self.severity() {
            Severity::Warning => {
                out.write_str("PromQL warning: ")?;
                self.fmt_warning(out)
            }
            Severity::Info => {
                out.write_str("PromQL info: ")?;
                self.fmt_info(out)
            }
        }
    }
}

fn fmt_metric(out: &mut fmt::Formatter<'_>, metric: &str) -> fmt::Result {
    if metric.is_empty() { Ok(()) } else { write!(out, " for metric name {}", quote(metric)) }
}

/// An annotation and the part of the query that caused it.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    pub kind: AnnotationKind,
    pub position: PositionRange,
}

impl Annotation {
    pub fn new(kind: AnnotationKind, position: PositionRange) -> Self {
        Self { kind, position }
    }

    /// The full text, with details and `line:column`, as users see it.
    pub fn text(&self, query: &str) -> String {
        let (kind, position) = (&self.kind, self.position.line_and_column(query));
        match kind {
            AnnotationKind::Source(text) => text.clone(),
            _ if query.is_empty() => kind.to_string(),
            AnnotationKind::ForcedMonotonicity { extent, .. } => {
                let (from, to) = (general(extent.bucket_min), general(extent.bucket_max));
                let difference = general_with_precision(extent.difference_max, 2);
                let (first, last) = (format_rfc3339_ms(extent.first_ms), format_rfc3339_ms(extent.last_ms));
                format!(
                    "{kind}, from buckets {from} to {to}, with a max diff of {difference}, over {} samples \
                     from {first} to {last} ({position})",
                    extent.samples
                )
            }
            AnnotationKind::StartTimeOverlap { occurrences, .. } if *occurrences > 1 => {
                format!("{kind} ({occurrences} occurrences) ({position})")
            }
            _ => format!("{kind} ({position})"),
        }
    }
}

/// A set of annotations, each text once, in the order in which the texts first came up.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    list: Vec<Annotation>,
    by_text: HashMap<String, usize>,
}

impl Annotations {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an annotation; one of the same text is merged, and the position that is further back in the query stays: evaluated
    /// from left to right that is the later one, and it does not depend on where parts are evaluated.
    pub fn add(&mut self, annotation: Annotation) {
        match self.by_text.entry(annotation.kind.to_string()) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(self.list.len());
                self.list.push(annotation);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                let known = &mut self.list[*entry.get()];
                known.kind.merge(&annotation.kind);
                known.position = known.position.max(annotation.position);
            }
        }
    }

    /// Adds a kind at a position.
    pub fn push(&mut self, kind: AnnotationKind, position: PositionRange) {
        self.add(Annotation::new(kind, position));
    }

    /// Takes in all of `other`.
    pub fn merge(&mut self, other: Annotations) {
        for annotation in other.list {
            self.add(annotation);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Annotation> {
        self.list.iter()
    }

    /// The texts of one severity, sorted, so that they do not tell in which order parts of a query were evaluated; at most
    /// `limit` (zero: all) and then how many were left out.
    pub fn texts(&self, severity: Severity, query: &str, limit: usize) -> Vec<String> {
        let of_severity = self.list.iter().filter(|annotation| annotation.kind.severity() == severity);
        let mut texts: Vec<String> = of_severity.map(|annotation| annotation.text(query)).collect();
        texts.sort_unstable();
        let limit = if limit == 0 { usize::MAX } else { limit };
        let omitted = texts.len().saturating_sub(limit);
        if omitted > 0 {
            texts.truncate(limit);
            let name = match severity {
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            texts.push(format!("{omitted} more {name} annotations omitted"));
        }
        texts
    }

    /// The warnings, as an API answer lists them.
    pub fn warnings(&self, query: &str, limit: usize) -> Vec<String> {
        self.texts(Severity::Warning, query, limit)
    }

    /// The infos, as an API answer lists them.
    pub fn infos(&self, query: &str, limit: usize) -> Vec<String> {
        self.texts(Severity::Info, query, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "histogram_quantile(2,\n  x)";

    #[test]
    fn the_same_text_stands_once() {
        let mut annotations = Annotations::new();
        for start in [0, 19] {
            annotations.push(AnnotationKind::InvalidQuantile { quantile: 2.0 }, PositionRange::new(start, start + 1));
        }
        annotations.push(AnnotationKind::PossibleNonCounter { metric: "x".into() }, PositionRange::new(24, 25));
        assert_eq!(annotations.warnings(QUERY, 0), ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"]);
        assert_eq!(
            annotations.infos(QUERY, 0),
            ["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (2:3)"]
        );
    }

    #[test]
    fn mended_buckets_add_up() {
        let mut annotations = Annotations::new();
        for (time_ms, low, high, difference) in [(5_000, 1.0, 2.0, 0.5), (1_000, 2.0, 10.0, 0.125)] {
            let extent = ForcedMonotonicity::at(time_ms, low, high, difference);
            let kind = AnnotationKind::ForcedMonotonicity { metric: "m".into(), extent };
            annotations.push(kind, PositionRange::new(0, 1));
        }
        assert_eq!(
            annotations.infos(QUERY, 0),
            ["PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
              https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \
              \"m\", from buckets 1 to 10, with a max diff of 0.5, over 2 samples from 1970-01-01T00:00:01Z to \
              1970-01-01T00:00:05Z (1:1)"]
        );
    }

    #[test]
    fn a_limit_says_what_it_left_out() {
        let mut annotations = Annotations::new();
        for metric in ["a", "b", "c"] {
            let kind = AnnotationKind::StartTimeOverlap { metric: metric.into(), occurrences: 1 };
            annotations.push(kind, PositionRange::new(0, 1));
        }
        annotations.push(AnnotationKind::Source("a shard is away".into()), PositionRange::default());
        let warnings = annotations.warnings("q", 2);
        assert_eq!((warnings.len(), warnings[2].as_str()), (3, "2 more warning annotations omitted"));
    }
}
