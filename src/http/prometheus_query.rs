//! `/api/v1/query`, `/api/v1/query_range`, `/api/v1/format_query`, `/api/v1/parse_query`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use promql::annotations::Annotations;
use promql::engine::StatsDetail;
use promql::value::Value;

use super::App;
use super::envelope::{self, Remarks};
use super::failure::Failure;
use super::params::Params;
use super::query_json::{values, write_result};
use super::query_stats::{Stats, write_stats};
use super::request::{self, Asker};
use super::stream::Encoding;
use super::victoria_extras;
use crate::clock;
use crate::query::runner::{Query, Times};

/// `GET`, `POST /api/v1/query`
pub async fn instant(State(app): State<Arc<App>>, asker: Asker, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let limit = params.limit("limit")?;
    let time_ms = params.time("time")?.unwrap_or_else(clock::now_ms);
    run(&app, asker, &headers, &params, Times::At(time_ms), limit).await
}

/// `GET`, `POST /api/v1/query_range`
pub async fn range(State(app): State<Arc<App>>, asker: Asker, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let limit = params.limit("limit")?;
    let times = range_times(&params, app.settings.query.points_max)?;
    run(&app, asker, &headers, &params, times, limit).await
}

/// `GET`, `POST /api/v1/format_query`
pub async fn format(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let expression = app.queries.parse(params.get("query").unwrap_or(""))?;
    Ok(envelope::small(&promql::pretty(&expression).into()))
}

/// `GET`, `POST /api/v1/parse_query`
pub async fn parse(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let expression = app.queries.parse(params.get("query").unwrap_or(""))?;
    Ok(envelope::small(&promql::ast_json::ast_json(&expression)))
}

fn range_times(params: &Params, points_max: usize) -> Result<Times, Failure> {
    let start_ms = params.required_time("start")?;
    let end_ms = params.required_time("end")?;
    if end_ms < start_ms {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.required_duration_ms("step")?;
    if step_ms <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Failure::parameter("step", text));
    }
    if ((end_ms - start_ms) / step_ms) as usize > points_max {
        let most = thousands(points_max);
        return Err(Failure::bad_data(format!(
            "exceeded maximum resolution of {most} points per timeseries. Try decreasing the query resolution (?step=XX)"
        )));
    }
    Ok(Times::Range { start_ms, end_ms, step_ms })
}

/// `11,000`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

/// Parameters are looked at in upstream's order, so that of several mistakes the same one is named.
async fn run(
    app: &App,
    asker: Asker,
    headers: &HeaderMap,
    params: &Params,
    times: Times,
    limit: Option<usize>,
) -> Result<Response, Failure> {
    let timeout = params.duration_ms("timeout")?.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs()));
    let lookback_ms = params.plain_duration_ms("lookback_delta");
    let lookback_ms = lookback_ms.map_err(|cause| Failure::bad_data(format!("error parsing lookback delta duration: {cause}")))?;
    let consistency = request::consistency(app, params, headers)?;
    let text = params.get("query").unwrap_or("").to_string();
    let (stats, stats_warning) = Stats::read(params);
    let query = Query {
        text: text.clone(),
        expression: app.queries.parse(&text)?,
        conditions: victoria_extras::enforced(app, params)?,
        times,
        consistency,
        timeout,
        lookback_ms: lookback_ms.filter(|&ms| ms > 0),
        stats: if stats == Stats::PerStep { StatsDetail::PerStep } else { StatsDetail::Totals },
        asker: asker.0,
    };
    let mut answer = app.queries.run(query).await?;
    victoria_extras::round(&mut answer.output.value, params)?;
    let truncated = limit.is_some_and(|limit| truncate(&mut answer.output.value, limit));
    let mut remarks = remarks(&answer.warnings, &answer.output.annotations, &text, truncated);
    remarks.warnings.extend(stats_warning);
    let values = if stats == Stats::PerStep { usize::MAX } else { values(&answer.output.value) };
    let write = move |out: &mut dyn Write| {
        out.write_all(b"{")?;
        write_result(out, &answer.output.value)?;
        if stats != Stats::No {
            out.write_all(b",\"stats\":")?;
            write_stats(out, &answer)?;
        }
        out.write_all(b"}")
    };
    Ok(envelope::success(Encoding::negotiate(headers), remarks, values, write).await)
}

/// Cuts the answer to `limit` series; true when any were cut.
fn truncate(value: &mut Value, limit: usize) -> bool {
    let (before, after) = match value {
        Value::Vector(samples) => {
            let before = samples.len();
            samples.truncate(limit);
            (before, samples.len())
        }
        Value::Matrix(series) => {
            let before = series.len();
            series.truncate(limit);
            (before, series.len())
        }
        _ => return false,
    };
    before > after
}

/// Everything to be said beside the data.
pub fn remarks(warnings: &[String], annotations: &Annotations, query: &str, truncated: bool) -> Remarks {
    let mut remarks = Remarks { warnings: warnings.to_vec(), infos: annotations.infos(query, 0) };
    remarks.warnings.extend(annotations.warnings(query, 0));
    if truncated {
        remarks.warnings.push("results truncated due to limit".to_string());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(query: &str) -> String {
        range_times(&Params::from_query(query), 11_000).expect_err("wrong").text
    }

    #[test]
    fn ranges_are_checked_as_upstream() {
        assert!(range_times(&Params::from_query("start=0&end=660000&step=60"), 11_000).is_ok());
        assert_eq!(
            failure("start=0&end=660060&step=60"),
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
        );
        assert_eq!(failure("start=10&end=9&step=1"), "invalid parameter \"end\": end timestamp must not be before start time");
        assert!(failure("start=0&end=9&step=0").contains("zero or negative query resolution step widths"));
        assert!(failure("start=0&end=9&step=-1").contains("Try a positive integer"));
        assert_eq!(failure("end=9&step=1"), "invalid parameter \"start\": cannot parse \"\" to a valid timestamp");
        assert_eq!(failure("start=0&end=9"), "invalid parameter \"step\": cannot parse \"\" to a valid duration");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([thousands(5), thousands(999), thousands(11_000), thousands(1_234_567)], ["5", "999", "11,000", "1,234,567"]);
    }
}
