//! `/-/healthy` and `/-/ready`, as load balancers and promtool ask.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::App;
use super::failure::add_retry_after;

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
    let mut response = not_ready("false");
    add_retry_after(&mut response);
    response
}

/// `/-/reload`, `/-/quit`: a node is configured at its start and stopped by SIGTERM.
pub async fn lifecycle() -> Response {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.\n").into_response()
}

fn not_ready(stopping: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [("x-prometheus-stopping", stopping)], "Service Unavailable").into_response()
}
