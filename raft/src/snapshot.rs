//! The durable image as Raft's snapshot: making one, sending it, receiving it.
//!
//! Making one is sealing. Between two applies the head is frozen at entry D; then, beside further applies:
//!
//! 1. [`Stage::Persist`]: the frozen part is written as sorted files and ingested;
//! 2. [`Stage::Mark`]: `{D, membership at D}` is made durable *in the log*, behind every entry up to D, so that the marker
//!    is never ahead of the log;
//! 3. [`Stage::Release`]: memory is freed, and the snapshot exists: the log up to D may be purged.
//!
//! A crash between any two leaves an older marker; replay applies entries that the image already has, which changes
//! nothing. For the same reason a transfer may contain a newer image than its marker says.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftSnapshotBuilder;
use prost::Message;
use storage::{Frozen, SeededBug, Shard, SnapshotImport};

use crate::convert;
use crate::log_writer::LogWriter;
use crate::machine::{DurableImage, ImageState};
use crate::runtime;
use crate::types::{GroupId, Marker, TypeConfig};

/// Key of the marker in the log, for every group.
pub const KEY_MARKER: &str = "marker";
/// Key of the meta group's image, which contains its marker.
pub const KEY_META_IMAGE: &str = "image";

pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// A handle on an image: to read it, or as received and not yet visible.
///
/// Beside it stands which batches had been applied at exactly the point that the snapshot's own metadata name.
pub struct SnapshotData {
    pub image: Image,
    /// An encoded [`crate::callers::CallerMemory`].
    pub callers: Bytes,
}

/// The content itself.
pub enum Image {
    /// The durable image of a local shard, read when it is sent.
    LocalShard { shard: Arc<Shard>, incarnation: u64 },
    /// The meta group's state, encoded.
    Meta(Bytes),
    /// All frames arrived; finishing the import makes them the shard's content.
    ReceivedShard { import: Box<SnapshotImport>, incarnation: u64 },
}

/// What is sealed.
pub enum Source {
    Shard { shard: Arc<Shard>, frozen: Option<Frozen>, incarnation: u64 },
    Meta { image: Bytes },
}

/// Seals what was frozen when the builder was made.
pub struct SnapshotBuilder {
    pub group: GroupId,
    pub marker: Marker,
    /// Taken by the first build.
    pub source: Option<Source>,
    pub durable: Arc<DurableImage>,
    pub writer: LogWriter,
    /// Held until the seal is over: a seal, an installed snapshot and the closing of the group never interleave.
    pub _lock: tokio::sync::OwnedMutexGuard<ImageState>,
}

/// How far a seal has come; only for the log.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Persist,
    Mark,
    Release,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let source = self.source.take().ok_or_else(|| io::Error::other("the group is closed, or the seal was built before"))?;
        let image = match source {
            Source::Shard { shard, frozen, incarnation } => {
                self.seal_shard(&shard, frozen).await?;
                Image::LocalShard { shard, incarnation }
            }
            Source::Meta { image } => {
                self.enter(Stage::Mark);
                write_meta_image(&self.writer, self.group, &self.marker, &image).await?;
                Image::Meta(image)
            }
        };
        self.durable.advance(self.marker.clone());
        let Marker { meta, callers, .. } = self.marker.clone();
        Ok(Snapshot { meta, snapshot: SnapshotData { image, callers } })
    }
}

impl SnapshotBuilder {
    async fn seal_shard(&mut self, shard: &Arc<Shard>, frozen: Option<Frozen>) -> io::Result<()> {
        let frozen = match frozen {
            None => None,
            Some(frozen) => {
                self.enter(Stage::Persist);
                let persisted = blocking(move || frozen.persist().map(|_| frozen)).await?;
                Some(persisted)
            }
        };
        self.enter(Stage::Mark);
        self.marker.image = shard.stamp();
        if SeededBug::PurgeBeforeMarker.is_on() {
            let (writer, group, marker) = (self.writer.clone(), self.group, self.marker.clone());
            runtime::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                let _ = write_marker(&writer, group, &marker).await;
            });
        } else {
            write_marker(&self.writer, self.group, &self.marker).await?;
        }
        if let Some(frozen) = frozen {
            self.enter(Stage::Release);
            shard.release(frozen);
        }
        Ok(())
    }

    fn enter(&self, stage: Stage) {
        tracing::debug!(group = self.group, ?stage, upto = ?self.marker.meta.last_log_id, "seal");
    }
}

/// Runs disk work on a thread that may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, storage::StorageError> + Send + 'static) -> io::Result<T> {
    runtime::blocking(work).await.map_err(io::Error::other)?.map_err(io::Error::other)
}

/// Makes a marker durable, after everything that was handed to the log before.
pub async fn write_marker(writer: &LogWriter, group: GroupId, marker: &Marker) -> io::Result<()> {
    writer.put_meta(group, KEY_MARKER, Bytes::from(convert::marker_to_proto(marker).encode_to_vec())).await
}

/// Reads the marker; a replica without one starts from nothing.
pub fn read_marker(writer: &LogWriter, group: GroupId) -> io::Result<Marker> {
    match writer.db().get_meta(group, KEY_MARKER).map_err(io::Error::other)? {
        Some(bytes) => decode_marker(bytes),
        None => Ok(Marker::default()),
    }
}

/// Makes the meta group's image and marker durable in one value, so that they cannot differ.
pub async fn write_meta_image(writer: &LogWriter, group: GroupId, marker: &Marker, image: &Bytes) -> io::Result<()> {
    let head = proto::raft::SnapshotFrame {
        head: Some(proto::raft::SnapshotHead { group, vote: None, marker: Some(convert::marker_to_proto(marker)), ..Default::default() }),
        data: image.clone(),
    };
    writer.put_meta(group, KEY_META_IMAGE, Bytes::from(head.encode_to_vec())).await
}

/// The meta group's marker and image, if it was ever sealed.
pub fn read_meta_image(writer: &LogWriter, group: GroupId) -> io::Result<(Marker, Option<Bytes>)> {
    let Some(bytes) = writer.db().get_meta(group, KEY_META_IMAGE).map_err(io::Error::other)? else {
        return Ok((Marker::default(), None));
    };
    let frame = proto::raft::SnapshotFrame::decode(bytes).map_err(invalid)?;
    let marker = frame.head.and_then(|head| head.marker).ok_or_else(|| invalid("a meta image without its marker"))?;
    Ok((convert::marker_from_proto(marker).map_err(invalid)?, Some(frame.data)))
}

fn decode_marker(bytes: Bytes) -> io::Result<Marker> {
    let marker = proto::raft::Marker::decode(bytes).map_err(invalid)?;
    convert::marker_from_proto(marker).map_err(invalid)
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
