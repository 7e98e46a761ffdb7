//! A replica whose image on disk is damaged or incomplete, while its log and its vote are sound, gets another image.
//!
//! It is not the same as a new replica: it keeps what it promised. So the group is closed (nobody hears from it meanwhile), the
//! image is thrown away, a copy is fetched from another replica, and the group is opened with it and the old log.
//!
//! 1. Close; write an empty marker; remove the content: after a crash in between the marker says that there is no image.
//! 2. A log that was never purged needs no image: everything is applied anew.
//! 3. Else an image is fetched that reaches at least to where the log begins. It holds committed entries only. Where the log has
//!    other entries at its end, these were never committed, nor what follows them: they go.
//! 4. The marker is written, the group opened; the log behind the image is applied.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use proto::raft as wire;

use crate::core::Core;
use crate::error::NodeError;
use crate::group::Group;
use crate::log_store::LogStore;
use crate::log_writer::Request;
use crate::network::peer_client;
use crate::peers::Lane;
use crate::snapshot::{Image, Snapshot, blocking, write_marker};
use crate::transfer::{self, Head};
use crate::types::{GroupId, Marker, NodeId, shard_of};

/// A donor that has to seal first may take so long.
const SEAL_PATIENCE: Duration = Duration::from_secs(120);
/// Between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Heals a group, however often it takes; ends early only when the node closes.
pub async fn run(core: Arc<Core>, group: GroupId, incarnation: u64, reason: String) {
    tracing::error!(group, reason, "the replica's image is damaged; it is fetched from another node");
    loop {
        match core.closing.run_until_cancelled(heal(&core, group, incarnation)).await {
            None | Some(Err(NodeError::ShuttingDown)) => return,
            Some(Ok(())) => {
                tracing::info!(group, "the replica is healed");
                return;
            }
            Some(Err(error)) => tracing::warn!(group, %error, "heal the replica; trying again"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Nodes that have another replica of the group.
pub fn donors(core: &Core, group: GroupId) -> Vec<NodeId> {
    let state = core.state();
    let replicas = state.placement(group).map(|placement| placement.replicas.clone()).unwrap_or_default();
    replicas.into_iter().filter(|node| *node != core.local()).collect()
}

async fn heal(core: &Arc<Core>, id: GroupId, incarnation: u64) -> Result<(), NodeError> {
    let failed = |action: &'static str| move |e: std::io::Error| NodeError::storage(action, e);
    let Some(shard) = shard_of(id) else { return Ok(()) };
    if donors(core, id).is_empty() {
        return Err(NodeError::Refused(format!("no other node has a replica of shard {shard}")));
    }
    core.close(id).await;
    let engine = Arc::clone(&core.common.engine);
    write_marker(&core.common.writer, id, &Marker::default()).await.map_err(failed("write marker"))?;
    blocking(move || engine.discard_shard(shard)).await.map_err(failed("discard shard"))?;
    let log = LogStore::open(id, core.common.writer.clone(), &core.common.settings).map_err(failed("open log"))?;
    if let Some(purged) = log.purged_index() {
        let marker = fetch_from_any(core, id, purged).await?;
        let applied = marker.meta.last_log_id;
        if applied.is_some_and(|applied| log.contradicts(&applied).unwrap_or(true)) {
            core.common.writer.submit(Request::Truncate { group: id, from: purged + 1 });
        }
        write_marker(&core.common.writer, id, &marker).await.map_err(failed("write marker"))?;
    }
    drop(log);
    core.open(id, incarnation).await.map(drop)
}

async fn fetch_from_any(core: &Arc<Core>, group: GroupId, at_least: u64) -> Result<Marker, NodeError> {
    let mut last = NodeError::Refused("no node answers".into());
    for donor in donors(core, group) {
        match fetch(core, donor, group, at_least).await {
            Ok(marker) => return Ok(marker),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Puts a donor's image in the place of the shard's content; the marker is not written yet.
async fn fetch(core: &Arc<Core>, donor: NodeId, group: GroupId, at_least: u64) -> Result<Marker, NodeError> {
    let failed = |what: &str| {
        let what = format!("{what} from node {donor}");
        move |error: String| NodeError::network(what, std::io::Error::other(error))
    };
    let mut client = peer_client(&core.common.peers, donor, Lane::Bulk).map_err(|e| failed("fetch an image")(e.to_string()))?;
    let answer = client.fetch_image(wire::FetchImageRequest { group, at_least }).await;
    let mut frames = answer.map_err(|e| failed("fetch an image")(e.to_string()))?.into_inner();
    let first = frames.next().await.and_then(|frame| frame.ok()?.head);
    let head = first.ok_or_else(|| failed("read an image")("it has no head".into()))?;
    let head = Head::parse(head).map_err(failed("read an image"))?;
    if head.group != group || head.marker.meta.last_log_id.map(|id| id.index()) < Some(at_least) {
        return Err(failed("use an image")("it is not the one that was asked for".into()));
    }
    let data = transfer::receive(&head, &core.common.engine, frames).await.map_err(|e| failed("receive an image")(e.to_string()))?;
    let Image::ReceivedShard { import, .. } = data.image else {
        return Err(failed("use an image")("it is not a shard's".into()));
    };
    let shard = blocking(move || import.finish()).await.map_err(|e| NodeError::storage("install image", e))?;
    Ok(Marker { image: shard.stamp(), ..head.marker })
}

/// For a donor: an image that contains the entries up to `at_least`.
pub async fn image_of(group: &Group, at_least: u64) -> Result<Snapshot, String> {
    let reaches = |snapshot: &Snapshot| snapshot.meta.last_log_id.is_some_and(|id| id.index() >= at_least);
    let present = group.raft.get_snapshot().await.map_err(|e| e.to_string())?;
    if let Some(snapshot) = present.filter(reaches) {
        return Ok(snapshot);
    }
    group.raft.trigger().snapshot().await.map_err(|e| e.to_string())?;
    let wait = group.raft.wait(Some(SEAL_PATIENCE));
    wait.metrics(|metrics| metrics.snapshot.map(|id| id.index()) >= Some(at_least), "sealed").await.map_err(|e| e.to_string())?;
    let sealed = group.raft.get_snapshot().await.map_err(|e| e.to_string())?;
    sealed.filter(reaches).ok_or_else(|| "this replica has not applied so much yet".to_owned())
}
