//! `POST /api/v1/import`, `/api/v1/import/csv` and `/api/v1/import/prometheus`: data of other systems, and exports, into the store.
//!
//! JSON lines and CSV may be of any length: a body passes through in blocks of whole lines, each written (and acknowledged by
//! every shard) before the next is read, so memory is bounded and a slow cluster slows its sender. A block is written whole or
//! refused whole; the blocks before it stay, and sending all again is harmless. The Prometheus text format is read as one request.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;

use super::App;
use super::body::BodyError;
use super::ingest::{self, Decode, RULES};
use super::native_failure::NativeFailure;
use super::params::Params;
use crate::clock;
use crate::ingest::columns::Columns;
use crate::ingest::compression::Encoding;
use crate::ingest::csv::{self, RowFormat};
use crate::ingest::decode_error::DecodeError;
use crate::ingest::import_labels::{AddressProblem, extra_label, grouping_labels};
use crate::ingest::line_blocks::{Block, LineBlocks, Quotes};
use crate::ingest::unpacker::Unpacker;
use crate::ingest::{exposition, json_lines};

const JSON_HINT: &str = "send lines of {\"metric\":{\"__name__\":\"up\"},\"values\":[1],\"timestamps\":[1700000000000]}";
const CSV_HINT: &str = "send rows, and say what their columns hold: ?format=1:label:host,2:metric:load,3:time:unix_s";
const TEXT_HINT: &str = "send lines of the Prometheus text format: http_requests{service=\"auth\"} 1 1700000000000";

const PUSH_PREFIX: &str = "/api/v1/import/prometheus/";

type Labels = Vec<(String, String)>;

/// How a block of lines becomes columns; the number is that of its first line.
type DecodeBlock = Arc<dyn Fn(&[u8], usize, &mut Columns) -> Result<(), DecodeError> + Send + Sync>;

/// `POST /api/v1/import`
pub async fn json(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri, body: Body) -> Result<StatusCode, Response> {
    let labels = extra_labels(&Params::from_query(uri.query().unwrap_or(""))).map_err(refused_early)?;
    let decode = Arc::new(json_lines::decode);
    let format = Format { decode, labels, quotes: Quotes::MeanNothing, hint: JSON_HINT };
    stream(&app, &headers, body, format).await.map_err(refused_early)
}

/// `POST /api/v1/import/csv?format=`
pub async fn csv(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri, body: Body) -> Result<StatusCode, Response> {
    let params = Params::from_query(uri.query().unwrap_or(""));
    let labels = extra_labels(&params).map_err(refused_early)?;
    let described = params.get("format").unwrap_or("");
    let refused = |problem| refused_early(NativeFailure::bad_request(format!("format: {problem}"), CSV_HINT));
    let rows = RowFormat::parse(described).map_err(refused)?;
    let now_ms = clock::now_ms();
    let decode =
        Arc::new(move |lines: &[u8], first_line: usize, columns: &mut Columns| csv::decode(lines, first_line, &rows, now_ms, columns));
    let format = Format { decode, labels, quotes: Quotes::HoldLineBreaks, hint: CSV_HINT };
    stream(&app, &headers, body, format).await.map_err(refused_early)
}

/// `POST /api/v1/import/prometheus`: the text format, or OpenMetrics by its content type.
pub async fn prometheus(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri, body: Body) -> Result<StatusCode, NativeFailure> {
    let params = Params::from_query(uri.query().unwrap_or(""));
    let labels = extra_labels(&params)?;
    write_text(&app, &headers, body, &params, labels).await
}

/// `POST`, `PUT /api/v1/import/prometheus/metrics/job/JOB/…`: as a push gateway takes it. The path's labels win.
pub async fn pushed(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri, body: Body) -> Result<StatusCode, NativeFailure> {
    // The path as it was sent: an encoded slash belongs to a value.
    let path = uri.path().strip_prefix(PUSH_PREFIX).unwrap_or("").trim_end_matches('/');
    let decoded = path.split('/').map(|part| percent_encoding::percent_decode_str(part).decode_utf8().map(|part| part.into_owned()));
    let parts: Vec<String> = decoded.collect::<Result<_, _>>().map_err(|error| NativeFailure::bad_request(error.to_string(), TEXT_HINT))?;
    let mut labels = grouping_labels(&parts).map_err(refused_address)?;
    let params = Params::from_query(uri.query().unwrap_or(""));
    let extra = extra_labels(&params)?;
    labels.extend(extra.into_iter().filter(|(name, _)| labels.iter().all(|(given, _)| given != name)).collect::<Labels>());
    write_text(&app, &headers, body, &params, labels).await
}

async fn write_text(app: &App, headers: &HeaderMap, body: Body, params: &Params, labels: Labels) -> Result<StatusCode, NativeFailure> {
    let now_ms = match params.get("timestamp") {
        Some(text) => text.parse().map_err(|_| NativeFailure::bad_request(format!("timestamp {text:?} is not milliseconds"), TEXT_HINT))?,
        None => clock::now_ms(),
    };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let decode: Decode = match content_type.split(';').next() {
        Some("application/openmetrics-text") => exposition::decode_openmetrics,
        _ => exposition::decode,
    };
    let decode = move |body: &[u8], columns: &mut Columns| {
        decode(body, now_ms, columns)?;
        add_labels(columns, body, &labels)
    };
    ingest::write(app, headers, body, decode, TEXT_HINT).await
}

fn add_labels(columns: &mut Columns, body: &[u8], labels: &Labels) -> Result<(), DecodeError> {
    if labels.is_empty() { Ok(()) } else { columns.set_labels(body, labels) }
}

fn extra_labels(params: &Params) -> Result<Labels, NativeFailure> {
    params.all("extra_label").map(|text| extra_label(text).map_err(refused_address)).collect()
}

fn refused_address(problem: AddressProblem) -> NativeFailure {
    NativeFailure::bad_request(problem.to_string(), "e.g. ?extra_label=region=eu, or …/prometheus/metrics/job/batch/instance/a")
}

/// An answer given before the body has come whole: what is left of it would be taken for the next request.
fn refused_early(failure: NativeFailure) -> Response {
    let mut response = failure.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A format that is read line by line.
struct Format {
    decode: DecodeBlock,
    labels: Labels,
    quotes: Quotes,
    hint: &'static str,
}

/// Passes a body through, block by block. It ends when the client leaves: this future is dropped then.
async fn stream(app: &App, headers: &HeaderMap, body: Body, format: Format) -> Result<StatusCode, NativeFailure> {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let failed = |error: DecodeError| NativeFailure::new(ingest::decode_status(&error), error.to_string(), format.hint);
    let mut unpacker = Encoding::from_header(encoding).and_then(Unpacker::new).map_err(failed)?;
    let mut lines = LineBlocks::new(format.quotes);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = next_piece(app, &mut pieces).await? {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let taken = unpacker.step(rest, lines.pending()).map_err(failed)?;
            rest = &rest[taken..];
            while let Some(block) = lines.next_block().map_err(failed)? {
                write_block(app, block, &format).await?;
            }
        }
    }
    unpacker.finish(lines.pending()).map_err(failed)?;
    if let Some(block) = lines.last_block() {
        write_block(app, block, &format).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn next_piece(app: &App, pieces: &mut BodyDataStream) -> Result<Option<Bytes>, NativeFailure> {
    let timeout = app.settings.web.read_timeout;
    let piece = match tokio::time::timeout(timeout, pieces.next()).await {
        Ok(piece) => piece.transpose().map_err(|error| BodyError::of(&error)),
        Err(_) => Err(BodyError::Timeout(timeout)),
    };
    piece.map_err(|error| NativeFailure::new(error.status(), error.to_string(), "what came before is written; send all again"))
}

async fn write_block(app: &App, block: Block, format: &Format) -> Result<(), NativeFailure> {
    let Block { first_line, bytes } = block;
    let (decode, labels) = (Arc::clone(&format.decode), format.labels.clone());
    let claimed_bytes = Some(bytes.len());
    let parse = move |body: Bytes, columns: &mut Columns| {
        decode(&body, first_line, columns)?;
        add_labels(columns, &body, &labels)?;
        Ok(body)
    };
    match app.writer.write(Bytes::from(bytes), claimed_bytes, RULES, parse).await {
        Ok(_) => Ok(()),
        Err(failure) => {
            let mut failure = ingest::answer(failure, format.hint);
            if first_line > 1 {
                failure.error = format!("{} (in the block from line {first_line} on; what stands before it is written)", failure.error);
            }
            Err(failure)
        }
    }
}
