//! `GET`, `POST /api/v1/export` and `/api/v1/export/csv`: whole series out of the store, as VictoriaMetrics gives them.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::failure::Failure;
use super::live_stream;
use super::params::Params;
use super::request;
use super::stream::Encoding;
use super::victoria_extras;
use crate::clock;
use crate::export::csv::RowFields;
use crate::export::json_lines;
use crate::query::failure::QueryFailure;
use crate::query::ordered::StoredSeries;
use crate::time_text::EARLIEST_MS;

/// `match[]`, `start`, `end`, `max_rows_per_line`. (`reduce_mem_usage` changes nothing: memory is always bounded.)
pub async fn json_lines(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let rows_max = params.limit("max_rows_per_line")?.unwrap_or(json_lines::ROWS_DEFAULT);
    export(&app, &headers, &params, "application/stream+json", move |out, series| {
        json_lines::put_series(out, series, rows_max);
        Ok(())
    })
    .await
}

/// The same parameters, and `format`: the fields of a row.
pub async fn csv(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let format =
        params.get("format").ok_or_else(|| Failure::parameter("format", "is missing, e.g. __name__,job,__value__,__timestamp__"))?;
    let fields = RowFields::parse(format).map_err(|problem| Failure::parameter("format", problem))?;
    export(&app, &headers, &params, "text/csv; charset=utf-8", move |out, series| {
        series.require_floats("CSV")?;
        fields.put_series(out, series);
        Ok(())
    })
    .await
}

async fn export(
    app: &App,
    headers: &HeaderMap,
    params: &Params,
    content_type: &'static str,
    put: impl Fn(&mut Vec<u8>, &StoredSeries) -> Result<(), QueryFailure> + Send + 'static,
) -> Result<Response, Failure> {
    let mut selectors = request::selectors(app, params)?;
    if selectors.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let start_ms = params.time("start")?.unwrap_or(EARLIEST_MS);
    let end_ms = params.time("end")?.unwrap_or_else(clock::now_ms);
    if end_ms < start_ms {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    victoria_extras::enforce(&mut selectors, &victoria_extras::enforced(app, params)?);
    let consistency = request::consistency(app, params, headers)?;
    let deadline = Instant::now() + app.settings.bulk_read.timeout;
    let series = app.queries.whole_series(&app.bulk_reads, consistency, deadline).await?;
    let mut head = [(header::CONTENT_TYPE, content_type)].into_response();
    live_stream::add_warnings(&mut head, &series.warnings);
    let response = live_stream::respond(head, Encoding::negotiate(headers), deadline, move |pieces| {
        let mut selected = series.select(&selectors, start_ms, end_ms)?;
        while let Some(series) = selected.next()? {
            put(pieces.buffer(), &series)?;
            pieces.pass_on()?;
        }
        Ok(())
    });
    Ok(response.await?)
}
