//! `POST /api/v1/read`: Prometheus remote read, plain and streamed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use promql::labels::Labels;

use super::App;
use super::body;
use super::ingest::decode_status;
use super::live_stream;
use super::params::Params;
use super::plain_failure::PlainFailure;
use super::request;
use super::stream::Encoding;
use crate::config::BulkReadSettings;
use crate::ingest::compression;
use crate::query::failure::QueryFailure;
use crate::query::session::Cancel;
use crate::query::whole_series::WholeSeries;
use crate::remote_read::chunked_answer::FrameWriter;
use crate::remote_read::request::{AnswerKind, ReadQuery, decode};
use crate::remote_read::samples_answer::{AnswerLimits, AnswerTooLarge, SamplesAnswer};

/// Prometheus' own bound of a request, before and after decompression: matchers are short.
const REQUEST_BYTES_MAX: usize = 32 << 20;

pub async fn read(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri, body: Body) -> Result<Response, PlainFailure> {
    let body = body::read(body, REQUEST_BYTES_MAX, app.settings.web.read_timeout)
        .await
        .map_err(|error| PlainFailure::new(error.status(), error.to_string()))?;
    let body = compression::decompress("snappy", body, REQUEST_BYTES_MAX)
        .map_err(|error| PlainFailure::new(decode_status(&error), error.to_string()))?;
    let request = decode(&body).map_err(PlainFailure::bad_request)?;
    let consistency = request::consistency(&app, &Params::from_query(uri.query().unwrap_or("")), &headers)?;
    let deadline = Instant::now() + app.settings.bulk_read.timeout;
    let series = app.queries.whole_series(&app.bulk_reads, consistency, deadline).await?;
    let settings = app.settings.bulk_read.clone();
    let warnings = series.warnings.clone();
    let mut response = match request.answer_kind {
        AnswerKind::Samples => samples(series, request.queries, settings).await?,
        AnswerKind::StreamedChunks => chunks(series, request.queries, settings, deadline).await?,
    };
    live_stream::add_warnings(&mut response, &warnings);
    Ok(response)
}

async fn samples(series: WholeSeries, queries: Vec<ReadQuery>, settings: BulkReadSettings) -> Result<Response, PlainFailure> {
    let cancel = Cancel::new();
    let is_gone = cancel.flag();
    let job = tokio::task::spawn_blocking(move || collect_samples(&series, &queries, &settings, &is_gone));
    let joined = job.await.map_err(|error| PlainFailure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let pieces = joined?.finish().map_err(PlainFailure::bad_request)?;
    cancel.done();
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let headers = [
        (header::CONTENT_TYPE, "application/x-protobuf".to_string()),
        (header::CONTENT_ENCODING, "snappy".to_string()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    let body = Body::from_stream(futures::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>)));
    Ok((headers, body).into_response())
}

fn collect_samples(
    series: &WholeSeries,
    queries: &[ReadQuery],
    settings: &BulkReadSettings,
    is_gone: &AtomicBool,
) -> Result<SamplesAnswer, PlainFailure> {
    let too_large = |problem: AnswerTooLarge| PlainFailure::bad_request(problem);
    let limits = AnswerLimits { samples: settings.samples_max, bytes: settings.answer_bytes };
    let mut answer = SamplesAnswer::new(limits);
    for query in queries {
        answer.begin_query().map_err(too_large)?;
        let matchers = query.inner_matchers(&settings.external_labels);
        let mut selected = series.select(&[matchers], query.start_ms, query.end_ms).map_err(QueryFailure::from)?;
        while let Some(series) = selected.next().map_err(QueryFailure::from)? {
            if is_gone.load(Ordering::Relaxed) {
                return Err(QueryFailure::Canceled("the client has gone".to_string()).into());
            }
            answer.add(&series, &settings.external_labels).map_err(too_large)?;
        }
    }
    Ok(answer)
}

async fn chunks(
    series: WholeSeries,
    queries: Vec<ReadQuery>,
    settings: BulkReadSettings,
    deadline: Instant,
) -> Result<Response, PlainFailure> {
    let head = [(header::CONTENT_TYPE, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")].into_response();
    let external: Labels = settings.external_labels;
    let response = live_stream::respond(head, Encoding::Identity, deadline, move |pieces| {
        for (position, query) in queries.iter().enumerate() {
            let mut frames = FrameWriter::new(position, settings.frame_bytes);
            let mut selected = series.select(&[query.inner_matchers(&external)], query.start_ms, query.end_ms)?;
            while let Some(series) = selected.next()? {
                frames.write(&series, &external, pieces.buffer());
                pieces.pass_on()?;
            }
        }
        Ok(())
    });
    Ok(response.await?)
}
