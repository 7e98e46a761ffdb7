//! `/api/v1/admin/tsdb/*`: deleting, getting rid of what was deleted, and an image of this node's data.
//!
//! Off unless `web.enable_admin_api` says otherwise, as upstream; and then for those whom `web.admin` allows. Deleting is done on all
//! nodes through the log; the other two are about the node that is asked.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use storage::{Deletion, Engine, LogDb, StorageError};

use super::App;
use super::admin::allow;
use super::envelope::small;
use super::failure::{Failure, Kind};
use super::listener::PeerAddress;
use super::params::Params;
use super::request;
use crate::clock;
use crate::ingest::writer::WriteFailure;
use crate::query::convert::matchers_to_disk;
use crate::time_text::{EARLIEST_MS, LATEST_MS, rfc3339};

/// Snapshots lie here in the data directory.
const SNAPSHOTS: &str = "snapshots";

/// `POST`, `PUT /api/v1/admin/tsdb/delete_series?match[]=&start=&end=`
pub async fn delete_series(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<PeerAddress>,
    params: Params,
) -> Result<Response, Failure> {
    permit(&app, peer)?;
    if params.all("match[]").next().is_none() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let start_ms = params.time("start")?.filter(|&time| time > EARLIEST_MS).unwrap_or(i64::MIN);
    let end_ms = params.time("end")?.filter(|&time| time < LATEST_MS).unwrap_or(i64::MAX);
    if end_ms < start_ms {
        return Err(Failure::bad_data("end timestamp must not be before start time"));
    }
    let mut deletions = Vec::new();
    for selector in request::selectors(&app, &params)? {
        let matchers = matchers_to_disk(&selector).map_err(|error| Failure::parameter("match[]", error))?;
        deletions.push(Deletion { matchers, start_ms, end_ms });
    }
    app.writer.delete(&deletions).await.map_err(|failure| match failure {
        WriteFailure::Unavailable(text) => Failure::new(Kind::Unavailable, text),
        other => Failure::new(Kind::Internal, other.to_string()),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST`, `PUT /api/v1/admin/tsdb/clean_tombstones`: what was deleted leaves this node's disk.
pub async fn clean_tombstones(State(app): State<Arc<App>>, Extension(peer): Extension<PeerAddress>) -> Result<Response, Failure> {
    permit(&app, peer)?;
    app.node.seal_all().await.map_err(|error| internal(&error))?;
    let engine = Arc::clone(&app.engine);
    let samples = blocking(move || engine.clean_tombstones().map_err(|error| internal(&error))).await?;
    tracing::info!(samples, "cleaned tombstones");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST`, `PUT /api/v1/admin/tsdb/snapshot?skip_head=`: a copy of this node's data directory, made of links, under
/// `snapshots/<name>`. A node started with that folder as its `data_dir` continues from there. With `skip_head` what waits in memory
/// is not sealed before; it is in the copy's log then.
pub async fn snapshot(State(app): State<Arc<App>>, Extension(peer): Extension<PeerAddress>, params: Params) -> Result<Response, Failure> {
    permit(&app, peer)?;
    let skip_head = match params.get("skip_head") {
        None => false,
        Some(text) => text.parse().map_err(|_| Failure::parameter("skip_head", format!("unable to parse boolean {text:?}")))?,
    };
    if !skip_head {
        app.node.seal_all().await.map_err(|error| internal(&error))?;
    }
    let name = snapshot_name(clock::now_ms(), rand::random());
    let folder = app.settings.data_dir.join(SNAPSHOTS);
    let (log_db, engine, wanted) = (Arc::clone(&app.log_db), Arc::clone(&app.engine), name.clone());
    blocking(move || write_snapshot(&folder, &wanted, &log_db, &engine)).await?;
    Ok(small(&json!({"name": name})))
}

/// `20171210T211224Z-2be650b6d019eb54`
fn snapshot_name(now_ms: i64, random: u64) -> String {
    let second = now_ms - now_ms.rem_euclid(1000);
    let time: String = rfc3339(second).chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("{time}-{random:016x}")
}

/// Under another name until it is whole.
fn write_snapshot(folder: &Path, name: &str, log_db: &LogDb, engine: &Engine) -> Result<(), Failure> {
    let unfinished = folder.join(format!("{name}.unfinished"));
    std::fs::create_dir_all(&unfinished).map_err(|error| internal(&error))?;
    let copied = copy_data(&unfinished, log_db, engine).map_err(|error| internal(&error));
    let renamed = copied.and_then(|()| std::fs::rename(&unfinished, folder.join(name)).map_err(|error| internal(&error)));
    if renamed.is_err()
        && let Err(error) = std::fs::remove_dir_all(&unfinished)
    {
        tracing::warn!(%error, folder = %unfinished.display(), "remove unfinished snapshot");
    }
    renamed
}

/// The log first: a state newer than its log's marker is what replay expects, an older one is not.
fn copy_data(folder: &Path, log_db: &LogDb, engine: &Engine) -> Result<(), StorageError> {
    log_db.checkpoint(&folder.join("log"))?;
    engine.checkpoint(&folder.join("state"))
}

fn permit(app: &App, peer: PeerAddress) -> Result<(), Failure> {
    if !app.settings.web.enable_admin_api {
        return Err(Failure::new(Kind::Disabled, "admin APIs disabled"));
    }
    allow(app, peer)
}

fn internal(error: &impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Internal, error.to_string())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_a_name_that_sorts_by_time_and_is_safe() {
        assert_eq!(snapshot_name(1_512_940_344_999, 0x2be6_50b6_d019_eb54), "20171210T211224Z-2be650b6d019eb54");
    }
}
