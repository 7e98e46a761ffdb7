//! Writes of the native API, and what all writes of plain bodies share.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use storage::batch::ConflictPolicy;

use super::App;
use super::body;
use super::log_entries;
use super::native_failure::NativeFailure;
use crate::clock;
use crate::ingest::columns::Columns;
use crate::ingest::decode_error::DecodeError;
use crate::ingest::router::Refusal;
use crate::ingest::writer::{Tolerance, WriteFailure, WriteReport, WriteRules};
use crate::ingest::{compression, native_json};

/// A request is written whole or refused whole; the newest write of a sample counts.
pub const RULES: WriteRules = WriteRules { tolerance: Tolerance::Nothing, conflicts: ConflictPolicy::LastWriteWins };

const JSON_HINT: &str = "send a JSON array or lines of {\"name\": \"http_requests\", \"labels\": {\"service\": \"auth\"}, \"timestamp\": 1700000000, \"value\": 1}";

/// How a format's body becomes columns.
pub type Decode = fn(&[u8], i64, &mut Columns) -> Result<(), DecodeError>;

/// `POST /ingest/metrics`
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, NativeFailure> {
    let now_ms = clock::now_ms();
    let decode = move |body: &[u8], columns: &mut Columns| native_json::decode(body, now_ms, columns);
    let report = write_reported(&app, &headers, body, decode, JSON_HINT).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    log_entries::name(&mut response, &report);
    Ok(response)
}

/// Reads the whole body, decodes and writes it as one request.
pub async fn write<D>(app: &App, headers: &HeaderMap, body: Body, decode: D, hint: &'static str) -> Result<StatusCode, NativeFailure>
where
    D: FnOnce(&[u8], &mut Columns) -> Result<(), DecodeError> + Send + 'static,
{
    write_reported(app, headers, body, decode, hint).await.map(|_| StatusCode::NO_CONTENT)
}

async fn write_reported<D>(app: &App, headers: &HeaderMap, body: Body, decode: D, hint: &'static str) -> Result<WriteReport, NativeFailure>
where
    D: FnOnce(&[u8], &mut Columns) -> Result<(), DecodeError> + Send + 'static,
{
    let settings = &app.settings.ingest;
    let body = body::read(body, settings.body_bytes, app.settings.web.read_timeout)
        .await
        .map_err(|error| NativeFailure::new(error.status(), error.to_string(), hint))?;
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("").to_string();
    let decompressed_max = settings.decompressed_bytes;
    let claimed_bytes = compression::claimed_bytes(&encoding, &body);
    let parse = move |body: Bytes, columns: &mut Columns| {
        let body = compression::decompress(&encoding, body, decompressed_max)?;
        decode(&body, columns)?;
        Ok(body)
    };
    app.writer.write(body, claimed_bytes, RULES, parse).await.map_err(|failure| answer(failure, hint))
}

/// What is said of a write that failed.
pub fn answer(failure: WriteFailure, hint: &str) -> NativeFailure {
    match failure {
        WriteFailure::Decode(error) => NativeFailure::new(decode_status(&error), error.to_string(), hint),
        WriteFailure::Refused(refusals) => NativeFailure::bad_request(
            refused_text(&refusals),
            "nothing of the request was written; mend or drop the named elements and send it again",
        ),
        WriteFailure::Unavailable(reason) => NativeFailure::unavailable(reason),
        WriteFailure::Internal(reason) => NativeFailure::new(StatusCode::INTERNAL_SERVER_ERROR, reason, "see the server's log"),
    }
}

/// The status of a body that could not be read.
pub fn decode_status(error: &DecodeError) -> StatusCode {
    match error {
        DecodeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        DecodeError::UnknownEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// `element 3: missing metric name (and 2 more samples in 2 elements)`.
pub fn refused_text(refusals: &[Refusal]) -> String {
    let Some((first, rest)) = refusals.split_first() else { return "refused".to_string() };
    let mut text = match first.line {
        Some(line) => format!("line {line}: {}", first.reason),
        None => format!("element {}: {}", first.sample, first.reason),
    };
    if !rest.is_empty() {
        let samples: usize = rest.iter().map(|refusal| refusal.samples).sum();
        text.push_str(&format!(" (and {samples} more refused samples)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::router::RefusalCause;

    #[test]
    fn a_refusal_names_the_element_and_counts_the_rest() {
        let refusal = |sample, reason: &str| Refusal {
            cause: RefusalCause::Labels,
            series: sample,
            sample,
            samples: 1,
            line: None,
            reason: reason.to_string(),
        };
        assert_eq!(refused_text(&[refusal(3, "empty label name")]), "element 3: empty label name");
        let two = [refusal(0, "empty label name"), refusal(7, "x")];
        assert_eq!(refused_text(&two), "element 0: empty label name (and 1 more refused samples)");
    }
}
