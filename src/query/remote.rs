//! Series of a shard that another node holds, streamed over gRPC into the engine's buffer. The engine is synchronous and
//! runs on a blocking thread, so frames come through a channel that a task of the runtime fills; the channel's bound is
//! what slows a fast peer down.

use std::time::Instant;

use promql::source::{SeriesBuffer, SeriesCursor, SourceError};
use proto::query as wire;
use storage::chunk::ChunkView;
use storage::labels::ShardId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::convert::labels_from_canonical;
use crate::peers::Peers;

/// Frames of about 256 KiB each that wait for the engine.
const FRAMES_WAITING: usize = 4;

const CUT_SHORT: &str = "the peer's answer ended early";

type Frame = Result<wire::SamplesFrame, Status>;

/// Reads the answer of one peer.
pub struct RemoteCursor {
    shard: ShardId,
    base_ms: i64,
    frames: mpsc::Receiver<Frame>,
    series: std::vec::IntoIter<wire::SeriesSamples>,
}

impl RemoteCursor {
    /// Asks in the background; the first `next` waits for the first frame.
    pub fn open(peers: &Peers, runtime: &Handle, selection: wire::Selection) -> RemoteCursor {
        let (sender, frames) = mpsc::channel(FRAMES_WAITING);
        let cursor = RemoteCursor { shard: selection.shard, base_ms: selection.start_ms, frames, series: Vec::new().into_iter() };
        runtime.spawn(pump(peers.clone(), selection, sender));
        cursor
    }

    fn decode(&self, series: &wire::SeriesSamples, buffer: &mut SeriesBuffer) -> Result<(), SourceError> {
        buffer.labels = labels_from_canonical(&series.labels);
        for chunk in &series.chunks {
            ChunkView::parse(chunk, self.base_ms)
                .and_then(|view| view.decode_into(&mut buffer.timestamps, &mut buffer.values))
                .map_err(|error| SourceError::Failed(format!("shard {}: decode a peer's chunk: {error}", self.shard)))?;
        }
        Ok(())
    }
}

impl SeriesCursor for RemoteCursor {
    fn next(&mut self, buffer: &mut SeriesBuffer) -> Result<bool, SourceError> {
        buffer.clear();
        loop {
            if let Some(series) = self.series.next() {
                self.decode(&series, buffer)?;
                return Ok(true);
            }
            match self.frames.blocking_recv() {
                Some(Ok(frame)) => self.series = frame.series.into_iter(),
                Some(Err(status)) => return Err(source_error(self.shard, &status)),
                None => return Ok(false),
            }
        }
    }
}

/// Asks the holders one after the other until one begins to answer, then passes its frames on.
async fn pump(peers: Peers, selection: wire::Selection, sender: mpsc::Sender<Frame>) {
    let mut failure = Status::unavailable("no other node that holds it can be reached");
    for mut client in peers.holders(selection.shard) {
        let request = wire::SamplesRequest { selection: Some(selection.clone()) };
        match client.samples(request).await {
            Ok(answer) => return pass_on(answer.into_inner(), &sender).await,
            Err(status) => failure = status,
        }
    }
    let _ = sender.send(Err(failure)).await;
}

/// Ends early when the engine has gone. An answer is whole only with its last frame: a stream whose sender has died ends
/// without an error too.
async fn pass_on(mut stream: tonic::Streaming<wire::SamplesFrame>, sender: &mpsc::Sender<Frame>) {
    loop {
        let frame = match stream.message().await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(Status::unavailable(CUT_SHORT)),
            Err(status) => Err(status),
        };
        let is_end = frame.as_ref().map_or(true, |frame| frame.is_last);
        if sender.send(frame).await.is_err() || is_end {
            return;
        }
    }
}

/// What a stream without a last frame means.
pub fn cut_short(shard: ShardId) -> SourceError {
    source_error(shard, &Status::unavailable(CUT_SHORT))
}

/// Milliseconds from now to the deadline, as the wire carries it.
pub fn deadline_ms(deadline: Instant) -> u32 {
    u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
}

pub fn source_error(shard: ShardId, status: &Status) -> SourceError {
    let text = format!("shard {shard}: {}", status.message());
    match status.code() {
        Code::Unavailable | Code::FailedPrecondition => SourceError::Unavailable(text),
        Code::DeadlineExceeded => SourceError::Timeout(text),
        Code::Cancelled => SourceError::Canceled(text),
        _ => SourceError::Failed(text),
    }
}
