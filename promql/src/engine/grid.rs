//! The times at which a query is evaluated.

/// Evenly spaced times in milliseconds; an instant query has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub start_ms: i64,
    /// At least 1.
    pub step_ms: i64,
    pub steps: usize,
}

impl Grid {
    pub fn instant(time_ms: i64) -> Grid {
        Grid { start_ms: time_ms, step_ms: 1, steps: 1 }
    }

    /// All times from `start_ms` in steps of `step_ms` that are not after `end_ms`.
    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Grid {
        let step_ms = step_ms.max(1);
        let steps = if end_ms < start_ms { 0 } else { (end_ms - start_ms) / step_ms + 1 };
        Grid { start_ms, step_ms, steps: usize::try_from(steps).unwrap_or(0) }
    }

    /// Only the first time.
    pub fn first(self) -> Grid {
        Grid { steps: self.steps.min(1), ..self }
    }

    pub fn time_ms(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }

    /// The last time.
    pub fn end_ms(&self) -> i64 {
        self.time_ms(self.steps.saturating_sub(1))
    }

    /// Whether there is one time only, so that the order of an answer's series is kept.
    pub fn is_instant(&self) -> bool {
        self.steps == 1
    }

    pub fn times_ms(self) -> impl Iterator<Item = i64> {
        (0..self.steps).map(move |step| self.time_ms(step))
    }
}
