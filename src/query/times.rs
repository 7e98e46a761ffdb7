//! At which times an expression is evaluated.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    At(i64),
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

impl Times {
    /// From the first to the last time.
    pub fn range_seconds(&self) -> u64 {
        match self {
            Times::At(_) => 0,
            Times::Range { start_ms, end_ms, .. } => end_ms.saturating_sub(*start_ms).unsigned_abs() / 1000,
        }
    }
}
