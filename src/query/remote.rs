//! Series of a shard that another node holds, streamed over gRPC into the engine's buffer. The engine is synchronous and
//! runs on a blocking thread, so frames come through a channel that a task of the runtime fills; the channel's bound is
//! what slows a fast peer down.

use std::time::Instant;

use promql::source::{PartFrame, SeriesBuffer, SeriesCursor, SourceError};
use proto::query as wire;
use storage::chunk::ChunkView;
use storage::histogram::chunk::Sample;
use storage::labels::ShardId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::convert::labels_from_canonical;
use super::histograms;
use super::ordered::StoredSeries;
use crate::peers::Peers;

/// Frames of about 256 KiB each that wait for the engine.
const FRAMES_WAITING: usize = 4;

type Frame = Result<wire::SamplesFrame, Status>;

/// Reads the answer of one peer.
pub struct RemoteCursor {
    shard: ShardId,
    base_ms: i64,
    frames: mpsc::Receiver<Frame>,
    series: std::vec::IntoIter<wire::SeriesSamples>,
    /// The last frame has come. A stream also ends when its sender dies, and then what came is not all.
    is_complete: bool,
}

impl RemoteCursor {
    /// Asks in the background; the first `next` waits for the first frame.
    pub fn open(peers: &Peers, runtime: &Handle, selection: wire::Selection) -> RemoteCursor {
        RemoteCursor::ask(peers, runtime, selection, false)
    }

    /// The same with the series in the order of their labels.
    pub fn open_by_labels(peers: &Peers, runtime: &Handle, selection: wire::Selection) -> RemoteCursor {
        RemoteCursor::ask(peers, runtime, selection, true)
    }

    fn ask(peers: &Peers, runtime: &Handle, selection: wire::Selection, by_labels: bool) -> RemoteCursor {
        let (sender, frames) = mpsc::channel(FRAMES_WAITING);
        let cursor = RemoteCursor::over(selection.shard, selection.start_ms, frames);
        runtime.spawn(pump(peers.clone(), selection, by_labels, sender));
        cursor
    }

    fn over(shard: ShardId, base_ms: i64, frames: mpsc::Receiver<Frame>) -> RemoteCursor {
        RemoteCursor { shard, base_ms, frames, series: Vec::new().into_iter(), is_complete: false }
    }

    /// The next series as it is stored.
    pub fn next_stored(&mut self) -> Result<Option<StoredSeries>, SourceError> {
        let Some(series) = self.receive()? else { return Ok(None) };
        let mut floats = SeriesBuffer::default();
        let histograms = self.decode(&series, &mut floats)?;
        let SeriesBuffer { labels, timestamps, values, .. } = floats;
        Ok(Some(StoredSeries { labels, timestamps, values, histograms }))
    }

    /// Fills in the floats, and answers the histograms.
    fn decode(&self, series: &wire::SeriesSamples, buffer: &mut SeriesBuffer) -> Result<Vec<Sample>, SourceError> {
        buffer.labels = labels_from_canonical(&series.labels);
        for chunk in &series.chunks {
            ChunkView::parse(chunk, self.base_ms)
                .and_then(|view| view.decode_into(&mut buffer.timestamps, &mut buffer.values))
                .map_err(|error| SourceError::Failed(format!("shard {}: decode a peer's chunk: {error}", self.shard)))?;
        }
        let mut samples = Vec::new();
        if !series.histograms.is_empty() {
            storage::histogram::chunk::decode(&series.histograms, self.base_ms, i64::MIN, i64::MAX, &mut samples)
                .map_err(|error| SourceError::Failed(format!("shard {}: decode a peer's histograms: {error}", self.shard)))?;
        }
        Ok(samples)
    }

    /// The next series of the frames; `None` behind the last.
    fn receive(&mut self) -> Result<Option<wire::SeriesSamples>, SourceError> {
        loop {
            if let Some(series) = self.series.next() {
                return Ok(Some(series));
            }
            if self.is_complete {
                return Ok(None);
            }
            match self.frames.blocking_recv() {
                Some(Ok(frame)) => {
                    self.is_complete = frame.is_last;
                    self.series = frame.series.into_iter();
                }
                Some(Err(status)) => return Err(source_error(self.shard, &status)),
                None => return Err(source_error(self.shard, &cut_short())),
            }
        }
    }
}

impl SeriesCursor for RemoteCursor {
    fn next(&mut self, buffer: &mut SeriesBuffer) -> Result<bool, SourceError> {
        buffer.clear();
        let Some(series) = self.receive()? else { return Ok(false) };
        let histograms = self.decode(&series, buffer)?;
        if !histograms.is_empty() {
            histograms::put_in(histograms, buffer);
        }
        Ok(true)
    }
}

/// Asks the holders one after the other until one begins to answer, then passes its frames on.
async fn pump(peers: Peers, selection: wire::Selection, by_labels: bool, sender: mpsc::Sender<Frame>) {
    let mut failure = Status::unavailable("no other node that holds it can be reached");
    for mut client in peers.holders(selection.shard) {
        let request = wire::SamplesRequest { selection: Some(selection.clone()), by_labels };
        match client.samples(request).await {
            Ok(answer) => return pass_on(answer.into_inner(), &sender).await,
            Err(status) => failure = status,
        }
    }
    let _ = sender.send(Err(failure)).await;
}

/// Ends early when the engine has gone. Whether all has come is seen by the reader of the frames.
async fn pass_on<T>(mut stream: tonic::Streaming<T>, sender: &mpsc::Sender<Result<T, Status>>) {
    while let Some(frame) = stream.message().await.transpose() {
        let is_last = frame.is_err();
        if sender.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

/// The frames of a peer that evaluates a piece of the query.
pub struct RemoteFrames {
    shard: ShardId,
    frames: mpsc::Receiver<Result<wire::EvaluateFrame, Status>>,
}

impl RemoteFrames {
    /// Asks in the background.
    pub fn open(peers: &Peers, runtime: &Handle, shard: ShardId, question: wire::EvaluateRequest) -> RemoteFrames {
        let (sender, frames) = mpsc::channel(FRAMES_WAITING);
        let peers = peers.clone();
        runtime.spawn(async move {
            let mut failure = Status::unavailable("no other node that holds it can be reached");
            for mut client in peers.holders(shard) {
                match client.evaluate(question.clone()).await {
                    Ok(answer) => return pass_on(answer.into_inner(), &sender).await,
                    Err(status) => failure = status,
                }
            }
            let _ = sender.send(Err(failure)).await;
        });
        RemoteFrames { shard, frames }
    }

    /// The next frame. Which one is the last, the frames say themselves.
    pub fn next(&mut self) -> Result<PartFrame, SourceError> {
        match self.frames.blocking_recv() {
            Some(Ok(frame)) => Ok(PartFrame::Bytes(frame.frame.into())),
            Some(Err(status)) if status.code() == Code::Unimplemented => Ok(PartFrame::NotUnderstood),
            Some(Err(status)) => Err(source_error(self.shard, &status)),
            None => Err(source_error(self.shard, &cut_short())),
        }
    }
}

/// Milliseconds from now to the deadline, as the wire carries it.
pub fn deadline_ms(deadline: Instant) -> u32 {
    u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
}

/// What is said of a stream that ended without its last frame.
pub fn cut_short() -> Status {
    Status::unavailable("the peer's answer was cut short; try again")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(frames: Vec<wire::SamplesFrame>) -> Result<usize, SourceError> {
        let (sender, receiver) = mpsc::channel(FRAMES_WAITING);
        for frame in frames {
            sender.try_send(Ok(frame)).expect("room");
        }
        drop(sender);
        let mut cursor = RemoteCursor::over(0, 0, receiver);
        let mut buffer = SeriesBuffer::default();
        let mut count = 0;
        while cursor.next(&mut buffer)? {
            count += 1;
        }
        Ok(count)
    }

    fn frame(series: usize, is_last: bool) -> wire::SamplesFrame {
        wire::SamplesFrame { series: vec![wire::SeriesSamples::default(); series], is_last }
    }

    #[test]
    fn an_answer_is_whole_only_with_its_last_frame() {
        assert_eq!(answer(vec![frame(2, false), frame(1, true)]), Ok(3));
        assert_eq!(answer(vec![frame(0, true)]), Ok(0));
        assert!(matches!(answer(vec![frame(2, false)]), Err(SourceError::Unavailable(_))));
        assert!(matches!(answer(Vec::new()), Err(SourceError::Unavailable(_))), "not even one frame");
    }
}
