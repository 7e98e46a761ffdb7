//! Where the series of an expression go, and what the parts of the source may do with them instead.

use super::super::column::Column;
use super::super::error::QueryError;
use super::super::frame::Frame;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::Node;
use super::super::wire::Malformed;
use super::Evaluator;
use crate::operator::AggregateOp;
use crate::subplan::Subplan;

/// What is done with every series. The column may be taken.
pub type Push<'s, S> = &'s (dyn Fn(&mut S, &mut Column, &mut Notes) -> Result<(), QueryError> + Sync);

/// What is done with what a part sends in place of its series.
pub type Absorb<'s, S> = &'s (dyn Fn(&mut S, Frame, &mut Notes) -> Result<(), QueryError> + Sync);

/// A state for each part of the source, and how series get into it.
pub struct Sink<'s, S> {
    pub new: &'s (dyn Fn() -> S + Sync),
    pub push: Push<'s, S>,
    pub offer: Option<&'s Offer<'s, S>>,
}

/// What a part of the source may evaluate itself, and how its answer gets into the state. To the last bit it must not
/// matter whether a part takes the offer.
pub struct Offer<'s, S> {
    pub subplan: Subplan,
    /// The aggregation whose groups come back; None for series.
    pub op: Option<AggregateOp>,
    pub absorb: Absorb<'s, S>,
}

impl<'s, S> Sink<'s, S> {
    /// The sink of an expression whose series pass through `push` before they get here.
    pub fn before<'t>(&self, push: Push<'t, S>) -> Sink<'t, S>
    where
        's: 't,
    {
        Sink { new: self.new, push, offer: self.offer }
    }
}

/// Pushes the series of a part as if they had been evaluated here.
pub fn columns_into<S>(push: Push<'_, S>) -> impl Fn(&mut S, Frame, &mut Notes) -> Result<(), QueryError> + Sync {
    move |state, frame, notes| {
        let Frame::Columns(columns) = frame else { return Err(Malformed("series were expected").into()) };
        columns.into_iter().try_for_each(|mut column| push(state, &mut column, notes))
    }
}

/// Raw samples are smaller than the values at all steps when steps are closer than this.
const STEP_MS_MIN: i64 = 60_000;

impl Evaluator<'_> {
    /// What to offer the parts for the series of `node`. Bare selections over many close steps are better read as samples.
    pub(super) fn offer_of_columns(&self, node: &Node, grid: &Grid) -> Option<Subplan> {
        let is_bare = matches!(node, Node::Selector(_) | Node::SampleTime { .. });
        if is_bare && !grid.is_instant() && grid.step_ms < STEP_MS_MIN { None } else { self.subplan(node, grid) }
    }

    /// The piece of the query that `node` is, when it is a matter of one selection, over `grid`.
    pub(super) fn subplan(&self, node: &Node, grid: &Grid) -> Option<Subplan> {
        let query = self.text?;
        // With a second selection in it, a part would have to see the series of all others.
        if node.selections() != 1 {
            return None;
        }
        Some(Subplan {
            query: query.clone(),
            run_start_ms: self.run.start_ms,
            run_end_ms: self.run.end_ms,
            run_step_ms: self.run.step_ms,
            subquery_step_ms: self.run.subquery_step_ms,
            node: self.plan.number_of(node)?,
            grid_start_ms: grid.start_ms,
            grid_step_ms: grid.step_ms,
            grid_steps: u32::try_from(grid.steps).ok()?,
            lookback_ms: self.lookback_ms,
            delayed_name_removal: self.options.delayed_name_removal,
            type_and_unit_labels: self.options.type_and_unit_labels,
            start_timestamps: self.options.start_timestamps,
            samples_max: self.budget.samples_max() as u64,
        })
    }
}
