//! `/api/v1/status/*` about the process, and `/version`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use promql::time_text::format_duration_ms;
use serde_json::json;

use super::App;
use super::envelope::small;
use crate::clock;
use crate::time_text::rfc3339;
use crate::version;

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

/// Settings that Prometheus has too, by the names of its flags.
const UPSTREAM_FLAGS: [(&str, &str); 15] = [
    ("data_dir", "storage.tsdb.path"),
    ("features", "enable-feature"),
    ("http", "web.listen-address"),
    ("query.concurrency", "query.max-concurrency"),
    ("query.lookback", "query.lookback-delta"),
    ("query.samples_max", "query.max-samples"),
    ("query.timeout", "query.timeout"),
    ("storage.retention", "storage.tsdb.retention.time"),
    ("web.connections", "web.max-connections"),
    ("web.cors_origin", "web.cors.origin"),
    ("web.lifecycle", "web.enable-lifecycle"),
    ("web.notification_subscribers", "web.max-notifications-subscribers"),
    ("web.read_timeout", "web.read-timeout"),
    ("web.search_limit", "web.search.max-limit"),
    ("log.level", "log.level"),
];

/// `GET /api/v1/status/flags`: every setting under its own name, and those that Prometheus knows under its name as well.
pub async fn flags(State(app): State<Arc<App>>) -> Response {
    let settings: Vec<(&str, &str)> = app.layers.iter().map(|(name, value, _)| (name, value)).collect();
    small(&json!(flags_of(&settings)))
}

fn flags_of<'a>(settings: &[(&str, &'a str)]) -> BTreeMap<String, &'a str> {
    let own = settings.iter().map(|(name, value)| (name.replace('_', "-"), *value));
    let mut flags: BTreeMap<String, &str> = own.collect();
    for (name, value) in settings {
        let upstream = UPSTREAM_FLAGS.iter().find(|(own, _)| own == name);
        flags.extend(upstream.map(|(_, flag)| ((*flag).to_string(), *value)));
    }
    flags
}

pub async fn config(State(app): State<Arc<App>>) -> Response {
    small(&json!({"yaml": app.layers.yaml()}))
}

/// `GET /api/v1/status/walreplay`: a Raft log is replayed group by group, without a count that could be shown; this node's
/// other pages answer when it is done.
pub async fn wal_replay() -> Response {
    small(&json!({"min": 0, "max": 0, "current": 0}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, Manual};

    #[test]
    fn settings_have_their_own_names_and_upstreams() {
        let layers = Layers::defaults(Manual::read());
        let settings: Vec<(&str, &str)> = layers.iter().map(|(name, value, _)| (name, value)).collect();
        for (own, _) in UPSTREAM_FLAGS {
            assert!(settings.iter().any(|(name, _)| *name == own), "{own} is no setting");
        }
        let flags = flags_of(&settings);
        assert_eq!(flags["query.samples-max"], "50000000");
        assert_eq!(flags["query.max-samples"], "50000000");
        assert_eq!(flags["storage.tsdb.retention.time"], "15d");
        assert!(flags.len() > settings.len());
    }
}
