//! Subqueries, and range vectors as whole queries.

use std::sync::Arc;

use super::super::column::{SAMPLE_BYTES, series_bytes};
use super::super::error::QueryError;
use super::super::functions::extended_samples;
use super::super::functions::window::{SplitSeries, StartTimes};
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::{RangeSource, Subquery};
use super::{Evaluator, Vector};
use crate::ast::Extension;
use crate::histogram::{CounterResetHint, FloatHistogram};
use crate::source::SeriesBuffer;
use crate::value::Series;

impl<'a> Evaluator<'a> {
    /// Evaluates a subquery for all steps of `grid` and shows `each` its series as if they had been read from a source.
    pub(super) fn for_each_subquery_series(
        &self,
        subquery: &Subquery,
        grid: &Grid,
        notes: &mut Notes,
        mut each: impl FnMut(&mut SeriesBuffer, &mut SplitSeries, bool, &mut Notes) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let inner = inner_grid(subquery, grid);
        self.budget.check_steps(inner.steps)?;
        // Samples are counted where the outer function uses them.
        let mut inner_notes = Notes::new(&inner);
        let vector = self.evaluate_subquery(subquery, &inner, &mut inner_notes)?;
        let end_of = |time_ms: i64| subquery.at_ms.unwrap_or(time_ms) - subquery.offset_ms;
        notes.merge_subquery(inner_notes, &inner, grid, subquery.range_ms, end_of);
        let was_computed = std::mem::replace(&mut notes.windows_are_computed, true);
        let (mut buffer, mut split) = (SeriesBuffer::default(), SplitSeries::default());
        for column in vector.columns {
            self.budget.check_time()?;
            buffer.clear();
            buffer.labels = column.labels.clone();
            for step in (0..inner.steps).filter(|step| column.is_present(*step)) {
                if let Some(histogram) = column.histogram(step) {
                    buffer.histograms.push((buffer.timestamps.len() as u32, without_reset_hint(histogram)));
                }
                buffer.timestamps.push(inner.time_ms(step));
                buffer.values.push(if column.histogram(step).is_some() { 0.0 } else { column.floats[step] });
            }
            each(&mut buffer, &mut split, column.drop_name, notes)?;
        }
        notes.windows_are_computed = was_computed;
        Ok(())
    }

    fn evaluate_subquery(&self, subquery: &Subquery, inner: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        if subquery.is_scalar {
            let mut column = super::Column::empty(crate::labels::Labels::empty(), inner.steps);
            column.floats = self.scalar(&subquery.expr, inner, notes)?;
            return self.charged(vec![column]);
        }
        self.vector(&subquery.expr, inner, notes)
    }

    /// A range vector as the answer of an instant query.
    pub fn range_vector(&self, source: &RangeSource, time_ms: i64, notes: &mut Notes) -> Result<Vec<Series>, QueryError> {
        let grid = Grid::instant(time_ms);
        match source {
            RangeSource::Selector { selector, range_ms } => {
                let end_ms = source.end_ms(time_ms);
                let range = (end_ms - range_ms, end_ms);
                let (before_ms, ahead_ms) = match selector.extension {
                    Extension::None => (0, 0),
                    Extension::Anchored => (self.lookback_ms, 0),
                    Extension::Smoothed => (self.lookback_ms, self.lookback_ms),
                };
                let read = (range.0 - before_ms + 1, range.1 + ahead_ms);
                let parts = self.scan(
                    selector,
                    read,
                    &grid,
                    (&|| (Vec::new(), self.budget.charge()), None),
                    &|(list, charge), scratch, notes| {
                        let labels = scratch.buffer.labels.clone();
                        scratch.split.fill(&mut scratch.buffer, StartTimes::Ignore);
                        if selector.extension != Extension::None {
                            extended_samples(&mut scratch.split, selector.extension, range)?;
                        }
                        if !scratch.split.is_empty() {
                            charge.add(scratch.split.size())?;
                            charge.add_bytes(series_bytes(&labels) + scratch.split.size() * SAMPLE_BYTES)?;
                            notes.count(0, scratch.split.size());
                            list.push(series_of(labels, &scratch.split));
                        }
                        Ok(())
                    },
                    notes,
                )?;
                Ok(parts.into_iter().flat_map(|(list, _)| list).collect())
            }
            RangeSource::Subquery(subquery) => {
                let inner = inner_grid(subquery, &grid);
                self.budget.check_steps(inner.steps)?;
                let mut inner_notes = Notes::new(&inner);
                let vector = self.evaluate_subquery(subquery, &inner, &mut inner_notes)?;
                notes.merge_invariant(inner_notes);
                let columns = self.remove_names(vector.columns)?;
                Ok(columns.into_iter().map(|column| super::super::answer::series_of_column(column, &inner)).collect())
            }
        }
    }
}

/// The times at which a subquery is evaluated: all multiples of its step that lie in the range of some outer step.
fn inner_grid(subquery: &Subquery, grid: &Grid) -> Grid {
    let reference = |time_ms: i64| subquery.at_ms.unwrap_or(time_ms) - subquery.offset_ms;
    let after_ms = reference(grid.start_ms) - subquery.range_ms;
    let step_ms = subquery.step_ms.max(1);
    let mut start_ms = step_ms * (after_ms / step_ms);
    if start_ms <= after_ms {
        start_ms += step_ms;
    }
    Grid::range(start_ms, reference(grid.end_ms()), step_ms)
}

/// Hints are about neighbouring samples of the series, which a subquery may leave out or repeat.
fn without_reset_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::Unknown | CounterResetHint::Gauge => Arc::clone(histogram),
        CounterResetHint::Reset | CounterResetHint::NotReset => {
            Arc::new(FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..histogram.as_ref().clone() })
        }
    }
}

fn series_of(labels: crate::labels::Labels, samples: &SplitSeries) -> Series {
    let floats = samples.floats.times.iter().copied().zip(samples.floats.values.iter().copied()).collect();
    let histograms = samples.histograms.times.iter().copied().zip(samples.histograms.values.iter().cloned()).collect();
    Series { labels, floats, histograms }
}
