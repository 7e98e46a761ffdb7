//! Errors of the native API: `{"error": …, "hint": …}`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::failure::{Failure, Kind, add_retry_after};

/// What went wrong and what to do about it.
#[derive(Debug)]
pub struct NativeFailure {
    pub status: StatusCode,
    pub error: String,
    pub hint: String,
}

impl NativeFailure {
    pub fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> NativeFailure {
        NativeFailure { status, error: error.into(), hint: hint.into() }
    }

    pub fn bad_request(error: impl Into<String>, hint: impl Into<String>) -> NativeFailure {
        NativeFailure::new(StatusCode::BAD_REQUEST, error, hint)
    }

    pub fn unavailable(error: impl Into<String>) -> NativeFailure {
        NativeFailure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error,
            "send the same request again after Retry-After seconds; repeating a write is harmless",
        )
    }
}

impl From<Failure> for NativeFailure {
    fn from(failure: Failure) -> NativeFailure {
        let hint = match failure.kind {
            Kind::BadData => "see README, \"The native API\", for an example of each call",
            Kind::Execution => "the expression is valid but cannot be evaluated over these data",
            Kind::Unavailable => "try again after Retry-After seconds, or ask with consistency=eventual",
            Kind::Timeout => "ask for fewer series or a shorter range, or raise timeout=",
            _ => "see the server's log",
        };
        // A wrong expression is the caller's mistake, whatever the Prometheus API calls it.
        let status = if failure.kind == Kind::Execution { StatusCode::BAD_REQUEST } else { failure.kind.status() };
        NativeFailure::new(status, failure.text, hint)
    }
}

impl IntoResponse for NativeFailure {
    fn into_response(self) -> Response {
        let error = serde_json::Value::from(self.error);
        let hint = serde_json::Value::from(self.hint);
        let body = format!("{{\"error\":{error},\"hint\":{hint}}}\n");
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            add_retry_after(&mut response);
        }
        response
    }
}
