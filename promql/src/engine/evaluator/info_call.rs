//! `info`: finding the info series and reading their labels.

use super::super::error::QueryError;
use super::super::functions::info::InfoQuery;
use super::super::grid::Grid;
use super::super::instant::for_each_holding;
use super::super::notes::Notes;
use super::super::plan::{Call, HistogramDetail, Node, Selector};
use super::super::same_labels;
use super::{Column, Evaluator, Vector};
use crate::ast::Extension;
use crate::matcher::Matcher;
use crate::position::PositionRange;
use crate::source::SelectHints;

impl<'a> Evaluator<'a> {
    pub(super) fn info(&self, call: &Call, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let base = self.vector(node, grid, notes)?;
        let query = InfoQuery::new(&call.matchers)?;
        let infos = match query.selection(&base.columns)? {
            Some(matchers) => self.info_series(call, matchers, grid, notes)?,
            None => Vec::new(),
        };
        self.charged(same_labels::merge(query.combine(&base.columns, &infos, grid, self.budget)?)?)
    }

    /// Info series; their values are the times of the samples that hold.
    fn info_series(&self, call: &Call, matchers: Vec<Matcher>, grid: &Grid, notes: &mut Notes) -> Result<Vec<Column>, QueryError> {
        let (at_ms, offset_ms) = call.info_time;
        let hints = SelectHints { step_ms: grid.step_ms, function: "info", ..SelectHints::default() };
        let position = PositionRange::default();
        let (extension, detail) = (Extension::None, HistogramDetail::Whole);
        let selector = Selector { matchers, at_ms, offset_ms, extension, detail, hints, position };
        let parts = self.scan(
            &selector,
            self.instant_range(&selector, grid),
            grid,
            (&Vec::new, None),
            &|columns: &mut Vec<Column>, scratch, notes| {
                let buffer = &scratch.buffer;
                let mut column = Column::empty(buffer.labels.clone(), grid.steps);
                let mut has_histograms = false;
                for_each_holding(&selector, buffer, grid, self.lookback_ms, |step, position, histogram| {
                    has_histograms |= histogram.is_some();
                    column.floats[step] = buffer.timestamps[position] as f64;
                    notes.count(step, 1);
                });
                if has_histograms {
                    let text = format!("this should be an info metric, with float samples: {}", buffer.labels);
                    return Err(QueryError::execution(text));
                }
                if !column.is_empty() {
                    columns.push(column);
                }
                Ok(())
            },
            notes,
        )?;
        Ok(parts.into_iter().flatten().collect())
    }
}
