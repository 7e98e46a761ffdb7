//! What a group replicates: a shard's samples, or the cluster's own state.
//!
//! Both are *transient* in Raft's sense: what was applied since the last durable image is in memory only and comes back
//! by replaying the log. [`DurableImage`] says how far the image goes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::{Engine, Shard, ShardId};
use tokio::sync::watch;

use crate::meta::{EncodingError, MetaAnswer, MetaCommand, MetaState};
use crate::types::Marker;

/// The replicated thing itself.
pub enum Machine {
    Shard(ShardMachine),
    /// Boxed: the state of a cluster is many times as large as a handle to a shard.
    Meta(Box<MetaMachine>),
}

/// A shard's replica.
pub struct ShardMachine {
    pub incarnation: u64,
    pub shard: Arc<Shard>,
}

/// The meta group's state; readers follow `published`.
pub struct MetaMachine {
    pub state: MetaState,
    pub published: watch::Sender<Arc<MetaState>>,
}

impl ShardMachine {
    /// Opens the shard or creates an empty one.
    pub fn open(engine: &Engine, id: ShardId, incarnation: u64) -> Result<Self, storage::StorageError> {
        let shard = engine.open_shard(id, incarnation)?;
        Ok(Self { incarnation, shard })
    }
}

impl MetaMachine {
    /// Starts from a durable image, or from nothing.
    pub fn open(image: Option<Bytes>, published: watch::Sender<Arc<MetaState>>) -> Result<Self, EncodingError> {
        let state = match image {
            Some(image) => MetaState::decode(&image)?,
            None => MetaState::default(),
        };
        published.send_replace(Arc::new(state.clone()));
        Ok(Self { state, published })
    }

    /// Applies one command. A command that cannot be read is refused the same way by every replica, except that one from
    /// a newer build stops this node: guessing would make replicas differ.
    pub fn apply(&mut self, payload: &[u8]) -> io::Result<Bytes> {
        let answer = match MetaCommand::decode(payload) {
            Ok(command) => self.state.apply(command),
            Err(EncodingError::Damaged(reason)) => MetaAnswer::Refused { reason },
            Err(error @ EncodingError::TooNew { .. }) => return Err(io::Error::other(error)),
        };
        Ok(Bytes::from(answer.encode()))
    }

    /// Shows readers the state after a run of commands.
    pub fn publish(&self) {
        self.published.send_replace(Arc::new(self.state.clone()));
    }
}

/// Held while a durable image changes: by a seal, by the installing of a snapshot, and by whoever closes the group. The
/// value tells the first two that the group was closed, and that its marker is no longer theirs to write.
pub type ImageLock = Arc<tokio::sync::Mutex<ImageState>>;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    #[default]
    Open,
    Closed,
}

/// How far the image on disk goes; shared by the state machine, snapshot building and those who decide about purging.
#[derive(Default)]
pub struct DurableImage {
    marker: Mutex<Marker>,
}

impl DurableImage {
    pub fn new(marker: Marker) -> Self {
        Self { marker: Mutex::new(marker) }
    }

    /// The last entry in the image, and what was so at that point.
    pub fn marker(&self) -> Marker {
        self.marker.lock().clone()
    }

    /// To be called after the marker was made durable.
    pub fn advance(&self, marker: Marker) {
        *self.marker.lock() = marker;
    }

    /// Index of the last entry in the image.
    pub fn index(&self) -> Option<u64> {
        self.marker.lock().meta.last_log_id.map(|id| id.index())
    }
}
