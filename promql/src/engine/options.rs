//! How the engine as a whole and one query in it behave.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::subplan::QueryText;

/// Settings of an engine; the defaults are those of a Prometheus server without feature flags.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How many samples a query may hold in memory at a time.
    pub samples_max: usize,
    /// How many bytes a query may hold at a time: what it reads at the moment, groups, matrices and label sets. What the
    /// allocator adds is not counted.
    pub memory_bytes_max: usize,
    /// How long a query may run.
    pub timeout: Duration,
    /// For how long after its last sample a series still has a value.
    pub lookback_ms: i64,
    /// The step of a subquery that names none.
    pub subquery_step_ms: i64,
    /// Remove metric names at the end of a query instead of in every function, so that `label_replace` still sees them.
    pub delayed_name_removal: bool,
    /// Judge whether a metric is a counter by its `__type__` label instead of its name.
    pub type_and_unit_labels: bool,
    /// Let counters functions use the times at which counters started.
    pub start_timestamps: bool,
    /// How many threads may read the parts of one selection.
    pub threads_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            samples_max: 50_000_000,
            memory_bytes_max: 256 << 20,
            timeout: Duration::from_secs(120),
            lookback_ms: 5 * 60 * 1000,
            subquery_step_ms: 60 * 1000,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            start_timestamps: false,
            threads_max: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Settings of one query.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Instead of the engine's.
    pub lookback_ms: Option<i64>,
    /// The query ends with an error soon after this becomes true.
    pub cancel: Option<Arc<AtomicBool>>,
    /// The query ends with an error soon after this, or after the engine's timeout, whichever is earlier.
    pub deadline: Option<Instant>,
    /// Whether to count samples for every step.
    pub stats: StatsDetail,
    /// What the query was parsed from. Without it parts of the source are asked for series only.
    pub text: Option<QueryText>,
}

/// How much of a query's work is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsDetail {
    #[default]
    Totals,
    PerStep,
}
