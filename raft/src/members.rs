//! Changing a group's members, on the node that leads it.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use proto::raft as wire;
use proto::raft::change_group_request::Change;

use crate::core::Core;
use crate::group::Group;
use crate::meta::observed::CATCH_UP_ENTRIES_MAX;
use crate::status;
use crate::types::NodeId;

/// Carries out one change; a group that this node does not lead, or that is busy with another change, refuses.
pub async fn change(core: &Core, request: wire::ChangeGroupRequest) -> wire::ChangeGroupAnswer {
    let Some(group) = core.group(request.group) else {
        return refusal(None, format!("this node does not hold group {}", request.group));
    };
    let leader = group.view().leader;
    match carry_out(&group, request, core.leader_patience()).await {
        Ok(()) => wire::ChangeGroupAnswer { done: true, leader, problem: String::new() },
        Err(problem) => refusal(leader, problem),
    }
}

fn refusal(leader: Option<NodeId>, problem: String) -> wire::ChangeGroupAnswer {
    wire::ChangeGroupAnswer { done: false, leader, problem }
}

async fn carry_out(group: &Group, request: wire::ChangeGroupRequest, leader_patience: Duration) -> Result<(), String> {
    let raft = &group.raft;
    let nodes: BTreeSet<NodeId> = request.nodes.iter().copied().collect();
    match request.change() {
        Change::Unspecified => Err("no change named".into()),
        Change::AddLearner => raft.add_learner(request.node_id, (), false).await.map(drop).map_err(text),
        Change::SetVoters => raft.change_membership(nodes, false).await.map(drop).map_err(text),
        Change::RemoveLearners => raft.change_membership(ChangeMembers::RemoveNodes(nodes), false).await.map(drop).map_err(text),
        Change::TransferLeader => {
            check_heir(&status::group_status(group, leader_patience), request.node_id)?;
            raft.trigger().transfer_leader(request.node_id).await.map_err(text)
        }
    }
}

/// openraft hands over to whomever it is told, and waits for ever for one that cannot take over.
fn check_heir(group: &wire::GroupStatus, heir: NodeId) -> Result<(), String> {
    if group.role != "leader" {
        return Err("this node does not lead the group".into());
    }
    if group.leader == Some(heir) || !group.voters.contains(&heir) {
        return Err(format!("node {heir} is not another voter of the group"));
    }
    match group.lags.iter().find(|lag| lag.node_id == heir) {
        Some(lag) if lag.entries <= CATCH_UP_ENTRIES_MAX => Ok(()),
        _ => Err(format!("node {heir} has not caught up")),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
