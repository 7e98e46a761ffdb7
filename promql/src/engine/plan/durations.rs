//! Evaluating duration expressions, which may use the step and the range of the query.

use crate::ast::{DurationExpr, DurationKind, Span};
use crate::operator::BinaryOp;
use crate::position::PositionRange;

use super::super::error::QueryError;

/// The run that a query is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub start_ms: i64,
    pub end_ms: i64,
    /// 0 for an instant query.
    pub step_ms: i64,
    pub subquery_step_ms: i64,
}

/// Which lengths of time make sense.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Any,
    Positive,
}

/// The longest duration in seconds: what fits into nanoseconds in 63 bits.
const SECONDS_MAX: f64 = 9_223_372_036.854_775;

impl Run {
    /// The length of a span in milliseconds.
    pub fn resolve(&self, span: &Span, sign: Sign) -> Result<i64, QueryError> {
        let expr = match span {
            Span::Millis(millis) => return Ok(*millis),
            Span::Expr(expr) => expr,
        };
        let seconds = self.seconds(expr)?;
        if !seconds.is_finite() {
            return Err(problem(expr.position, "duration is NaN or infinite"));
        }
        if seconds <= 0.0 && sign == Sign::Positive {
            return Err(problem(expr.position, "duration must be greater than 0"));
        }
        if seconds.abs() > SECONDS_MAX {
            return Err(problem(expr.position, "duration is out of range"));
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, expr: &DurationExpr) -> Result<f64, QueryError> {
        Ok(match &expr.kind {
            DurationKind::Literal(literal) => literal.value,
            DurationKind::Step => seconds_of_ms(self.step_ms),
            DurationKind::Range => seconds_of_ms(self.end_ms - self.start_ms),
            DurationKind::MaxOf(left, right) => max_of(self.seconds(left)?, self.seconds(right)?),
            DurationKind::MinOf(left, right) => min_of(self.seconds(left)?, self.seconds(right)?),
            DurationKind::Plus(inner) => self.seconds(inner)?,
            DurationKind::Minus(inner) => -self.seconds(inner)?,
            DurationKind::Binary(op, left, right) => binary(*op, self.seconds(left)?, self.seconds(right)?, expr.position)?,
        })
    }
}

fn binary(op: BinaryOp, left: f64, right: f64, position: PositionRange) -> Result<f64, QueryError> {
    Ok(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div if right == 0.0 => return Err(problem(position, "division by zero")),
        BinaryOp::Div => left / right,
        BinaryOp::Mod if right == 0.0 => return Err(problem(position, "modulo by zero")),
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        other => return Err(problem(position, &format!("unexpected duration expression operator \"{other}\""))),
    })
}

fn problem(position: PositionRange, text: &str) -> QueryError {
    QueryError::Invalid(format!("{}:{}: {text}", position.start, position.end))
}

/// A length in seconds, computed in the two steps in which Prometheus computes it.
pub fn seconds_of_ms(millis: i64) -> f64 {
    (millis / 1000) as f64 + (millis % 1000 * 1_000_000) as f64 / 1e9
}

/// The larger number; NaN when one of them is. (`f64::max` prefers the number.)
pub fn max_of(left: f64, right: f64) -> f64 {
    if left.is_infinite() && left > 0.0 || right.is_infinite() && right > 0.0 {
        f64::INFINITY
    } else if left.is_nan() || right.is_nan() {
        f64::NAN
    } else {
        left.max(right)
    }
}

/// The smaller number; NaN when one of them is.
pub fn min_of(left: f64, right: f64) -> f64 {
    -max_of(-left, -right)
}
