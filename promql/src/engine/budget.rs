//! What a query may use: samples in memory and time. Checked by all threads of the query.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::error::QueryError;
use super::options::{EngineOptions, QueryOptions};

/// In which part of the engine a limit is hit.
const EVALUATION: &str = QueryError::EVALUATION;
const EXECUTION: &str = QueryError::EXECUTION;

/// The limits of one query and how much of them is used.
#[derive(Debug)]
pub struct Budget {
    samples_max: usize,
    deadline: Option<Instant>,
    cancel: Option<Arc<AtomicBool>>,
    samples: AtomicUsize,
    samples_peak: AtomicUsize,
}

/// How many samples are worked on before a query looks again whether it may go on.
const SAMPLES_BETWEEN_CHECKS: usize = 10_000;

/// Looks at the time every few thousand samples, so that a long window does not outlive its query.
#[derive(Debug)]
pub struct Ticker<'b> {
    budget: &'b Budget,
    samples: usize,
}

impl Ticker<'_> {
    /// So many samples are about to be worked on.
    #[inline]
    pub fn tick(&mut self, samples: usize) -> Result<(), QueryError> {
        self.samples += samples;
        if self.samples < SAMPLES_BETWEEN_CHECKS {
            return Ok(());
        }
        self.samples = 0;
        self.budget.check_time()
    }
}

/// Samples held in memory; gives them back when dropped.
#[derive(Debug)]
pub struct Charge<'b> {
    budget: &'b Budget,
    samples: usize,
}

impl Budget {
    pub fn new(samples_max: usize, deadline: Option<Instant>, cancel: Option<Arc<AtomicBool>>) -> Budget {
        Budget { samples_max, deadline, cancel, samples: AtomicUsize::new(0), samples_peak: AtomicUsize::new(0) }
    }

    /// What an engine grants a query.
    pub fn of(engine: &EngineOptions, query: &QueryOptions) -> Budget {
        let timeout = Instant::now().checked_add(engine.timeout);
        Budget::new(engine.samples_max, query.deadline.into_iter().chain(timeout).min(), query.cancel.clone())
    }

    pub fn samples_max(&self) -> usize {
        self.samples_max
    }

    /// Errs when the query was canceled or its time is over. Called at least once per series.
    pub fn check_time(&self) -> Result<(), QueryError> {
        self.check_time_in(EVALUATION)
    }

    /// The same before a query begins.
    pub fn check_begin(&self) -> Result<(), QueryError> {
        self.check_time_in(EXECUTION)
    }

    fn check_time_in(&self, phase: &'static str) -> Result<(), QueryError> {
        if self.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(QueryError::Canceled(phase));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(QueryError::Timeout(phase));
        }
        Ok(())
    }

    /// Errs when a grid has so many steps that a single series over it would not be allowed.
    pub fn check_steps(&self, steps: usize) -> Result<(), QueryError> {
        if steps / 2 > self.samples_max { Err(QueryError::TooManySamples(EXECUTION)) } else { Ok(()) }
    }

    /// Counts work between two looks at the time.
    pub fn ticker(&self) -> Ticker<'_> {
        Ticker { budget: self, samples: 0 }
    }

    /// A charge of nothing yet.
    pub fn charge(&self) -> Charge<'_> {
        Charge { budget: self, samples: 0 }
    }

    pub fn samples_peak(&self) -> usize {
        self.samples_peak.load(Ordering::Relaxed)
    }
}

impl Charge<'_> {
    /// Holds `samples` more.
    pub fn add(&mut self, samples: usize) -> Result<(), QueryError> {
        let total = self.budget.samples.fetch_add(samples, Ordering::Relaxed) + samples;
        self.samples += samples;
        self.budget.samples_peak.fetch_max(total, Ordering::Relaxed);
        if total > self.budget.samples_max {
            return Err(QueryError::TooManySamples(EXECUTION));
        }
        Ok(())
    }

    /// Holds `samples` instead of what it held.
    pub fn replace(&mut self, samples: usize) -> Result<(), QueryError> {
        self.release();
        self.add(samples)
    }

    fn release(&mut self) {
        self.budget.samples.fetch_sub(self.samples, Ordering::Relaxed);
        self.samples = 0;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_may_be_used_again() {
        let budget = Budget::new(10, None, None);
        let mut first = budget.charge();
        first.add(6).unwrap();
        let mut second = budget.charge();
        assert_eq!(second.add(5), Err(QueryError::TooManySamples("query execution")));
        drop(second);
        drop(first);
        let mut third = budget.charge();
        third.add(10).unwrap();
        assert_eq!(budget.samples_peak(), 11);
    }

    #[test]
    fn a_canceled_query_ends() {
        let cancel = Arc::new(AtomicBool::new(false));
        let budget = Budget::new(10, None, Some(Arc::clone(&cancel)));
        assert_eq!(budget.check_time(), Ok(()));
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(budget.check_time().unwrap_err().to_string(), "query was canceled in expression evaluation");
    }
}
