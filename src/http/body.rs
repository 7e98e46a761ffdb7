//! Reads a request's body within its bounds.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::budget::over_budget;
use super::paced_body::{TooSlow, too_slow};
use crate::ingest::budget::OverBudget;

/// Why a body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request body is larger than {0} bytes (ingest.body_bytes); send smaller batches")]
    TooLarge(usize),
    #[error("the request body did not arrive within {0:?} (web.read_timeout)")]
    Timeout(Duration),
    #[error(transparent)]
    TooSlow(TooSlow),
    #[error(transparent)]
    OverBudget(OverBudget),
    #[error("read the request body: {0}")]
    Broken(String),
}

impl BodyError {
    /// By what is found among the error's causes.
    pub fn of(error: &(dyn Error + 'static)) -> BodyError {
        match (over_budget(error), too_slow(error)) {
            (Some(over), _) => BodyError::OverBudget(over),
            (_, Some(slow)) => BodyError::TooSlow(slow),
            _ => BodyError::Broken(error.to_string()),
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Timeout(_) | BodyError::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::OverBudget(_) => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

pub async fn read(body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, BodyError> {
    match tokio::time::timeout(timeout, Limited::new(body, bytes_max).collect()).await {
        Err(_) => Err(BodyError::Timeout(timeout)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(bytes_max)),
        Ok(Err(error)) => Err(BodyError::of(&*error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_the_bound_is_413() {
        let long = || Body::from(vec![0u8; 100]);
        assert_eq!(read(long(), 100, Duration::from_secs(1)).await.expect("fits").len(), 100);
        let error = read(long(), 99, Duration::from_secs(1)).await.expect_err("too large");
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let stalled = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = read(stalled, 10, Duration::from_secs(300)).await.expect_err("stalled");
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
