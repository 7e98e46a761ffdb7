//! The types that Raft is instantiated with, and short names for them.
//!
//! An entry carries opaque [`Bytes`]; a node in a membership is only its id, because addresses change without consensus
//! and live in `peers`.

use std::fmt;

use bytes::Bytes;
use storage::PartOutcome;

pub use crate::meta::{GroupId, META_GROUP, NodeId, ShardId, group_of, shard_of_group as shard_of};

/// What a normal entry carries: a `batch::join` for a shard, an encoded command for the meta group.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What applying an entry answers to its proposer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Blank and membership entries.
    Nothing,
    /// One outcome for each batch joined in the entry.
    Parts(Vec<PartOutcome>),
    /// The meta group's answer, encoded by it.
    Meta(Bytes),
}

openraft::declare_raft_types!(
    /// Raft with opaque payloads and bare node ids.
    pub TypeConfig:
        D = Payload,
        R = Answer,
        NodeId = u64,
        Node = (),
);

pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
pub type LogId = openraft::LogId<LeaderId>;
pub type Vote = openraft::impls::Vote<LeaderId>;
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type EntryPayload = openraft::EntryPayload<Payload, NodeId, ()>;
pub type Membership = openraft::Membership<NodeId, ()>;
pub type StoredMembership = openraft::StoredMembership<LeaderId, NodeId, ()>;
pub type SnapshotMeta = openraft::SnapshotMeta<LeaderId, NodeId, ()>;
