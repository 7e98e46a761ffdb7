//! Evaluating a piece of a query for somebody else.
//!
//! The engine that runs the query offers each part of its source a [`Subplan`]. Where a part is on another node, that node
//! parses the text, compiles it for the same run, finds the node by its number and evaluates it over its part of the data;
//! what it sends are the states that joining needs, in frames (`frame`). Both sides run the same code over the
//! same part, so the bits of the answer are those of reading all series in one place.

use super::budget::Budget;
use super::error::QueryError;
use super::evaluator::Evaluator;
use super::frame::{self, Send};
use super::grid::Grid;
use super::notes::Notes;
use super::options::{EngineOptions, QueryOptions};
use super::plan::{self, Run};
use crate::parser::parse;
use crate::source::Source;
use crate::subplan::Subplan;

/// Sends the frames of the answer; the last one says how it ended. `source` has the one part. Errs only when `send` does.
pub fn evaluate_part(
    own: &EngineOptions,
    source: &dyn Source,
    subplan: &Subplan,
    limits: &QueryOptions,
    send: Send,
) -> Result<(), QueryError> {
    let unheard = std::sync::Mutex::new(None);
    let outcome = evaluate(own, source, subplan, limits, &|frame| {
        send(frame).inspect_err(|error| *unheard.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error.clone()))
    });
    match unheard.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => send(frame::last(&outcome)),
    }
}

fn evaluate(own: &EngineOptions, source: &dyn Source, subplan: &Subplan, limits: &QueryOptions, send: Send) -> Result<Notes, QueryError> {
    let invalid = |text: &str| QueryError::Invalid(text.to_owned());
    let expr = parse(&subplan.query.text, subplan.query.parser).map_err(|errors| QueryError::Invalid(errors.to_string()))?;
    let run = Run {
        start_ms: subplan.run_start_ms,
        end_ms: subplan.run_end_ms,
        step_ms: subplan.run_step_ms,
        subquery_step_ms: subplan.subquery_step_ms,
    };
    let plan = plan::compile(&expr, run)?;
    let node = plan.numbered(subplan.node).ok_or_else(|| invalid("the query has no such node"))?;
    if node.selections() != 1 {
        return Err(invalid("a part can evaluate one selection only"));
    }
    let options = EngineOptions {
        samples_max: own.samples_max.min(usize::try_from(subplan.samples_max).unwrap_or(usize::MAX)),
        delayed_name_removal: subplan.delayed_name_removal,
        type_and_unit_labels: subplan.type_and_unit_labels,
        start_timestamps: subplan.start_timestamps,
        ..own.clone()
    };
    let budget = Budget::of(&options, limits);
    let grid = grid(subplan)?;
    budget.check_steps(grid.steps)?;
    let evaluator =
        Evaluator { source, options: &options, lookback_ms: subplan.lookback_ms, budget: &budget, plan: &plan, run, text: None };
    let mut notes = Notes::new(&grid);
    evaluator.send_part(node, &grid, send, &mut notes)?;
    budget.check_time()?;
    Ok(notes)
}

/// Times near the ends of their type would overflow where ranges and offsets are added to them.
fn grid(subplan: &Subplan) -> Result<Grid, QueryError> {
    const TIME_MS_MAX: i64 = 1 << 60;
    let Subplan { grid_start_ms, grid_step_ms, grid_steps, .. } = *subplan;
    let length_ms = grid_step_ms.checked_mul(grid_steps.into());
    let fits = grid_step_ms > 0 && grid_start_ms.abs() < TIME_MS_MAX && length_ms.is_some_and(|length| length < TIME_MS_MAX);
    if !fits {
        return Err(QueryError::Invalid("times out of range".to_owned()));
    }
    Ok(Grid { start_ms: grid_start_ms, step_ms: grid_step_ms, steps: grid_steps as usize })
}
