//! A node whose disk is nearly full hands its leaderships over: a leader must write whatever is written to its group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proto::raft as wire;

use crate::core::Core;
use crate::group::Group;
use crate::meta::observed::CATCH_UP_ENTRIES_MAX;
use crate::network::peer_client;
use crate::peers::Lane;
use crate::space::Space;
use crate::status;
use crate::types::NodeId;

const INTERVAL: Duration = Duration::from_millis(250);
const ASK_TIMEOUT: Duration = Duration::from_millis(300);
/// A hand-over is given so long before another heir is looked for.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until the node closes.
pub async fn run(core: Arc<Core>) {
    while core.closing.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        if core.common.space.get() == Space::Ample {
            continue;
        }
        let led: Vec<Arc<Group>> = core.groups().into_iter().filter(|group| group.leads()).collect();
        if !led.is_empty() {
            let roomy = roomy_nodes(&core, &led).await;
            futures::future::join_all(led.iter().map(|group| hand_over(&core, group, &roomy))).await;
        }
    }
}

/// Voters of these groups that answer and have room.
async fn roomy_nodes(core: &Core, led: &[Arc<Group>]) -> BTreeSet<NodeId> {
    let voters: BTreeSet<NodeId> = led.iter().flat_map(|group| group.voters()).filter(|node| *node != core.local()).collect();
    let asks = voters.into_iter().map(|node| async move {
        let mut client = peer_client(&core.common.peers, node, Lane::Control).ok()?;
        let answer = tokio::time::timeout(ASK_TIMEOUT, client.peer_status(wire::StatusRequest {})).await.ok()?.ok()?;
        (!answer.into_inner().disk_full).then_some(node)
    });
    futures::future::join_all(asks).await.into_iter().flatten().collect()
}

/// To the voter with room that has most of the log; to nobody when none has nearly all of it.
async fn hand_over(core: &Core, group: &Group, roomy: &BTreeSet<NodeId>) {
    let status = status::group_status(group, core.leader_patience());
    let lags: BTreeMap<NodeId, u64> = status.lags.iter().map(|lag| (lag.node_id, lag.entries)).collect();
    let able = roomy.iter().filter(|node| status.voters.contains(node));
    let heirs = able.filter_map(|node| Some((*lags.get(node)?, *node))).filter(|(lag, _)| *lag <= CATCH_UP_ENTRIES_MAX);
    let Some((_, heir)) = heirs.min() else { return };
    tracing::warn!(group = group.id, heir, "the disk is nearly full; another node shall lead");
    if let Err(error) = group.raft.trigger().transfer_leader(heir).await {
        tracing::debug!(group = group.id, %error, "hand over");
        return;
    }
    let local = core.local();
    let mut view = group.watch_view();
    let moved = view.wait_for(|(view, _)| view.leader.is_some_and(|leader| leader != local));
    let _ = tokio::time::timeout(HAND_OVER_TIMEOUT, moved).await;
}
