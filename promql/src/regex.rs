//! Regular expressions of label matchers and of `label_replace`, fully anchored.

use std::fmt;

/// A pattern longer than this is refused; Go's own parser gives up on programs of about this size.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;
/// The compiled automaton of one pattern may take this much memory.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// A regular expression that matches a whole value or nothing; the dot matches newlines too, as in Prometheus 3.
#[derive(Clone)]
pub struct AnchoredRegex {
    pattern: String,
    compiled: regex::Regex,
}

/// Why a pattern was refused, in the words of Go's `regexp/syntax`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(pub String);

impl AnchoredRegex {
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(RegexError(format!("expression too large: {} bytes", pattern.len())));
        }
        let compiled = regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| RegexError(error.to_string()))?;
        Ok(Self { pattern: pattern.to_owned(), compiled })
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole of `value` matches.
    pub fn is_match(&self, value: &str) -> bool {
        self.compiled.is_match(value)
    }
}

impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AnchoredRegex({:?})", self.pattern)
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}
