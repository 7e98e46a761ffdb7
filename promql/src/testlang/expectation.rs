//! What an evaluation is expected to give.

use regex::Regex;

use crate::labels::Labels;
use crate::parser::SequenceValue;

/// The expected value.
#[derive(Clone, Debug)]
pub enum ExpectedValue {
    Scalar(f64),
    String(String),
    /// The series of an instant or range result; none at all means an empty result.
    Series(Vec<ExpectedSeries>),
    /// The series of a range vector that an instant query gives, with values at these times.
    RangeVector {
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        series: Vec<ExpectedSeries>,
    },
}

/// One expected series.
#[derive(Clone, Debug)]
pub struct ExpectedSeries {
    /// The line of the script, counted from one.
    pub line: usize,
    pub labels: Labels,
    /// One value a step; a single one for an instant.
    pub values: Vec<SequenceValue>,
}

/// What a message must be like.
#[derive(Clone, Debug)]
pub enum TextMatch {
    Any,
    Exactly(String),
    /// Somewhere in the text.
    Pattern(Regex),
}

impl TextMatch {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => wanted == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

/// What annotations of one severity an evaluation must have.
#[derive(Clone, Debug, Default)]
pub enum ExpectedAnnotations {
    /// Nothing is said about them.
    #[default]
    Whatever,
    None,
    /// Each of these is met by at least one annotation, and each annotation meets one of these.
    These(Vec<TextMatch>),
}

impl ExpectedAnnotations {
    /// Compares with what there was; says what is wrong.
    pub fn judge(&self, got: &[String]) -> Result<(), String> {
        match self {
            Self::Whatever => Ok(()),
            Self::None if got.is_empty() => Ok(()),
            Self::None => Err(format!("expected no annotation, got {got:?}")),
            Self::These(wanted) => {
                if let Some(missed) = wanted.iter().find(|wanted| !got.iter().any(|text| wanted.matches(text))) {
                    return Err(format!("expected an annotation like {missed:?}, got {got:?}"));
                }
                match got.iter().find(|text| !wanted.iter().any(|wanted| wanted.matches(text))) {
                    Some(text) => Err(format!("unexpected annotation {text:?}")),
                    None => Ok(()),
                }
            }
        }
    }

    pub(super) fn require(&mut self, wanted: TextMatch) -> Result<(), String> {
        match self {
            Self::Whatever => *self = Self::These(vec![wanted]),
            Self::These(list) => list.push(wanted),
            Self::None => return Err("an annotation and none of its kind cannot be expected together".to_owned()),
        }
        Ok(())
    }

    pub(super) fn forbid(&mut self) -> Result<(), String> {
        if matches!(self, Self::These(_)) {
            return Err("an annotation and none of its kind cannot be expected together".to_owned());
        }
        *self = Self::None;
        Ok(())
    }
}
