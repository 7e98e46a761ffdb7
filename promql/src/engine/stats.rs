//! How much work a query was.

/// Samples counted as Prometheus counts them: a histogram counts by its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples looked at, those of a range once for every step that uses them.
    pub total_samples: u64,
    /// The most samples held in memory at a time.
    pub peak_samples: u64,
    /// For every step its time and its share of the total, when asked for.
    pub samples_per_step: Option<Vec<(i64, u64)>>,
}
