//! Why a query gave no answer. The texts are Prometheus' own, since users and dashboards know them.

use crate::source::SourceError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It ran longer than allowed.
    #[error("query timed out in {0}")]
    Timeout(&'static str),
    /// Its cancel flag was set.
    #[error("query was canceled in {0}")]
    Canceled(&'static str),
    /// It would have held more samples than allowed.
    #[error("query processing would load too many samples into memory in {0}")]
    TooManySamples(&'static str),
    /// It would have held more memory than allowed.
    #[error("query processing would take too much memory in {0}")]
    TooMuchMemory(&'static str),
    /// The data could not be read.
    #[error("expanding series: {0}")]
    Source(#[from] SourceError),
    /// The query makes no sense for this run, whatever the data.
    #[error("{0}")]
    Invalid(String),
    /// The query cannot be evaluated: with these data.
    #[error("{0}")]
    Execution(String),
}

impl QueryError {
    /// In which part of the engine a limit is hit, in Prometheus' words.
    pub(super) const EXECUTION: &'static str = "query execution";
    pub(super) const EVALUATION: &'static str = "expression evaluation";
    pub(super) const PHASES: [&'static str; 2] = [Self::EXECUTION, Self::EVALUATION];

    pub(super) fn execution(text: impl Into<String>) -> QueryError {
        QueryError::Execution(text.into())
    }

    /// Two series of one answer ended up with the same labels.
    pub(super) fn duplicate_labels() -> QueryError {
        QueryError::execution("vector cannot contain metrics with the same labelset")
    }
}
