//! InfluxDB's write calls, versions 1 and 2, and what their clients ask beside them.
//!
//! A request is written whole or refused whole, with the number of the line that is at fault. Errors have the form that clients of
//! the version read: `{"error": …}` for 1, `{"code": …, "message": …}` for 2.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::App;
use super::body;
use super::failure::add_retry_after;
use super::ingest::{RULES, decode_status, refused_text};
use super::params::Params;
use crate::clock;
use crate::ingest::columns::Columns;
use crate::ingest::writer::WriteFailure;
use crate::ingest::{compression, influx};
use crate::version;

/// The version that clients are told, since some look at it before they write.
const INFLUX_VERSION: &str = "1.8.0";

/// Which error form the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    One,
    Two,
}

impl Api {
    fn failure(self, status: StatusCode, text: &str) -> Response {
        let body = match self {
            Api::One => json!({"error": text}),
            Api::Two => json!({"code": code(status), "message": text}),
        };
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            add_retry_after(&mut response);
        }
        response
    }
}

/// InfluxDB 2's names of errors.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "request too large",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        status if status.is_client_error() => "invalid",
        _ => "internal error",
    }
}

/// `POST /write?db=&precision=`
pub async fn write_v1(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    write(&app, Api::One, &uri, &headers, body).await
}

/// `POST /api/v2/write?org=&bucket=&precision=`; organisation and bucket become no label.
pub async fn write_v2(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    write(&app, Api::Two, &uri, &headers, body).await
}

async fn write(app: &App, api: Api, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
    match try_write(app, uri, headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, text)) => api.failure(status, &text),
    }
}

async fn try_write(app: &App, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<(), (StatusCode, String)> {
    let params = Params::from_query(uri.query().unwrap_or(""));
    let precision = params.get("precision").unwrap_or("");
    let precision = influx::Precision::parse(precision)
        .ok_or_else(|| (StatusCode::BAD_REQUEST, format!("invalid precision {precision:?}; use n, u, ms, s, m or h")))?;
    let settings = &app.settings.ingest;
    let body =
        body::read(body, settings.body_bytes, app.settings.web.read_timeout).await.map_err(|error| (error.status(), error.to_string()))?;
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("").to_string();
    let decompressed_max = settings.decompressed_bytes;
    let claimed_bytes = compression::claimed_bytes(&encoding, &body);
    let database = params.get("db").unwrap_or("").to_string();
    let separator = app.settings.influx.separator.clone();
    let now_ms = clock::now_ms();
    let parse = move |body: Bytes, columns: &mut Columns| {
        let body = compression::decompress(&encoding, body, decompressed_max)?;
        influx::decode(&body, influx::Options { precision, database: &database, separator: &separator, now_ms }, columns)?;
        Ok(body)
    };
    match app.writer.write(body, claimed_bytes, RULES, parse).await {
        Ok(_) => Ok(()),
        Err(WriteFailure::Decode(error)) => Err((decode_status(&error), error.to_string())),
        Err(WriteFailure::Refused(refusals)) => Err((StatusCode::BAD_REQUEST, refused_text(&refusals))),
        Err(WriteFailure::Unavailable(reason)) => Err((StatusCode::SERVICE_UNAVAILABLE, reason)),
        Err(WriteFailure::Internal(reason)) => Err((StatusCode::INTERNAL_SERVER_ERROR, reason)),
    }
}

/// `/query?q=`: clients ask for the databases, and create theirs, before they write. Nothing else is answered.
pub async fn query(State(app): State<Arc<App>>, params: Params) -> Response {
    let statement = params.get("q").unwrap_or("").trim().trim_end_matches(';').to_ascii_uppercase();
    let words: Vec<&str> = statement.split_whitespace().collect();
    let result = match words.as_slice() {
        ["SHOW", "DATABASES"] => {
            let values: Vec<Value> = app.settings.influx.databases.iter().map(|name| json!([name])).collect();
            json!({"statement_id": 0, "series": [{"name": "databases", "columns": ["name"], "values": values}]})
        }
        ["CREATE", "DATABASE", ..] => json!({"statement_id": 0}),
        _ => {
            let text = "only SHOW DATABASES and CREATE DATABASE are answered; query with PromQL at /api/v1/query";
            return Api::One.failure(StatusCode::BAD_REQUEST, text);
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], json!({"results": [result]}).to_string()).into_response()
}

/// `/ping`
pub async fn ping() -> Response {
    (StatusCode::NO_CONTENT, [("x-influxdb-version", INFLUX_VERSION), ("x-influxdb-build", "Tern")]).into_response()
}

/// `/health`
pub async fn health() -> Response {
    let body = json!({"name": "tern", "message": "ready for queries and writes", "status": "pass", "checks": [], "version": version::TERN});
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn errors_have_the_form_of_the_version() {
        for (api, status, expected) in [
            (Api::One, StatusCode::BAD_REQUEST, json!({"error": "line 2: x"})),
            (Api::Two, StatusCode::BAD_REQUEST, json!({"code": "invalid", "message": "line 2: x"})),
            (Api::Two, StatusCode::SERVICE_UNAVAILABLE, json!({"code": "unavailable", "message": "line 2: x"})),
        ] {
            let response = api.failure(status, "line 2: x");
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == StatusCode::SERVICE_UNAVAILABLE);
            let body = response.into_body().collect().await.expect("whole").to_bytes();
            assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected);
        }
    }
}
