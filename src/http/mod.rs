//! HTTP: the native API, the Prometheus API, and the node's own pages. The only place that knows axum.
//!
//! A request walks: `listener` → `observe` (id, metrics, panics) → `access` → one handler file → `ingest` or `query` → an answer that
//! `stream` packs. Handlers translate; they decide nothing about data.
//!
//! Modules stand bottom-up: each imports only those above it (and [`App`]).

mod failure;
pub mod params;
mod stream;
mod pack;
mod cors;
mod budget;
mod paced_body;
mod patience;
mod live_stream;
mod body;
mod envelope;
mod query_json;
mod query_stats;
mod native_failure;
mod plain_failure;
mod log_entries;
pub mod native_labels;
mod request;
mod access;
mod victoria_extras;
mod observe;
mod health;
mod ingest;
mod import;
mod remote_write;
mod influx;
mod otlp;
mod remote_read;
mod federate;
mod export;
mod prometheus_query;
mod prometheus_labels;
mod prometheus_status;
mod status_tsdb;
mod status_queries;
mod features;
mod openapi;
mod search;
mod notifications;
mod prometheus_empty;
mod prometheus_beside;
mod native_query;
mod native_json;
mod metric_families;
mod self_page;
mod admin;
mod admin_tsdb;
mod listener;
mod kv;
mod routes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raft::{Node, Seldom};
use storage::{Engine, LogDb};
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::config::{Layers, Settings};
use crate::ingest::writer::Writer;
use crate::notifications::Notifications;
use crate::query::runner::Runner;
use crate::query::session::Gate;
use crate::self_metrics::SelfMetrics;

pub use listener::{Web, serve};
pub use routes::{router, starting_router};

/// What handlers work with; one a process.
pub struct App {
    pub settings: Settings,
    /// The settings with their origins, for the status pages.
    pub layers: Layers,
    pub node: Arc<Node>,
    pub engine: Arc<Engine>,
    pub log_db: Arc<LogDb>,
    pub writer: Arc<Writer>,
    pub queries: Arc<Runner>,
    /// Bounds remote reads and exports that run at once.
    pub bulk_reads: Gate,
    pub metrics: Arc<SelfMetrics>,
    pub notifications: Arc<Notifications>,
    /// None: everybody may do everything.
    pub accounts: Option<Arc<Authenticator>>,
    /// Bounds how often the log tells of them.
    pub wrong_credentials: Seldom,
    pub started_ms: i64,
    pub stopping: AtomicBool,
    /// Cancelled when a request asks the process to end.
    pub quit: CancellationToken,
    /// Cancelled when it ends, after everybody was told: answers without an end of their own end then.
    pub closing: CancellationToken,
}

impl App {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
