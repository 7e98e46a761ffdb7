//! `POST /api/v1/write`: Prometheus remote write 1.0 and 2.0, with the headers and status codes senders rely on.
//!
//! Differences from Prometheus that a sender can see: samples out of order are accepted; when a sample conflicts with a
//! stored one (same time, other value) the request is answered 400 but its other samples stay written, for the log
//! that replicates them is not rolled back. Repeating any request is harmless.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use storage::batch::ConflictPolicy;

use super::App;
use super::body;
use super::failure::add_retry_after;
use super::log_entries;
use crate::ingest::columns::Columns;
use crate::ingest::decode_error::DecodeError;
use crate::ingest::writer::{Tolerance, WriteFailure, WriteReport, WriteRules};
use crate::ingest::{compression, remote_write_v1, remote_write_v2};

/// Reasons listed in an answer's text.
const REASONS_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// By the content type; none at all means 1.0.
    fn negotiate(headers: &HeaderMap) -> Option<Version> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Some(Version::One) };
        let mut parts = value.to_str().ok()?.split(';').map(str::trim);
        match parts.next()? {
            "" | "application/x-protobuf" => {}
            _ => return None,
        }
        // Every parameter is looked at, as upstream: one that is no NAME=VALUE makes the whole type unreadable.
        parts.try_fold(Version::One, |version, part| {
            let (name, value) = part.split_once('=').filter(|(_, value)| !value.contains('='))?;
            match (name, value.trim_matches('"')) {
                ("proto", "prometheus.WriteRequest") => Some(Version::One),
                ("proto", "io.prometheus.write.v2.Request") => Some(Version::Two),
                ("proto", _) => None,
                _ => Some(version),
            }
        })
    }

    fn rules(self) -> WriteRules {
        let tolerance = match self {
            Version::One => Tolerance::Labels,
            Version::Two => Tolerance::LabelsAndBounds,
        };
        WriteRules { tolerance, conflicts: ConflictPolicy::Reject }
    }

    fn decode(self, body: &[u8], columns: &mut Columns) -> Result<(), DecodeError> {
        match self {
            Version::One => remote_write_v1::decode(body, columns),
            Version::Two => remote_write_v2::decode(body, columns),
        }
    }
}

/// What the 2.0 headers report as written.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

pub async fn write(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let Some(version) = Version::negotiate(&headers) else {
        let text = "content type must be application/x-protobuf with proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    };
    let (mut response, written) = match write_as(&app, version, &headers, body).await {
        Ok(report) => {
            let (mut response, written) = answer(version, &report);
            log_entries::name(&mut response, &report);
            (response, written)
        }
        Err(response) => (response, Written::default()),
    };
    if version == Version::Two {
        let headers = response.headers_mut();
        headers.insert("x-prometheus-remote-write-samples-written", HeaderValue::from(written.samples));
        headers.insert("x-prometheus-remote-write-histograms-written", HeaderValue::from(written.histograms));
        headers.insert("x-prometheus-remote-write-exemplars-written", HeaderValue::from(written.exemplars));
    }
    response
}

async fn write_as(app: &App, version: Version, headers: &HeaderMap, body: Body) -> Result<WriteReport, Response> {
    let encoding = content_encoding(headers).map_err(|text| (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response())?;
    let settings = &app.settings.ingest;
    let body = body::read(body, settings.body_bytes, app.settings.web.read_timeout)
        .await
        .map_err(|error| (error.status(), error.to_string()).into_response())?;
    let decompressed_max = settings.decompressed_bytes;
    let claimed_bytes = compression::claimed_bytes(encoding, &body);
    let parse = move |body: Bytes, columns: &mut Columns| {
        let body = compression::decompress(encoding, body, decompressed_max)?;
        version.decode(&body, columns)?;
        Ok(body)
    };
    app.writer.write(body, claimed_bytes, version.rules(), parse).await.map_err(failure)
}

/// Snappy unless named otherwise: the protocol knows nothing else, zstd is what vmagent prefers.
fn content_encoding(headers: &HeaderMap) -> Result<&'static str, String> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"snappy") => Ok("snappy"),
        Some(b"zstd") => Ok("zstd"),
        Some(other) => Err(format!("content encoding {:?} is not supported; send snappy", String::from_utf8_lossy(other))),
    }
}

fn answer(version: Version, report: &WriteReport) -> (Response, Written) {
    let stored = report.samples_accepted + report.samples_duplicate;
    // The shards do not say which of the samples conflicted; without conflicts this is exact.
    let histograms = report.histograms.min(stored);
    let written = Written { samples: stored - histograms, histograms, exemplars: report.exemplars };
    let mut reasons: Vec<String> = Vec::new();
    if version == Version::Two {
        reasons.extend(report.refusals.iter().map(|refusal| format!("series {}: {}", refusal.series, refusal.reason)));
    }
    if report.samples_conflicting > 0 {
        let first = report.first_problem.as_deref().unwrap_or("duplicate sample for timestamp");
        reasons.push(format!("{} samples conflict with stored ones, first: {first}", report.samples_conflicting));
    }
    if version == Version::Two && report.exemplars_out_of_order > 0 {
        reasons.push(format!("{} exemplars out of order", report.exemplars_out_of_order));
    }
    if reasons.is_empty() {
        return (StatusCode::NO_CONTENT.into_response(), written);
    }
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    ((StatusCode::BAD_REQUEST, reasons.join("; ")).into_response(), written)
}

fn failure(failure: WriteFailure) -> Response {
    match failure {
        // Senders drop a request answered 4xx, which is right for all of these.
        WriteFailure::Decode(_) | WriteFailure::Refused(_) => (StatusCode::BAD_REQUEST, failure.to_string()).into_response(),
        WriteFailure::Internal(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
        WriteFailure::Unavailable(reason) => {
            let mut response = (StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
            add_retry_after(&mut response);
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(content_type: Option<&str>) -> Option<Version> {
        let mut headers = HeaderMap::new();
        if let Some(text) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(text).expect("header"));
        }
        Version::negotiate(&headers)
    }

    #[test]
    fn the_content_type_chooses_the_message() {
        assert_eq!(negotiated(None), Some(Version::One));
        assert_eq!(negotiated(Some("application/x-protobuf")), Some(Version::One));
        assert_eq!(negotiated(Some("application/x-protobuf;proto=prometheus.WriteRequest")), Some(Version::One));
        assert_eq!(negotiated(Some("application/x-protobuf; proto=io.prometheus.write.v2.Request")), Some(Version::Two));
        assert_eq!(negotiated(Some("application/x-protobuf;proto=other")), None);
        assert_eq!(negotiated(Some("application/json")), None);
        assert_eq!(negotiated(Some("application/x-protobuf; charset=utf-8; proto=io.prometheus.write.v2.Request")), Some(Version::Two));
        for odd in ["application/x-protobuf;proto", "application/x-protobuf;", "application/x-protobuf; a=b=c"] {
            assert_eq!(negotiated(Some(odd)), None, "{odd}");
        }
    }

    #[test]
    fn only_snappy_and_zstd_are_accepted() {
        let with = |encoding: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            content_encoding(&headers)
        };
        assert_eq!(with("snappy"), Ok("snappy"));
        assert_eq!(with("zstd"), Ok("zstd"));
        assert!(with("gzip").is_err());
        assert!(with("deflate").is_err());
    }

    #[test]
    fn a_conflict_is_400_and_a_duplicate_is_not() {
        let mut report = WriteReport { samples_accepted: 2, samples_duplicate: 1, ..WriteReport::default() };
        let (response, written) = answer(Version::One, &report);
        assert_eq!((response.status().as_u16(), written.samples), (204, 3));
        report.samples_conflicting = 1;
        assert_eq!(answer(Version::One, &report).0.status(), 400);
    }

    #[test]
    fn an_exemplar_out_of_order_is_an_error_of_version_two_alone() {
        let report = WriteReport { exemplars: 2, exemplars_out_of_order: 1, ..WriteReport::default() };
        assert_eq!(answer(Version::One, &report).0.status(), 204);
        let (response, written) = answer(Version::Two, &report);
        assert_eq!((response.status().as_u16(), written.exemplars), (400, 2));
    }
}
