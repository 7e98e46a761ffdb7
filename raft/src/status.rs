//! What a node says about itself: for operators, for its own metrics, and for the leader of the meta group.

use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use proto::raft as wire;

use crate::core::Core;
use crate::group::Group;
use crate::space::Space;

/// The node and all its groups, as of now.
pub fn node_status(core: &Core) -> wire::NodeStatus {
    let state = core.state();
    let members = state.members.values().map(|member| wire::MemberStatus {
        node_id: member.id,
        grpc_address: member.grpc.clone(),
        http_address: member.http.clone(),
        state: format!("{:?}", member.state).to_lowercase(),
    });
    wire::NodeStatus {
        node_id: core.local(),
        cluster_id: state.cluster_id.clone(),
        ready: core.is_ready(),
        groups: core.groups().iter().map(|group| group_status(group, core.leader_patience())).collect(),
        members: members.collect(),
        disk_full: core.common.space.get() != Space::Ample,
    }
}

/// One group. Its leader is named only if it showed within `leader_patience` that it leads.
pub fn group_status(group: &Group, leader_patience: Duration) -> wire::GroupStatus {
    // Cloned at once: Raft cannot go on while the value is borrowed.
    let metrics = group.raft.metrics().borrow_watched().clone();
    let last_index = metrics.last_log_index.unwrap_or(0);
    let matched = metrics.replication.iter().flatten();
    let lags = matched.filter_map(|(&node_id, matched)| {
        let entries = last_index.saturating_sub((*matched)?.index());
        Some(wire::MemberLag { node_id, entries })
    });
    let membership = metrics.membership_config.membership();
    let joint = membership.get_joint_config().len() > 1;
    wire::GroupStatus {
        group: group.id,
        leader: group.leader_within(leader_patience),
        term: metrics.current_term,
        role: role_name(metrics.state).to_owned(),
        last_index,
        committed_index: metrics.local_committed.map_or(0, |id| id.index()),
        applied_index: metrics.last_applied.map_or(0, |id| id.index()),
        durable_index: group.durable.index().unwrap_or(0),
        purged_index: metrics.purged.map_or(0, |id| id.index()),
        voters: membership.voter_ids().collect(),
        learners: membership.learner_ids().collect(),
        changing: joint || metrics.membership_config != metrics.committed_membership_config,
        leader_age_ms: group.leader_age().as_millis() as u64,
        lags: lags.collect(),
        quorum_age_ms: metrics.last_quorum_acked.map(|at| at.elapsed().as_millis() as u64),
    }
}

fn role_name(role: ServerState) -> &'static str {
    match role {
        ServerState::Learner => "learner",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Leader => "leader",
        ServerState::Shutdown => "stopped",
    }
}
