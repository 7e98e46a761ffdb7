//! Evaluating queries.
//!
//! The walk of one query: the parsed tree is compiled into a plan for this run (`plan`); the evaluator walks the plan and
//! evaluates every vector expression series by series over all steps at once, each series a `Column` of one
//! value a step. Selections and the functions directly over them are streamed: one series is read into a reused buffer,
//! its values at all steps are calculated, and an aggregation around it takes them in before the next series is read. What
//! needs all series at hand (binary operators, `topk`, `histogram_quantile`) collects columns first.
//!
//! Parts of the source that lie on other nodes are offered the work on their series (`part`).
//!
//! Not done here: limits on the number of steps and on concurrent queries (the HTTP layer's), caching.

mod options;
mod error;
mod stats;
mod grid;
mod column;
mod budget;
mod notes;
mod wire;
pub mod plan;
mod functions;
mod aggregate;
mod frame;
mod binary;
mod same_labels;
mod instant;
mod histogram_stats;
mod answer;
mod evaluator;
mod part;
#[cfg(test)]
mod limit_tests;

use std::time::{Duration, Instant};

use crate::annotations::Annotations;
use crate::ast::Expr;
use crate::source::Source;
use crate::subplan::Subplan;
use crate::value::Value;
use crate::value_type::ValueType;

pub use error::QueryError;
pub use options::{EngineOptions, QueryOptions, StatsDetail};
pub use stats::{QueryStats, QueryTimings};

use budget::Budget;
use column::Column;
use evaluator::Evaluator;
use grid::Grid;
use notes::Notes;
use plan::{Node, Run};

/// Evaluates queries; holds no state between them.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: EngineOptions,
}

/// An answer and what there is to say about it.
#[derive(Clone, Debug)]
pub struct QueryOutput {
    pub value: Value,
    /// Texts with positions: `annotations.warnings(query_text, limit)`, `annotations.infos(query_text, limit)`.
    pub annotations: Annotations,
    pub stats: QueryStats,
}

impl Engine {
    pub fn new(options: EngineOptions) -> Engine {
        Engine { options }
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates `query` at one time.
    pub fn instant(&self, source: &dyn Source, query: &Expr, time_ms: i64, options: &QueryOptions) -> Result<QueryOutput, QueryError> {
        let start = Instant::now();
        let run = Run { start_ms: time_ms, end_ms: time_ms, step_ms: 0, subquery_step_ms: self.options.subquery_step_ms };
        let node = plan::compile(query, run)?;
        let grid = Grid::instant(time_ms);
        self.run(source, (&node, run), &grid, options, start, |evaluator, notes| {
            let value = match (query.value_type(), &node) {
                (ValueType::String, Node::String(text)) => Value::String { time_ms, value: text.value.clone() },
                (ValueType::Scalar, node) => {
                    let values = evaluator.scalar(node, &grid, notes)?;
                    Value::Scalar { time_ms, value: values.first().copied().unwrap_or(f64::NAN) }
                }
                (ValueType::Matrix, Node::Range(source)) => {
                    let mut series = evaluator.range_vector(source, time_ms, notes)?;
                    series.sort_by(|left, right| left.labels.cmp(&right.labels));
                    Value::Matrix(series)
                }
                (_, node) => {
                    let vector = evaluator.vector(node, &grid, notes)?;
                    Value::Vector(answer::samples(evaluator.remove_names(vector.columns)?, time_ms))
                }
            };
            Ok((value, Duration::ZERO))
        })
    }

    /// Evaluates `query` at every time from `start_ms` to `end_ms` in steps of `step_ms`; the answer is a matrix.
    pub fn range(
        &self,
        source: &dyn Source,
        query: &Expr,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryOutput, QueryError> {
        let value_type = query.value_type();
        if !matches!(value_type, ValueType::Vector | ValueType::Scalar) {
            let documented = value_type.documented();
            let text = format!("invalid expression type \"{documented}\" for range query, must be Scalar or instant Vector");
            return Err(QueryError::Invalid(text));
        }
        let start = Instant::now();
        let run = Run { start_ms, end_ms, step_ms, subquery_step_ms: self.options.subquery_step_ms };
        let node = plan::compile(query, run)?;
        let grid = Grid::range(start_ms, end_ms, step_ms);
        self.run(source, (&node, run), &grid, options, start, |evaluator, notes| {
            if value_type == ValueType::Scalar {
                let floats = evaluator.scalar(&node, &grid, notes)?;
                let matrix = answer::matrix(vec![Column { floats, ..Column::default() }], &grid);
                return Ok((Value::Matrix(matrix), Duration::ZERO));
            }
            let vector = evaluator.vector(&node, &grid, notes)?;
            let columns = evaluator.remove_names(vector.columns)?;
            let start = Instant::now();
            Ok((Value::Matrix(answer::matrix(columns, &grid)), start.elapsed()))
        })
    }

    /// Evaluates a piece of somebody else's query over the one part of it that `source` has, and hands the frames of the
    /// answer to `send`; the last one says how it ended. Errs only when `send` does.
    pub fn evaluate_part(
        &self,
        source: &dyn Source,
        subplan: &Subplan,
        limits: &QueryOptions,
        send: &(dyn Fn(Vec<u8>) -> Result<(), QueryError> + Sync),
    ) -> Result<(), QueryError> {
        part::evaluate_part(&self.options, source, subplan, limits, send)
    }

    /// `start` is when the query's plan was begun; `evaluate` also answers how long sorting took.
    fn run(
        &self,
        source: &dyn Source,
        (plan, run): (&Node, Run),
        grid: &Grid,
        options: &QueryOptions,
        start: Instant,
        evaluate: impl FnOnce(&Evaluator, &mut Notes) -> Result<(Value, Duration), QueryError>,
    ) -> Result<QueryOutput, QueryError> {
        let prepare = start.elapsed();
        let budget = Budget::of(&self.options, options);
        budget.check_begin()?;
        budget.check_steps(grid.steps)?;
        let lookback_ms = options.lookback_ms.unwrap_or(self.options.lookback_ms);
        let text = options.text.as_ref();
        let evaluator = Evaluator { source, options: &self.options, lookback_ms, budget: &budget, plan, run, text };
        let mut notes = Notes::new(grid);
        let (value, sort) = evaluate(&evaluator, &mut notes)?;
        budget.check_time()?;
        let evaluate = start.elapsed().saturating_sub(prepare + sort);
        let is_wanted = options.stats == StatsDetail::PerStep;
        let per_step = |counts: &[u64]| is_wanted.then(|| grid.times_ms().zip(counts.iter().copied()).collect());
        let stats = QueryStats {
            total_samples: notes.samples(),
            samples_read: notes.samples_read(),
            peak_samples: budget.samples_peak() as u64,
            samples_per_step: per_step(&notes.samples_per_step),
            read_per_step: per_step(&notes.read_per_step),
            timings: QueryTimings { prepare, evaluate, sort },
        };
        Ok(QueryOutput { value, annotations: notes.annotations, stats })
    }
}
