//! `/api/v1/status/*` and `/version`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use promql::time_text::format_duration_ms;
use serde_json::json;

use super::App;
use super::envelope::small;
use super::failure::Failure;
use super::params::Params;
use crate::clock;
use crate::query::top_series::TopSeries;
use crate::time_text::rfc3339;
use crate::version;

/// Entries of each list of `/status/tsdb`.
const TOP_DEFAULT: usize = 10;
const TOP_MAX: usize = 10_000;

/// Clients switch features on by this version, so it is the level of the Prometheus API that Tern speaks. There is no
/// `features` field: Grafana would take Tern for Mimir and ask for its rule configuration.
pub async fn build_info() -> Response {
    small(&build_fields())
}

pub async fn version() -> axum::Json<serde_json::Value> {
    axum::Json(build_fields())
}

fn build_fields() -> serde_json::Value {
    json!({
        "version": version::PROMETHEUS_API,
        "revision": format!("tern-{}", version::TERN),
        "branch": "main",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

pub async fn runtime_info(State(app): State<Arc<App>>) -> Response {
    let folder = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    small(&json!({
        "startTime": rfc3339(app.started_ms),
        "CWD": folder,
        "hostname": hostname.trim_end(),
        "serverTime": rfc3339(clock::now_ms()),
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(app.started_ms),
        "corruptionCount": 0,
        "goroutineCount": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "GOMAXPROCS": app.settings.web.threads,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": format_duration_ms(app.settings.storage.retention.as_millis() as i64),
    }))
}

pub async fn flags(State(app): State<Arc<App>>) -> Response {
    let flags: BTreeMap<String, &str> = app.layers.iter().map(|(name, value, _)| (name.replace('_', "-"), value)).collect();
    small(&json!(flags))
}

pub async fn config(State(app): State<Arc<App>>) -> Response {
    small(&json!({"yaml": app.layers.yaml()}))
}

/// Nothing is answered before the log is replayed, so it always is.
pub async fn wal_replay() -> Response {
    small(&json!({"min": 0, "max": 0, "current": 0}))
}

pub async fn tsdb(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let limit = params.limit("limit")?.unwrap_or(TOP_DEFAULT);
    if limit > TOP_MAX {
        return Err(Failure::parameter("limit", format!("must not be above {TOP_MAX}")));
    }
    let node = Arc::clone(&app.node);
    let top = tokio::task::spawn_blocking(move || TopSeries::collect(&node, limit));
    let top = top.await.map_err(|error| Failure::new(super::failure::Kind::Internal, error.to_string()))??;
    let list = |entries: &[(String, u64)]| -> serde_json::Value {
        entries.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    Ok(small(&json!({
        "headStats": {
            "numSeries": top.series,
            "numLabelPairs": top.label_pairs,
            "chunkCount": 0,
            "minTime": top.oldest_ms,
            "maxTime": top.newest_ms,
        },
        "seriesCountByMetricName": list(&top.series_by_metric),
        "labelValueCountByLabelName": list(&top.values_by_label),
        "memoryInBytesByLabelName": list(&top.bytes_by_label),
        "seriesCountByLabelValuePair": [],
    })))
}
