//! A query made ready for evaluation.
//!
//! The syntax tree is compiled for one run: spans, `@ start()` and the like become numbers, parentheses vanish, parts
//! whose value is the same at every step are marked so that they are evaluated once, and each operation becomes the node
//! that says how it is evaluated.

mod durations;
mod compile;
mod walk;

use std::sync::Arc;

pub use compile::{compile, depends_on_evaluation_time};
pub use durations::{Run, max_of, min_of, seconds_of_ms};

use crate::ast::{Extension, Grouping, VectorMatching};
use crate::function_signatures::Function;
use crate::matcher::Matcher;
use crate::operator::{AggregateOp, BinaryOp};
use crate::position::PositionRange;
use crate::source::SelectHints;

/// An expression ready to be evaluated over a grid.
#[derive(Clone, Debug)]
pub enum Node {
    Number(f64),
    String(Text),
    Selector(Selector),
    /// Range vectors as the whole query.
    Range(RangeSource),
    Negate(Box<Node>),
    ScalarBinary {
        op: BinaryOp,
        left: Box<Node>,
        right: Box<Node>,
    },
    VectorScalar(Box<VectorScalar>),
    VectorVector(Box<VectorVector>),
    Aggregate(Box<Aggregate>),
    /// A function of a range vector.
    RangeCall(Box<RangeCall>),
    /// `timestamp` or `start_timestamp` of a selector, which is about the samples instead of the steps.
    SampleTime {
        selector: Selector,
        time: SampleTime,
    },
    /// Any other function.
    Call(Box<Call>),
    /// The same at every step.
    StepInvariant(Box<Node>),
}

/// A string of the query.
#[derive(Clone, Debug)]
pub struct Text {
    pub value: Arc<str>,
    /// When the bytes were not UTF-8 (those of `value` are mended): the literal as it is printed.
    pub invalid_utf8: Option<Arc<str>>,
}

impl Text {
    /// Whether a label may have this name.
    pub fn is_label_name(&self) -> bool {
        !self.value.is_empty() && self.invalid_utf8.is_none()
    }
}

/// Which time of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleTime {
    Written,
    CounterStart,
}

/// A selection of series, one sample each.
#[derive(Clone, Debug)]
pub struct Selector {
    pub matchers: Vec<Matcher>,
    /// Evaluate at this time instead of that of the step.
    pub at_ms: Option<i64>,
    pub offset_ms: i64,
    pub extension: Extension,
    /// What is needed of native histograms.
    pub detail: HistogramDetail,
    pub hints: SelectHints,
    pub position: PositionRange,
}

/// How much of native histograms an expression looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramDetail {
    #[default]
    Whole,
    /// Counts, sums and counter resets.
    WithoutBuckets,
}

impl Selector {
    /// The time that is meant at a step.
    pub fn reference_ms(&self, step_time_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_time_ms) - self.offset_ms
    }
}

/// What a range vector is made of.
#[derive(Clone, Debug)]
pub enum RangeSource {
    Selector { selector: Selector, range_ms: i64 },
    Subquery(Subquery),
}

#[derive(Clone, Debug)]
pub struct Subquery {
    pub expr: Box<Node>,
    /// Whether `expr` is a scalar, which makes one series without labels.
    pub is_scalar: bool,
    pub range_ms: i64,
    pub step_ms: i64,
    pub at_ms: Option<i64>,
    pub offset_ms: i64,
}

impl RangeSource {
    pub fn range_ms(&self) -> i64 {
        match self {
            RangeSource::Selector { range_ms, .. } => *range_ms,
            RangeSource::Subquery(subquery) => subquery.range_ms,
        }
    }

    /// The end of the range at a step.
    pub fn end_ms(&self, step_time_ms: i64) -> i64 {
        match self {
            RangeSource::Selector { selector, .. } => selector.reference_ms(step_time_ms),
            RangeSource::Subquery(subquery) => subquery.at_ms.unwrap_or(step_time_ms) - subquery.offset_ms,
        }
    }

    pub fn is_fixed(&self) -> bool {
        match self {
            RangeSource::Selector { selector, .. } => selector.at_ms.is_some(),
            RangeSource::Subquery(subquery) => subquery.at_ms.is_some(),
        }
    }

    pub fn extension(&self) -> Extension {
        match self {
            RangeSource::Selector { selector, .. } => selector.extension,
            RangeSource::Subquery(_) => Extension::None,
        }
    }
}

/// On which side of an operator the scalar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarSide {
    Left,
    Right,
}

#[derive(Clone, Debug)]
pub struct VectorScalar {
    pub op: BinaryOp,
    pub vector: Node,
    pub scalar: Node,
    pub side: ScalarSide,
    pub return_bool: bool,
    pub position: PositionRange,
}

#[derive(Clone, Debug)]
pub struct VectorVector {
    pub op: BinaryOp,
    pub left: Node,
    pub right: Node,
    pub matching: VectorMatching,
    pub return_bool: bool,
    pub position: PositionRange,
}

#[derive(Clone, Debug)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub child: Node,
    pub child_position: PositionRange,
    pub parameter: Option<Argument>,
    pub grouping: Grouping,
    pub position: PositionRange,
}

/// An argument and where it stands.
#[derive(Clone, Debug)]
pub struct Argument {
    pub node: Node,
    pub position: PositionRange,
}

#[derive(Clone, Debug)]
pub struct RangeCall {
    pub function: Function,
    pub source: RangeSource,
    /// The other arguments, all scalars, in order.
    pub scalars: Vec<Node>,
    /// Where the first argument stands (not always the range).
    pub position: PositionRange,
    /// For `absent_over_time`: the matchers of the selector.
    pub matchers: Vec<Matcher>,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub function: Function,
    pub args: Vec<Argument>,
    pub position: PositionRange,
    /// For `absent` of a selector and for the second argument of `info`: its matchers.
    pub matchers: Vec<Matcher>,
    /// For `info`: the time and offset of the first selector in the first argument.
    pub info_time: (Option<i64>, i64),
}
