//! Why a query has no answer, in the terms of the caller.

use promql::engine::QueryError;
use promql::source::SourceError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailure {
    /// The text or a parameter is wrong; the text says where.
    #[error("{0}")]
    BadQuery(String),
    /// Valid, but cannot be evaluated over these data.
    #[error("{0}")]
    Execution(String),
    /// No quorum, no replica within reach, or too many queries: trying again may help.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Timeout(String),
    /// The client has gone.
    #[error("{0}")]
    Canceled(String),
    /// A fault of this node.
    #[error("{0}")]
    Internal(String),
}

impl From<SourceError> for QueryFailure {
    fn from(error: SourceError) -> QueryFailure {
        match error {
            SourceError::Unavailable(text) => QueryFailure::Unavailable(text),
            SourceError::Timeout(text) => QueryFailure::Timeout(text),
            SourceError::Canceled(text) => QueryFailure::Canceled(text),
            SourceError::Failed(text) => QueryFailure::Internal(text),
        }
    }
}

impl From<QueryError> for QueryFailure {
    fn from(error: QueryError) -> QueryFailure {
        let text = error.to_string();
        match error {
            QueryError::Timeout(_) => QueryFailure::Timeout(text),
            QueryError::Canceled(_) => QueryFailure::Canceled(text),
            QueryError::Invalid(_) => QueryFailure::BadQuery(text),
            QueryError::TooManySamples(_) | QueryError::TooMuchMemory(_) | QueryError::Execution(_) => QueryFailure::Execution(text),
            // Upstream calls every failure of the storage "execution"; only what a retry can mend is told apart.
            QueryError::Source(SourceError::Failed(_)) => QueryFailure::Execution(text),
            QueryError::Source(source) => source.into(),
        }
    }
}
