//! The types that Raft is instantiated with, and short names for them.
//!
//! An entry carries opaque [`Bytes`]; a node in a membership is only its id, because addresses change without consensus
//! and live in `peers`.

use std::fmt;

use bytes::Bytes;
use storage::PartOutcome;

pub use crate::meta::{GroupId, META_GROUP, NodeId, ShardId, group_of, shard_of_group as shard_of};

/// What a normal entry carries.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// Who sent the batches of `body`, in their order, encoded by [`crate::caller::encode`]. Empty in entries of builds that gave
    /// batches no names.
    pub callers: Bytes,
    /// A `batch::join` for a shard, an encoded command for the meta group.
    pub body: Bytes,
}

impl Payload {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.callers.len() + self.body.len()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.bytes())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What a proposal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed {
    /// A shard applied the batch.
    Written(PartOutcome),
    /// The meta group applied the command; its encoded answer.
    Meta(Bytes),
}

/// An entry of a group's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntryAt {
    pub term: u64,
    pub index: u64,
}

impl From<&LogId> for EntryAt {
    fn from(id: &LogId) -> Self {
        Self { term: id.committed_leader_id().term, index: id.index() }
    }
}

/// What a proposal came to, and which entry says so: that of the proposal, or of a later copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub proposed: Proposed,
    pub entry: EntryAt,
}

/// A batch of a shard that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub outcome: PartOutcome,
    pub entry: EntryAt,
}

/// A batch was not applied, and whether an earlier copy of it was is not remembered any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// The newest start of the sender that the group knows of.
    pub start: u64,
}

/// One entry of a group's log on disk, as judges compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine {
    pub index: u64,
    pub term: u64,
    /// CRC-32C of the whole record.
    pub hash: u32,
}

/// What applying one batch of an entry answers.
pub type PartAnswer = Result<Proposed, Forgotten>;

/// What applying an entry answers to its proposer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Blank and membership entries.
    Nothing,
    /// One for each batch joined in the entry; one for a command of the meta group.
    Parts(Vec<PartAnswer>),
}

openraft::declare_raft_types!(
    /// Raft with opaque payloads and bare node ids.
    pub TypeConfig:
        D = Payload,
        R = Answer,
        NodeId = u64,
        Node = (),
        AsyncRuntime = crate::runtime::NodeRuntime,
);

pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
pub type LogId = openraft::LogId<LeaderId>;
pub type Vote = openraft::impls::Vote<LeaderId>;
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type EntryPayload = openraft::EntryPayload<Payload, NodeId, ()>;
pub type Membership = openraft::Membership<NodeId, ()>;
pub type StoredMembership = openraft::StoredMembership<LeaderId, NodeId, ()>;
pub type SnapshotMeta = openraft::SnapshotMeta<LeaderId, NodeId, ()>;

/// How far a durable image goes, and what belongs to exactly that point of the log.
#[derive(Debug, Clone, Default)]
pub struct Marker {
    /// The last entry and the membership.
    pub meta: SnapshotMeta,
    /// An encoded [`crate::callers::CallerMemory`].
    pub callers: Bytes,
    /// The stamp of the shard's content on this node's disk, see [`storage::Shard::stamp`].
    pub image: u64,
}
