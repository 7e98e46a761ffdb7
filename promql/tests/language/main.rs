//! The language from outside: what parses to what, what is refused with which words, and that printing is the inverse
//! of reading.

mod trees;
mod refusals;
mod printing;
mod json;
mod series;
mod regexes;
mod generator;
mod round_trip;
mod arbitrary_text;
mod promqltest;

use promql::ast::Expr;
use promql::{ParserOptions, parse};

/// Reads a query of the whole language.
fn read(query: &str) -> Expr {
    parse(query, ParserOptions::experimental()).unwrap_or_else(|error| panic!("{query:?} is refused: {error}"))
}
