//! Exemplars and metadata: what stands beside the samples of a series and of a metric.

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

/// The type of a metric, by the names that OpenMetrics and Prometheus' API use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
