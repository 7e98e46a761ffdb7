//! From text to a typed tree.
//!
//! One walk by recursive descent, operators by precedence, one word ahead; then one walk over the tree that checks the
//! types. The messages, and which of several mistakes is reported, are those of Prometheus 3.14, because people and
//! tests know them by heart. Where its generated parser reports a wrong word depends on the rule it is in;
//! `Parser::within` keeps that. Everything that recurses is bounded by [`ParserOptions`].

mod options;
mod error;
mod cursor;
mod matching;
mod selector;
mod durations;
mod modifiers;
mod expression;
mod series;
mod check;

pub use error::{ParseError, ParseErrors};
pub use options::ParserOptions;
pub use series::{SequenceValue, SeriesDescription};

use crate::ast::Expr;
use crate::labels::Labels;
use crate::lexer::Language;
use crate::matcher::Matcher;
use crate::position::PositionRange;
use crate::token::TokenKind;
use cursor::{Failure, Parsed, Parser};

/// Reads a query.
pub fn parse(query: &str, options: ParserOptions) -> Result<Expr, ParseErrors> {
    let mut expr = run(query, Language::Expression, &options, whole_expression)?;
    let errors = check::check(&mut expr, query);
    if errors.is_empty() { Ok(expr) } else { Err(ParseErrors::new(query, errors)) }
}

/// Reads one selector without modifiers, as in `match[]=`. Unlike a query it may select everything.
pub fn parse_metric_selector(text: &str, options: ParserOptions) -> Result<Vec<Matcher>, ParseErrors> {
    run(text, Language::Expression, &options, |parser| {
        let token = parser.peek()?;
        let name = if token.kind.may_name_metric() { Some(parser.take()?) } else { None };
        let selector = parser.bare_selector(name)?;
        parser.expect(TokenKind::EndOfInput)?;
        Ok(selector.matchers)
    })
}

/// Reads a metric with its labels: `name{a="b"}`.
pub fn parse_metric(text: &str, options: ParserOptions) -> Result<Labels, ParseErrors> {
    run(text, Language::Expression, &options, |parser| {
        let labels = parser.metric()?;
        parser.expect(TokenKind::EndOfInput)?;
        Ok(labels)
    })
}

/// Reads a series with its values in short, the language of test scripts.
pub fn parse_series_description(text: &str, options: ParserOptions) -> Result<SeriesDescription, ParseErrors> {
    run(text, Language::SeriesDescription, &options, |parser| parser.series_description())
}

fn whole_expression(parser: &mut Parser<'_>) -> Parsed<Expr> {
    if parser.at(TokenKind::EndOfInput)? {
        return Err(ParseError::new(PositionRange::default(), "no expression found in input").into());
    }
    let tree = parser.expression()?;
    parser.expect(TokenKind::EndOfInput)?;
    Ok(tree.expr)
}

fn run<T>(
    text: &str,
    language: Language,
    options: &ParserOptions,
    rule: impl FnOnce(&mut Parser<'_>) -> Parsed<T>,
) -> Result<T, ParseErrors> {
    if text.len() > options.text_bytes_max {
        let message = format!("query is longer than {} bytes", options.text_bytes_max);
        return Err(ParseErrors::new(text, vec![ParseError::new(PositionRange::default(), message)]));
    }
    let mut parser = Parser::new(text, language, options);
    parser.within("", "", rule).map_err(|failure| match failure {
        Failure::Refused(error) => ParseErrors::new(text, vec![*error]),
        // `within` turned this case into the other.
        Failure::Unexpected => ParseErrors::new(text, vec![ParseError::new(PositionRange::default(), "unexpected input")]),
    })
}
