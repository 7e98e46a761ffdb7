//! A node of the cluster and where it stands in its life.

use super::ids::NodeId;
use serde::{Deserialize, Serialize};

/// The life of a node id. It only moves forward, except that a drain may be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Has an id; is not yet a caught-up member of the meta group; holds no shards.
    Joining,
    /// Takes replicas and leaderships.
    Active,
    /// Is to leave: gets nothing new, what it holds is moved away.
    Draining,
    /// A tombstone: holds nothing, will never come back. Kept so that the id is known to be dead.
    Removed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: NodeId,
    /// `host:port` of its gRPC listener, as other nodes reach it.
    pub grpc: String,
    /// `host:port` of its HTTP listener, as users reach it.
    pub http: String,
    pub state: MemberState,
    /// What the joining process calls itself until it has an id: a retried join gets the same id. Empty for founders.
    #[serde(default)]
    pub token: String,
    /// While draining: the node that should take over its replicas (`replace_node`).
    #[serde(default)]
    pub replacement: Option<NodeId>,
    /// The newest command format this node reads; a leader proposes none that is newer than the oldest member's.
    #[serde(default)]
    pub format: u32,
}

impl Member {
    pub fn is_active(&self) -> bool {
        self.state == MemberState::Active
    }

    pub fn is_removed(&self) -> bool {
        self.state == MemberState::Removed
    }
}
