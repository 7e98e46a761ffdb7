//! What a query may use: samples, memory and time. Checked by all threads of the query.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::column::{Column, SAMPLE_BYTES};
use super::error::QueryError;
use super::options::{EngineOptions, QueryOptions};

/// In which part of the engine a limit is hit.
const EVALUATION: &str = QueryError::EVALUATION;
const EXECUTION: &str = QueryError::EXECUTION;

/// The limits of one query and how much of them is used.
#[derive(Debug)]
pub struct Budget {
    samples_max: usize,
    bytes_max: usize,
    deadline: Option<Instant>,
    cancel: Option<Arc<AtomicBool>>,
    samples: AtomicUsize,
    samples_peak: AtomicUsize,
    bytes: AtomicUsize,
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

/// Samples and bytes held in memory; gives them back when dropped.
#[derive(Debug)]
pub struct Charge<'b> {
    budget: &'b Budget,
    samples: usize,
    bytes: usize,
}

impl Budget {
    /// What an engine grants without an end in time.
    pub fn new(engine: &EngineOptions) -> Budget {
        Budget {
            samples_max: engine.samples_max,
            bytes_max: engine.memory_bytes_max,
            deadline: None,
            cancel: None,
            samples: AtomicUsize::new(0),
            samples_peak: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// What an engine grants a query.
    pub fn of(engine: &EngineOptions, query: &QueryOptions) -> Budget {
        let timeout = Instant::now().checked_add(engine.timeout);
        let deadline = query.deadline.into_iter().chain(timeout).min();
        Budget { deadline, cancel: query.cancel.clone(), ..Budget::new(engine) }
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
        Charge { budget: self, samples: 0, bytes: 0 }
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

    /// Holds `bytes` more.
    pub fn add_bytes(&mut self, bytes: usize) -> Result<(), QueryError> {
        let total = self.budget.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        if total > self.budget.bytes_max { Err(QueryError::TooMuchMemory(EXECUTION)) } else { Ok(()) }
    }

    /// Holds one more series.
    pub fn add_column(&mut self, column: &Column) -> Result<(), QueryError> {
        self.add(column.memory_in_samples())?;
        self.add_bytes(column.bytes())
    }

    /// Holds `samples` instead of what it held.
    pub fn replace(&mut self, samples: usize) -> Result<(), QueryError> {
        self.release();
        self.add(samples)?;
        self.add_bytes(samples * SAMPLE_BYTES)
    }

    fn release(&mut self) {
        self.budget.samples.fetch_sub(self.samples, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        (self.samples, self.bytes) = (0, 0);
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
        let budget = Budget::new(&EngineOptions { samples_max: 10, ..EngineOptions::default() });
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
    fn bytes_are_bounded_and_given_back() {
        let budget = Budget::new(&EngineOptions { memory_bytes_max: 1000, ..EngineOptions::default() });
        let column = Column { floats: vec![1.0; 100], ..Column::default() };
        let mut first = budget.charge();
        first.add_column(&column).unwrap();
        let mut second = budget.charge();
        let error = second.add_column(&column).unwrap_err();
        assert_eq!(error.to_string(), "query processing would take too much memory in query execution");
        drop(first);
        drop(second);
        budget.charge().add_bytes(1000).unwrap();
        assert_eq!(budget.charge().add_bytes(1001), Err(QueryError::TooMuchMemory("query execution")));
    }

    #[test]
    fn a_canceled_query_ends() {
        let cancel = Arc::new(AtomicBool::new(false));
        let budget = Budget { cancel: Some(Arc::clone(&cancel)), ..Budget::new(&EngineOptions::default()) };
        assert_eq!(budget.check_time(), Ok(()));
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(budget.check_time().unwrap_err().to_string(), "query was canceled in expression evaluation");
    }
}
