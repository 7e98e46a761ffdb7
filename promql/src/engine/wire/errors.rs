//! Why a part has no answer, so that the query fails with the same words wherever it was evaluated.

use super::super::error::QueryError;
use super::bytes::{Malformed, Reader, Wire, Writer};
use crate::source::SourceError;

impl Wire for QueryError {
    fn put(&self, out: &mut Writer) {
        let (number, text) = match self {
            QueryError::Timeout(phase) => (0, *phase),
            QueryError::Canceled(phase) => (1, *phase),
            QueryError::TooManySamples(phase) => (2, *phase),
            QueryError::Invalid(text) => (3, text.as_str()),
            QueryError::Execution(text) => (4, text.as_str()),
            QueryError::Source(SourceError::Unavailable(text)) => (5, text.as_str()),
            QueryError::Source(SourceError::Timeout(text)) => (6, text.as_str()),
            QueryError::Source(SourceError::Canceled(text)) => (7, text.as_str()),
            QueryError::Source(SourceError::Failed(text)) => (8, text.as_str()),
            QueryError::TooMuchMemory(phase) => (9, *phase),
        };
        out.byte(number);
        out.text(text);
    }

    fn take(from: &mut Reader) -> Result<QueryError, Malformed> {
        let number = from.byte()?;
        let text = from.text()?;
        let phase = QueryError::PHASES.into_iter().find(|phase| *phase == text).unwrap_or(QueryError::EXECUTION);
        Ok(match number {
            0 => QueryError::Timeout(phase),
            1 => QueryError::Canceled(phase),
            2 => QueryError::TooManySamples(phase),
            3 => QueryError::Invalid(text.to_owned()),
            4 => QueryError::Execution(text.to_owned()),
            5 => SourceError::Unavailable(text.to_owned()).into(),
            6 => SourceError::Timeout(text.to_owned()).into(),
            7 => SourceError::Canceled(text.to_owned()).into(),
            8 => SourceError::Failed(text.to_owned()).into(),
            9 => QueryError::TooMuchMemory(phase),
            _ => return Err(Malformed("an unknown error")),
        })
    }
}
