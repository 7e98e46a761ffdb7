//! Conditions on labels, as the index understands them.
//!
//! A series without a label is judged as if the label's value were empty, exactly as Prometheus does.
//! Regular expressions match the whole value, and the dot matches newlines (Prometheus 3). Patterns that
//! stand for a few literal values or begin with literals are recognised, so that the index can seek in
//! its sorted values instead of trying every one.

use regex::Regex;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use super::go_regex;
use crate::fault::{Result, StorageError};

/// Literal values that one pattern may stand for before it is matched by automaton.
const LITERALS_MAX: usize = 4096;
/// Memory of one compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 10 << 20;
/// A longer pattern is refused.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`, the whole value
    Re,
    /// `!~`, the whole value
    Nre,
}

/// A condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Option<Pattern>,
}

/// A regular expression and what is known about the values it accepts.
#[derive(Clone, Debug)]
struct Pattern {
    regex: Regex,
    shape: Shape,
}

/// Which values a pattern can accept, as far as the index can seek for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Every value, the empty one too (`.*`).
    Everything,
    /// Every value but the empty one (`.+`).
    NonEmpty,
    /// Exactly these values, sorted and unique.
    Literals(Vec<String>),
    /// Only values that begin with one of these, sorted; each must still be tried.
    Prefixes(Vec<String>),
    /// Anything; each value must be tried.
    Opaque,
}

impl Matcher {
    /// Errors: `Refused` when `value` is not a regular expression although `op` needs one.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(Pattern::new(&value)?),
        };
        Ok(Self { name: name.into(), op, value, pattern })
    }

    /// `name = value`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Eq, value: value.into(), pattern: None }
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The comparison.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or pattern.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with this value (empty: no such label) passes.
    pub fn matches(&self, value: &str) -> bool {
        match self.op {
            MatchOp::Eq => self.value == value,
            MatchOp::Ne => self.value != value,
            MatchOp::Re => self.accepts(value),
            MatchOp::Nre => !self.accepts(value),
        }
    }

    /// Whether the value is equal to, or accepted by, what stands behind the operator, negated or not.
    pub(crate) fn accepts(&self, value: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.accepts(value),
            None => self.value == value,
        }
    }

    /// Whether the operator is a negation.
    pub(crate) fn is_negated(&self) -> bool {
        matches!(self.op, MatchOp::Ne | MatchOp::Nre)
    }

    /// Where the accepted values can be found.
    pub(crate) fn shape(&self) -> Shape {
        match &self.pattern {
            Some(pattern) => pattern.shape.clone(),
            None => Shape::Literals(vec![self.value.clone()]),
        }
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(StorageError::Refused(format!("regular expression of {} bytes is too long", text.len())));
        }
        let translated = go_regex::translate(text);
        let regex = regex::RegexBuilder::new(&format!("^(?s:{translated})$"))
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| StorageError::Refused(format!("error parsing regexp: {error}")))?;
        Ok(Self { regex, shape: Shape::of(&translated) })
    }

    fn accepts(&self, value: &str) -> bool {
        match &self.shape {
            Shape::Everything => true,
            Shape::NonEmpty => !value.is_empty(),
            Shape::Literals(literals) => literals.binary_search_by(|literal| literal.as_str().cmp(value)).is_ok(),
            Shape::Prefixes(_) | Shape::Opaque => self.regex.is_match(value),
        }
    }
}

impl Shape {
    fn of(text: &str) -> Self {
        match text {
            ".*" => return Self::Everything,
            ".+" => return Self::NonEmpty,
            _ => {}
        }
        let Ok(tree) = regex_syntax::Parser::new().parse(&format!("(?s:{text})")) else {
            return Self::Opaque;
        };
        if !tree.properties().look_set().is_empty() {
            // Assertions are invisible to the extraction of literals below.
            return Self::Opaque;
        }
        let mut extractor = Extractor::new();
        extractor.kind(ExtractKind::Prefix).limit_total(LITERALS_MAX).limit_literal_len(512).limit_class(64).limit_repeat(64);
        let sequence = extractor.extract(&tree);
        let Some(literals) = sequence.literals() else {
            return Self::Opaque;
        };
        let texts = literals.iter().map(|literal| String::from_utf8(literal.as_bytes().to_vec()));
        let Ok(mut texts) = texts.collect::<Result<Vec<_>, _>>() else {
            return Self::Opaque;
        };
        texts.sort_unstable();
        texts.dedup();
        if sequence.is_exact() {
            Self::Literals(texts)
        } else if texts.iter().all(|text| !text.is_empty()) {
            Self::Prefixes(without_extensions(texts))
        } else {
            Self::Opaque
        }
    }
}

/// Drops every prefix that begins with another one, so that the ranges they span do not overlap.
fn without_extensions(sorted: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for text in sorted {
        if kept.last().is_none_or(|last| !text.starts_with(last.as_str())) {
            kept.push(text);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Shape {
        Matcher::new("l", MatchOp::Re, text).unwrap().shape()
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn literal_patterns_become_seeks() {
        assert_eq!(shape("b|a|a"), Shape::Literals(texts(&["a", "b"])));
        assert_eq!(shape("x(1|2)"), Shape::Literals(texts(&["x1", "x2"])));
        assert_eq!(shape(""), Shape::Literals(texts(&[""])));
        assert_eq!(shape("a?"), Shape::Literals(texts(&["", "a"])));
        assert_eq!(shape("node_.*"), Shape::Prefixes(texts(&["node_"])));
        assert_eq!(shape("(?:ab|a).+"), Shape::Prefixes(texts(&["a"])));
        assert_eq!(shape(".*x"), Shape::Opaque);
        assert_eq!(shape(r"a\b"), Shape::Opaque);
        assert_eq!(shape(".*"), Shape::Everything);
    }

    #[test]
    fn whole_values_match_and_the_dot_takes_newlines() {
        let re = |text| Matcher::new("l", MatchOp::Re, text).unwrap();
        assert!(re("a.c").matches("a\nc"));
        assert!(!re("a").matches("ab"));
        assert!(!re("a|b").matches("ab"));
        assert!(re("a|b").matches("b"));
        assert!(!re("a|b.*").matches("ac"));
        assert!(re("a|b.*").matches("bc"));
        assert!(re("(?i)ab").matches("Ab"));
        assert!(Matcher::new("l", MatchOp::Nre, "a").unwrap().matches(""));
        assert!(Matcher::new("l", MatchOp::Re, "(").is_err());
    }
}
