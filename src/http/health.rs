//! `/-/healthy` and `/-/ready`, as load balancers and promtool ask.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::App;
use super::failure::add_retry_after;
use crate::config::{ConfigError, Settings};

/// The process runs.
pub async fn healthy() -> &'static str {
    "Tern is Healthy.\n"
}

/// The node has replayed its log and takes part in the cluster; a load balancer may send requests.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.is_stopping() {
        return not_ready("true");
    }
    if !app.node.is_ready() {
        return not_ready("false");
    }
    "Tern is Ready.\n".into_response()
}

/// Every path, while the node starts.
pub async fn starting() -> Response {
    with_retry(not_ready("false"))
}

/// Every path that reads or writes data, while the node stops: a load balancer sees it and turns to another node.
pub fn stopping() -> Response {
    with_retry(not_ready("true"))
}

/// `GET /-/reload`, `GET /-/quit`: what changes something is not asked for by following a link.
pub async fn lifecycle_by_get() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed").into_response()
}

/// `POST /-/quit` (needs `web.lifecycle`): as SIGTERM.
pub async fn quit(State(app): State<Arc<App>>) -> Response {
    if !app.settings.web.lifecycle {
        return lifecycle_is_off();
    }
    tracing::info!("asked to quit");
    app.quit.cancel();
    "Requesting termination... Goodbye!".into_response()
}

/// `POST /-/reload` (needs `web.lifecycle`): settings are read once, at the start; this says whether the file still is
/// what runs, so that a mistyped one is not found out by the next restart.
pub async fn reload(State(app): State<Arc<App>>) -> Response {
    if !app.settings.web.lifecycle {
        return lifecycle_is_off();
    }
    match changed_settings(&app) {
        Ok(changed) if changed.is_empty() => {
            app.notifications.remove(RELOAD_FAILED);
            StatusCode::OK.into_response()
        }
        Ok(changed) => reload_failed(&app, &format!("restart the node to change {}", changed.join(", "))),
        Err(error) => reload_failed(&app, &error.to_string()),
    }
}

/// Errs when the node would not start with the file as it is now.
fn changed_settings(app: &App) -> Result<Vec<String>, ConfigError> {
    let now = app.layers.reread()?;
    Settings::read(&now)?;
    Ok(app.layers.differences(&now))
}

const RELOAD_FAILED: &str = "Configuration reload has failed.";

fn reload_failed(app: &App, cause: &str) -> Response {
    app.notifications.add(RELOAD_FAILED);
    (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {cause}\n")).into_response()
}

fn lifecycle_is_off() -> Response {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response()
}

fn not_ready(stopping: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [("x-prometheus-stopping", stopping)], "Service Unavailable").into_response()
}

fn with_retry(mut response: Response) -> Response {
    add_retry_after(&mut response);
    response
}
