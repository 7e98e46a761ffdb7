//! The parser's view of the words: one ahead, and what to say when it is the wrong one.

use super::error::ParseError;
use super::options::ParserOptions;
use crate::lexer::{Language, Lexer};
use crate::token::{Token, TokenKind};

/// Why a rule of the grammar did not go through.
#[derive(Debug)]
pub(super) enum Failure {
    /// The word ahead does not belong here. The nearest enclosing rule that has words of its own for this case turns it
    /// into an error (see [`Parser::within`]).
    Unexpected,
    /// Refused for good.
    Refused(Box<ParseError>),
}

pub(super) type Parsed<T> = Result<T, Failure>;

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::Refused(Box::new(error))
    }
}

/// A parser of one text. Reads exactly one word ahead and never more, because the order in which mistakes are found
/// decides which of them is reported.
pub(super) struct Parser<'a> {
    pub(super) options: &'a ParserOptions,
    lexer: Lexer<'a>,
    ahead: Option<Token<'a>>,
    /// How many rules are open right now.
    pub(super) depth: usize,
    /// How many expressions were made.
    pub(super) nodes: usize,
    /// How many calculations the duration being read has.
    pub(super) calculations: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(input: &'a str, language: Language, options: &'a ParserOptions) -> Self {
        Self { options, lexer: Lexer::new(input, language), ahead: None, depth: 0, nodes: 0, calculations: 0 }
    }

    /// The word ahead.
    pub(super) fn peek(&mut self) -> Parsed<Token<'a>> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = self.lexer.next_token().map_err(|error| ParseError::new(error.position, error.message))?;
        self.ahead = Some(token);
        Ok(token)
    }

    /// Whether the word ahead is of this kind.
    pub(super) fn at(&mut self, kind: TokenKind) -> Parsed<bool> {
        Ok(self.peek()?.kind == kind)
    }

    /// Takes the word ahead.
    pub(super) fn take(&mut self) -> Parsed<Token<'a>> {
        let token = self.peek()?;
        // The end is never passed, so that it stays ahead whatever is asked.
        if token.kind != TokenKind::EndOfInput {
            self.ahead = None;
        }
        Ok(token)
    }

    /// Takes the word ahead when it is of this kind.
    pub(super) fn take_if(&mut self, kind: TokenKind) -> Parsed<Option<Token<'a>>> {
        if self.at(kind)? { self.take().map(Some) } else { Ok(None) }
    }

    /// Takes a word that must be of this kind.
    pub(super) fn expect(&mut self, kind: TokenKind) -> Parsed<Token<'a>> {
        self.take_if(kind)?.ok_or(Failure::Unexpected)
    }

    /// Runs a rule; a word that does not belong into it is reported as unexpected in `context`, which would rather
    /// have had `expected` (empty: nothing in particular).
    pub(super) fn within<T>(&mut self, context: &str, expected: &str, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        match rule(self) {
            Err(Failure::Unexpected) => Err(self.unexpected(context, expected)),
            other => other,
        }
    }

    /// The refusal of the word ahead.
    pub(super) fn unexpected(&mut self, context: &str, expected: &str) -> Failure {
        let token = match self.peek() {
            Ok(token) => token,
            Err(failure) => return failure,
        };
        let mut message = format!("unexpected {}", token.describe());
        if !context.is_empty() {
            message = format!("{message} in {context}");
        }
        if !expected.is_empty() {
            message = format!("{message}, expected {expected}");
        }
        ParseError::new(token.position(), message).into()
    }

    /// Runs a rule that can contain itself, one level deeper.
    pub(super) fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= self.options.depth_max {
            let position = self.peek()?.position();
            return Err(ParseError::new(position, too_deep(self.options)).into());
        }
        self.depth += 1;
        let parsed = rule(self);
        self.depth -= 1;
        parsed
    }
}

pub(super) fn too_deep(options: &ParserOptions) -> String {
    format!("expression is nested deeper than {} levels", options.depth_max)
}
