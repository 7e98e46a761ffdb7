//! Reading a selection from the source, series by series, on as many threads as are worth it.

use std::sync::Mutex;

use super::super::column::Column;
use super::super::error::QueryError;
use super::super::functions::window::SplitSeries;
use super::super::grid::Grid;
use super::super::histogram_stats::drop_buckets;
use super::super::notes::Notes;
use super::super::plan::{HistogramDetail, Selector};
use super::Evaluator;
use crate::source::{SelectRequest, SeriesBuffer, SeriesCursor};

/// Fewer values than this are not worth a thread.
const VALUES_PER_THREAD_MIN: usize = 20_000;

type Cursor<'c> = Box<dyn SeriesCursor + Send + 'c>;

/// What is reused from series to series.
#[derive(Default)]
pub struct Scratch {
    pub buffer: SeriesBuffer,
    pub split: SplitSeries,
    pub column: Column,
}

/// What is done with every series.
pub type Each<'e, S> = &'e (dyn Fn(&mut S, &mut Scratch, &mut Notes) -> Result<(), QueryError> + Sync);

impl Evaluator<'_> {
    /// Reads the series of a selector that may have samples from `start_ms` to `end_ms` (both inclusive). Each cursor of the
    /// source has its own state; the states are returned in the order of the cursors.
    pub(super) fn scan<S: Send>(
        &self,
        selector: &Selector,
        (start_ms, end_ms): (i64, i64),
        grid: &Grid,
        new: &(dyn Fn() -> S + Sync),
        each: Each<'_, S>,
        notes: &mut Notes,
    ) -> Result<Vec<S>, QueryError> {
        self.budget.check_time()?;
        let without_buckets = selector.detail == HistogramDetail::WithoutBuckets;
        // A sample right at the open end of the range says whether the next one comes after a reset.
        let start_ms = if without_buckets { start_ms - 1 } else { start_ms };
        let request = SelectRequest { matchers: selector.matchers.clone(), start_ms, end_ms, hints: selector.hints.clone() };
        let cursors = self.source.select(&request)?;
        let each: Each<'_, S> = if without_buckets {
            &|state, scratch, notes| {
                drop_buckets(&mut scratch.buffer);
                each(state, scratch, notes)
            }
        } else {
            each
        };
        let threads = self.threads_for(&cursors, grid);
        if threads < 2 {
            return cursors.into_iter().map(|cursor| self.read(cursor, new(), each, notes)).collect();
        }
        let parts = self.read_in_parallel(cursors, threads, grid, new, each)?;
        Ok(parts
            .into_iter()
            .map(|(state, part_notes)| {
                notes.merge(part_notes);
                state
            })
            .collect())
    }

    fn threads_for(&self, cursors: &[Cursor], grid: &Grid) -> usize {
        let series = cursors.iter().map(|cursor| cursor.series_left()).sum::<Option<usize>>();
        let worth = series.map_or(usize::MAX, |series| series.saturating_mul(grid.steps) / VALUES_PER_THREAD_MIN);
        cursors.len().min(self.options.threads_max).min(worth)
    }

    fn read_in_parallel<S: Send>(
        &self,
        cursors: Vec<Cursor>,
        threads: usize,
        grid: &Grid,
        new: &(dyn Fn() -> S + Sync),
        each: Each<'_, S>,
    ) -> Result<Vec<(S, Notes)>, QueryError> {
        let count = cursors.len();
        let queue = Mutex::new(cursors.into_iter().enumerate());
        let work = || {
            let mut done = Vec::new();
            // A poisoned queue is as good as any: another thread has panicked, which ends the query.
            while let Some((position, cursor)) = queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next() {
                let mut notes = Notes::new(grid);
                let state = self.read(cursor, new(), each, &mut notes);
                let failed = state.is_err();
                done.push((position, state.map(|state| (state, notes))));
                if failed {
                    break;
                }
            }
            done
        };
        let mut parts: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut parts = work();
            for other in others {
                match other.join() {
                    Ok(mut done) => parts.append(&mut done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            parts
        });
        parts.sort_by_key(|(position, _)| *position);
        let states = parts.into_iter().map(|(_, part)| part).collect::<Result<Vec<_>, _>>()?;
        debug_assert_eq!(states.len(), count);
        Ok(states)
    }

    /// Reads one cursor to its end.
    fn read<S>(&self, mut cursor: Cursor, mut state: S, each: Each<'_, S>, notes: &mut Notes) -> Result<S, QueryError> {
        let mut scratch = Scratch::default();
        let mut charge = self.budget.charge();
        while cursor.next(&mut scratch.buffer)? {
            self.budget.check_time()?;
            if scratch.buffer.timestamps.is_empty() {
                continue;
            }
            let histograms: usize = scratch.buffer.histograms.iter().map(|(_, histogram)| histogram.size_in_samples()).sum();
            charge.replace(scratch.buffer.timestamps.len() + histograms)?;
            each(&mut state, &mut scratch, notes)?;
        }
        Ok(state)
    }
}
