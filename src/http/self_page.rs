//! `/metrics`: this node about itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use promql::regex::AnchoredRegex;
use proto::raft as wire;
use storage::{EngineStats, ShardStats};

use super::App;
use super::envelope::small;
use super::failure::Failure;
use super::metric_families::family_json;
use super::params::Params;
use super::stream::{self, Encoding};
use crate::disk_space;
use crate::process_stats::ProcessStats;
use crate::self_metrics::Page;
use crate::version;

/// `GET /metrics`
pub async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let page = collect(&app).await;
    let head = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")].into_response();
    stream::respond_bytes(head, Encoding::negotiate(&headers), page.into_text().into_bytes().into()).await
}

/// `GET /api/v1/status/self_metrics`: the same as a list of metric families in protobuf's JSON form; those whose whole name
/// matches `metric_name_pattern=`.
pub async fn families(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    let pattern = params.get("metric_name_pattern").map(AnchoredRegex::new).transpose();
    let pattern = pattern.map_err(|error| Failure::bad_data(format!("invalid metric_name_pattern: {error}")))?;
    let families = collect(&app).await.into_families();
    let wanted = families.iter().filter(|family| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&family.name)));
    Ok(small(&wanted.map(family_json).collect()))
}

async fn collect(app: &App) -> Page {
    let mut page = Page::default();
    page.family("tern_build_info", "gauge", "Version of this build.");
    page.sample("tern_build_info", &format!("version=\"{}\"", version::TERN), 1.0);
    app.metrics.write(&mut page);
    page.gauge("tern_ingest_bytes_in_flight", "Bytes that write requests hold now.", app.writer.budget().used() as f64);
    if let Ok(room) = disk_space::room(&app.settings.data_dir) {
        page.gauge("tern_disk_free_bytes", "Room on the disk that holds this node's data.", room.free as f64);
        page.gauge("tern_disk_bytes", "Size of that disk.", room.total as f64);
    }
    let refuses = app.node.space() != raft::Space::Ample;
    page.gauge("tern_disk_full", "1 while writes are refused for want of room (storage.free_bytes_min).", f64::from(u8::from(refuses)));
    write_raft(&mut page, &app.node.status());
    let engine = Arc::clone(&app.engine);
    match tokio::task::spawn_blocking(move || engine.stats()).await {
        Ok(Ok(stats)) => write_storage(&mut page, &stats),
        // The page's other figures are needed most when the disk has a fault.
        Ok(Err(error)) => tracing::error!(%error, "read sizes of the engine"),
        Err(error) => tracing::error!(%error, "read sizes of the engine"),
    }
    write_process(&mut page, app);
    page
}

/// A family with one sample a group.
type GroupFigure = (&'static str, &'static str, fn(&wire::GroupStatus) -> f64);

const GROUP_FIGURES: [GroupFigure; 7] = [
    ("tern_raft_term", "Term of the group.", |group| group.term as f64),
    ("tern_raft_has_leader", "1 when this node knows a leader of the group.", |group| f64::from(u8::from(group.leader.is_some()))),
    ("tern_raft_is_leader", "1 when this node leads the group.", |group| f64::from(u8::from(group.role == "leader"))),
    ("tern_raft_last_index", "Last entry in the log.", |group| group.last_index as f64),
    ("tern_raft_committed_index", "Last entry known to be committed.", |group| group.committed_index as f64),
    ("tern_raft_applied_index", "Last entry applied.", |group| group.applied_index as f64),
    ("tern_raft_durable_index", "Last entry whose samples are sealed on disk.", |group| group.durable_index as f64),
];

fn write_raft(page: &mut Page, status: &wire::NodeStatus) {
    page.gauge("tern_ready", "1 when the node may serve.", f64::from(u8::from(status.ready)));
    page.gauge("tern_cluster_members", "Members of the cluster.", status.members.len() as f64);
    for (name, help, figure) in GROUP_FIGURES {
        page.family(name, "gauge", help);
        for group in &status.groups {
            page.sample(name, &format!("group=\"{}\"", group.group), figure(group));
        }
    }
}

/// A family with one sample a replica.
type ShardFigure = (&'static str, &'static str, fn(&ShardStats) -> u64);

const SHARD_FIGURES: [ShardFigure; 8] = [
    ("tern_storage_series", "Series of the replica.", |shard| shard.series),
    ("tern_storage_head_samples", "Samples in memory, not sealed yet.", |shard| shard.head_samples),
    ("tern_storage_head_bytes", "Memory of samples not sealed yet.", |shard| shard.head_bytes),
    ("tern_storage_index_bytes", "Memory of the index of series.", |shard| shard.memory_bytes),
    ("tern_storage_runs", "Sealed runs.", |shard| shard.runs),
    ("tern_storage_buckets", "Hours that have sealed runs.", |shard| shard.buckets),
    ("tern_storage_exemplars", "Exemplars kept.", |shard| shard.exemplars),
    ("tern_storage_tombstones", "Deletions whose samples are still in files.", |shard| shard.tombstones),
];

fn write_storage(page: &mut Page, stats: &EngineStats) {
    page.gauge("tern_storage_raw_bytes", "Sealed samples on disk.", stats.raw_bytes as f64);
    page.gauge("tern_storage_series_bytes", "Series records on disk.", stats.series_bytes as f64);
    page.gauge("tern_storage_recent_bytes", "Memory of recently sealed chunks.", stats.recent_bytes as f64);
    for (name, help, figure) in SHARD_FIGURES {
        page.family(name, "gauge", help);
        for (shard, shard_stats) in &stats.shards {
            page.sample(name, &format!("shard=\"{shard}\""), figure(shard_stats) as f64);
        }
    }
}

fn write_process(page: &mut Page, app: &App) {
    let stats = ProcessStats::read();
    page.family("process_cpu_seconds_total", "counter", "User and system time of the process.");
    page.sample("process_cpu_seconds_total", "", stats.cpu_seconds);
    page.gauge("process_resident_memory_bytes", "Memory of the process.", stats.resident_bytes as f64);
    page.gauge("process_virtual_memory_bytes", "Address space of the process.", stats.virtual_bytes as f64);
    page.gauge("process_open_fds", "Open files.", stats.open_files as f64);
    page.gauge("process_max_fds", "Files the process may open.", stats.open_files_max as f64);
    page.gauge("process_threads", "Threads.", stats.threads as f64);
    page.gauge("process_start_time_seconds", "When the process started.", app.started_ms as f64 / 1000.0);
}
