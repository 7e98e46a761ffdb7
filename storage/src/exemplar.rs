//! Exemplars and metadata: what stands beside the samples of a series and of a metric.

/// Characters that names and values of an exemplar's labels may have together, as OpenMetrics says.
pub const LABEL_CHARS_MAX: usize = 128;
/// Bytes of a metric's help that are kept.
pub const HELP_BYTES_MAX: usize = 4096;
/// Bytes of a metric's unit that are kept.
pub const UNIT_BYTES_MAX: usize = 256;
/// Bytes of a metric's name that are kept.
pub const METRIC_BYTES_MAX: usize = 1024;

/// One observation that stands for many, usually with the id of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// The observed value.
    pub value: f64,
    /// Labels of the observation, sorted by name: `[("trace_id", "…")]`.
    pub labels: Vec<(String, String)>,
}

impl Exemplar {
    /// Adds a label; one without a value is no label.
    pub fn push_label(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.labels.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Brings the labels into their order.
    pub fn sort_labels(&mut self) {
        self.labels.sort_unstable();
    }

    /// Whether the labels are sorted, every name is there once, and all together are not too long.
    pub fn is_valid(&self) -> bool {
        let chars: usize = self.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        let is_named = self.labels.iter().all(|(name, _)| !name.is_empty());
        chars <= LABEL_CHARS_MAX && is_named && self.labels.is_sorted_by(|left, right| left.0 < right.0)
    }
}

/// The type of a metric, by the names that OpenMetrics and Prometheus' API use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricType {
    /// Nobody said.
    #[default]
    Unknown,
    /// Only rises, except at resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic or native histogram of a counter kind.
    Histogram,
    /// Histogram of things that are now.
    GaugeHistogram,
    /// Quantiles.
    Summary,
    /// Constant labels as a series.
    Info,
    /// One of several states.
    StateSet,
}

impl MetricType {
    const ALL: [Self; 8] =
        [Self::Unknown, Self::Counter, Self::Gauge, Self::Histogram, Self::GaugeHistogram, Self::Summary, Self::Info, Self::StateSet];

    /// By the number that remote write gives it; unknown when there is none such.
    pub fn from_number(number: u64) -> Self {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied().unwrap_or_default()
    }

    /// The number that remote write gives it.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// By the name that `as_str` answers.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric_type| metric_type.as_str() == text)
    }

    /// As `/api/v1/metadata` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

/// What is said about all series of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metadata {
    /// The metric (family) it is about.
    pub metric: String,
    /// See [`MetricType`].
    pub metric_type: MetricType,
    /// One sentence for people.
    pub help: String,
    /// `seconds`, `bytes`, …, or empty.
    pub unit: String,
}

impl Metadata {
    /// With texts cut down to what is kept.
    pub fn shortened(mut self) -> Self {
        for (text, bytes_max) in [(&mut self.metric, METRIC_BYTES_MAX), (&mut self.help, HELP_BYTES_MAX), (&mut self.unit, UNIT_BYTES_MAX)]
        {
            text.truncate(text.floor_char_boundary(bytes_max));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(labels: &[(&str, &str)]) -> Exemplar {
        let mut exemplar = Exemplar { timestamp_ms: 1, value: 1.0, labels: Vec::new() };
        labels.iter().for_each(|(name, value)| exemplar.push_label(name, value));
        exemplar.sort_labels();
        exemplar
    }

    #[test]
    fn labels_of_an_exemplar_have_128_characters_at_most() {
        assert!(exemplar(&[]).is_valid());
        assert!(exemplar(&[("trace_id", &"é".repeat(120))]).is_valid());
        assert!(!exemplar(&[("trace_id", &"é".repeat(121))]).is_valid());
        assert!(!exemplar(&[("a", "1"), ("a", "2")]).is_valid());
        assert!(!exemplar(&[("", "1")]).is_valid());
        assert_eq!(exemplar(&[("b", "1"), ("a", "2"), ("c", "")]).labels, [("a".into(), "2".into()), ("b".into(), "1".into())]);
    }

    #[test]
    fn types_have_numbers_and_names() {
        for number in 0..8 {
            let metric_type = MetricType::from_number(number);
            assert_eq!(metric_type.number(), number);
            assert_eq!(MetricType::parse(metric_type.as_str()), Some(metric_type));
        }
        assert_eq!(MetricType::from_number(8), MetricType::Unknown);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let help = "é".repeat(HELP_BYTES_MAX);
        let metadata = Metadata { metric: "m".into(), help, ..Metadata::default() }.shortened();
        assert_eq!(metadata.help.len(), HELP_BYTES_MAX);
    }
}
