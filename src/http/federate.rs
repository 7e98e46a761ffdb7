//! `GET /federate`: the newest sample of each selected series, for another Prometheus to scrape.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::live_stream::{self, Pieces};
use super::params::Params;
use super::plain_failure::PlainFailure;
use super::request;
use super::stream::Encoding;
use super::victoria_extras;
use crate::clock;
use crate::config::BulkReadSettings;
use crate::federation::family::{Newest, families, sort_by_family};
use crate::federation::format::{Format, Page};
use crate::federation::text::TextFormat;
use crate::federation::{protobuf, text};
use crate::query::failure::QueryFailure;
use crate::query::whole_series::SeriesStream;

pub async fn federate(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, PlainFailure> {
    let mut selectors = request::selectors(&app, &params)?;
    if !selectors.is_empty() {
        victoria_extras::enforce(&mut selectors, &victoria_extras::enforced(&app, &params)?);
    }
    let consistency = request::consistency(&app, &params, &headers)?;
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let content_type = HeaderValue::from_str(&format.content_type());
    let content_type = content_type.map_err(|error| PlainFailure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let deadline = Instant::now() + app.settings.query.timeout;
    let series = app.queries.whole_series(&app.bulk_reads, consistency, deadline).await?;
    let settings = app.settings.bulk_read.clone();
    let now_ms = clock::now_ms();
    // What is exactly as old as the lookback is too old.
    let start_ms = now_ms - app.settings.query.lookback.as_millis() as i64 + 1;
    let mut head = [(header::CONTENT_TYPE, content_type)].into_response();
    live_stream::add_warnings(&mut head, &series.warnings);
    let response = live_stream::respond(head, Encoding::negotiate(&headers), deadline, move |pieces| {
        let mut samples = newest(series.select(&selectors, start_ms, now_ms)?, &settings)?;
        sort_by_family(&mut samples);
        write(pieces, &samples, format)
    });
    Ok(response.await?)
}

fn newest(mut selected: SeriesStream, settings: &BulkReadSettings) -> Result<Vec<Newest>, QueryFailure> {
    let mut samples = Vec::new();
    while let Some(series) = selected.next()? {
        samples.extend(Newest::of(&series, &settings.external_labels));
        if samples.len() > settings.federate_series_max {
            let most = settings.federate_series_max;
            return Err(QueryFailure::Execution(format!("more than {most} series (bulk_read.federate_series_max); select fewer")));
        }
    }
    Ok(samples)
}

fn write(pieces: &mut Pieces, samples: &[Newest], format: Format) -> Result<(), QueryFailure> {
    let as_text = match format.page {
        Page::Text => Some(TextFormat::Prometheus),
        Page::OpenMetrics(_) => Some(TextFormat::OpenMetrics),
        Page::Protobuf => None,
    };
    for family in families(samples) {
        match as_text {
            Some(text_format) => text::put_family(pieces.buffer(), family, text_format, format.escaping),
            None => protobuf::put_family(pieces.buffer(), family, format.escaping),
        }
        pieces.pass_on()?;
    }
    if let Some(text_format) = as_text {
        text::put_end(pieces.buffer(), text_format);
    }
    Ok(())
}
