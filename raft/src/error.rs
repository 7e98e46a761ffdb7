//! What can go wrong when a node is asked for something, and what the caller should do about it.

use crate::types::NodeId;

/// A write was not acknowledged. It may still have been applied, or be applied later, once, unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The shard has no leader, or its leader has no majority. Answer 503 with Retry-After.
    #[error("no majority of the replicas of {what} can be reached")]
    NoQuorum { what: String },
    /// The deadline passed before the answer came. Answer 503 with Retry-After.
    #[error("{what} did not answer before the deadline")]
    Timeout { what: String },
    /// Too many bytes are waiting already; nothing was done. Answer 429 or 503 with Retry-After.
    #[error("too many bytes in flight")]
    Overloaded,
    /// The shard does not exist (yet). Answer 503 with Retry-After.
    #[error("{what} is unknown to the shard map")]
    Unknown { what: String },
    /// The leader cannot read the batch or command; nothing was done, and repeating it is of no use. Answer 400.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// The write was repeated inside the cluster so late that nobody remembers whether it was applied before, and so it was not
    /// applied again. Answer 503 with Retry-After.
    #[error("the outcome of a write to {what} is not known any more")]
    Forgotten { what: String },
    /// The leader's disk is nearly full, and no other node could take over; nothing was done. Answer 503 with Retry-After.
    #[error("the disk of the leader of {what} is nearly full")]
    DiskFull { what: String },
    /// This node is stopping; another one takes the write.
    #[error("this node is shutting down")]
    ShuttingDown,
}

/// A strong read cannot be served. Answer 503; a caller content with `eventual` reads the local replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed its leadership in time.
    #[error("no majority of the replicas of shard {shard} can be reached")]
    NoQuorum { shard: u32 },
    /// The leader answered, but the local replica lags and did not catch up before the deadline.
    #[error("the local replica of shard {shard} did not catch up before the deadline")]
    Lagging { shard: u32 },
    /// This node holds no replica of the shard: read it from one that does.
    #[error("this node holds no replica of shard {shard}")]
    NoReplica { shard: u32 },
    /// This node is stopping.
    #[error("this node is shutting down")]
    ShuttingDown,
}

/// The node cannot start, or an operation on the cluster cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Disk or its content. The process must not go on.
    #[error("{context}: {source}")]
    Storage {
        context: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address cannot be listened on, or the peer cannot be reached.
    #[error("{context}: {source}")]
    Network {
        context: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The data directory is empty although the cluster knows this id: its disk was wiped. A wiped node may have voted
    /// and forgotten it, so it must come back under a new id (`--join`, then `tern admin replace-node`).
    #[error("node {node} has an empty data directory, but the cluster already knows it: join under a new id instead")]
    Wiped { node: NodeId },
    /// The data directory was written by another node or another cluster.
    #[error("the data directory belongs to {found}, this node is {expected}")]
    ForeignDirectory { found: String, expected: String },
    /// The operation makes no sense in the present state of the cluster; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The image of a replica is damaged or incomplete, its log is not: the image comes from another node.
    #[error("the image of group {group} cannot be trusted: {reason}")]
    ImageLost { group: u64, reason: String },
    /// Raft of one group stopped.
    #[error("group {group}: {reason}")]
    Group { group: u64, reason: String },
    /// This node is stopping and opens nothing any more.
    #[error("this node is shutting down")]
    ShuttingDown,
}

impl NodeError {
    /// A fault of a replica's image.
    pub fn image(group: u64, action: &'static str, error: storage::StorageError) -> Self {
        match error.is_damage() {
            true => Self::ImageLost { group, reason: format!("{action}: {error}") },
            false => Self::storage(action, error),
        }
    }

    /// A fault of the disk, with what was being done.
    pub fn storage(context: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Storage { context, source: Box::new(source) }
    }

    /// A fault of the network, with what was being done.
    pub fn network(context: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Network { context: context.into(), source: Box::new(source) }
    }
}
