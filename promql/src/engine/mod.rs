//! Evaluating queries.
//!
//! The walk of one query: the parsed tree is compiled into a plan for this run (`plan`); the evaluator walks the plan and
//! evaluates every vector expression series by series over all steps at once, each series a [`column::Column`] of one
//! value a step. Selections and the functions directly over them are streamed: one series is read into a reused buffer,
//! its values at all steps are calculated, and an aggregation around it takes them in before the next series is read. What
//! needs all series at hand (binary operators, `topk`, `histogram_quantile`) collects columns first.
//!
//! Not done here: limits on the number of steps and on concurrent queries (the HTTP layer's), caching, pushing
//! operations down to a remote source.

mod options;
mod error;
mod stats;

use crate::annotations::Annotations;
use crate::ast::Expr;
use crate::source::Source;
use crate::value::Value;

pub use error::QueryError;
pub use options::{EngineOptions, QueryOptions, StatsDetail};
pub use stats::QueryStats;

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
        let _ = (source, query, time_ms, options);
        Err(QueryError::Execution("the evaluator is being built".into()))
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
        let _ = (source, query, start_ms, end_ms, step_ms, options);
        Err(QueryError::Execution("the evaluator is being built".into()))
    }
}
