//! What may stand behind an operand: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.

use super::cursor::{Failure, Parsed, Parser};
use super::durations::Duration;
use super::error::ParseError;
use super::expression::{Tree, sign};
use crate::ast::{AtModifier, Expr, Extension, MatrixSelector, Span, SubqueryExpr};
use crate::operator::UnaryOp;
use crate::position::PositionRange;
use crate::token::{Keyword, Preprocessor, Token, TokenKind};

/// The parts of a selector or subquery that `offset` and `@` change.
struct Shiftable<'e> {
    offset: &'e mut Span,
    at: &'e mut Option<AtModifier>,
    end: &'e mut usize,
}

impl<'a> Parser<'a> {
    /// Takes all modifiers that follow; they bind tighter than any operator.
    pub(super) fn modifiers(&mut self, mut tree: Tree) -> Parsed<Tree> {
        loop {
            let token = self.peek()?;
            match token.kind {
                TokenKind::LeftBracket => {
                    self.take()?;
                    tree = self.range_or_subquery(tree, token)?;
                }
                TokenKind::Keyword(Keyword::Offset) => {
                    self.take()?;
                    self.offset(&mut tree.expr)?;
                }
                TokenKind::At => {
                    self.take()?;
                    self.within("@", "timestamp", |parser| parser.at_modifier(&mut tree.expr))?;
                }
                TokenKind::Keyword(Keyword::Anchored) => {
                    self.take()?;
                    self.extend(&mut tree.expr, Extension::Anchored)?;
                }
                TokenKind::Keyword(Keyword::Smoothed) => {
                    self.take()?;
                    self.extend(&mut tree.expr, Extension::Smoothed)?;
                }
                _ => return Ok(tree),
            }
        }
    }

    #[inline(never)]
    fn range_or_subquery(&mut self, tree: Tree, open: Token<'a>) -> Parsed<Tree> {
        let wanted = "number, duration, step(), or range()";
        let range = self.within("subquery or range selector", wanted, Self::positive_duration)?;
        if let Some(close) = self.take_if(TokenKind::RightBracket)? {
            return self.matrix_selector(tree, range, open.position().to(close.position()));
        }
        if self.take_if(TokenKind::Colon)?.is_none() {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        if let Some(close) = self.take_if(TokenKind::RightBracket)? {
            return self.subquery(tree, range, None, close.position().end);
        }
        let wanted = "number, duration, step(), range(), or \"]\"";
        let step = self.within("subquery selector", wanted, Self::positive_duration)?;
        let close = self.within("subquery selector", "\"]\"", |parser| parser.expect(TokenKind::RightBracket))?;
        self.subquery(tree, range, Some(step), close.position().end)
    }

    fn matrix_selector(&mut self, tree: Tree, range: Duration, brackets: PositionRange) -> Parsed<Tree> {
        let refuse = |message: &str| Err(ParseError::new(brackets, message).into());
        let Expr::Vector(selector) = tree.expr else {
            return refuse("ranges only allowed for vector selectors");
        };
        if !selector.offset.is_zero() {
            return refuse("no offset modifiers allowed before range");
        }
        if selector.at.is_some() {
            return refuse("no @ modifiers allowed before range");
        }
        let position = selector.position.to(brackets);
        self.tree(Expr::Matrix(MatrixSelector { selector, range: range.into_span(), position }), 0)
    }

    fn subquery(&mut self, tree: Tree, range: Duration, step: Option<Duration>, end: usize) -> Parsed<Tree> {
        let subquery = SubqueryExpr {
            position: PositionRange::new(tree.expr.position().start, end),
            expr: Box::new(tree.expr),
            range: range.into_span(),
            step: step.map(Duration::into_span),
            at: None,
            offset: Span::ZERO,
        };
        self.tree(Expr::Subquery(subquery), tree.height)
    }

    #[inline(never)]
    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let wanted = "number, duration, step(), or range()";
        let offset = self.within("offset", wanted, Self::offset_duration)?;
        let (position, end) = (expr.position(), offset.end());
        let Some(shiftable) = shiftable(expr) else {
            return Err(ParseError::new(position, must_follow_selector("offset")).into());
        };
        if !shiftable.offset.is_zero() {
            return Err(ParseError::new(position, "offset may not be set multiple times").into());
        }
        *shiftable.offset = offset.into_span();
        *shiftable.end = end;
        Ok(())
    }

    #[inline(never)]
    fn at_modifier(&mut self, expr: &mut Expr) -> Parsed<()> {
        let token = self.peek()?;
        let (at, end) = match token.kind {
            TokenKind::Preprocessor(Preprocessor::Start) => (AtModifier::Start, self.preprocessor_end()?),
            TokenKind::Preprocessor(Preprocessor::End) => (AtModifier::End, self.preprocessor_end()?),
            _ => self.timestamp(expr.position())?,
        };
        let position = expr.position();
        let Some(shiftable) = shiftable(expr) else {
            return Err(ParseError::new(position, must_follow_selector("@")).into());
        };
        if shiftable.at.is_some() {
            return Err(ParseError::new(position, "@ <timestamp> may not be set multiple times").into());
        }
        *shiftable.at = Some(at);
        *shiftable.end = end;
        Ok(())
    }

    /// `start()` or `end()`; gives the end of the closing parenthesis.
    fn preprocessor_end(&mut self) -> Parsed<usize> {
        self.take()?;
        self.expect(TokenKind::LeftParen)?;
        Ok(self.expect(TokenKind::RightParen)?.position().end)
    }

    fn timestamp(&mut self, selector: PositionRange) -> Parsed<(AtModifier, usize)> {
        let op = sign(self.peek()?.kind);
        if op.is_some() {
            self.take()?;
        }
        if !matches!(self.peek()?.kind, TokenKind::Number | TokenKind::Duration) {
            return Err(Failure::Unexpected);
        }
        let number = self.number()?;
        let seconds = op.unwrap_or(UnaryOp::Plus).apply(number.value);
        // The greatest and least 64-bit integers, as floats.
        const BOUND: f64 = 9_223_372_036_854_775_808.0;
        if !(seconds > -BOUND && seconds < BOUND) {
            let seconds = crate::literal::format_fixed(seconds);
            let message = format!("timestamp out of bounds for @ modifier: {seconds}");
            return Err(ParseError::new(selector, message).into());
        }
        // Saturates where the milliseconds of a bounded number of seconds go beyond 64 bits.
        #[allow(clippy::cast_possible_truncation)]
        let millis = (seconds * 1000.0).round() as i64;
        Ok((AtModifier::Timestamp(millis), number.position.end))
    }

    #[inline(never)]
    fn extend(&self, expr: &mut Expr, extension: Extension) -> Parsed<()> {
        let name = match extension {
            Extension::Smoothed => "smoothed",
            _ => "anchored",
        };
        let position = expr.position();
        let refuse = |message: String| Err(ParseError::new(position, message).into());
        if !self.options.extended_range_selectors {
            return refuse(format!("{name} modifier is experimental and not enabled"));
        }
        let selector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => return refuse(format!("{name} modifier is not supported for subqueries")),
            _ => return refuse(format!("{name} modifier not implemented")),
        };
        if selector.extension != Extension::None && selector.extension != extension {
            return refuse("anchored and smoothed modifiers cannot be used together".to_owned());
        }
        selector.extension = extension;
        Ok(())
    }
}

fn shiftable(expr: &mut Expr) -> Option<Shiftable<'_>> {
    match expr {
        Expr::Vector(selector) => Some(Shiftable { offset: &mut selector.offset, at: &mut selector.at, end: &mut selector.position.end }),
        Expr::Matrix(matrix) => {
            Some(Shiftable { offset: &mut matrix.selector.offset, at: &mut matrix.selector.at, end: &mut matrix.position.end })
        }
        Expr::Subquery(subquery) => Some(Shiftable { offset: &mut subquery.offset, at: &mut subquery.at, end: &mut subquery.position.end }),
        _ => None,
    }
}

fn must_follow_selector(modifier: &str) -> String {
    format!("{modifier} modifier must be preceded by an instant vector selector or range vector selector or a subquery")
}
