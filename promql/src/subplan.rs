//! A piece of a query that a part of the source can evaluate next to its data.
//!
//! It travels as what the user wrote: the text of the whole query, the run it is compiled for, and which node of the
//! compiled plan is meant over which times. Whoever receives it parses and compiles the query itself, so no form of a plan
//! has to be agreed on, and positions in annotations are those of the text. Both ends must number nodes alike, which
//! [`SUBPLAN_VERSION`] stands for.

use std::sync::Arc;

use crate::parser::ParserOptions;

/// Raised whenever the numbering of nodes, the meaning of a field or the bytes of an answer change. A part that knows
/// another version is asked for raw series instead.
pub const SUBPLAN_VERSION: u32 = 1;

/// The text that a query was parsed from, and how.
#[derive(Clone, Debug)]
pub struct QueryText {
    pub text: Arc<str>,
    pub parser: ParserOptions,
}

/// What a part of a source is offered to evaluate.
#[derive(Clone, Debug)]
pub struct Subplan {
    pub query: QueryText,
    /// The times of the whole query: what `start()` and `end()` mean. The step is 0 for an instant query.
    pub run_start_ms: i64,
    pub run_end_ms: i64,
    pub run_step_ms: i64,
    pub subquery_step_ms: i64,
    /// The number of the node to evaluate.
    pub node: u32,
    /// The times at which to evaluate it.
    pub grid_start_ms: i64,
    /// At least 1.
    pub grid_step_ms: i64,
    pub grid_steps: u32,
    pub lookback_ms: i64,
    pub delayed_name_removal: bool,
    pub type_and_unit_labels: bool,
    pub start_timestamps: bool,
    /// How many samples the part may hold in memory.
    pub samples_max: u64,
}
