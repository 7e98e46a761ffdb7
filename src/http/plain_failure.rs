//! Errors as a line of text, as remote read and federation answer them.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::failure::{Failure, add_retry_after};
use crate::query::failure::QueryFailure;

#[derive(Debug)]
pub struct PlainFailure {
    pub status: StatusCode,
    pub text: String,
}

impl PlainFailure {
    pub fn new(status: StatusCode, text: impl Into<String>) -> PlainFailure {
        PlainFailure { status, text: text.into() }
    }

    pub fn bad_request(text: impl std::fmt::Display) -> PlainFailure {
        PlainFailure::new(StatusCode::BAD_REQUEST, text.to_string())
    }
}

impl From<Failure> for PlainFailure {
    fn from(failure: Failure) -> PlainFailure {
        PlainFailure::new(failure.kind.status(), failure.text)
    }
}

impl From<QueryFailure> for PlainFailure {
    fn from(failure: QueryFailure) -> PlainFailure {
        Failure::from(failure).into()
    }
}

impl IntoResponse for PlainFailure {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
        ];
        let mut response = (self.status, headers, format!("{}\n", self.text)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            add_retry_after(&mut response);
        }
        response
    }
}
