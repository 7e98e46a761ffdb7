//! The typed tree of a query, as the parser makes it and the engine walks it.
//!
//! The tree is plain data: it owns its text, knows no engine state and can be cloned, compared and printed. Times and
//! spans are milliseconds. Every node knows the bytes of the query it was read from.

use std::sync::Arc;

use crate::function_signatures::Function;
use crate::matcher::Matcher;
use crate::operator::{AggregateOp, BinaryOp, UnaryOp};
use crate::position::PositionRange;
use crate::value_type::ValueType;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Number(NumberLiteral),
    String(StringLiteral),
    Unary(UnaryExpr),
    Binary(BinaryExpr),
    Aggregate(AggregateExpr),
    Call(Call),
    Paren(ParenExpr),
    Vector(VectorSelector),
    Matrix(MatrixSelector),
    Subquery(SubqueryExpr),
}

/// A number, or a duration standing for its seconds.
#[derive(Clone, Debug)]
pub struct NumberLiteral {
    pub value: f64,
    pub notation: Notation,
    pub position: PositionRange,
}

/// How a number was written, which decides how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `300`, `0x1f`, `1e3`, `Inf`
    Number,
    /// `5m`, in value 300
    Duration,
}

/// A string.
#[derive(Clone, Debug, PartialEq)]
pub struct StringLiteral {
    /// The text; bytes that are no UTF-8 are replaced.
    pub value: String,
    /// Some when escapes named bytes that are no UTF-8: the literal in double quotes with these bytes as `\xNN`.
    /// Such a string is read but names nothing: labels are text.
    pub invalid_utf8: Option<Arc<str>>,
    pub position: PositionRange,
}

/// A sign before an expression. The sign of a number literal is folded into the literal.
#[derive(Clone, Debug, PartialEq)]
pub struct UnaryExpr {
    pub op: UnaryOp,
    pub expr: Box<Expr>,
    pub position: PositionRange,
}

/// Two expressions and what stands between them.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    pub op: BinaryOp,
    pub left: Box<Expr>,
    pub right: Box<Expr>,
    /// Present exactly when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
    /// For comparisons: give 0 or 1 instead of filtering.
    pub return_bool: bool,
    pub position: PositionRange,
}

/// How the series of the two sides find each other.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct VectorMatching {
    pub cardinality: Cardinality,
    /// Whether `labels` are the ones to match on or the ones to leave out.
    pub mode: MatchingMode,
    pub labels: Vec<Arc<str>>,
    /// Labels of the "one" side that `group_left` and `group_right` copy into the result.
    pub include: Vec<Arc<str>>,
    pub fill: FillValues,
}

/// `on` or `ignoring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MatchingMode {
    On,
    /// Also when nothing is said: ignoring no label.
    #[default]
    Ignoring,
}

/// How many series of each side may share one matching key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// The set operators.
    ManyToMany,
}

impl Cardinality {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// Values that stand in for a missing series of a side.
#[derive(Clone, Copy, Debug, Default)]
pub struct FillValues {
    pub left: Option<f64>,
    pub right: Option<f64>,
}

impl FillValues {
    /// Whether no side is filled in.
    pub const fn is_empty(&self) -> bool {
        self.left.is_none() && self.right.is_none()
    }
}

/// An aggregation over the series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateExpr {
    pub op: AggregateOp,
    pub expr: Box<Expr>,
    /// Present exactly when the operator has a parameter.
    pub param: Option<Box<Expr>>,
    pub grouping: Grouping,
    pub position: PositionRange,
}

/// Which labels make the groups of an aggregation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Grouping {
    pub mode: GroupingMode,
    pub labels: Vec<Arc<str>>,
}

/// `by` or `without`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GroupingMode {
    /// Also when nothing is said: by no label, one group for all.
    #[default]
    By,
    Without,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub function: Function,
    pub args: Vec<Expr>,
    pub position: PositionRange,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct ParenExpr {
    pub expr: Box<Expr>,
    pub position: PositionRange,
}

/// A selection of series, one sample each.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name written before the braces; empty when there is none. It is also the last of `matchers`.
    pub name: Arc<str>,
    /// All conditions in the order written; that of `name` comes last.
    pub matchers: Vec<Matcher>,
    pub at: Option<AtModifier>,
    /// How far to look back from the evaluation time; negative looks ahead.
    pub offset: Span,
    pub extension: Extension,
    /// Set for the second argument of `info`, whose matchers may all match the empty value.
    pub may_match_everything: bool,
    pub position: PositionRange,
}

/// How a range at its edges (or an instant) uses samples outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Extension {
    #[default]
    None,
    /// `anchored`: the sample just before the range stands at its start.
    Anchored,
    /// `smoothed`: values at the edges are interpolated.
    Smoothed,
}

/// A fixed evaluation time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    /// `@ 1609746000`, in milliseconds since the epoch
    Timestamp(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// A length of time: known when parsed, or calculated when the query's range and step are known.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    Millis(i64),
    Expr(Box<DurationExpr>),
}

impl Span {
    pub const ZERO: Span = Span::Millis(0);

    /// The length when it is known without evaluation.
    pub fn millis(&self) -> Option<i64> {
        match self {
            Self::Millis(millis) => Some(*millis),
            Self::Expr(_) => None,
        }
    }

    /// Whether this is the literal zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Self::Millis(0))
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::ZERO
    }
}

/// A calculation with durations, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    pub kind: DurationKind,
    /// Whether it stands in parentheses of its own.
    pub wrapped: bool,
    pub position: PositionRange,
}

/// What a duration expression calculates.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// A number of seconds or a duration; never `wrapped` (see `Plus`).
    Literal(NumberLiteral),
    /// `step()`: the step of a range query
    Step,
    /// `range()`: end minus start of a range query
    Range,
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// A literal in parentheses; it prints as `(5m)`, without a plus.
    Plus(Box<DurationExpr>),
    Minus(Box<DurationExpr>),
    /// `+ - * / % ^` only
    Binary(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
}

/// A selection of series, all samples of a range each.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    pub selector: VectorSelector,
    pub range: Span,
    pub position: PositionRange,
}

/// An instant expression evaluated at every step of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct SubqueryExpr {
    pub expr: Box<Expr>,
    pub range: Span,
    /// None: the engine's default evaluation interval.
    pub step: Option<Span>,
    pub at: Option<AtModifier>,
    /// How far to look back from the evaluation time; negative looks ahead.
    pub offset: Span,
    pub position: PositionRange,
}

impl Expr {
    /// The type of the value this evaluates to.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Binary(binary) => {
                let scalars = binary.left.value_type() == ValueType::Scalar && binary.right.value_type() == ValueType::Scalar;
                if scalars { ValueType::Scalar } else { ValueType::Vector }
            }
            Self::Aggregate(_) | Self::Vector(_) => ValueType::Vector,
            Self::Call(call) => call.function.signature().return_type,
            Self::Paren(paren) => paren.expr.value_type(),
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
        }
    }

    /// The bytes of the query this was read from.
    pub fn position(&self) -> PositionRange {
        match self {
            Self::Number(number) => number.position,
            Self::String(string) => string.position,
            Self::Unary(unary) => unary.position,
            Self::Binary(binary) => binary.position,
            Self::Aggregate(aggregate) => aggregate.position,
            Self::Call(call) => call.position,
            Self::Paren(paren) => paren.position,
            Self::Vector(selector) => selector.position,
            Self::Matrix(matrix) => matrix.position,
            Self::Subquery(subquery) => subquery.position,
        }
    }

    /// The expressions directly below, in the order in which Prometheus visits them: an aggregation's expression
    /// before its parameter. The vector selector inside a matrix selector is part of it, not a child.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Unary(unary) => vec![&unary.expr],
            Self::Binary(binary) => vec![&binary.left, &binary.right],
            Self::Aggregate(aggregate) => std::iter::once(&*aggregate.expr).chain(aggregate.param.as_deref()).collect(),
            Self::Call(call) => call.args.iter().collect(),
            Self::Paren(paren) => vec![&paren.expr],
            Self::Subquery(subquery) => vec![&subquery.expr],
        }
    }

    /// Like [`Expr::children`], to change them.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Unary(unary) => vec![&mut unary.expr],
            Self::Binary(binary) => vec![&mut binary.left, &mut binary.right],
            Self::Aggregate(aggregate) => std::iter::once(&mut *aggregate.expr).chain(aggregate.param.as_deref_mut()).collect(),
            Self::Call(call) => call.args.iter_mut().collect(),
            Self::Paren(paren) => vec![&mut paren.expr],
            Self::Subquery(subquery) => vec![&mut subquery.expr],
        }
    }

    /// Shows `visit` this expression and every one below, parents first. The parser's depth limit bounds the recursion.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// Lets `visit` change this expression and every one below, parents first.
    pub fn walk_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        visit(self);
        for child in self.children_mut() {
            child.walk_mut(visit);
        }
    }

    /// All vector selectors of the expression, those inside matrix selectors included, in the order of the text.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut selectors = Vec::new();
        self.walk(&mut |expr| match expr {
            Expr::Vector(selector) => selectors.push(selector),
            Expr::Matrix(matrix) => selectors.push(&matrix.selector),
            _ => {}
        });
        selectors
    }

    /// The expression inside any number of parentheses.
    pub fn unparenthesised(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }
}

/// Bits decide, so that a tree with NaN in it is equal to itself.
impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        same_bits(Some(self.value), Some(other.value)) && self.notation == other.notation && self.position == other.position
    }
}

/// Bits decide, so that a tree with NaN in it is equal to itself.
impl PartialEq for FillValues {
    fn eq(&self, other: &Self) -> bool {
        same_bits(self.left, other.left) && same_bits(self.right, other.right)
    }
}

fn same_bits(a: Option<f64>, b: Option<f64>) -> bool {
    a.map(f64::to_bits) == b.map(f64::to_bits)
}
