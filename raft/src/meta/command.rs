//! What can be written into the meta group's log, and what applying it answers.

use super::ids::{GroupId, NodeId};
use super::kv::{KvChange, KvCondition};
use super::placement::MoveStage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A founding member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMember {
    pub id: NodeId,
    pub grpc: String,
    pub http: String,
}

/// A command. Whatever is random or timed (cluster id, hash key, tokens) was decided by the proposer and stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaCommand {
    /// Founds the cluster. The first one in the log wins; later ones (every founder may propose one) are answered
    /// with [`MetaAnswer::Done`] and change nothing.
    Bootstrap {
        /// 32 hexadecimal digits.
        cluster_id: String,
        /// Keys the hash of series, the same on all nodes for ever.
        #[serde(with = "super::encoding::key_bytes")]
        hash_key: [u8; 16],
        members: Vec<NewMember>,
        shards: u32,
        replication_factor: u32,
    },
    /// A new process asks for an id. Asking again with the same token gives the same id. Its address may be that of a
    /// dead member, whose place it comes to take: every message between nodes names the id it is meant for.
    Admit { token: String, grpc: String, http: String, format: u32 },
    /// A member says where it can be reached now and what it understands; it does so at every start.
    Announce { node: NodeId, grpc: String, http: String, format: u32 },
    /// Removes a node, step by step: what it holds is moved away first, to `replacement` if one is named.
    Drain { node: NodeId, replacement: Option<NodeId> },
    /// Takes a drain back. What was moved away stays away; balance brings other replicas.
    CancelDrain { node: NodeId },
    /// The last step of a drain: the node holds nothing any more.
    Remove { node: NodeId },
    /// How many replicas every shard should have once there are enough nodes. Odd.
    SetReplicationFactor { replication_factor: u32 },
    /// Opens a move of one group at [`MoveStage::AddLearners`].
    StartMove { group: GroupId, replicas: BTreeSet<NodeId>, learners: BTreeSet<NodeId> },
    /// The deeds of stage `from` are done. Anything but the current stage is refused, so a late leader does no harm.
    AdvanceMove { group: GroupId, from: MoveStage },
    /// Gives a move up that has not reached [`MoveStage::ChangeVoters`].
    WithdrawMove { group: GroupId },
    /// A transaction of the key-value store.
    Write { conditions: Vec<KvCondition>, changes: Vec<KvChange> },
}

/// What applying a command answers. A refusal changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaAnswer {
    Done,
    /// The joining process is this node from now on.
    Admitted {
        node: NodeId,
    },
    /// The transaction happened; every key it put has this version.
    Written {
        version: u64,
    },
    /// A condition of the transaction does not hold: the key has this version, or does not exist.
    Conflict {
        key: String,
        version: Option<u64>,
    },
    /// The command makes no sense in this state; the reason is for people.
    Refused {
        reason: String,
    },
}

impl MetaAnswer {
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Conflict { .. })
    }
}

impl MetaCommand {
    /// Puts one key, whatever it held.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let changes = vec![KvChange::Put { key: key.into(), value: value.into() }];
        Self::Write { conditions: Vec::new(), changes }
    }

    /// Puts one key if it is what the writer thinks it is.
    pub fn put_if(key: impl Into<String>, expect: super::kv::Expect, value: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        let conditions = vec![KvCondition { key: key.clone(), expect }];
        Self::Write { conditions, changes: vec![KvChange::Put { key, value: value.into() }] }
    }

    pub fn delete(key: impl Into<String>) -> Self {
        Self::Write { conditions: Vec::new(), changes: vec![KvChange::Delete { key: key.into() }] }
    }
}
