//! `POST /api/v1/otlp/v1/metrics`: OpenTelemetry metrics over HTTP, as protobuf or JSON.
//!
//! Answers follow <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>: `ExportMetricsServiceResponse` with 200, in the
//! request's encoding, and a `Status` with every error. Points that cannot be stored are left out and named in a partial success;
//! when none could be stored the request is answered 400. Only 503 asks the sender to try again.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost::Message;
use serde_json::json;
use storage::batch::ConflictPolicy;

use super::App;
use super::body;
use super::failure::add_retry_after;
use super::ingest::decode_status;
use crate::ingest::columns::Columns;
use crate::ingest::decode_error::DecodeError;
use crate::ingest::writer::{Tolerance, WriteFailure, WriteReport, WriteRules};
use crate::ingest::{compression, otlp};

/// What can be stored is; another value at a known time is not.
const RULES: WriteRules = WriteRules { tolerance: Tolerance::LabelsAndBounds, conflicts: ConflictPolicy::Reject };

/// Reasons listed in an answer.
const REASONS_MAX: usize = 10;

/// How a request, and so its answer, is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

/// `ExportMetricsServiceResponse`
#[derive(Clone, PartialEq, Message)]
struct Success {
    #[prost(message, optional, tag = "1")]
    partial: Option<Partial>,
}

/// `ExportMetricsPartialSuccess`
#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(int64, tag = "1")]
    rejected_data_points: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`, whose code the protocol does not use.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

impl Form {
    fn negotiate(headers: &HeaderMap) -> Result<Form, String> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        match value.split(';').next().unwrap_or("").trim() {
            "application/x-protobuf" => Ok(Form::Protobuf),
            "application/json" => Ok(Form::Json),
            _ => Err(format!("unsupported content type: {value}, supported: [application/json, application/x-protobuf]")),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }

    fn respond(self, status: StatusCode, body: Vec<u8>) -> Response {
        (status, [(header::CONTENT_TYPE, self.content_type())], body).into_response()
    }

    fn success(self, partial: Option<Partial>) -> Response {
        let body = match self {
            Form::Protobuf => Success { partial }.encode_to_vec(),
            Form::Json => match partial {
                None => b"{}".to_vec(),
                // 64-bit integers are texts in protobuf's JSON.
                Some(Partial { rejected_data_points, error_message }) => {
                    let rejected = rejected_data_points.to_string();
                    json!({"partialSuccess": {"rejectedDataPoints": rejected, "errorMessage": error_message}}).to_string().into_bytes()
                }
            },
        };
        self.respond(StatusCode::OK, body)
    }

    fn failure(self, status: StatusCode, message: String) -> Response {
        let body = match self {
            Form::Protobuf => Status { message }.encode_to_vec(),
            Form::Json => json!({"message": message}).to_string().into_bytes(),
        };
        let mut response = self.respond(status, body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            add_retry_after(&mut response);
        }
        response
    }
}

pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let form = match Form::negotiate(&headers) {
        Ok(form) => form,
        Err(text) => return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response(),
    };
    match write(&app, form, &headers, body).await {
        Ok(report) => answer(form, &report),
        Err((status, message)) => form.failure(status, message),
    }
}

async fn write(app: &App, form: Form, headers: &HeaderMap, body: Body) -> Result<WriteReport, (StatusCode, String)> {
    let settings = &app.settings.ingest;
    let body =
        body::read(body, settings.body_bytes, app.settings.web.read_timeout).await.map_err(|error| (error.status(), error.to_string()))?;
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("").to_string();
    let decompressed_max = settings.decompressed_bytes;
    let claimed_bytes = compression::claimed_bytes(&encoding, &body);
    let translation = app.settings.otlp.clone();
    let lookback = app.settings.query.lookback;
    let parse = move |body: Bytes, columns: &mut Columns| {
        let body = compression::decompress(&encoding, body, decompressed_max)?;
        let body = match form {
            Form::Protobuf => body,
            Form::Json => Bytes::from(otlp::json::to_protobuf(&body)?),
        };
        otlp::translate::decode(&body, &translation, lookback, columns)?;
        // The labels are spelled out in the columns; nothing points into the body.
        Ok::<Bytes, DecodeError>(Bytes::new())
    };
    app.writer.write(body, claimed_bytes, RULES, parse).await.map_err(|failure| match failure {
        WriteFailure::Decode(error) => (decode_status(&error), error.to_string()),
        WriteFailure::Refused(_) => (StatusCode::BAD_REQUEST, failure.to_string()),
        WriteFailure::Unavailable(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        WriteFailure::Internal(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason),
    })
}

fn answer(form: Form, report: &WriteReport) -> Response {
    let refused: usize = report.refusals.iter().map(|refusal| refusal.samples).sum();
    let rejected = refused as u64 + report.samples_conflicting;
    let message = reasons(report);
    if message.is_empty() {
        return form.success(None);
    }
    if rejected > 0 && report.samples_accepted + report.samples_duplicate == 0 {
        return form.failure(StatusCode::BAD_REQUEST, message);
    }
    let rejected_data_points = i64::try_from(rejected).unwrap_or(i64::MAX);
    form.success(Some(Partial { rejected_data_points, error_message: message }))
}

/// Each different reason once.
fn reasons(report: &WriteReport) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    for refusal in &report.refusals {
        if !reasons.contains(&refusal.reason.as_str()) {
            reasons.push(&refusal.reason);
        }
        if reasons.len() == REASONS_MAX {
            break;
        }
    }
    if report.samples_conflicting > 0 {
        reasons.push(report.first_problem.as_deref().unwrap_or("duplicate sample for timestamp"));
    }
    reasons.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::router::{Refusal, RefusalCause};
    use http_body_util::BodyExt;

    fn refusal(samples: usize, reason: &str) -> Refusal {
        Refusal { cause: RefusalCause::Labels, series: 0, sample: 0, samples, line: None, reason: reason.to_string() }
    }

    async fn answered(form: Form, report: &WriteReport) -> (u16, Bytes) {
        let response = answer(form, report);
        (response.status().as_u16(), response.into_body().collect().await.expect("whole").to_bytes())
    }

    #[tokio::test]
    async fn a_whole_success_is_an_empty_message() {
        let report = WriteReport { samples_accepted: 1, ..WriteReport::default() };
        assert_eq!(answered(Form::Protobuf, &report).await, (200, Bytes::new()));
        assert_eq!(answered(Form::Json, &report).await, (200, Bytes::from_static(b"{}")));
        assert_eq!(answered(Form::Json, &WriteReport::default()).await.0, 200);
    }

    #[tokio::test]
    async fn what_was_left_out_is_counted_and_named_once() {
        let refusals = vec![refusal(2, "too old"), refusal(1, "no name"), refusal(3, "too old")];
        let mut report = WriteReport { samples_accepted: 1, samples_conflicting: 1, refusals, ..WriteReport::default() };
        let expected = "too old; no name; duplicate sample for timestamp";
        let (status, body) = answered(Form::Json, &report).await;
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((status, &body), (200, &json!({"partialSuccess": {"rejectedDataPoints": "7", "errorMessage": expected}})));
        let (_, body) = answered(Form::Protobuf, &report).await;
        let partial = Success::decode(body).expect("protobuf").partial.expect("partial");
        assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (7, expected));
        report.samples_accepted = 0;
        let (status, body) = answered(Form::Protobuf, &report).await;
        assert_eq!((status, Status::decode(body).expect("protobuf").message.as_str()), (400, expected));
    }

    #[test]
    fn the_content_type_may_have_parameters() {
        let form = |content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
            Form::negotiate(&headers)
        };
        assert_eq!(form("application/json; charset=utf-8"), Ok(Form::Json));
        assert_eq!(form("application/x-protobuf"), Ok(Form::Protobuf));
        let error = form("text/plain").unwrap_err();
        assert_eq!(error, "unsupported content type: text/plain, supported: [application/json, application/x-protobuf]");
    }
}
