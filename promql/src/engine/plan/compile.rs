//! From the syntax tree to the plan of one run.

use std::sync::Arc;

use crate::ast::{AggregateExpr, AtModifier, BinaryExpr, Call as CallExpr, Expr, Grouping, MatrixSelector, SubqueryExpr, VectorSelector};
use crate::function_signatures::Function;
use crate::matcher::Matcher;
use crate::operator::{BinaryOp, UnaryOp};
use crate::source::SelectHints;
use crate::value_type::ValueType;

use super::super::error::QueryError;
use super::durations::{Run, Sign, seconds_of_ms};
use super::{
    Aggregate, Argument, Call, HistogramDetail, Node, RangeCall, RangeSource, SampleTime, ScalarSide, Selector, Subquery, Text,
    VectorScalar, VectorVector,
};

/// Compiles `expr` for one run.
pub fn compile(expr: &Expr, run: Run) -> Result<Node, QueryError> {
    Ok(Compiler { run }.compile(expr, &Surroundings::default())?.wrapped())
}

struct Compiler {
    run: Run,
}

/// What stands around an expression; hints for the source.
#[derive(Clone, Default)]
struct Surroundings {
    function: &'static str,
    /// The aggregation directly around it.
    grouping: Grouping,
    /// The step of the subquery around it.
    step_ms: Option<i64>,
    histograms: HistogramUse,
}

/// What the expressions around a selector make of histograms.
#[derive(Clone, Copy, Default)]
struct HistogramUse {
    /// One of them takes only the count and the sum.
    totals: bool,
    /// One of them looks at buckets, or at resets that only show in buckets.
    buckets: bool,
}

impl HistogramUse {
    fn within(self, function: Function) -> HistogramUse {
        use Function::{HistogramAvg, HistogramCount, HistogramFraction, HistogramQuantile, HistogramQuantiles, HistogramSum};
        HistogramUse {
            totals: self.totals || matches!(function, HistogramCount | HistogramSum | HistogramAvg),
            buckets: self.buckets || matches!(function, HistogramQuantile | HistogramQuantiles | HistogramFraction),
        }
    }

    fn needing_buckets(self) -> HistogramUse {
        HistogramUse { buckets: true, ..self }
    }

    fn detail(self) -> HistogramDetail {
        if self.totals && !self.buckets { HistogramDetail::WithoutBuckets } else { HistogramDetail::Whole }
    }
}

impl Surroundings {
    fn within_function(&self, function: &'static str) -> Surroundings {
        Surroundings { function, grouping: Grouping::default(), ..self.clone() }
    }

    /// Below an operator the function further out no longer sees one metric.
    fn within_operator(&self) -> Surroundings {
        self.within_function("")
    }
}

/// A compiled expression.
struct Compiled {
    node: Node,
    variance: Variance,
}

/// Whether an expression has the same value at every step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variance {
    Varying,
    /// The same at every step, but not worth a mark of its own (constants, or ranges, which only functions evaluate).
    Constant,
    /// The same at every step: evaluate once.
    Invariant,
}

impl Compiled {
    fn wrapped(self) -> Node {
        if self.variance == Variance::Invariant { Node::StepInvariant(Box::new(self.node)) } else { self.node }
    }

    fn is_invariant(&self) -> bool {
        self.variance != Variance::Varying
    }
}

impl Compiler {
    fn compile(&self, expr: &Expr, around: &Surroundings) -> Result<Compiled, QueryError> {
        let constant = |node| Ok(Compiled { node, variance: Variance::Constant });
        match expr {
            Expr::Number(number) => constant(Node::Number(number.value)),
            Expr::String(string) => {
                let text = Text { value: Arc::from(string.value.as_str()), invalid_utf8: string.invalid_utf8.clone() };
                constant(Node::String(text))
            }
            Expr::Paren(paren) => self.compile(&paren.expr, around),
            Expr::Unary(unary) => {
                let inner = self.compile(&unary.expr, around)?;
                let node = match unary.op {
                    UnaryOp::Plus => inner.node,
                    UnaryOp::Minus => Node::Negate(Box::new(inner.node)),
                };
                Ok(Compiled { node, variance: inner.variance })
            }
            Expr::Binary(binary) => self.binary(binary, around),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, around),
            Expr::Call(call) => self.call(call, around),
            Expr::Vector(selector) => {
                let selector = self.selector(selector, 0, around)?;
                let variance = if selector.at_ms.is_some() { Variance::Invariant } else { Variance::Varying };
                Ok(Compiled { node: Node::Selector(selector), variance })
            }
            Expr::Matrix(_) | Expr::Subquery(_) => {
                let source = self.range_source(expr, around)?;
                let variance = if source.is_fixed() { Variance::Constant } else { Variance::Varying };
                Ok(Compiled { node: Node::Range(source), variance })
            }
        }
    }

    fn binary(&self, binary: &BinaryExpr, around: &Surroundings) -> Result<Compiled, QueryError> {
        let mut around = around.within_operator();
        if matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            around.histograms = around.histograms.needing_buckets();
        }
        let left = self.compile(&binary.left, &around)?;
        let right = self.compile(&binary.right, &around)?;
        let invariant = left.is_invariant() && right.is_invariant();
        let (left, right) = if invariant { (left.node, right.node) } else { (left.wrapped(), right.wrapped()) };
        let (op, return_bool, position) = (binary.op, binary.return_bool, binary.position);
        let vector_scalar =
            |vector, scalar, side| Node::VectorScalar(Box::new(VectorScalar { op, vector, scalar, side, return_bool, position }));
        let node = match (binary.left.value_type(), binary.right.value_type()) {
            (ValueType::Scalar, ValueType::Scalar) => Node::ScalarBinary { op, left: Box::new(left), right: Box::new(right) },
            (ValueType::Scalar, _) => vector_scalar(right, left, ScalarSide::Left),
            (_, ValueType::Scalar) => vector_scalar(left, right, ScalarSide::Right),
            _ => {
                let matching = binary.matching.clone().unwrap_or_default();
                Node::VectorVector(Box::new(VectorVector { op, left, right, matching, return_bool, position }))
            }
        };
        Ok(Compiled { node, variance: if invariant { Variance::Invariant } else { Variance::Varying } })
    }

    fn aggregate(&self, aggregate: &AggregateExpr, around: &Surroundings) -> Result<Compiled, QueryError> {
        let inner = aggregate.expr.unparenthesised();
        let below = Surroundings { function: aggregate.op.as_str(), grouping: aggregate.grouping.clone(), ..around.clone() };
        let child = self.compile(inner, &below)?;
        let parameter = match aggregate.param.as_deref().map(Expr::unparenthesised) {
            None => None,
            // Whether the parameter varies is deliberately not asked: Prometheus does not either.
            Some(parameter) => {
                let node = self.compile(parameter, &around.within_operator())?.wrapped();
                Some(Argument { node, position: parameter.position() })
            }
        };
        let node = Node::Aggregate(Box::new(Aggregate {
            op: aggregate.op,
            child: child.node,
            child_position: inner.position(),
            parameter,
            grouping: aggregate.grouping.clone(),
            position: aggregate.position,
        }));
        Ok(Compiled { node, variance: child.variance })
    }

    fn call(&self, call: &CallExpr, around: &Surroundings) -> Result<Compiled, QueryError> {
        if let Some(number) = self.constant_of_run(call.function) {
            return Ok(Compiled { node: Node::Number(number), variance: Variance::Constant });
        }
        let mut around = around.within_function(call.function.name());
        around.histograms = around.histograms.within(call.function);
        let args: Vec<&Expr> = call.args.iter().map(Expr::unparenthesised).collect();
        if let ([Expr::Vector(selector)], Some(time)) = (args.as_slice(), sample_time(call.function)) {
            let selector = self.selector(selector, 0, &around)?;
            let variance = if selector.at_ms.is_some() { Variance::Invariant } else { Variance::Varying };
            return Ok(Compiled { node: Node::SampleTime { selector, time }, variance });
        }
        let mut compiled = args.iter().map(|arg| self.compile(arg, &around)).collect::<Result<Vec<_>, _>>()?;
        let invariant = !depends_on_evaluation_time(call.function) && compiled.iter().all(Compiled::is_invariant);
        let variance = if invariant { Variance::Invariant } else { Variance::Varying };
        let range = compiled.iter().position(|arg| matches!(arg.node, Node::Range(_)));
        let position = args.first().map_or(call.position, |arg| arg.position());
        let matchers = own_matchers(call.function, &args);
        let finish = |arg: Compiled| if invariant { arg.node } else { arg.wrapped() };
        if let Some(range) = range
            && let Node::Range(source) = compiled.remove(range).node
        {
            check_extension(call.function, &source)?;
            let scalars = compiled.into_iter().map(finish).collect();
            let node = Node::RangeCall(Box::new(RangeCall { function: call.function, source, scalars, position, matchers }));
            return Ok(Compiled { node, variance });
        }
        let positions = args.iter().map(|arg| arg.position());
        let info_time = if call.function == Function::Info { self.info_time(call.args.first())? } else { (None, 0) };
        let args = compiled.into_iter().map(finish).zip(positions).map(|(node, position)| Argument { node, position }).collect();
        let node = Node::Call(Box::new(Call { function: call.function, args, position: call.position, matchers, info_time }));
        Ok(Compiled { node, variance })
    }

    /// `start()`, `end()`, `range()` and `step()`.
    fn constant_of_run(&self, function: Function) -> Option<f64> {
        let Run { start_ms, end_ms, step_ms, .. } = self.run;
        match function {
            Function::Start => Some(start_ms as f64 / 1000.0),
            Function::End => Some(end_ms as f64 / 1000.0),
            Function::Range => Some(seconds_of_ms(end_ms - start_ms)),
            Function::Step if start_ms == end_ms => Some(0.0),
            Function::Step => Some(seconds_of_ms(step_ms)),
            _ => None,
        }
    }

    fn selector(&self, selector: &VectorSelector, range_ms: i64, around: &Surroundings) -> Result<Selector, QueryError> {
        let hints = SelectHints {
            step_ms: around.step_ms.unwrap_or(self.run.step_ms),
            range_ms,
            function: around.function,
            grouping: around.grouping.labels.clone(),
            grouping_mode: around.grouping.mode,
        };
        Ok(Selector {
            matchers: selector.matchers.clone(),
            at_ms: self.at_ms(selector.at),
            offset_ms: self.run.resolve(&selector.offset, Sign::Any)?,
            extension: selector.extension,
            detail: around.histograms.detail(),
            hints,
            position: selector.position,
        })
    }

    fn at_ms(&self, at: Option<AtModifier>) -> Option<i64> {
        at.map(|at| match at {
            AtModifier::Timestamp(time_ms) => time_ms,
            AtModifier::Start => self.run.start_ms,
            AtModifier::End => self.run.end_ms,
        })
    }

    fn range_source(&self, expr: &Expr, around: &Surroundings) -> Result<RangeSource, QueryError> {
        match expr {
            Expr::Matrix(MatrixSelector { selector, range, .. }) => {
                let range_ms = self.run.resolve(range, Sign::Positive)?;
                Ok(RangeSource::Selector { selector: self.selector(selector, range_ms, around)?, range_ms })
            }
            Expr::Subquery(subquery) => Ok(RangeSource::Subquery(self.subquery(subquery, around)?)),
            other => Err(QueryError::Invalid(format!("expected a range vector, found {}", other.value_type().documented()))),
        }
    }

    fn subquery(&self, subquery: &SubqueryExpr, around: &Surroundings) -> Result<Subquery, QueryError> {
        let range_ms = self.run.resolve(&subquery.range, Sign::Positive)?;
        let step_ms = match &subquery.step {
            Some(step) => self.run.resolve(step, Sign::Positive)?,
            None => 0,
        };
        let step_ms = if step_ms == 0 { self.run.subquery_step_ms } else { step_ms };
        let histograms = around.histograms.needing_buckets();
        let below = Surroundings { step_ms: Some(step_ms), histograms, ..around.clone() };
        let inner = self.compile(&subquery.expr, &below)?;
        let expr = if inner.is_invariant() { Node::StepInvariant(Box::new(inner.node)) } else { inner.node };
        let offset_ms = self.run.resolve(&subquery.offset, Sign::Any)?;
        let is_scalar = subquery.expr.value_type() == ValueType::Scalar;
        Ok(Subquery { expr: Box::new(expr), is_scalar, range_ms, step_ms, at_ms: self.at_ms(subquery.at), offset_ms })
    }

    /// The time and offset at which `info` looks up info series: those of the first selector of its first argument,
    /// together with the subqueries around it up to the innermost `@`.
    fn info_time(&self, first_argument: Option<&Expr>) -> Result<(Option<i64>, i64), QueryError> {
        match first_argument {
            None => Ok((None, 0)),
            Some(expr) => Ok(self.first_selector_time(expr)?.unwrap_or((None, 0))),
        }
    }

    fn first_selector_time(&self, expr: &Expr) -> Result<Option<(Option<i64>, i64)>, QueryError> {
        let own = match expr {
            Expr::Vector(selector) => Some(selector),
            Expr::Matrix(matrix) => Some(&matrix.selector),
            _ => None,
        };
        if let Some(selector) = own {
            return Ok(Some((self.at_ms(selector.at), self.run.resolve(&selector.offset, Sign::Any)?)));
        }
        for child in expr.children() {
            let Some((at_ms, offset_ms)) = self.first_selector_time(child)? else { continue };
            if let (Expr::Subquery(subquery), None) = (expr, at_ms) {
                let outer_ms = self.run.resolve(&subquery.offset, Sign::Any)?;
                return Ok(Some((self.at_ms(subquery.at), offset_ms + outer_ms)));
            }
            return Ok(Some((at_ms, offset_ms)));
        }
        Ok(None)
    }
}

fn sample_time(function: Function) -> Option<SampleTime> {
    match function {
        Function::Timestamp => Some(SampleTime::Written),
        Function::StartTimestamp => Some(SampleTime::CounterStart),
        _ => None,
    }
}

/// Functions whose value may change with the evaluation time even when their arguments do not.
pub fn depends_on_evaluation_time(function: Function) -> bool {
    use Function::{
        DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, End, Hour, Minute, Month, PredictLinear, Range, Start, Step, Time, Timestamp, Year,
    };
    matches!(
        function,
        DaysInMonth
            | DayOfMonth
            | DayOfWeek
            | DayOfYear
            | End
            | Hour
            | Minute
            | Month
            | Year
            | PredictLinear
            | Range
            | Start
            | Step
            | Time
            | Timestamp
    )
}

/// `anchored` and `smoothed` ranges hold samples from outside, which few functions can deal with.
fn check_extension(function: Function, source: &RangeSource) -> Result<(), QueryError> {
    use crate::ast::Extension;
    let (modifier, safe): (_, &[Function]) = match source.extension() {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &[Function::Changes, Function::Delta, Function::Increase, Function::Rate, Function::Resets]),
        Extension::Smoothed => ("smoothed", &[Function::Delta, Function::Increase, Function::Rate]),
    };
    if safe.contains(&function) {
        return Ok(());
    }
    let names = safe.iter().map(|function| function.name()).collect::<Vec<_>>().join(", ");
    Err(QueryError::execution(format!("{modifier} modifier can only be used with: {names} - not with {function}")))
}

/// The matchers that `absent`, `absent_over_time` and `info` use themselves.
fn own_matchers(function: Function, args: &[&Expr]) -> Vec<Matcher> {
    let argument = match function {
        Function::Absent | Function::AbsentOverTime => args.first(),
        Function::Info => args.get(1),
        _ => None,
    };
    match argument {
        Some(Expr::Vector(selector)) => selector.matchers.clone(),
        Some(Expr::Matrix(matrix)) => matrix.selector.matchers.clone(),
        _ => Vec::new(),
    }
}
