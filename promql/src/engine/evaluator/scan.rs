//! Reading a selection from the source, series by series, on as many threads as are worth it.

use std::sync::Mutex;

use super::super::column::Column;
use super::super::error::QueryError;
use super::super::frame::Frame;
use super::super::functions::window::SplitSeries;
use super::super::functions::windows::Windows;
use super::super::grid::Grid;
use super::super::histogram_stats::drop_buckets;
use super::super::notes::Notes;
use super::super::plan::{HistogramDetail, Selector};
use super::super::wire::Malformed;
use super::Evaluator;
use super::sink::Offer;
use crate::source::{Part, PartAnswer, PartFrame, SelectRequest, SeriesBuffer, SeriesCursor};

/// Fewer values than this are not worth a thread.
const VALUES_PER_THREAD_MIN: usize = 20_000;

/// What is reused from series to series.
#[derive(Default)]
pub struct Scratch {
    pub buffer: SeriesBuffer,
    pub split: SplitSeries,
    pub windows: Windows,
    pub column: Column,
}

/// How the parts of a selection are read: a state for each, and what they may do instead of giving series.
pub type Parts<'p, S> = (&'p (dyn Fn() -> S + Sync), Option<&'p Offer<'p, S>>);

/// What is done with every series.
pub type Each<'e, S> = &'e (dyn Fn(&mut S, &mut Scratch, &mut Notes) -> Result<(), QueryError> + Sync);

/// What every part of a selection is read with.
struct Reading<'r, S> {
    grid: &'r Grid,
    parts: Parts<'r, S>,
    each: Each<'r, S>,
}

impl Evaluator<'_> {
    /// Reads the series of a selector that may have samples from `start_ms` to `end_ms` (both inclusive). Each part of the
    /// source has its own state; the states are returned in the order of the parts.
    pub(super) fn scan<S: Send>(
        &self,
        selector: &Selector,
        (start_ms, end_ms): (i64, i64),
        grid: &Grid,
        parts: Parts<'_, S>,
        each: Each<'_, S>,
        notes: &mut Notes,
    ) -> Result<Vec<S>, QueryError> {
        self.budget.check_time()?;
        let without_buckets = selector.detail == HistogramDetail::WithoutBuckets;
        // A sample right at the open end of the range says whether the next one comes after a reset.
        let start_ms = if without_buckets { start_ms - 1 } else { start_ms };
        let request = SelectRequest { matchers: selector.matchers.clone(), start_ms, end_ms, hints: selector.hints.clone() };
        let selected = match parts.1 {
            Some(offer) => self.source.select_or_evaluate(&request, &offer.subplan)?,
            None => self.source.select(&request)?.into_iter().map(Part::Series).collect(),
        };
        let each: Each<'_, S> = if without_buckets {
            &|state, scratch, notes| {
                drop_buckets(&mut scratch.buffer);
                each(state, scratch, notes)
            }
        } else {
            each
        };
        let how = Reading { grid, parts, each };
        let threads = self.threads_for(&selected, grid);
        if threads < 2 {
            return selected.into_iter().map(|part| self.read(part, &how, notes)).collect();
        }
        let done = self.read_in_parallel(selected, threads, &how)?;
        Ok(done
            .into_iter()
            .map(|(state, part_notes)| {
                notes.merge(part_notes);
                state
            })
            .collect())
    }

    fn threads_for(&self, parts: &[Part], grid: &Grid) -> usize {
        let left = |part: &Part| match part {
            Part::Series(cursor) => cursor.series_left(),
            Part::Evaluated(_) => None,
        };
        let series = parts.iter().map(left).sum::<Option<usize>>();
        let worth = series.map_or(usize::MAX, |series| series.saturating_mul(grid.steps) / VALUES_PER_THREAD_MIN);
        parts.len().min(self.options.threads_max).min(worth)
    }

    fn read_in_parallel<S: Send>(&self, parts: Vec<Part>, threads: usize, how: &Reading<S>) -> Result<Vec<(S, Notes)>, QueryError> {
        let count = parts.len();
        // While other nodes are still evaluating, there is enough to do with the series that are here.
        let (here, elsewhere): (Vec<_>, Vec<_>) = parts.into_iter().enumerate().partition(|(_, part)| matches!(part, Part::Series(_)));
        let queue = Mutex::new(here.into_iter().chain(elsewhere));
        let work = || {
            let mut done = Vec::new();
            // A poisoned queue is as good as any: another thread has panicked, which ends the query.
            while let Some((position, part)) = queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next() {
                let mut notes = Notes::new(how.grid);
                let state = self.read(part, how, &mut notes);
                let failed = state.is_err();
                done.push((position, state.map(|state| (state, notes))));
                if failed {
                    break;
                }
            }
            done
        };
        let mut done: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                match other.join() {
                    Ok(mut more) => done.append(&mut more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_by_key(|(position, _)| *position);
        let states = done.into_iter().map(|(_, part)| part).collect::<Result<Vec<_>, _>>()?;
        debug_assert_eq!(states.len(), count);
        Ok(states)
    }

    /// Reads one part to its end.
    fn read<S>(&self, part: Part, how: &Reading<S>, notes: &mut Notes) -> Result<S, QueryError> {
        let state = (how.parts.0)();
        match (part, how.parts.1) {
            (Part::Series(cursor), _) => self.read_series(cursor, state, how.each, notes),
            (Part::Evaluated(answer), Some(offer)) => self.read_answer(answer, offer, state, how, notes),
            (Part::Evaluated(answer), None) => self.read_series(answer.into_series()?, state, how.each, notes),
        }
    }

    fn read_answer<'p, S>(
        &self,
        mut answer: Box<dyn PartAnswer<'p> + Send + 'p>,
        offer: &Offer<S>,
        mut state: S,
        how: &Reading<S>,
        notes: &mut Notes,
    ) -> Result<S, QueryError> {
        let mut is_first = true;
        loop {
            self.budget.check_time()?;
            let bytes = match answer.next()? {
                PartFrame::Bytes(bytes) => bytes,
                PartFrame::NotUnderstood if is_first => return self.read_series(answer.into_series()?, state, how.each, notes),
                PartFrame::NotUnderstood => return Err(Malformed("no frame after the first").into()),
            };
            is_first = false;
            match Frame::read(&bytes, how.grid.steps, offer.op)? {
                Frame::End(seen) => {
                    notes.merge(seen);
                    return Ok(state);
                }
                Frame::Failed(error) => return Err(error),
                frame => (offer.absorb)(&mut state, frame, notes)?,
            }
        }
    }

    fn read_series<'p, S>(
        &self,
        mut cursor: Box<dyn SeriesCursor + Send + 'p>,
        mut state: S,
        each: Each<'_, S>,
        notes: &mut Notes,
    ) -> Result<S, QueryError> {
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
