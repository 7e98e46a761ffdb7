//! Why a text is no query, and where.

use std::fmt;

use crate::position::PositionRange;

/// One thing wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub position: PositionRange,
    pub message: String,
}

impl ParseError {
    pub fn new(position: PositionRange, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }

    /// `line:column: parse error: message`
    pub fn text(&self, query: &str) -> String {
        format!("{}: parse error: {}", self.position.line_and_column(query), self.message)
    }
}

/// Everything found wrong with a text: the first mistake of syntax, or all mistakes of type. Prints the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    query: String,
    /// Never empty.
    errors: Vec<ParseError>,
}

impl ParseErrors {
    pub(super) fn new(query: &str, errors: Vec<ParseError>) -> Self {
        debug_assert!(!errors.is_empty(), "parse errors without an error for {query:?}");
        Self { query: query.to_owned(), errors }
    }

    pub fn query(&self) -> &str {
        &self.query
    }

    pub fn iter(&self) -> std::slice::Iter<'_, ParseError> {
        self.errors.iter()
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.first() {
            Some(first) => out.write_str(&first.text(&self.query)),
            None => out.write_str("error contains no error message"),
        }
    }
}

impl std::error::Error for ParseErrors {}
