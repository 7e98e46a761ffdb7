//! Which path is answered by which handler.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::access::{Need, guarded};
use super::budget::within_budget;
use super::cors::{self, allow_origins};
use super::failure::{Failure, Kind};
use super::observe::observe;
use super::pack::pack;
use super::{
    App, admin, admin_tsdb, export, features, federate, health, import, influx, ingest, kv, native_query, notifications, openapi, otlp,
    prometheus_beside, prometheus_empty, prometheus_labels, prometheus_query, prometheus_status, remote_read, remote_write, search,
    self_page, status_queries, status_tsdb,
};
use crate::auth::Role;

const READ: Need = Need::Role(Role::Read);

/// Everything this node answers over HTTP.
pub fn router(app: Arc<App>) -> Router {
    let writes = writes().layer(from_fn_with_state(Arc::clone(&app), within_budget));
    let writes = writes.merge(streamed_writes()).layer(from_fn_with_state(Arc::clone(&app), only_while_serving));
    let bulk_reads = bulk_reads().layer(from_fn_with_state(Arc::clone(&app), only_while_serving));
    let reads = reads().layer(from_fn_with_state(Arc::clone(&app), only_while_serving));
    // Whole series pack themselves, piece by piece.
    let open_to_pages = guarded(reads.merge(status()).layer(from_fn(pack)).merge(bulk_reads), &app, READ);
    let probes = if app.settings.auth.open_health { probes() } else { guarded(probes(), &app, Need::Account) };
    open_to_pages
        .layer(from_fn_with_state(Arc::clone(&app), allow_origins))
        .merge(guarded(live().merge(own_metrics()), &app, READ))
        .merge(guarded(writes, &app, Need::Role(Role::Write)))
        .merge(guarded(influx_status(), &app, Need::Account))
        .merge(probes)
        .merge(guarded(admin_routes().merge(lifecycle()), &app, Need::Role(Role::Admin)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), answer_options))
        .layer(from_fn_with_state(Arc::clone(&app), observe))
        .with_state(app)
}

/// What is answered before the node has its place in the cluster.
pub fn starting_router() -> Router {
    Router::new()
        .route("/-/healthy", get(health::healthy))
        .route("/api/v1/status/walreplay", get(prometheus_status::wal_replay))
        .route("/api/v1/notifications", get(notifications::list_while_starting))
        .fallback(health::starting)
}

fn writes() -> Router<Arc<App>> {
    Router::new()
        .route("/ingest/metrics", post(ingest::metrics))
        .route("/api/v1/import/prometheus", post(import::prometheus))
        .route("/api/v1/import/prometheus/{*path}", post(import::pushed).put(import::pushed))
        .route("/api/v1/write", post(remote_write::write))
        // Prometheus', Mimir's and VictoriaMetrics' addresses.
        .route("/api/v1/otlp/v1/metrics", post(otlp::metrics))
        .route("/otlp/v1/metrics", post(otlp::metrics))
        .route("/opentelemetry/v1/metrics", post(otlp::metrics))
        .route("/write", post(influx::write_v1))
        .route("/api/v2/write", post(influx::write_v2))
        .route("/influx/write", post(influx::write_v1))
        .route("/influx/api/v2/write", post(influx::write_v2))
}

/// Whole series, streamed.
fn bulk_reads() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/read", post(remote_read::read))
        .route("/api/v1/export", get(export::json_lines).post(export::json_lines))
        .route("/api/v1/export/csv", get(export::csv).post(export::csv))
        .route("/federate", get(federate::federate))
}

/// Bodies of any length, which pass through in blocks: only these count against the bytes of writes under way.
fn streamed_writes() -> Router<Arc<App>> {
    Router::new().route("/api/v1/import", post(import::json)).route("/api/v1/import/csv", post(import::csv))
}

/// What clients of InfluxDB ask before they write.
fn influx_status() -> Router<Arc<App>> {
    Router::new()
        .route("/query", get(influx::query).post(influx::query))
        .route("/influx/query", get(influx::query).post(influx::query))
        .route("/ping", get(influx::ping))
        .route("/influx/ping", get(influx::ping))
        .route("/health", get(influx::health))
        .route("/influx/health", get(influx::health))
}

fn reads() -> Router<Arc<App>> {
    Router::new()
        .route("/query/instant", get(native_query::instant))
        .route("/query/range", get(native_query::range))
        .route("/api/v1/query", get(prometheus_query::instant).post(prometheus_query::instant))
        .route("/api/v1/query_range", get(prometheus_query::range).post(prometheus_query::range))
        .route("/api/v1/format_query", get(prometheus_query::format).post(prometheus_query::format))
        .route("/api/v1/parse_query", get(prometheus_query::parse).post(prometheus_query::parse))
        .route("/api/v1/labels", get(prometheus_labels::names).post(prometheus_labels::names))
        .route("/api/v1/label/{name}/values", get(prometheus_labels::values))
        .route("/api/v1/series", get(prometheus_labels::series).post(prometheus_labels::series))
        .route("/api/v1/series/count", get(prometheus_labels::series_count))
        .route("/api/v1/search/metric_names", get(search::metric_names).post(search::metric_names))
        .route("/api/v1/search/label_names", get(search::label_names).post(search::label_names))
        .route("/api/v1/search/label_values", get(search::label_values).post(search::label_values))
        .route("/api/v1/query_exemplars", get(prometheus_beside::exemplars).post(prometheus_beside::exemplars))
        .route("/api/v1/metadata", get(prometheus_beside::metadata))
        .route("/api/v1/rules", get(prometheus_empty::rules))
        .route("/api/v1/alerts", get(prometheus_empty::alerts))
        .route("/api/v1/targets", get(prometheus_empty::targets))
        .route("/api/v1/targets/metadata", get(prometheus_beside::targets_metadata))
        .route("/api/v1/targets/relabel_steps", get(prometheus_empty::relabel_steps))
        .route("/api/v1/scrape_pools", get(prometheus_empty::scrape_pools))
        .route("/api/v1/scrape_pools/config", get(prometheus_empty::scrape_pool_config))
        .route("/api/v1/alertmanagers", get(prometheus_empty::alertmanagers))
}

fn status() -> Router<Arc<App>> {
    Router::new()
        .route("/version", get(prometheus_status::version))
        .route("/api/v1/features", get(features::features))
        .route("/api/v1/notifications", get(notifications::list))
        .route("/api/v1/openapi.yaml", get(openapi::openapi))
        .route("/api/v1/status/active_queries", get(status_queries::active))
        .route("/api/v1/status/buildinfo", get(prometheus_status::build_info))
        .route("/api/v1/status/cluster", get(admin::status))
        .route("/api/v1/status/config", get(prometheus_status::config))
        .route("/api/v1/status/flags", get(prometheus_status::flags))
        .route("/api/v1/status/metric_names_stats", get(status_queries::metric_names))
        .route("/api/v1/status/runtimeinfo", get(prometheus_status::runtime_info))
        .route("/api/v1/status/self_metrics", get(self_page::families))
        .route("/api/v1/status/top_queries", get(status_queries::top))
        .route("/api/v1/status/tsdb", get(status_tsdb::tsdb))
        .route("/api/v1/status/tsdb/blocks", get(status_tsdb::blocks))
        .route("/api/v1/status/walreplay", get(prometheus_status::wal_replay))
}

/// Streams that are never packed: their events are small and must arrive at once.
fn live() -> Router<Arc<App>> {
    Router::new().route("/api/v1/notifications/live", get(notifications::live))
}

fn probes() -> Router<Arc<App>> {
    Router::new().route("/-/healthy", get(health::healthy)).route("/-/ready", get(health::ready))
}

fn lifecycle() -> Router<Arc<App>> {
    Router::new()
        .route("/-/reload", post(health::reload).put(health::reload).get(health::lifecycle_by_get))
        .route("/-/quit", post(health::quit).put(health::quit).get(health::lifecycle_by_get))
}

fn own_metrics() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(self_page::page))
}

fn admin_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/admin/cluster/members", get(admin::members))
        .route("/api/v1/admin/cluster/remove", post(admin::remove))
        .route("/api/v1/admin/cluster/replace", post(admin::replace))
        .route("/api/v1/admin/cluster/transfer-leader", post(admin::transfer_leader))
        .route("/api/v1/admin/tsdb/delete_series", post(admin_tsdb::delete_series).put(admin_tsdb::delete_series))
        .route("/api/v1/admin/tsdb/clean_tombstones", post(admin_tsdb::clean_tombstones).put(admin_tsdb::clean_tombstones))
        .route("/api/v1/admin/tsdb/snapshot", post(admin_tsdb::snapshot).put(admin_tsdb::snapshot))
        .route("/api/v1/kv/{*key}", get(kv::read).put(kv::write).delete(kv::delete))
        .route("/debug/flush", post(admin::flush))
        .route("/debug/hash", get(admin::content_hash))
        .route("/debug/log", get(admin::log))
}

/// While stopping, data requests go elsewhere: a load balancer sees 503 and turns to another node.
async fn only_while_serving(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.is_stopping() {
        return health::stopping();
    }
    next.run(request).await
}

/// Browsers ask before they send; the answer is the same for every path.
async fn answer_options(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.method() == Method::OPTIONS {
        return cors::preflight(&app, request.headers());
    }
    next.run(request).await
}

async fn not_found(request: Request) -> Response {
    Failure::new(Kind::NotFound, format!("no such path: {}", request.uri().path())).into_response()
}

async fn method_not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response()
}
