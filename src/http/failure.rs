//! Errors of the Prometheus API: a type, a text, and the status code that belongs to the type.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Seconds a sender should wait before it tries again when a shard has no quorum: about one election.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// The error types of the Prometheus API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A parameter is missing or wrong.
    BadData,
    /// The expression is valid but cannot be evaluated over these data.
    Execution,
    /// The client went away.
    Canceled,
    /// The query took longer than it may.
    Timeout,
    /// A fault of this node.
    Internal,
    /// No quorum, or too much under way; trying again later helps.
    Unavailable,
    /// A setting does not allow the call. Upstream names it like the one above but answers 500.
    Disabled,
    NotFound,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::BadData => "bad_data",
            Kind::Execution => "execution",
            Kind::Canceled => "canceled",
            Kind::Timeout => "timeout",
            Kind::Internal => "internal",
            Kind::Unavailable | Kind::Disabled => "unavailable",
            Kind::NotFound => "not_found",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Kind::BadData => StatusCode::BAD_REQUEST,
            Kind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // nginx's "client closed request"; it has no name in the registry.
            Kind::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Kind::Timeout | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal | Kind::Disabled => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// An error answer in Prometheus' envelope.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub text: String,
}

impl Failure {
    pub fn new(kind: Kind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into() }
    }

    pub fn bad_data(text: impl Into<String>) -> Failure {
        Failure::new(Kind::BadData, text)
    }

    /// `invalid parameter "time": …`, the form clients match on.
    pub fn parameter(name: &str, cause: impl std::fmt::Display) -> Failure {
        Failure::bad_data(format!("invalid parameter {name:?}: {cause}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let text = serde_json::Value::from(self.text);
        let body = format!("{{\"status\":\"error\",\"errorType\":\"{}\",\"error\":{text}}}", self.kind.name());
        let mut response = (self.kind.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self.kind == Kind::Unavailable {
            add_retry_after(&mut response);
        }
        response
    }
}

/// Tells senders that the same request may succeed soon.
pub fn add_retry_after(response: &mut Response) {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_wrong_parameter_is_400_in_the_envelope() {
        let response = Failure::parameter("query", "1:8: parse error: unexpected end of input").into_response();
        assert_eq!(response.status(), 400);
        let body = response.into_body().collect().await.expect("in memory").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["errorType"], "bad_data");
        assert_eq!(body["error"], "invalid parameter \"query\": 1:8: parse error: unexpected end of input");
    }

    #[test]
    fn every_kind_has_its_code() {
        let codes = [
            (Kind::BadData, "bad_data", 400),
            (Kind::Execution, "execution", 422),
            (Kind::Canceled, "canceled", 499),
            (Kind::Timeout, "timeout", 503),
            (Kind::Internal, "internal", 500),
            (Kind::Unavailable, "unavailable", 503),
            (Kind::Disabled, "unavailable", 500),
            (Kind::NotFound, "not_found", 404),
        ];
        for (kind, name, code) in codes {
            assert_eq!((kind.name(), kind.status().as_u16()), (name, code));
        }
    }

    #[test]
    fn only_unavailable_invites_a_retry() {
        assert!(Failure::new(Kind::Unavailable, "no quorum").into_response().headers().contains_key(header::RETRY_AFTER));
        let canceled = Failure::new(Kind::Canceled, "gone").into_response();
        assert_eq!(canceled.status().as_u16(), 499);
        assert!(!canceled.headers().contains_key(header::RETRY_AFTER));
    }
}
