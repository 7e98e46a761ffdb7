//! How much work a query was.

use std::time::Duration;

/// Samples counted as Prometheus counts them: a histogram counts by its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples looked at, those of a range once for every step that uses them.
    pub total_samples: u64,
    /// Samples read: those of overlapping ranges once.
    pub samples_read: u64,
    /// The most samples held in memory at a time.
    pub peak_samples: u64,
    /// For every step its time and its share of the total, when asked for.
    pub samples_per_step: Option<Vec<(i64, u64)>>,
    /// The same of the samples read; each belongs to the first step that uses it.
    pub read_per_step: Option<Vec<(i64, u64)>>,
    pub timings: QueryTimings,
}

/// How long the stages of a query took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryTimings {
    /// From the tree to the plan.
    pub prepare: Duration,
    /// Reading and calculating.
    pub evaluate: Duration,
    /// From columns to the sorted answer.
    pub sort: Duration,
}
