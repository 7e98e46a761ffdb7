//! Calls of the Prometheus API about things this version does not have (scrape targets, rules, exemplars, metadata):
//! the shapes clients expect, without content, so that Grafana shows "none" and not an error.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::envelope::small;
use super::failure::Failure;
use super::params::Params;

pub async fn exemplars(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    app.queries.parse(params.get("query").unwrap_or(""))?;
    Ok(small(&json!([])))
}

pub async fn metadata() -> Response {
    small(&json!({}))
}

pub async fn targets_metadata() -> Response {
    small(&json!([]))
}

pub async fn rules() -> Response {
    small(&json!({"groups": []}))
}

pub async fn alerts() -> Response {
    small(&json!({"alerts": []}))
}

pub async fn targets() -> Response {
    small(&json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}))
}

pub async fn scrape_pools() -> Response {
    small(&json!({"scrapePools": []}))
}

pub async fn alertmanagers() -> Response {
    small(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}
