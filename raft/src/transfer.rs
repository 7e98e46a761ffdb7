//! A snapshot on its way: read frame by frame on threads that may block, sent under flow control, received alike.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use proto::raft as wire;
use storage::{Engine, SnapshotReader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::convert;
use crate::runtime;
use crate::snapshot::{Image, Snapshot, SnapshotData, blocking};
use crate::types::{GroupId, Marker, Vote, shard_of};

/// Frames read ahead of the network, and received ahead of the disk.
const FRAMES_AHEAD: usize = 4;
/// Size of one frame of the meta group's image.
const META_FRAME_BYTES: usize = 1 << 20;
/// The largest image of the meta group that is accepted.
const META_IMAGE_BYTES_MAX: usize = 1 << 30;

/// A transfer under way.
pub struct Outgoing {
    pub frames: ReceiverStream<wire::SnapshotFrame>,
    /// Counts frames handed to the network.
    pub progress: Arc<AtomicU64>,
}

/// Starts to read a snapshot. Reading stops when `frames` is dropped.
pub fn send(group: GroupId, vote: &Vote, snapshot: Snapshot) -> Outgoing {
    let (frames, receiver) = mpsc::channel(FRAMES_AHEAD);
    let progress = Arc::new(AtomicU64::new(0));
    let Snapshot { meta, snapshot: SnapshotData { image: content, callers } } = snapshot;
    let incarnation = match &content {
        Image::LocalShard { incarnation, .. } | Image::ReceivedShard { incarnation, .. } => *incarnation,
        Image::Meta(_) => 0,
    };
    let image = match &content {
        Image::Meta(image) => Some(image),
        Image::LocalShard { .. } | Image::ReceivedShard { .. } => None,
    };
    let head = wire::SnapshotHead {
        group,
        vote: Some(convert::vote_to_proto(vote)),
        marker: Some(convert::marker_to_proto(&Marker { meta, callers, image: 0 })),
        incarnation,
        image_bytes: image.map_or(0, |image| image.len() as u64),
        image_crc32c: image.map_or(0, |image| crc32c::crc32c(image)),
    };
    let counter = Arc::clone(&progress);
    runtime::spawn(async move {
        let mut next = Some(wire::SnapshotFrame { head: Some(head), data: Bytes::new() });
        let mut source = FrameSource::of(content).await;
        while let Some(frame) = next.take() {
            counter.fetch_add(1, Ordering::Relaxed);
            if frames.send(frame).await.is_err() {
                return;
            }
            next = source.next().await.map(|data| wire::SnapshotFrame { head: None, data });
        }
    });
    Outgoing { frames: ReceiverStream::new(receiver), progress }
}

/// Where the frames of a transfer come from. A frame that cannot be read ends them early; the receiver notices, because the
/// last frame carries the totals.
enum FrameSource {
    Shard(Option<Box<SnapshotReader>>),
    Meta(Bytes),
}

impl FrameSource {
    async fn of(image: Image) -> Self {
        match image {
            Image::LocalShard { shard, .. } => match blocking(move || shard.export()).await {
                Ok(reader) => Self::Shard(Some(Box::new(reader))),
                Err(error) => Self::unreadable(&error),
            },
            Image::Meta(image) => Self::Meta(image),
            Image::ReceivedShard { .. } => Self::unreadable(&"it was never installed"),
        }
    }

    fn unreadable(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(%reason, "read snapshot");
        Self::Shard(None)
    }

    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Meta(image) => (!image.is_empty()).then(|| image.split_to(image.len().min(META_FRAME_BYTES))),
            Self::Shard(reader) => {
                let mut source = reader.take()?;
                match blocking(move || source.next_frame().map(|frame| (source, frame))).await {
                    Ok((source, frame)) => {
                        *reader = Some(source);
                        frame
                    }
                    Err(error) => {
                        tracing::error!(%error, "read snapshot");
                        None
                    }
                }
            }
        }
    }
}

/// Returns the limit once no frame moved for that long.
pub async fn stalled(progress: Arc<AtomicU64>, limit: Duration) -> Duration {
    let mut seen = u64::MAX;
    loop {
        let now = progress.load(Ordering::Relaxed);
        if now == seen {
            return limit;
        }
        seen = now;
        tokio::time::sleep(limit).await;
    }
}

/// What the head of a transfer says.
pub struct Head {
    pub group: GroupId,
    pub vote: Vote,
    pub marker: Marker,
    pub incarnation: u64,
    image_bytes: u64,
    image_crc32c: u32,
}

impl Head {
    pub fn parse(head: wire::SnapshotHead) -> Result<Self, convert::Refusal> {
        let marker = head.marker.ok_or("a snapshot without a marker")?;
        Ok(Self {
            group: head.group,
            vote: convert::vote_from_proto(head.vote)?,
            marker: convert::marker_from_proto(marker)?,
            incarnation: head.incarnation,
            image_bytes: head.image_bytes,
            image_crc32c: head.image_crc32c,
        })
    }

    fn data(&self, image: Image) -> SnapshotData {
        SnapshotData { image, callers: self.marker.callers.clone() }
    }
}

/// Receives the frames after the head. Nothing of them is visible until the snapshot is installed; an error or an early
/// end leaves the replica as it was.
pub async fn receive(
    head: &Head,
    engine: &Arc<Engine>,
    mut frames: impl Stream<Item = Result<wire::SnapshotFrame, tonic::Status>> + Unpin,
) -> io::Result<SnapshotData> {
    let Some(shard) = shard_of(head.group) else {
        let mut image = BytesMut::new();
        while let Some(frame) = frames.next().await {
            image.extend_from_slice(&frame.map_err(io::Error::other)?.data);
            if image.len() > META_IMAGE_BYTES_MAX {
                return Err(io::Error::other("the meta group's image is too large"));
            }
        }
        if image.len() as u64 != head.image_bytes || crc32c::crc32c(&image) != head.image_crc32c {
            return Err(io::Error::other("the meta group's image did not arrive whole"));
        }
        return Ok(head.data(Image::Meta(image.freeze())));
    };
    let incarnation = head.incarnation;
    let mut import = engine.import(shard, incarnation).map_err(io::Error::other)?;
    while let Some(frame) = frames.next().await {
        let data = frame.map_err(io::Error::other)?.data;
        import = blocking(move || import.push(&data).map(|()| import)).await?;
    }
    Ok(head.data(Image::ReceivedShard { import: Box::new(import), incarnation }))
}
