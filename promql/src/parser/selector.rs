//! Selectors of series: a name, matchers in braces.

use std::sync::Arc;

use super::cursor::{Failure, Parsed, Parser};
use super::error::ParseError;
use super::expression::Tree;
use crate::ast::{Expr, Extension, Span, VectorSelector};
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};
use crate::operator::BinaryOp;
use crate::position::PositionRange;
use crate::token::{Token, TokenKind};

const CONTEXT: &str = "label matching";

impl<'a> Parser<'a> {
    /// A selector whose name, if it has one, was taken.
    #[inline(never)]
    pub(super) fn vector_selector(&mut self, name: Option<Token<'a>>) -> Parsed<Tree> {
        let selector = self.bare_selector(name)?;
        self.tree(Expr::Vector(selector), 0)
    }

    /// A selector without modifiers.
    pub(super) fn bare_selector(&mut self, name: Option<Token<'a>>) -> Parsed<VectorSelector> {
        let start = self.peek()?.start;
        let mut position = name.map_or(PositionRange::new(start, start), |name| name.position());
        let mut matchers = Vec::new();
        if self.at(TokenKind::LeftBrace)? {
            position.end = self.matchers(&mut matchers)?;
        } else if name.is_none() {
            return Err(Failure::Unexpected);
        }
        let name: Arc<str> = name.map_or("", |name| name.text).into();
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, Arc::clone(&name)));
        }
        Ok(VectorSelector {
            name,
            matchers,
            at: None,
            offset: Span::ZERO,
            extension: Extension::None,
            may_match_everything: false,
            position,
        })
    }

    /// `{a="b", "c.d"=~"e", "metric.name"}`; gives the end of the closing brace. A comma may stand at the end.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<usize> {
        self.expect(TokenKind::LeftBrace)?;
        if let Some(close) = self.take_if(TokenKind::RightBrace)? {
            return Ok(close.position().end);
        }
        loop {
            matchers.push(self.within(CONTEXT, "identifier or \"}\"", Self::matcher)?);
            let comma = self.take_if(TokenKind::Comma)?;
            if let Some(close) = self.take_if(TokenKind::RightBrace)? {
                return Ok(close.position().end);
            }
            if comma.is_none() {
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let token = self.peek()?;
        let name = match token.kind {
            TokenKind::Identifier => token.text.to_owned(),
            TokenKind::String => self.unquoted(token)?,
            _ => return Err(Failure::Unexpected),
        };
        self.take()?;
        let Some(op) = match_op(self.peek()?.kind) else {
            // A string alone is the metric's name.
            return match token.kind {
                TokenKind::String => Ok(Matcher::equal(METRIC_NAME, name)),
                _ => Err(self.unexpected(CONTEXT, "label matching operator")),
            };
        };
        self.take()?;
        let value = self.within(CONTEXT, "string", |parser| parser.expect(TokenKind::String))?;
        let text = self.unquoted(value)?;
        let position = token.position().to(value.position());
        Matcher::new(op, name, text).map_err(|error| ParseError::new(position, error.to_string()).into())
    }
}

fn match_op(kind: TokenKind) -> Option<MatchOp> {
    Some(match kind {
        TokenKind::Assign => MatchOp::Equal,
        TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
        TokenKind::EqualRegex => MatchOp::Regex,
        TokenKind::NotEqualRegex => MatchOp::NotRegex,
        _ => return None,
    })
}
