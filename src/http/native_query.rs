//! `GET /query/range` and `GET /query/instant`: the native API's reads. Both become a PromQL expression.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promql::engine::StatsDetail;
use promql::labels::is_classic_label_name;
use promql::quote::quote;
use promql::value::Value;

use super::App;
use super::failure::Failure;
use super::native_failure::NativeFailure;
use super::params::Params;
use super::stream::{self, Encoding};
use super::{native_json, native_labels, prometheus_query, request};
use crate::clock;
use crate::number::value_text;
use crate::query::conditions::Conditions;
use crate::query::runner::{Answer, Query, Times};
use crate::time_text::{parse_duration, parse_native_time};

/// Without `start=`: the last hour.
const RANGE_DEFAULT_MS: i64 = 3_600_000;
/// Without `step=`: about this many points, but no closer than samples usually are.
const POINTS_DEFAULT: i64 = 240;
const STEP_MIN_MS: i64 = 15_000;

const RANGE_HINT: &str =
    "/query/range?metric=http_requests&labels={service:auth}&start=-1h&end=now&step=60s&agg=avg|sum|min|max|count|p50|p95|p99&by=env";
const INSTANT_HINT: &str = "/query/instant?expr=avg(http_latency_p99{env='prod'})";

/// `GET /query/range`
pub async fn range(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, NativeFailure> {
    let text = range_expression(&params).map_err(|error| NativeFailure::bad_request(error, RANGE_HINT))?;
    let times = range_times(&params, clock::now_ms(), app.settings.query.points_max)
        .map_err(|error| NativeFailure::bad_request(error, RANGE_HINT))?;
    let (answer, warnings) = run(&app, &headers, &params, text, times).await?;
    let Value::Matrix(series) = answer.output.value else {
        return Err(NativeFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "a range query gave no matrix", "report this"));
    };
    let write = move |out: &mut dyn Write| native_json::write_series(out, &series, &warnings);
    Ok(stream::respond(json_head(), Encoding::negotiate(&headers), write).await)
}

/// `GET /query/instant`
pub async fn instant(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, NativeFailure> {
    let missing = || NativeFailure::bad_request("expr= is missing", INSTANT_HINT);
    let text = params.get("expr").or_else(|| params.get("query")).ok_or_else(missing)?.to_string();
    let now_ms = clock::now_ms();
    let time_ms = time(&params, "time", now_ms).map_err(|error| NativeFailure::bad_request(error, INSTANT_HINT))?;
    let (answer, warnings) = run(&app, &headers, &params, text, Times::At(time_ms.unwrap_or(now_ms))).await?;
    let encoding = Encoding::negotiate(&headers);
    match answer.output.value {
        Value::Scalar { time_ms, value } => Ok(one_number(&headers, value, time_ms, &warnings)),
        Value::Vector(samples) if samples.is_empty() => Err(nothing_found()),
        Value::Vector(samples) if samples.len() == 1 => {
            Ok(one_number(&headers, native_json::number_of(&samples[0]), samples[0].time_ms, &warnings))
        }
        Value::Vector(samples) => {
            let write = move |out: &mut dyn Write| native_json::write_samples(out, &samples, &warnings);
            Ok(stream::respond(json_head(), encoding, write).await)
        }
        Value::Matrix(series) if series.is_empty() => Err(nothing_found()),
        Value::Matrix(series) => {
            let write = move |out: &mut dyn Write| native_json::write_series(out, &series, &warnings);
            Ok(stream::respond(json_head(), encoding, write).await)
        }
        Value::String { .. } => Err(NativeFailure::bad_request("the expression is a text, not a number", INSTANT_HINT)),
    }
}

async fn run(app: &App, headers: &HeaderMap, params: &Params, text: String, times: Times) -> Result<(Answer, Vec<String>), NativeFailure> {
    let expression = app.queries.parse(&text).map_err(Failure::from)?;
    let query = Query {
        text: text.clone(),
        expression,
        conditions: Conditions::default(),
        times,
        consistency: request::consistency(app, params, headers)?,
        timeout: params.duration_ms("timeout")?.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        lookback_ms: None,
        stats: StatsDetail::Totals,
        asker: None,
    };
    let answer = app.queries.run(query).await.map_err(Failure::from)?;
    let remarks = prometheus_query::remarks(&answer.warnings, &answer.output.annotations, &text, false);
    Ok((answer, remarks.warnings))
}

fn one_number(headers: &HeaderMap, value: f64, time_ms: i64, warnings: &[String]) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.split([',', ';']).next().is_some_and(|first| first.trim() == "text/plain") {
        return (StatusCode::OK, value_text(value)).into_response();
    }
    let mut response = json_head();
    *response.body_mut() = native_json::single(value, time_ms, warnings).into();
    response
}

fn nothing_found() -> NativeFailure {
    let hint = "no series matches, or none has a sample within query.lookback before the time asked for";
    NativeFailure::new(StatusCode::NOT_FOUND, "the expression has no result", hint)
}

fn json_head() -> Response {
    [(header::CONTENT_TYPE, "application/json")].into_response()
}

/// `metric`, `labels`, `agg` and `by` as a PromQL expression.
fn range_expression(params: &Params) -> Result<String, String> {
    let matchers = native_labels::parse(params.get("labels").unwrap_or(""))?;
    let mut conditions: Vec<String> = Vec::new();
    if let Some(metric) = params.get("metric") {
        conditions.push(format!("__name__={}", quote(metric)));
    }
    let named = matchers.iter().map(|matcher| format!("{}{}{}", label_name(&matcher.name), matcher.op, quote(&matcher.value)));
    conditions.extend(named);
    if conditions.is_empty() {
        return Err("metric= or labels= must say which series are meant".to_string());
    }
    let selector = format!("{{{}}}", conditions.join(","));
    let Some(aggregate) = params.get("agg") else {
        return match params.get("by") {
            Some(_) => Err("by= needs agg=".to_string()),
            None => Ok(selector),
        };
    };
    let by: Vec<String> =
        params.all("by").flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()).map(label_name).collect();
    let grouping = if by.is_empty() { String::new() } else { format!(" by ({})", by.join(",")) };
    match aggregate {
        "avg" | "sum" | "min" | "max" | "count" => Ok(format!("{aggregate}{grouping} ({selector})")),
        _ => {
            let percent = aggregate.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
            let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
            let percent = percent.ok_or_else(|| format!("agg={aggregate}: write avg, sum, min, max, count, p50, p95 or p99"))?;
            Ok(format!("quantile{grouping} ({}, {selector})", percent / 100.0))
        }
    }
}

fn label_name(name: &str) -> String {
    if is_classic_label_name(name) { name.to_string() } else { quote(name).to_string() }
}

fn range_times(params: &Params, now_ms: i64, points_max: usize) -> Result<Times, String> {
    let end_ms = time(params, "end", now_ms)?.unwrap_or(now_ms);
    let start_ms = time(params, "start", now_ms)?.unwrap_or(end_ms - RANGE_DEFAULT_MS);
    if end_ms < start_ms {
        return Err("end= is before start=".to_string());
    }
    let step_ms = match params.get("step") {
        None => ((end_ms - start_ms) / POINTS_DEFAULT).max(STEP_MIN_MS),
        Some(text) => parse_duration(text)
            .filter(|&step_ms| step_ms > 0)
            .ok_or_else(|| format!("step={text}: write a duration above zero such as 60s"))?,
    };
    if ((end_ms - start_ms) / step_ms) as usize > points_max {
        return Err(format!("more than {points_max} points a series; take a larger step="));
    }
    Ok(Times::Range { start_ms, end_ms, step_ms })
}

fn time(params: &Params, name: &str, now_ms: i64) -> Result<Option<i64>, String> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let wrong = || format!("{name}={text}: write Unix seconds, RFC 3339, or a relative time such as -1h");
    parse_native_time(text, now_ms).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(query: &str) -> String {
        range_expression(&Params::from_query(query)).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn parameters_become_promql() {
        assert_eq!(expression("metric=http_requests&labels={service:auth}"), r#"{__name__="http_requests",service="auth"}"#);
        assert_eq!(expression("metric=x&agg=avg"), r#"avg ({__name__="x"})"#);
        assert_eq!(expression("metric=x&agg=sum&by=env,region"), r#"sum by (env,region) ({__name__="x"})"#);
        assert_eq!(expression("metric=x&agg=p95&by=env"), r#"quantile by (env) (0.95, {__name__="x"})"#);
        assert_eq!(expression("labels={job!~%27a.*%27}&metric=x"), r#"{__name__="x",job!~"a.*"}"#);
        assert_eq!(expression("metric=x&labels={%22http.status%22:%22200%22}"), r#"{__name__="x","http.status"="200"}"#);
        for (query, part) in
            [("", "metric="), ("metric=x&agg=p101", "agg=p101"), ("metric=x&by=env", "needs agg"), ("metric=x&labels={a", "expected")]
        {
            assert!(expression(query).contains(part), "{query}: {}", expression(query));
        }
    }

    #[test]
    fn every_expression_parses() {
        for query in ["metric=x&agg=p99", "metric=a.b&labels={c.d:e}", "metric=x&agg=count&by=le&labels={}"] {
            promql::parse(&expression(query), promql::ParserOptions::default()).expect(query);
        }
    }

    #[test]
    fn times_have_defaults() {
        let now = 1_700_000_000_000;
        let times = |query| range_times(&Params::from_query(query), now, 11_000);
        assert!(
            matches!(times(""), Ok(Times::Range { start_ms, end_ms, step_ms: 15_000 }) if end_ms == now && start_ms == now - 3_600_000)
        );
        assert!(matches!(times("start=-2d&end=-1d"), Ok(Times::Range { step_ms: 360_000, .. })));
        assert!(times("start=now&end=-1h").is_err());
        assert!(times("step=0").is_err());
        assert!(times("start=-15d&step=1s").is_err());
    }
}
