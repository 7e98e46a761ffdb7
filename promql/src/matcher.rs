//! A condition on one label.

use std::fmt;
use std::sync::Arc;

use crate::labels::write_label_name;
use crate::quote::quote;
use crate::regex::{AnchoredRegex, RegexError};

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, the whole value
    Regex,
    /// `!~`, the whole value
    NotRegex,
}

impl MatchOp {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

impl fmt::Display for MatchOp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A condition on one label. A series without the label is judged as if its value were empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    pub name: Arc<str>,
    pub op: MatchOp,
    /// The value, or the pattern of a regular expression as it was written.
    pub value: Arc<str>,
    /// Present exactly for the two regular expression operators.
    regex: Option<Arc<AnchoredRegex>>,
}

impl Matcher {
    /// Fails only on a bad regular expression.
    pub fn new(op: MatchOp, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Result<Self, RegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(AnchoredRegex::new(&value)?)),
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// `name = value`.
    pub fn equal(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// `name != value`.
    pub fn not_equal(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), op: MatchOp::NotEqual, value: value.into(), regex: None }
    }

    /// The matcher that passes exactly what this one does not.
    pub fn negated(&self) -> Self {
        let op = match self.op {
            MatchOp::Equal => MatchOp::NotEqual,
            MatchOp::NotEqual => MatchOp::Equal,
            MatchOp::Regex => MatchOp::NotRegex,
            MatchOp::NotRegex => MatchOp::Regex,
        };
        Self { op, ..self.clone() }
    }

    /// Whether a label with this value (empty: no such label) passes.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => *self.value == *value,
            (MatchOp::NotEqual, _) => *self.value != *value,
            (MatchOp::Regex, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (MatchOp::NotRegex, regex) => regex.as_ref().is_none_or(|regex| !regex.is_match(value)),
        }
    }

    /// The compiled pattern of a regular expression matcher.
    pub fn regex(&self) -> Option<&AnchoredRegex> {
        self.regex.as_deref()
    }
}

/// `name="value"` as it stands in a query.
impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_label_name(out, &self.name)?;
        write!(out, "{}{}", self.op, quote(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(op: MatchOp, value: &str) -> Matcher {
        Matcher::new(op, "label", value).expect("valid pattern")
    }

    #[test]
    fn operators_compare_whole_values() {
        assert!(matcher(MatchOp::Equal, "a").matches("a") && !matcher(MatchOp::Equal, "a").matches("ab"));
        assert!(matcher(MatchOp::NotEqual, "a").matches("") && !matcher(MatchOp::NotEqual, "a").matches("a"));
        assert!(matcher(MatchOp::Regex, "a|b").matches("b") && !matcher(MatchOp::Regex, "a|b").matches("ab"));
        assert!(matcher(MatchOp::NotRegex, "a.*").matches("b") && !matcher(MatchOp::NotRegex, "a.*").matches("ab"));
    }

    #[test]
    fn a_negated_matcher_passes_the_others() {
        for op in [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex] {
            let (plain, negated) = (matcher(op, "a|b"), matcher(op, "a|b").negated());
            assert!(["", "a", "b", "a|b"].iter().all(|value| plain.matches(value) != negated.matches(value)), "{plain} {negated}");
            assert_eq!(negated.negated(), plain);
        }
    }

    #[test]
    fn the_dot_matches_newlines() {
        assert!(matcher(MatchOp::Regex, "a.b").matches("a\nb"));
    }

    #[test]
    fn printing_quotes_what_needs_it() {
        assert_eq!(Matcher::equal("a", "x\"y").to_string(), r#"a="x\"y""#);
        assert_eq!(Matcher::not_equal("a.b", "").to_string(), r#""a.b"!="""#);
    }
}
