//! What the leader of the meta group sees of the world when it plans: which nodes answer, what the groups really are.
//!
//! Read the state first and observe afterwards: then an observation is never older than the plan it is held against.
//! And pass a read barrier of group 0 before carrying out a plan, so that a deposed leader stops.

use super::ids::{GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// How far a replica may lag and still count as caught up.
pub const CATCH_UP_ENTRIES_MAX: u64 = 64;

/// Whether a node answers. Who observes chooses the times: a node is `Live` when it has answered without a gap for some
/// seconds, `Down` when it has been silent for a minute or so. Between the two nothing is decided about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Live,
    Suspect,
    Down,
}

/// One group as its leader reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupView {
    pub leader: Option<NodeId>,
    /// How long the leader has led without a break, milliseconds.
    pub leader_age_ms: u64,
    /// The voters of the committed membership; the union of both sides of a joint one.
    pub voters: BTreeSet<NodeId>,
    pub learners: BTreeSet<NodeId>,
    /// The membership is a joint one, or not committed yet: a change is under way.
    pub changing: bool,
    /// Entries each member's log is behind the leader's; members the leader has not heard of are missing.
    pub lag_entries: BTreeMap<NodeId, u64>,
}

impl GroupView {
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.union(&self.learners).copied().collect()
    }

    pub fn has_caught_up(&self, node: NodeId) -> bool {
        self.lag_entries.get(&node).is_some_and(|&lag| lag <= CATCH_UP_ENTRIES_MAX)
    }
}

/// Everything observed in one round. What is missing was not heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub health: BTreeMap<NodeId, Health>,
    pub groups: BTreeMap<GroupId, GroupView>,
}

impl Observed {
    pub fn health(&self, node: NodeId) -> Health {
        self.health.get(&node).copied().unwrap_or(Health::Suspect)
    }

    pub fn is_live(&self, node: NodeId) -> bool {
        self.health(node) == Health::Live
    }

    pub fn is_down(&self, node: NodeId) -> bool {
        self.health(node) == Health::Down
    }

    /// A group that can be worked on: it has a leader.
    pub fn led(&self, group: GroupId) -> Option<(NodeId, &GroupView)> {
        let view = self.groups.get(&group)?;
        Some((view.leader?, view))
    }

    /// Whether these voters could commit with the nodes that answer now.
    pub fn has_quorum(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.iter().filter(|&&node| self.is_live(node)).count() * 2 > voters.len()
    }
}
