//! Expressions: operators by precedence, signs, parentheses, calls and aggregations.
//!
//! What is marked `inline(never)` here and in the neighbouring files keeps the frames of the functions that recurse
//! small: 250 levels need 0.6 MiB of stack instead of 1.

use super::cursor::{Failure, Parsed, Parser, too_deep};
use super::error::ParseError;
use super::matching::BinaryModifiers;
use crate::ast::{
    AggregateExpr, BinaryExpr, Call, Expr, Grouping, GroupingMode, Notation, NumberLiteral, ParenExpr, StringLiteral, UnaryExpr,
};
use crate::function_signatures::{Function, Maturity};
use crate::literal::{parse_duration_seconds, parse_number, unquote, unquote_bytes};
use crate::operator::{AggregateOp, BinaryOp, UnaryOp};
use crate::position::PositionRange;
use crate::quote::{quote, quote_bytes};
use crate::token::{Keyword, Token, TokenKind};

/// An expression and how tall it is.
pub(super) struct Tree {
    pub(super) expr: Expr,
    pub(super) height: usize,
}

/// The arguments between parentheses, and where these stand.
struct Arguments {
    trees: Vec<Tree>,
    end: usize,
}

impl Arguments {
    fn height(&self) -> usize {
        self.trees.iter().map(|tree| tree.height).max().unwrap_or(0)
    }
}

impl<'a> Parser<'a> {
    /// A whole expression.
    pub(super) fn expression(&mut self) -> Parsed<Tree> {
        self.operation(0)
    }

    /// An expression whose operators all bind at least as tightly as `precedence_min`.
    fn operation(&mut self, precedence_min: u8) -> Parsed<Tree> {
        self.deeper(|parser| {
            let mut left = parser.operand()?;
            while let TokenKind::Operator(op) = parser.peek()?.kind {
                if op.precedence() < precedence_min {
                    break;
                }
                parser.take()?;
                let modifiers = parser.binary_modifiers()?;
                let next = if op.is_right_associative() { op.precedence() } else { op.precedence() + 1 };
                let right = parser.operation(next)?;
                left = parser.binary(op, modifiers, left, right)?;
            }
            Ok(left)
        })
    }

    #[inline(never)]
    fn binary(&mut self, op: BinaryOp, modifiers: BinaryModifiers, left: Tree, right: Tree) -> Parsed<Tree> {
        let position = left.expr.position().to(right.expr.position());
        if !self.options.fill_modifiers && !modifiers.matching.fill.is_empty() {
            return Err(ParseError::new(position, "binop fill modifiers are experimental and not enabled").into());
        }
        let height = left.height.max(right.height);
        let expr = Expr::Binary(BinaryExpr {
            op,
            left: Box::new(left.expr),
            right: Box::new(right.expr),
            matching: Some(modifiers.matching),
            return_bool: modifiers.return_bool,
            position,
        });
        self.tree(expr, height)
    }

    /// What stands between operators: signs, and what they stand before.
    fn operand(&mut self) -> Parsed<Tree> {
        let token = self.peek()?;
        match sign(token.kind) {
            Some(op) => {
                self.take()?;
                // A sign binds as tightly as a product: `-a ^ b` is `-(a ^ b)`, `-a * b` is `(-a) * b`.
                let operand = self.operation(BinaryOp::Mul.precedence() + 1)?;
                self.signed(op, token.start, operand)
            }
            None => {
                let primary = self.primary()?;
                self.modifiers(primary)
            }
        }
    }

    /// A sign becomes part of a number.
    #[inline(never)]
    fn signed(&mut self, op: UnaryOp, start: usize, operand: Tree) -> Parsed<Tree> {
        let position = PositionRange::new(start, operand.expr.position().end);
        match operand.expr {
            Expr::Number(number) => {
                let number = NumberLiteral { value: op.apply(number.value), position, ..number };
                Ok(Tree { expr: Expr::Number(number), height: operand.height })
            }
            expr => self.tree(Expr::Unary(UnaryExpr { op, expr: Box::new(expr), position }), operand.height),
        }
    }

    fn primary(&mut self) -> Parsed<Tree> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let number = self.number()?;
                self.tree(Expr::Number(number), 0)
            }
            TokenKind::String => {
                let literal = self.string()?;
                self.tree(Expr::String(literal), 0)
            }
            TokenKind::LeftParen => self.parenthesised(),
            TokenKind::LeftBrace => self.vector_selector(None),
            TokenKind::Aggregate(op) => {
                self.take()?;
                self.aggregate_or_metric(op, token)
            }
            TokenKind::Identifier | TokenKind::Preprocessor(_) => {
                self.take()?;
                if self.at(TokenKind::LeftParen)? { self.call(token) } else { self.vector_selector(Some(token)) }
            }
            kind if kind.may_name_metric() => {
                self.take()?;
                self.vector_selector(Some(token))
            }
            _ => Err(Failure::Unexpected),
        }
    }

    #[inline(never)]
    fn parenthesised(&mut self) -> Parsed<Tree> {
        let open = self.take()?;
        let inner = self.expression()?;
        let close = self.expect(TokenKind::RightParen)?;
        let position = open.position().to(close.position());
        self.tree(Expr::Paren(ParenExpr { expr: Box::new(inner.expr), position }), inner.height)
    }

    #[inline(never)]
    fn call(&mut self, name: Token<'a>) -> Parsed<Tree> {
        let arguments = self.arguments()?;
        let refuse = |why: String| Failure::from(ParseError::new(name.position(), why));
        let function = Function::by_name(name.text).ok_or_else(|| refuse(format!("unknown function with name {}", quote(name.text))))?;
        let experimental = function.signature().maturity == Maturity::Experimental;
        if experimental && !self.options.experimental_functions {
            return Err(refuse(format!("function {} is not enabled", quote(name.text))));
        }
        let height = arguments.height();
        let position = PositionRange::new(name.start, arguments.end);
        let args = arguments.trees.into_iter().map(|tree| tree.expr).collect();
        self.tree(Expr::Call(Call { function, args, position }), height)
    }

    #[inline(never)]
    fn arguments(&mut self) -> Parsed<Arguments> {
        self.expect(TokenKind::LeftParen)?;
        let mut trees = Vec::new();
        if let Some(close) = self.take_if(TokenKind::RightParen)? {
            return Ok(Arguments { trees, end: close.position().end });
        }
        trees.push(self.expression()?);
        while let Some(comma) = self.take_if(TokenKind::Comma)? {
            if !begins_expression(self.peek()?.kind) {
                let message = "trailing commas not allowed in function call args";
                return Err(ParseError::new(comma.position(), message).into());
            }
            trees.push(self.expression()?);
        }
        let end = self.expect(TokenKind::RightParen)?.position().end;
        Ok(Arguments { trees, end })
    }

    /// The name of an aggregation was taken: an aggregation follows, or it is a metric of that name.
    fn aggregate_or_metric(&mut self, op: AggregateOp, name: Token<'a>) -> Parsed<Tree> {
        match self.peek()?.kind {
            TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without) => {
                self.within("aggregation", "", |parser| parser.aggregate(op, name))
            }
            _ => self.vector_selector(Some(name)),
        }
    }

    #[inline(never)]
    fn aggregate(&mut self, op: AggregateOp, name: Token<'a>) -> Parsed<Tree> {
        let mut end = 0;
        let mut grouping = self.grouping(&mut end)?;
        let arguments = self.arguments()?;
        end = arguments.end;
        if grouping.is_none() {
            grouping = self.grouping(&mut end)?;
        }
        let position = PositionRange::new(name.start, end);
        let height = arguments.height();
        let exprs = arguments.trees.into_iter().map(|tree| tree.expr).collect();
        let (param, expr) = self.aggregate_operands(op, exprs, position)?;
        let grouping = grouping.unwrap_or_default();
        self.tree(Expr::Aggregate(AggregateExpr { op, expr, param, grouping, position }), height)
    }

    /// `by (…)` or `without (…)`, and where it ends.
    #[inline(never)]
    fn grouping(&mut self, end: &mut usize) -> Parsed<Option<Grouping>> {
        let mode = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::By) => GroupingMode::By,
            TokenKind::Keyword(Keyword::Without) => GroupingMode::Without,
            _ => return Ok(None),
        };
        self.take()?;
        let list = self.grouping_labels()?;
        *end = list.end;
        Ok(Some(Grouping { mode, labels: list.labels }))
    }

    #[inline(never)]
    fn aggregate_operands(&self, op: AggregateOp, mut exprs: Vec<Expr>, position: PositionRange) -> Parsed<(Option<Box<Expr>>, Box<Expr>)> {
        let refuse = |message: String| Err(ParseError::new(position, message).into());
        if exprs.is_empty() {
            return refuse("no arguments for aggregate expression provided".to_owned());
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            return refuse(format!("{op}() is experimental and must be enabled with {flag}"));
        }
        let (wanted, got) = (1 + usize::from(op.has_parameter()), exprs.len());
        match (exprs.pop(), exprs.pop()) {
            (Some(expr), None) if wanted == 1 => Ok((None, Box::new(expr))),
            (Some(expr), Some(param)) if wanted == 2 && got == 2 => Ok((Some(Box::new(param)), Box::new(expr))),
            _ => refuse(format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}")),
        }
    }

    /// A number, or a duration as its seconds.
    #[inline(never)]
    pub(super) fn number(&mut self) -> Parsed<NumberLiteral> {
        let token = self.take()?;
        let position = token.position();
        let (value, notation) = match token.kind {
            TokenKind::Number => {
                let value = parse_number(token.text).map_err(|why| ParseError::new(position, format!("error parsing number: {why}")))?;
                (value, Notation::Number)
            }
            TokenKind::Duration => {
                let seconds = parse_duration_seconds(token.text).map_err(|why| ParseError::new(position, why))?;
                (seconds, Notation::Duration)
            }
            _ => return Err(Failure::Unexpected),
        };
        Ok(NumberLiteral { value, notation, position })
    }

    #[inline(never)]
    fn string(&mut self) -> Parsed<StringLiteral> {
        let token = self.take()?;
        let position = token.position();
        let bytes = unquote_bytes(token.text).map_err(|why| ParseError::new(position, why))?;
        let (value, invalid_utf8) = match String::from_utf8(bytes) {
            Ok(value) => (value, None),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(quote_bytes(error.as_bytes()).into())),
        };
        Ok(StringLiteral { value, invalid_utf8, position })
    }

    /// The text of a string.
    pub(super) fn unquoted(&self, token: Token<'a>) -> Parsed<String> {
        unquote(token.text).map_err(|why| ParseError::new(token.position(), why).into())
    }

    /// Counts a new expression over others of `height_below`, within the limits.
    #[inline(never)]
    pub(super) fn tree(&mut self, expr: Expr, height_below: usize) -> Parsed<Tree> {
        self.nodes += 1;
        let height = height_below + 1;
        if height > self.options.depth_max {
            return Err(ParseError::new(expr.position(), too_deep(self.options)).into());
        }
        if self.nodes > self.options.nodes_max {
            let message = format!("query has more than {} expressions", self.options.nodes_max);
            return Err(ParseError::new(expr.position(), message).into());
        }
        Ok(Tree { expr, height })
    }
}

/// The sign that a word is before an operand.
pub(super) fn sign(kind: TokenKind) -> Option<UnaryOp> {
    match kind {
        TokenKind::Operator(BinaryOp::Add) => Some(UnaryOp::Plus),
        TokenKind::Operator(BinaryOp::Sub) => Some(UnaryOp::Minus),
        _ => None,
    }
}

pub(super) fn begins_expression(kind: TokenKind) -> bool {
    let literal = matches!(kind, TokenKind::Number | TokenKind::Duration | TokenKind::String | TokenKind::LeftParen | TokenKind::LeftBrace);
    literal || sign(kind).is_some() || kind.may_name_metric()
}
