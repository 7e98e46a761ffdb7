//! Durations in brackets and behind `offset`: literals, or calculations with them.
//!
//! Behind `offset` the first complete duration ends the offset, so that `a offset 5m + b` is a sum; only one that
//! begins with a parenthesis may go on as a calculation.

use super::cursor::{Failure, Parsed, Parser, too_deep};
use super::error::ParseError;
use super::expression::sign;
use crate::ast::{DurationExpr, DurationKind, NumberLiteral, Span};
use crate::literal::seconds_to_millis;
use crate::operator::{BinaryOp, UnaryOp};
use crate::position::PositionRange;
use crate::token::{Preprocessor, TokenKind};

/// A duration: known, or to be calculated when the query runs.
pub(super) enum Duration {
    Literal(NumberLiteral),
    Expr(DurationExpr),
}

impl Duration {
    fn position(&self) -> PositionRange {
        match self {
            Self::Literal(number) => number.position,
            Self::Expr(expr) => expr.position,
        }
    }

    /// The byte behind the last word of the duration.
    pub(super) fn end(&self) -> usize {
        self.position().end
    }

    /// The length for the tree.
    pub(super) fn into_span(self) -> Span {
        match self {
            Self::Literal(number) => Span::Millis(seconds_to_millis(number.value)),
            Self::Expr(expr) => Span::Expr(Box::new(expr)),
        }
    }

    /// The duration as a part of a calculation.
    fn into_expr(self) -> DurationExpr {
        match self {
            Self::Literal(number) => {
                let position = number.position;
                DurationExpr { kind: DurationKind::Literal(number), wrapped: false, position }
            }
            Self::Expr(expr) => expr,
        }
    }

    fn is_literal_zero(&self) -> bool {
        matches!(self, Self::Literal(number) if number.value == 0.0)
    }

    /// In parentheses of its own.
    fn wrapped(self, parentheses: PositionRange) -> Self {
        match self {
            Self::Expr(expr) => Self::Expr(DurationExpr { wrapped: true, ..expr }),
            literal @ Self::Literal(_) => {
                let position = PositionRange::new(parentheses.start, literal.end());
                let kind = DurationKind::Plus(Box::new(literal.into_expr()));
                Self::Expr(DurationExpr { kind, wrapped: true, position })
            }
        }
    }
}

impl<'a> Parser<'a> {
    /// A duration in brackets.
    pub(super) fn positive_duration(&mut self) -> Parsed<Duration> {
        self.calculations = 0;
        let duration = self.duration(0)?;
        match &duration {
            Duration::Literal(number) if number.value <= 0.0 => {
                Err(ParseError::new(number.position, "duration must be greater than 0").into())
            }
            _ => Ok(duration),
        }
    }

    /// A duration behind `offset`.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        self.calculations = 0;
        let token = self.peek()?;
        if let Some(op) = sign(token.kind) {
            return self.signed_offset(op);
        }
        match token.kind {
            TokenKind::LeftParen => self.duration(0),
            _ => self.duration_operand(),
        }
    }

    fn signed_offset(&mut self, op: UnaryOp) -> Parsed<Duration> {
        let start = self.take()?.start;
        let token = self.peek()?;
        match token.kind {
            TokenKind::LeftParen => {
                // Unlike elsewhere, these parentheses need no experimental switch.
                let wrapped = self.parenthesised_duration()?;
                self.signed_duration(op, start, wrapped)
            }
            // More signs than one make a calculation of it.
            kind if sign(kind).is_some() => {
                let inner = self.duration(BinaryOp::Mul.precedence() + 1)?;
                let first = self.signed_duration(op, start, inner)?;
                self.duration_operations(first, 0)
            }
            TokenKind::Preprocessor(preprocessor) => {
                let operand = self.duration_call(preprocessor)?.into_expr();
                let position = PositionRange::new(start, operand.position.end);
                self.require_duration_expressions(position)?;
                let kind = match op {
                    UnaryOp::Plus => DurationKind::Plus(Box::new(operand)),
                    UnaryOp::Minus => DurationKind::Minus(Box::new(operand)),
                };
                self.duration_expr(kind, position)
            }
            _ => {
                let operand = self.duration_operand()?;
                self.signed_duration(op, start, operand)
            }
        }
    }

    /// A calculation whose operators all bind at least as tightly as `precedence_min`.
    fn duration(&mut self, precedence_min: u8) -> Parsed<Duration> {
        self.deeper(|parser| {
            let token = parser.peek()?;
            let first = match sign(token.kind) {
                Some(op) => {
                    parser.take()?;
                    let operand = parser.duration(BinaryOp::Mul.precedence() + 1)?;
                    parser.signed_duration(op, token.start, operand)?
                }
                None => parser.duration_operand()?,
            };
            parser.duration_operations(first, precedence_min)
        })
    }

    /// The operators and operands that follow `first`.
    fn duration_operations(&mut self, first: Duration, precedence_min: u8) -> Parsed<Duration> {
        let mut left = first;
        while let TokenKind::Operator(op) = self.peek()?.kind {
            if !calculates(op) || op.precedence() < precedence_min {
                break;
            }
            let token = self.take()?;
            let next = if op.is_right_associative() { op.precedence() } else { op.precedence() + 1 };
            let right = self.duration(next)?;
            self.require_duration_expressions(left.position())?;
            if right.is_literal_zero() && matches!(op, BinaryOp::Div | BinaryOp::Mod) {
                let message = if op == BinaryOp::Div { "division by zero" } else { "modulo by zero" };
                return Err(ParseError::new(token.position(), message).into());
            }
            let position = left.position().to(right.position());
            let kind = DurationKind::Binary(op, Box::new(left.into_expr()), Box::new(right.into_expr()));
            left = self.duration_expr(kind, position)?;
        }
        Ok(left)
    }

    fn duration_operand(&mut self) -> Parsed<Duration> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let number = self.number()?;
                in_range(number, token.position()).map(Duration::Literal)
            }
            TokenKind::LeftParen => {
                let wrapped = self.parenthesised_duration()?;
                self.require_duration_expressions(unwrapped_position(&wrapped))?;
                Ok(wrapped)
            }
            TokenKind::Preprocessor(preprocessor) => {
                let call = self.duration_call(preprocessor)?;
                self.require_duration_expressions(call.position())?;
                Ok(call)
            }
            _ => Err(Failure::Unexpected),
        }
    }

    fn parenthesised_duration(&mut self) -> Parsed<Duration> {
        let open = self.expect(TokenKind::LeftParen)?;
        let inner = self.duration(0)?;
        let close = self.expect(TokenKind::RightParen)?;
        Ok(inner.wrapped(open.position().to(close.position())))
    }

    /// `step()`, `range()`, `max_of(a, b)`, `min_of(a, b)`.
    fn duration_call(&mut self, preprocessor: Preprocessor) -> Parsed<Duration> {
        if matches!(preprocessor, Preprocessor::Start | Preprocessor::End) {
            return Err(Failure::Unexpected);
        }
        let name = self.take()?;
        self.expect(TokenKind::LeftParen)?;
        let (kind, position) = match preprocessor {
            Preprocessor::MaxOf | Preprocessor::MinOf => {
                let left = self.duration(0)?.into_expr();
                self.expect(TokenKind::Comma)?;
                let right = self.duration(0)?.into_expr();
                // Prometheus takes the two operands for the place of the call.
                let position = left.position.to(right.position);
                let (left, right) = (Box::new(left), Box::new(right));
                let kind = match preprocessor {
                    Preprocessor::MaxOf => DurationKind::MaxOf(left, right),
                    _ => DurationKind::MinOf(left, right),
                };
                (kind, Some(position))
            }
            Preprocessor::Step => (DurationKind::Step, None),
            _ => (DurationKind::Range, None),
        };
        let close = self.expect(TokenKind::RightParen)?;
        let position = position.unwrap_or_else(|| name.position().to(close.position()));
        self.duration_expr(kind, position)
    }

    /// A sign becomes part of a number; a plus before anything else is nothing.
    fn signed_duration(&mut self, op: UnaryOp, start: usize, operand: Duration) -> Parsed<Duration> {
        match (operand, op) {
            (Duration::Literal(number), _) => {
                let sign = PositionRange::new(start, start + 1);
                let position = PositionRange::new(start, number.position.end);
                let number = NumberLiteral { value: op.apply(number.value), position, ..number };
                in_range(number, sign).map(Duration::Literal)
            }
            (operand, UnaryOp::Plus) => Ok(operand),
            (operand, UnaryOp::Minus) => {
                let position = PositionRange::new(start, operand.end());
                self.duration_expr(DurationKind::Minus(Box::new(operand.into_expr())), position)
            }
        }
    }

    /// Counts a new calculation. One duration may have as many as a tree may be tall, so that it is never taller.
    fn duration_expr(&mut self, kind: DurationKind, position: PositionRange) -> Parsed<Duration> {
        self.calculations += 1;
        if self.calculations > self.options.depth_max {
            return Err(ParseError::new(position, too_deep(self.options)).into());
        }
        Ok(Duration::Expr(DurationExpr { kind, wrapped: false, position }))
    }

    fn require_duration_expressions(&self, position: PositionRange) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        Err(ParseError::new(position, "experimental duration expression is not enabled").into())
    }
}

/// Where the duration stands, without the parentheses that were just put around a literal.
fn unwrapped_position(duration: &Duration) -> PositionRange {
    match duration {
        Duration::Expr(DurationExpr { kind: DurationKind::Plus(inner), .. }) => inner.position,
        other => other.position(),
    }
}

const fn calculates(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow)
}

/// Refuses what Go's durations, 64-bit nanoseconds, cannot hold.
fn in_range(number: NumberLiteral, position: PositionRange) -> Parsed<NumberLiteral> {
    const SECONDS_MAX: f64 = 9_223_372_036.854_775;
    if number.value.abs() <= SECONDS_MAX {
        return Ok(number);
    }
    Err(ParseError::new(position, "duration out of range").into())
}
