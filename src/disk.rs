//! Opening this node's disk, and what is done when it is damaged.
//!
//! A damaged log means that this node no longer knows what it promised: it goes on under another id ([`raft::replacement`]). A
//! damaged state is thrown away and comes from other nodes. Where no other node has the data, the start fails and nothing is
//! touched.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use raft::replacement;
use storage::{Engine, EngineOptions, LogDb, LogOptions, StorageError};
use tls::NodeTls;

use crate::config::Settings;

/// Opens log and state, mended if need be. Mending the log waits until the others answer.
pub async fn open(settings: &Settings, tls: Option<&Arc<NodeTls>>) -> anyhow::Result<(Arc<Engine>, Arc<LogDb>)> {
    let folder = &settings.data_dir;
    std::fs::create_dir_all(folder).with_context(|| format!("create {} (data_dir)", folder.display()))?;
    let log = match open_log(folder).await? {
        Ok(log) => log,
        Err(reason) => {
            let addresses = (settings.advertise_grpc.as_str(), settings.advertise_http.as_str());
            let connect_timeout = raft::Settings::default().connect_timeout;
            replacement::replace(folder, addresses, tls, connect_timeout, &reason).await?;
            open_log(folder).await?.map_err(anyhow::Error::msg)?
        }
    };
    let engine = match open_state(settings).await? {
        Ok(engine) => engine,
        Err(reason) => {
            replacement::set_state_aside(folder, &reason)?;
            open_state(settings).await?.map_err(anyhow::Error::msg)?
        }
    };
    Ok((engine, Arc::new(log)))
}

/// A part of the disk, or why it cannot be trusted.
type Opened<T> = Result<T, String>;

async fn open_log(folder: &Path) -> anyhow::Result<Opened<LogDb>> {
    let folder = folder.to_path_buf();
    let job = tokio::task::spawn_blocking(move || {
        let opened = LogDb::open(&folder.join("log"), LogOptions::default()).and_then(|log| Ok((log.check_high_water()?, log)));
        match judge(opened, &folder, "log")? {
            Err(reason) => Ok(Err(reason)),
            Ok((_, log)) if replacement::is_pending(&folder) => {
                drop(log);
                Ok(Err("an earlier start found it damaged".to_string()))
            }
            Ok((shortened, log)) => Ok(match shortened.first() {
                Some(first) => Err(format!("the log lost entries that were synced ({first:?})")),
                None => replacement::lost_identity(&folder, &log).map_or(Ok(log), Err),
            }),
        }
    });
    job.await?
}

async fn open_state(settings: &Settings) -> anyhow::Result<Opened<Arc<Engine>>> {
    let folder = settings.data_dir.clone();
    let options = EngineOptions {
        retention_ms: settings.storage.retention.as_millis() as i64,
        block_cache_bytes: settings.storage.block_cache,
        exemplars_max: settings.storage.exemplars_max,
        ..EngineOptions::default()
    };
    let job = tokio::task::spawn_blocking(move || judge(Engine::open(&folder.join("state"), options), &folder, "state"));
    job.await?
}

fn judge<T>(opened: Result<T, StorageError>, folder: &Path, part: &str) -> anyhow::Result<Opened<T>> {
    match opened {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) if error.is_damage() => Ok(Err(error.to_string())),
        Err(error) => Err(error).with_context(|| format!("open {}/{part}; is another tern running on this folder?", folder.display())),
    }
}
