//! `/api/v1/status/active_queries` and `/api/v1/status/top_queries`: what this node evaluates now, and what cost it most
//! lately, and which metrics are asked for. The fields are VictoriaMetrics'.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use promql::regex::AnchoredRegex;
use promql::time_text::format_duration_ms;
use serde_json::{Value, json};

use super::App;
use super::envelope::small;
use super::failure::Failure;
use super::params::Params;
use crate::config::Consistency;
use crate::query::active::ActiveQuery;
use crate::query::history::Heavy;
use crate::query::metadata::{LabelQuestion, Scope};
use crate::query::name_use::Use;
use crate::query::runner::Times;
use crate::time_text::{EARLIEST_MS, LATEST_MS};

const TOP_DEFAULT: usize = 20;
const LIFETIME_DEFAULT_MS: i64 = 600_000;
const NAMES_DEFAULT: usize = 1000;

/// `GET /api/v1/status/active_queries`
pub async fn active(State(app): State<Arc<App>>) -> Response {
    small(&app.queries.active().list().iter().map(active_json).collect())
}

fn active_json(query: &ActiveQuery) -> Value {
    let (start_ms, end_ms, step_ms) = match query.times {
        Times::At(time_ms) => (time_ms, time_ms, 0),
        Times::Range { start_ms, end_ms, step_ms } => (start_ms, end_ms, step_ms),
    };
    json!({
        "duration": format!("{:.3}s", query.start.elapsed().as_secs_f64()),
        "id": format!("{:016X}", query.id),
        "remote_addr": query.asker.map_or(String::new(), |asker| asker.to_string()),
        "query": &*query.text,
        "start": start_ms,
        "end": end_ms,
        "step": step_ms,
    })
}

/// `GET /api/v1/status/top_queries?topN=20&maxLifetime=10m`
pub async fn top(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let count = params.limit("topN")?.unwrap_or(TOP_DEFAULT);
    let lifetime_ms = params.duration_ms("maxLifetime")?.unwrap_or(LIFETIME_DEFAULT_MS).max(0);
    let history = app.queries.history();
    let heavy = history.since(Duration::from_millis(lifetime_ms.unsigned_abs()));
    let seconds = |duration: Duration| json!(duration.as_secs_f64());
    Ok(small(&json!({
        "topN": count,
        "maxLifetime": format_duration_ms(lifetime_ms),
        "search.queryStats.lastQueriesCount": history.capacity(),
        "topByCount": largest(&heavy, count, |heavy| heavy.count, |_| Vec::new()),
        "topByAvgDuration": largest(&heavy, count, Heavy::average, |heavy| vec![("avgDurationSeconds", seconds(heavy.average()))]),
        "topBySumDuration": largest(&heavy, count, |heavy| heavy.total, |heavy| vec![("sumDurationSeconds", seconds(heavy.total))]),
    })))
}

/// `GET /api/v1/status/metric_names_stats?limit=1000&le=N&match_pattern=`: the metrics that exist with how often queries of
/// this node have asked for each since its start, the least wanted first.
pub async fn metric_names(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let limit = params.limit("limit")?.unwrap_or(NAMES_DEFAULT);
    let requests_max = params.limit("le")?.map(|requests| requests as u64);
    let requests_max = if params.get("le") == Some("0") { Some(0) } else { requests_max };
    let pattern = params.get("match_pattern").map(AnchoredRegex::new).transpose();
    let pattern = pattern.map_err(|error| Failure::parameter("match_pattern", error))?;
    let scope = Scope { selectors: Vec::new(), start_ms: EARLIEST_MS, end_ms: LATEST_MS, consistency: Consistency::Eventual };
    let found = app.queries.labels(scope, LabelQuestion::Values("__name__".to_string()), usize::MAX).await?;
    let wanted = found.items.into_iter().filter(|name| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)));
    let mut records: Vec<_> = wanted.map(|name| (app.queries.names().of(&name), name)).collect();
    records.retain(|(uses, _)| requests_max.is_none_or(|most| uses.requests <= most));
    records.sort_by(|left, right| left.0.requests.cmp(&right.0.requests).then_with(|| left.1.cmp(&right.1)));
    let total = records.len();
    let record = |(uses, name): &(Use, Arc<str>)| json!({"metricName": &**name, "queryRequestsCount": uses.requests, "lastRequestTimestamp": uses.last_ms / 1000});
    let records: Vec<Value> = records.iter().take(limit).map(record).collect();
    Ok(small(&json!({"statsCollectedSince": app.started_ms / 1000, "statsCollectedRecordsTotal": total, "records": records})))
}

fn largest<K: Ord>(
    heavy: &[Heavy],
    count: usize,
    key: impl Fn(&Heavy) -> K,
    fields: impl Fn(&Heavy) -> Vec<(&'static str, Value)>,
) -> Value {
    let mut sorted: Vec<&Heavy> = heavy.iter().collect();
    sorted.sort_by_cached_key(|heavy| (Reverse(key(heavy)), Arc::clone(&heavy.text), heavy.range_seconds));
    let entry = |heavy: &&Heavy| {
        let mut entry = json!({"query": &*heavy.text, "timeRangeSeconds": heavy.range_seconds, "count": heavy.count});
        for (name, value) in fields(heavy) {
            entry[name] = value;
        }
        entry
    };
    sorted.iter().take(count).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first() {
        let heavy = |text: &str, count, milliseconds| Heavy {
            text: text.into(),
            range_seconds: 60,
            count,
            total: Duration::from_millis(milliseconds),
        };
        let all = [heavy("a", 5, 50), heavy("b", 1, 40), heavy("c", 5, 10)];
        let by_count = largest(&all, 2, |heavy| heavy.count, |_| Vec::new());
        assert_eq!(
            by_count,
            json!([{"query": "a", "timeRangeSeconds": 60, "count": 5}, {"query": "c", "timeRangeSeconds": 60, "count": 5}])
        );
        let by_average = largest(&all, 1, Heavy::average, |heavy| vec![("avgDurationSeconds", json!(heavy.average().as_secs_f64()))]);
        assert_eq!(by_average, json!([{"query": "b", "timeRangeSeconds": 60, "count": 1, "avgDurationSeconds": 0.04}]));
    }
}
