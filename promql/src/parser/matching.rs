//! What may stand between an operator and its right side, and lists of labels.

use std::sync::Arc;

use super::cursor::{Failure, Parsed, Parser};
use super::error::ParseError;
use super::expression::{begins_expression, sign};
use crate::ast::{Cardinality, MatchingMode, VectorMatching};
use crate::operator::UnaryOp;
use crate::quote::quote;
use crate::token::{Keyword, TokenKind};

/// `bool`, `on`, `group_left`, `fill` and their kin.
pub(super) struct BinaryModifiers {
    pub(super) matching: VectorMatching,
    pub(super) return_bool: bool,
}

/// Labels between parentheses.
pub(super) struct LabelList {
    pub(super) labels: Vec<Arc<str>>,
    /// Behind the closing parenthesis.
    pub(super) end: usize,
}

impl<'a> Parser<'a> {
    /// The modifiers in their fixed order: `bool`, then `on` or `ignoring`, then `group_…`, then `fill…`.
    #[inline(never)]
    pub(super) fn binary_modifiers(&mut self) -> Parsed<BinaryModifiers> {
        let return_bool = self.take_if(TokenKind::Keyword(Keyword::Bool))?.is_some();
        let mut matching = VectorMatching::default();
        if self.matching_labels(&mut matching)? {
            self.group_modifier(&mut matching)?;
        }
        self.fill_modifiers(&mut matching)?;
        Ok(BinaryModifiers { matching, return_bool })
    }

    fn matching_labels(&mut self, matching: &mut VectorMatching) -> Parsed<bool> {
        matching.mode = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::On) => MatchingMode::On,
            TokenKind::Keyword(Keyword::Ignoring) => MatchingMode::Ignoring,
            _ => return Ok(false),
        };
        self.take()?;
        matching.labels = self.grouping_labels()?.labels;
        Ok(true)
    }

    fn group_modifier(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        matching.cardinality = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            TokenKind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.take()?;
        // The labels may be left out where the right side, or a fill modifier, follows at once.
        let next = self.peek()?.kind;
        if next == TokenKind::LeftParen || !begins_expression(next) {
            matching.include = self.grouping_labels()?.labels;
        }
        Ok(())
    }

    /// `fill`, or `fill_left` and `fill_right` in either order, each at most once.
    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        if self.take_if(TokenKind::Keyword(Keyword::Fill))?.is_some() {
            let value = self.fill_value()?;
            matching.fill.left = Some(value);
            matching.fill.right = Some(value);
            return Ok(());
        }
        loop {
            let side = match self.peek()?.kind {
                TokenKind::Keyword(Keyword::FillLeft) if matching.fill.left.is_none() => &mut matching.fill.left,
                TokenKind::Keyword(Keyword::FillRight) if matching.fill.right.is_none() => &mut matching.fill.right,
                _ => return Ok(()),
            };
            self.take()?;
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(TokenKind::LeftParen)?;
        let op = sign(self.peek()?.kind);
        if op.is_some() {
            self.take()?;
        }
        if !matches!(self.peek()?.kind, TokenKind::Number | TokenKind::Duration) {
            return Err(Failure::Unexpected);
        }
        let value = op.unwrap_or(UnaryOp::Plus).apply(self.number()?.value);
        self.expect(TokenKind::RightParen)?;
        Ok(value)
    }

    /// `(a, b, "c.d")`; a comma may stand at the end.
    pub(super) fn grouping_labels(&mut self) -> Parsed<LabelList> {
        const CONTEXT: &str = "grouping opts";
        self.within(CONTEXT, "\"(\"", |parser| parser.expect(TokenKind::LeftParen))?;
        let mut labels = Vec::new();
        if let Some(close) = self.take_if(TokenKind::RightParen)? {
            return Ok(LabelList { labels, end: close.position().end });
        }
        loop {
            labels.push(self.within(CONTEXT, "label", Self::grouping_label)?);
            let comma = self.take_if(TokenKind::Comma)?;
            if let Some(close) = self.take_if(TokenKind::RightParen)? {
                return Ok(LabelList { labels, end: close.position().end });
            }
            if comma.is_none() {
                return Err(self.unexpected(CONTEXT, "\",\" or \")\""));
            }
        }
    }

    fn grouping_label(&mut self) -> Parsed<Arc<str>> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::String => {
                self.take()?;
                let name = self.unquoted(token)?;
                if name.is_empty() {
                    let message = format!("invalid label name for grouping: {}", quote(&name));
                    return Err(ParseError::new(token.position(), message).into());
                }
                Ok(name.into())
            }
            kind if kind.may_name_label() => {
                self.take()?;
                Ok(token.text.into())
            }
            _ => Err(Failure::Unexpected),
        }
    }
}
