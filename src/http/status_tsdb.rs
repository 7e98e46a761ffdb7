//! `/api/v1/status/tsdb` and `/api/v1/status/tsdb/blocks`: how much there is and of what.
//!
//! The lists and the numbers of series are of the whole cluster (shards without a replica here are asked from peers); what
//! is in memory (`chunkCount`, `minTime`, `maxTime`) and the blocks are this node's. The status pages answer without a
//! majority too.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use storage::RunInfo;
use tokio::task::spawn_blocking;

use super::App;
use super::envelope::small;
use super::failure::{Failure, Kind};
use super::params::Params;
use super::request;
use crate::config::Consistency;
use crate::query::metadata::Scope;
use crate::query::top_series::HeadTotals;
use crate::time_text::{EARLIEST_MS, LATEST_MS, parse_time};

/// Entries of each list.
const TOP_DEFAULT: usize = 10;
const TOP_MAX: usize = 10_000;
const DAY_MS: i64 = 86_400_000;

/// `GET /api/v1/status/tsdb`; beside upstream's `limit`: VictoriaMetrics' `topN`, `date`, `match[]` and `focusLabel`.
pub async fn tsdb(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let limit = limit(&params)?;
    let (start_ms, end_ms) = day(&params)?;
    let selectors = request::selectors(&app, &params)?;
    if selectors.len() > 1 {
        return Err(Failure::parameter("match[]", "one selector can be counted at a time"));
    }
    let focus = params.get("focusLabel").map(str::to_string);
    let is_focused = focus.is_some();
    let scope = Scope { selectors, start_ms, end_ms, consistency: Consistency::Eventual };
    let top = app.queries.top_series(scope, limit, focus).await?;
    let node = Arc::clone(&app.node);
    let head = on_a_blocking_thread(move || HeadTotals::collect(&node)).await?;
    let (oldest_ms, newest_ms) = head.range_ms.unwrap_or((i64::MAX, i64::MIN));
    let mut answer = json!({
        "headStats": {
            "numSeries": top.series,
            "numLabelPairs": top.label_pairs,
            "chunkCount": head.pieces,
            "minTime": oldest_ms,
            "maxTime": newest_ms,
        },
        "seriesCountByMetricName": list(&top.series_by_metric),
        "labelValueCountByLabelName": list(&top.values_by_label),
        "memoryInBytesByLabelName": list(&top.bytes_by_label),
        "seriesCountByLabelValuePair": list(&top.series_by_pair),
    });
    if is_focused {
        answer["seriesCountByFocusLabelValue"] = list(&top.series_by_focus_value);
    }
    Ok(small(&answer))
}

fn list(entries: &[(String, u64)]) -> Value {
    entries.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn limit(params: &Params) -> Result<usize, Failure> {
    let Some(text) = params.get("limit").or_else(|| params.get("topN")) else { return Ok(TOP_DEFAULT) };
    match text.parse::<usize>() {
        Ok(limit) if limit > TOP_MAX => Err(Failure::bad_data(format!("limit must not exceed {TOP_MAX}"))),
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(Failure::bad_data("limit must be a positive number")),
    }
}

/// `date=2026-11-26`: the series that received samples on that day, in UTC.
fn day(params: &Params) -> Result<(i64, i64), Failure> {
    let Some(date) = params.get("date") else { return Ok((EARLIEST_MS, LATEST_MS)) };
    let start_ms = parse_time(&format!("{date}T00:00:00Z"));
    let start_ms = start_ms.ok_or_else(|| Failure::parameter("date", format!("cannot parse {date:?}; write YYYY-MM-DD")))?;
    Ok((start_ms, start_ms + DAY_MS - 1))
}

/// `GET /api/v1/status/tsdb/blocks`: the sealed runs of this node's replicas.
pub async fn blocks(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let engine = Arc::clone(&app.engine);
    let runs = on_a_blocking_thread(move || engine.shards().iter().flat_map(|shard| shard.runs()).collect::<Vec<_>>()).await?;
    let blocks: Vec<Value> = runs.iter().map(block_json).collect();
    Ok(small(&json!({"blocks": blocks})))
}

fn block_json(run: &RunInfo) -> Value {
    let id = block_id(run);
    let stats = match run.content {
        Some((chunks, series)) => json!({"numSeries": series, "numChunks": chunks}),
        None => json!({}),
    };
    json!({
        "ulid": id,
        "minTime": run.start_ms,
        "maxTime": run.end_ms,
        "stats": stats,
        "compaction": {"level": run.level + 1, "sources": [id]},
        "version": 1,
    })
}

/// A run's identity in the form of a ULID: 48 bits of time, here that of its samples, and 80 bits of the rest.
fn block_id(run: &RunInfo) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u128::from(run.start_ms.max(0).unsigned_abs() & ((1 << 48) - 1));
    let rest = u128::from(run.shard & 0xffff) << 64 | u128::from(run.generation & 0xff_ffff) << 40 | u128::from(run.seal) << 8;
    let number = time << 80 | rest | u128::from(run.level);
    (0..26).rev().map(|digit| char::from(DIGITS[(number >> (5 * digit)) as usize & 31])).collect()
}

async fn on_a_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| Failure::new(Kind::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_positive_number_within_bounds() {
        let limit = |query| limit(&Params::from_query(query)).map_err(|failure| failure.text);
        assert_eq!(limit(""), Ok(10));
        assert_eq!(limit("limit=10000"), Ok(10_000));
        assert_eq!(limit("topN=3"), Ok(3));
        assert_eq!(limit("limit=10001"), Err("limit must not exceed 10000".to_string()));
        for wrong in ["limit=0", "limit=-1", "limit=x"] {
            assert_eq!(limit(wrong), Err("limit must be a positive number".to_string()), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_a_whole_day() {
        let (start_ms, end_ms) = day(&Params::from_query("date=2026-11-26")).expect("a date");
        assert_eq!((start_ms, end_ms - start_ms), (1_795_651_200_000, DAY_MS - 1));
        assert!(day(&Params::from_query("date=today")).is_err());
    }

    #[test]
    fn blocks_have_ids_of_their_own() {
        let run = RunInfo { shard: 3, generation: 7, seal: 9, level: 1, start_ms: 1_700_000_000_000, end_ms: 0, content: None };
        let id = block_id(&run);
        assert_eq!((id.len(), &id[..10]), (26, "01HF7YAT00"), "the time of a ULID of that millisecond");
        for other in
            [RunInfo { shard: 4, ..run }, RunInfo { generation: 8, ..run }, RunInfo { seal: 10, ..run }, RunInfo { level: 2, ..run }]
        {
            assert_ne!(block_id(&other), id);
        }
        assert_eq!(block_json(&run)["compaction"], json!({"level": 2, "sources": [id]}));
    }
}
