//! Where one group's replicas are, and the recipe by which they move.

use super::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One group: the meta group or a shard.
///
/// Invariants: `replicas` and `learners` are disjoint; while a move is under way they still say what was before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Grows when a shard's content is founded anew; data of another incarnation is never mixed in.
    pub incarnation: u64,
    /// The voters.
    pub replicas: BTreeSet<NodeId>,
    /// Members without a vote. A shard has some only during a move; the meta group also to keep its voters odd.
    #[serde(default)]
    pub learners: BTreeSet<NodeId>,
    #[serde(default)]
    pub moving: Option<Move>,
}

/// A change of one group's members, under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The voters when it is done.
    pub replicas: BTreeSet<NodeId>,
    /// The learners when it is done.
    #[serde(default)]
    pub learners: BTreeSet<NodeId>,
    pub stage: MoveStage,
}

/// The recipe of a move. Each stage says what the leader of the meta group does in it, and when it is over; only then
/// is [`super::MetaCommand::AdvanceMove`] proposed. All deeds may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveStage {
    /// The new members are in the log: each of them opens an empty replica when it applies that. Meanwhile the group's
    /// leader adds each as a learner, without waiting. Over when the group's committed membership lists them all.
    AddLearners,
    /// The learners receive the log, or a snapshot and then the log. Over when each is within
    /// [`super::observed::CATCH_UP_ENTRIES_MAX`] entries of the leader, so that the change of voters cannot stall writes.
    CatchUp,
    /// If the group's leader is to leave, it first hands its leadership to one who stays. Then the leader changes the
    /// voters through a joint membership, and removes learners that are to leave. Over when the committed membership
    /// is exactly the wanted one. Until here the old replicas have all data; from here the new ones have.
    ChangeVoters,
    /// The move is given up, because a new member died or is itself to leave before it had a vote: the leader removes
    /// the learners it had added. Over when the membership is what it was before the move.
    Withdraw,
    // After the last stage the map says what the membership is. A node that the map does not list for a group any more
    // closes its replica and wipes its data, but keeps the group's vote: it could be added again.
}

impl Placement {
    pub fn founded(replicas: BTreeSet<NodeId>) -> Self {
        Self { incarnation: 1, replicas, learners: BTreeSet::new(), moving: None }
    }

    /// Every node that must keep a replica of this group open now: before a move ends, also those who will leave.
    pub fn holders(&self) -> BTreeSet<NodeId> {
        let mut nodes: BTreeSet<_> = self.replicas.union(&self.learners).copied().collect();
        if let Some(change) = &self.moving {
            nodes.extend(change.members());
        }
        nodes
    }

    pub fn members(&self) -> BTreeSet<NodeId> {
        self.replicas.union(&self.learners).copied().collect()
    }

    /// The voters as they will be once a move under way is over (or as they are).
    pub fn replicas_next(&self) -> &BTreeSet<NodeId> {
        match &self.moving {
            Some(change) if change.stage != MoveStage::Withdraw => &change.replicas,
            _ => &self.replicas,
        }
    }

    /// Who joins the group by the move under way.
    pub fn arriving(&self) -> BTreeSet<NodeId> {
        let Some(change) = &self.moving else { return BTreeSet::new() };
        change.members().difference(&self.members()).copied().collect()
    }
}

impl Move {
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.replicas.union(&self.learners).copied().collect()
    }
}
