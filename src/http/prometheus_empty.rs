//! Calls of the Prometheus API about things this version does not have (scrape targets, rules): the shapes clients expect, without content, so that Grafana shows "none" and not an error.

use axum::response::Response;
use serde_json::json;

use super::envelope::small;

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
