//! How far the joins, removals and replacements are that an administrator asked for: read off the state.

use super::ids::{GroupId, NodeId};
use super::member::MemberState;
use super::state::MetaState;
use serde::Serialize;

/// The recipe of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum JoinStage {
    /// The node has an id, which it keeps in its data directory, and listens. Nobody talks to it yet.
    Admitted,
    /// The meta group adds it as a learner; it receives the map. When it has caught up it is active, gets a vote if
    /// that makes the voters an odd number, and replicas move to it until all nodes hold the same.
    Learning,
}

/// The recipe of a removal; a replacement is a removal that names who takes the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum LeaveStage {
    /// The node gets nothing new and hands its leaderships over. One group after the other gets a learner elsewhere,
    /// waits until it has caught up, changes its voters, and is wiped here. Without a node to take it, a shard goes on
    /// with one replica fewer. A dead node is emptied in the same way, by the others.
    Emptying { groups: Vec<GroupId> },
    /// It holds no shard: the meta group lets it go, and a learner takes its vote.
    LeavingMeta,
    /// It holds nothing; what is left is to write its tombstone. Its id is never used again.
    Gone,
}

/// A change of the members, under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    Join { node: NodeId, stage: JoinStage },
    Remove { node: NodeId, stage: LeaveStage },
    Replace { node: NodeId, replacement: NodeId, stage: LeaveStage },
}

/// Every change under way, by node.
pub fn changes(state: &MetaState) -> Vec<Change> {
    let of_member = |member: &super::member::Member| match member.state {
        MemberState::Joining => Some(Change::Join { node: member.id, stage: join_stage(state, member.id) }),
        MemberState::Draining => {
            let (node, stage) = (member.id, leave_stage(state, member.id));
            Some(match member.replacement {
                Some(replacement) => Change::Replace { node, replacement, stage },
                None => Change::Remove { node, stage },
            })
        }
        MemberState::Active | MemberState::Removed => None,
    };
    state.members.values().filter_map(of_member).collect()
}

fn join_stage(state: &MetaState, node: NodeId) -> JoinStage {
    if state.meta.arriving().contains(&node) { JoinStage::Learning } else { JoinStage::Admitted }
}

fn leave_stage(state: &MetaState, node: NodeId) -> LeaveStage {
    let groups: Vec<GroupId> = state.groups_of(node).into_keys().collect();
    match groups[..] {
        [] => LeaveStage::Gone,
        [super::ids::META_GROUP] => LeaveStage::LeavingMeta,
        _ => LeaveStage::Emptying { groups },
    }
}
