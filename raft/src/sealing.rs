//! When a replica's memory goes to disk, and when its log is no longer needed.
//!
//! One task of the node looks at all groups now and then and seals them one after the other, so that one node never
//! writes two images at once. The log is purged behind an image, but not right behind it: a follower that was away for a
//! while should find its place in the log and not need a snapshot.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use openraft::metrics::WaitError;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::NodeError;
use crate::group::Group;
use crate::runtime;
use crate::settings::Settings;
use crate::types::{GroupId, META_GROUP, shard_of};

/// A seal that takes longer is looked at again later; it goes on meanwhile.
const SEAL_PATIENCE: Duration = Duration::from_secs(300);
const SEAL_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What is remembered of a group between looks.
struct History {
    sealed_at: Instant,
    /// Entries of the log behind the image when the group was first looked at: what its opening had to replay.
    replayed: u64,
    /// Bytes the log had taken in at the last seal.
    sealed_bytes: u64,
    /// Images made, oldest first, whose log is still there: their last entry, and bytes the log had taken in by then.
    images: VecDeque<(u64, u64)>,
}

/// Seals every group now and purges its log as a seal in due time would.
pub async fn seal_all(core: &Core) -> Result<(), NodeError> {
    for group in core.groups() {
        if group.applied() > group.durable.index() {
            let mut history = History::begin(&group);
            seal(core, &group, &mut history).await?;
        }
    }
    Ok(())
}

/// Runs until the node closes.
pub async fn run(core: Arc<Core>) {
    let mut histories: HashMap<GroupId, History> = HashMap::new();
    let interval = core.common.settings.seal_check_interval;
    while core.closing.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        for group in core.groups() {
            let history = histories.entry(group.id).or_insert_with(|| History::begin(&group));
            // A group that was opened anew counts its bytes from nothing.
            history.sealed_bytes = history.sealed_bytes.min(group.log.appended_bytes());
            if is_due(&core, &group, history)
                && let Err(error) = seal(&core, &group, history).await
            {
                tracing::warn!(%error, "seal");
            }
        }
        histories.retain(|id, _| core.group(*id).is_some());
    }
}

impl History {
    fn begin(group: &Group) -> Self {
        Self {
            sealed_at: Instant::now(),
            replayed: behind_image(group, group.log.last_index()),
            sealed_bytes: group.log.appended_bytes(),
            images: VecDeque::new(),
        }
    }
}

/// Entries up to an index that are not in the image.
fn behind_image(group: &Group, index: Option<u64>) -> u64 {
    index.unwrap_or(0).saturating_sub(group.durable.index().unwrap_or(0))
}

fn is_due(core: &Core, group: &Group, history: &History) -> bool {
    let settings: &Settings = &core.common.settings;
    if group.applied() <= group.durable.index() {
        return false;
    }
    let log_bytes = group.log.appended_bytes() - history.sealed_bytes;
    if history.sealed_at.elapsed() >= settings.seal_interval || log_bytes >= settings.seal_log_bytes {
        return true;
    }
    if history.replayed > settings.seal_replayed_entries {
        return true;
    }
    match shard_of(group.id).and_then(|shard| core.common.engine.shard(shard)) {
        Some(shard) => shard.head_samples() >= settings.seal_samples || shard.head_bytes() >= settings.seal_bytes,
        None => group.id == META_GROUP && behind_image(group, group.applied()) >= settings.meta_seal_entries,
    }
}

async fn seal(core: &Core, group: &Group, history: &mut History) -> Result<(), NodeError> {
    let appended = group.log.appended_bytes();
    let target = group.applied();
    let begun = Instant::now();
    let failed = |reason: String| NodeError::Group { group: group.id, reason };
    let sealed = loop {
        // Raft ignores this while another image is being made, for example one that a follower needs: ask again.
        group.raft.trigger().snapshot().await.map_err(|error| failed(error.to_string()))?;
        let wait = group.raft.wait(Some(SEAL_RETRY_INTERVAL));
        match wait.metrics(|metrics| metrics.snapshot.map(|id| id.index()) >= target, "sealed").await {
            Ok(metrics) => break metrics.snapshot,
            Err(WaitError::Timeout(..)) if begun.elapsed() < SEAL_PATIENCE => {}
            Err(error) => return Err(failed(format!("seal: {error}"))),
        }
    };
    let Some(upto) = sealed.map(|id| id.index()) else { return Ok(()) };
    tracing::info!(group = group.id, upto, took_ms = begun.elapsed().as_millis() as u64, "sealed");
    *history = History { sealed_at: Instant::now(), replayed: 0, sealed_bytes: appended, images: std::mem::take(&mut history.images) };
    history.images.push_back((upto, appended));
    purge(core, group, history).await;
    Ok(())
}

/// Purges behind the newest image that leaves enough log for followers that lag.
async fn purge(core: &Core, group: &Group, history: &mut History) {
    let appended = group.log.appended_bytes();
    let retain = core.common.settings.log_retain_bytes;
    let mut upto = None;
    while let Some((index, bytes)) = history.images.front()
        && appended.saturating_sub(*bytes) >= retain
    {
        upto = Some(*index);
        history.images.pop_front();
    }
    let Some(upto) = upto else { return };
    if let Err(error) = group.raft.trigger().purge_log(upto).await {
        tracing::debug!(group = group.id, %error, "purge log");
        return;
    }
    let db = Arc::clone(core.common.writer.db());
    match runtime::blocking(move || db.reclaim()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "reclaim log space"),
        Err(error) => tracing::warn!(%error, "reclaim log space"),
    }
}
