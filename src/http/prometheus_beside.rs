//! `/api/v1/query_exemplars`, `/api/v1/metadata`, `/api/v1/targets/metadata`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use storage::{Exemplar, Metadata};

use super::App;
use super::envelope::{self, Remarks};
use super::failure::Failure;
use super::params::Params;
use super::request;
use super::stream::Encoding;
use super::victoria_extras;
use crate::number::{push_timestamp, value_text};
use crate::query::beside::{ExemplarScope, SeriesExemplars};
use crate::time_text::{EARLIEST_MS, LATEST_MS};

/// `GET`, `POST /api/v1/query_exemplars`: of the series of every selector in the query.
pub async fn exemplars(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let start_ms = params.time("start")?.unwrap_or(EARLIEST_MS);
    let end_ms = params.time("end")?.unwrap_or(LATEST_MS);
    if end_ms < start_ms {
        return Err(Failure::bad_data("end timestamp is before start timestamp"));
    }
    let expression = app.queries.parse(params.get("query").unwrap_or("")).map_err(|failure| Failure::bad_data(failure.to_string()))?;
    let mut selectors: Vec<_> = expression.selectors().iter().map(|selector| selector.matchers.clone()).collect();
    if !selectors.is_empty() {
        victoria_extras::enforce(&mut selectors, &victoria_extras::enforced(&app, &params)?);
    }
    if selectors.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let consistency = request::consistency(&app, &params, &headers)?;
    let found = app.queries.exemplars(ExemplarScope { selectors, start_ms, end_ms, consistency }).await?;
    let remarks = Remarks { warnings: found.warnings, infos: Vec::new() };
    let items = found.items;
    let values = items.iter().map(|(labels, exemplars)| labels.len() + exemplars.len() * 4).sum();
    let write = move |out: &mut dyn std::io::Write| {
        let list: Vec<Value> = items.iter().map(series_json).collect();
        serde_json::to_writer(out, &list).map_err(std::io::Error::from)
    };
    Ok(envelope::success(Encoding::negotiate(&headers), remarks, values, write).await)
}

fn series_json((labels, exemplars): &SeriesExemplars) -> Value {
    let labels: Map<String, Value> = labels.iter().map(|label| (label.name.to_string(), label.value.to_string().into())).collect();
    json!({"seriesLabels": labels, "exemplars": exemplars.iter().map(exemplar_json).collect::<Vec<_>>()})
}

fn exemplar_json(exemplar: &Exemplar) -> Value {
    let labels: Map<String, Value> = exemplar.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut time = Vec::new();
    push_timestamp(&mut time, exemplar.timestamp_ms);
    let time: Value = serde_json::from_slice(&time).unwrap_or(Value::Null);
    json!({"labels": labels, "value": value_text(exemplar.value), "timestamp": time})
}

/// `GET /api/v1/metadata`
pub async fn metadata(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let most = number(&params, "limit")?.unwrap_or(-1);
    let most_of_metric = number(&params, "limit_per_metric")?.unwrap_or(-1);
    let metric = params.get("metric").map(str::to_string);
    let consistency = request::consistency(&app, &params, &headers)?;
    let (found, warnings) = app.queries.metadata(metric, consistency).await?;
    let metrics = usize::try_from(most).unwrap_or(usize::MAX);
    let entries = usize::try_from(most_of_metric).ok().filter(|&most| most > 0).unwrap_or(usize::MAX);
    let data: Map<String, Value> =
        found.into_iter().take(metrics).map(|(metric, list)| (metric, list.iter().take(entries).map(metadata_json).collect())).collect();
    let remarks = Remarks { warnings, infos: Vec::new() };
    let values = data.len() * 4;
    let write = move |out: &mut dyn std::io::Write| serde_json::to_writer(out, &data).map_err(std::io::Error::from);
    Ok(envelope::success(Encoding::negotiate(&headers), remarks, values, write).await)
}

fn metadata_json(entry: &Metadata) -> Value {
    json!({"type": entry.metric_type.as_str(), "help": entry.help, "unit": entry.unit})
}

/// A number as upstream reads it here; negative ones are no limit.
fn number(params: &Params, name: &str) -> Result<Option<i64>, Failure> {
    let parse = |text: &str| text.parse().map_err(|_| Failure::bad_data(format!("{name} must be a number")));
    params.get(name).map(parse).transpose()
}

/// `GET /api/v1/targets/metadata`: none before this server scrapes.
pub async fn targets_metadata() -> Response {
    envelope::small(&json!([]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::labels::Labels;

    #[test]
    fn an_exemplar_is_printed_as_upstream_does() {
        let exemplar =
            Exemplar { timestamp_ms: 1_600_096_945_479, value: 6.0, labels: vec![("traceID".into(), "EpTxMJ40fUus7aGY".into())] };
        let series = (Labels::from_pairs([("__name__", "test_exemplar_metric_total"), ("job", "prometheus")]), vec![exemplar]);
        assert_eq!(
            series_json(&series),
            json!({
                "seriesLabels": {"__name__": "test_exemplar_metric_total", "job": "prometheus"},
                "exemplars": [{"labels": {"traceID": "EpTxMJ40fUus7aGY"}, "value": "6", "timestamp": 1600096945.479}],
            })
        );
    }

    #[test]
    fn limits_are_numbers() {
        let params = Params::from_query("limit=x&limit_per_metric=-1");
        assert_eq!(number(&params, "limit").expect_err("wrong").text, "limit must be a number");
        assert_eq!(number(&params, "limit_per_metric").expect("right"), Some(-1));
        assert_eq!(number(&params, "absent").expect("right"), None);
    }
}
