//! The other end of `remote`: answers gateways that hold no replica of a shard this node has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use promql::engine::{Engine, EngineOptions};
use promql::source::SourceError;
use proto::query as wire;
use proto::query::query_server::{Query, QueryServer};
use raft::{Node, ReadError};
use std::pin::Pin;
use storage::chunk::{Encoder, Hint, SAMPLES_MAX};
use storage::labels::{SeriesHash, SeriesId};
use storage::{Matcher, Shard};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::beside::{metadata_to_wire, series_to_wire};
use super::convert::{canonical_from_disk, canonical_from_language, conditions_from_wire, matchers_from_wire, subplan_from_wire};
use super::evaluate::{ShardSource, send_evaluated};
use super::histograms;
use super::local::LocalCursor;
use super::metadata::{LabelQuestion, labels_of_replica};
use super::ordered::{OrderedCursor, StoredSeries};
use super::replicas::{fresh_replica, full_replica};
use super::session::Cancel;
use crate::config::QuerySettings;
use crate::self_metrics::SelfMetrics;

/// A frame is sent when it holds this much.
const FRAME_BYTES: usize = 256 * 1024;
/// Frames that wait for a slow asker before reading waits too.
const FRAMES_WAITING: usize = 4;
/// A failover takes one to two seconds; a longer wait for a majority helps nobody.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);
/// A question is a few matchers or hashes.
const QUESTION_BYTES_MAX: usize = 64 << 20;

/// Serves before the node it asks exists: the node starts with its routes. Until then peers are told to come back.
#[derive(Clone)]
pub struct PeerService {
    node: Arc<OnceCell<Arc<Node>>>,
    engine: Arc<Engine>,
    /// Bounds how many pieces of queries are evaluated at once; what they wait for is a core.
    places: Arc<Semaphore>,
    metrics: Arc<SelfMetrics>,
}

impl PeerService {
    pub fn new(settings: &QuerySettings, metrics: Arc<SelfMetrics>) -> PeerService {
        let limits = EngineOptions {
            samples_max: settings.samples_max,
            memory_bytes_max: settings.memory_bytes,
            timeout: settings.timeout,
            ..EngineOptions::default()
        };
        let (engine, places) = (Arc::new(Engine::new(limits)), Arc::new(Semaphore::new(settings.concurrency)));
        PeerService { node: Arc::new(OnceCell::new()), engine, places, metrics }
    }

    /// Called once, when the node has started.
    pub fn attach(&self, node: Arc<Node>) {
        let _ = self.node.set(node);
    }

    pub fn into_server(self) -> QueryServer<PeerService> {
        QueryServer::new(self).max_decoding_message_size(QUESTION_BYTES_MAX).max_encoding_message_size(usize::MAX)
    }

    fn node(&self) -> Result<&Arc<Node>, Status> {
        self.node.get().ok_or_else(|| Status::unavailable("the node is starting"))
    }

    /// The local replica, as fresh as asked.
    async fn open(&self, selection: Option<wire::Selection>) -> Result<Selected, Status> {
        let selection = selection.ok_or_else(|| Status::invalid_argument("a selection is missing"))?;
        let node = self.node()?;
        let deadline = Instant::now() + Duration::from_millis(selection.deadline_ms.into());
        let replica = match selection.consistency() {
            wire::Consistency::Strong => {
                let confirmed = deadline.min(Instant::now() + BARRIER_TIMEOUT);
                fresh_replica(node, selection.shard, confirmed).await.map_err(|error| barrier_status(&error))?
            }
            wire::Consistency::Eventual => full_replica(node, selection.shard),
        };
        let replica = replica.ok_or_else(|| no_replica(selection.shard))?;
        let matchers = matchers_from_wire(&selection.matchers).map_err(status)?;
        Ok(Selected { replica, matchers, start_ms: selection.start_ms, end_ms: selection.end_ms, deadline })
    }
}

/// A selection resolved on this node.
struct Selected {
    replica: Arc<Shard>,
    matchers: Vec<Matcher>,
    start_ms: i64,
    end_ms: i64,
    deadline: Instant,
}

type FrameStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Query for PeerService {
    type SamplesStream = FrameStream<wire::SamplesFrame>;
    type EvaluateStream = FrameStream<wire::EvaluateFrame>;
    type SeriesStream = FrameStream<wire::SeriesFrame>;

    async fn samples(&self, request: Request<wire::SamplesRequest>) -> Result<Response<Self::SamplesStream>, Status> {
        let request = request.into_inner();
        let selected = self.open(request.selection).await?;
        let metrics = Arc::clone(&self.metrics);
        if request.by_labels {
            return Ok(stream_blocking(move |sender| send_by_labels(selected, metrics, sender)));
        }
        Ok(stream_blocking(move |sender| send_samples(selected, metrics, sender)))
    }

    async fn evaluate(&self, request: Request<wire::EvaluateRequest>) -> Result<Response<Self::EvaluateStream>, Status> {
        let mut request = request.into_inner();
        let subplan = subplan_from_wire(&request).ok_or_else(|| Status::unimplemented("pieces of queries of another version"))?;
        let conditions = conditions_from_wire(&request.conditions).map_err(status)?;
        let Selected { replica, start_ms, deadline, .. } = self.open(request.selection.take()).await?;
        let place = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| Status::deadline_exceeded("query timed out in query queue"))?;
        let place = place.map_err(|_| Status::unavailable("the node is stopping"))?;
        let source = ShardSource { replica, oldest_ms: start_ms, conditions, metrics: Arc::clone(&self.metrics) };
        let engine = Arc::clone(&self.engine);
        // Lives as long as the stream: until the asker has gone or has everything.
        let cancel = Cancel::new();
        let flag = cancel.flag();
        let frames = stream_blocking(move |sender| {
            let _place = place;
            send_evaluated(&engine, &source, &subplan, (deadline, flag), sender)
        });
        Ok(frames.map(|frames| {
            Box::pin(frames.inspect(move |_| {
                let _alive = &cancel;
            })) as Self::EvaluateStream
        }))
    }

    async fn series(&self, request: Request<wire::SeriesRequest>) -> Result<Response<Self::SeriesStream>, Status> {
        let request = request.into_inner();
        let selected = self.open(request.selection).await?;
        let limit = limit_of(request.limit);
        Ok(stream_blocking(move |sender| send_series(&selected, limit, sender)))
    }

    async fn labels(&self, request: Request<wire::LabelsRequest>) -> Result<Response<wire::LabelsAnswer>, Status> {
        let request = request.into_inner();
        let selected = self.open(request.selection).await?;
        let limit = limit_of(request.limit);
        let job = tokio::task::spawn_blocking(move || {
            let Selected { replica, matchers, start_ms, end_ms, .. } = selected;
            if request.with_counts {
                let (texts, counts) = replica.label_value_counts(&request.name, &matchers, start_ms, end_ms).into_iter().unzip();
                return (texts, counts);
            }
            let question = if request.name.is_empty() { LabelQuestion::Names } else { LabelQuestion::Values(request.name) };
            (labels_of_replica(&replica, &matchers, start_ms, end_ms, &question, limit), Vec::new())
        });
        let (texts, counts): (Vec<Arc<str>>, Vec<u64>) = job.await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::LabelsAnswer { texts: texts.iter().map(|text| text.to_string()).collect(), counts }))
    }

    async fn count(&self, request: Request<wire::CountRequest>) -> Result<Response<wire::CountAnswer>, Status> {
        let selected = self.open(request.into_inner().selection).await?;
        let job = tokio::task::spawn_blocking(move || {
            let Selected { replica, matchers, start_ms, end_ms, .. } = selected;
            replica.count(&matchers, start_ms, end_ms)
        });
        let series = job.await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::CountAnswer { series }))
    }

    async fn exemplars(&self, request: Request<wire::ExemplarsRequest>) -> Result<Response<wire::ExemplarsAnswer>, Status> {
        let request = request.into_inner();
        let Selected { replica, start_ms, end_ms, .. } = self.open(request.selection).await?;
        let selectors = request.selectors.iter().map(|set| matchers_from_wire(&set.matchers)).collect::<Result<Vec<_>, _>>();
        let selectors = selectors.map_err(status)?;
        let job = tokio::task::spawn_blocking(move || {
            let found = replica.exemplars(&selectors, start_ms, end_ms).into_iter();
            found.map(|(labels, exemplars)| series_to_wire(canonical_from_disk(&labels), exemplars)).collect()
        });
        let series = job.await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::ExemplarsAnswer { series }))
    }

    async fn metadata(&self, request: Request<wire::MetadataRequest>) -> Result<Response<wire::MetadataAnswer>, Status> {
        let request = request.into_inner();
        let Selected { replica, .. } = self.open(request.selection).await?;
        let entries = replica.metadata(request.metric.as_deref()).into_iter().map(metadata_to_wire).collect();
        Ok(Response::new(wire::MetadataAnswer { entries }))
    }

    async fn lookup(&self, request: Request<wire::LookupRequest>) -> Result<Response<wire::LookupAnswer>, Status> {
        let request = request.into_inner();
        let replica = self.node()?.replica(request.shard).ok_or_else(|| no_replica(request.shard))?;
        let (packed, rest) = request.hashes.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(Status::invalid_argument("hashes are 16 bytes each"));
        }
        let hashes: Vec<SeriesHash> = packed.iter().map(|bytes| SeriesHash::from_le_bytes(*bytes)).collect();
        let mut ids: Vec<SeriesId> = Vec::with_capacity(hashes.len());
        replica.lookup(&hashes, &mut ids);
        let ids: Bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>().into();
        Ok(Response::new(wire::LookupAnswer { ids }))
    }
}

/// 0 is no limit.
fn limit_of(limit: u64) -> usize {
    usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX)
}

/// Runs `send` on a blocking thread and streams what it sends.
fn stream_blocking<T, F>(send: F) -> Response<FrameStream<T>>
where
    T: Send + 'static,
    F: FnOnce(&mpsc::Sender<Result<T, Status>>) -> Result<(), Status> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(FRAMES_WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(status) = send(&sender) {
            let _ = sender.blocking_send(Err(status));
        }
    });
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}

fn send_samples(
    selected: Selected,
    metrics: Arc<SelfMetrics>,
    sender: &mpsc::Sender<Result<wire::SamplesFrame, Status>>,
) -> Result<(), Status> {
    let Selected { replica, matchers, start_ms, end_ms, deadline } = selected;
    let mut cursor = LocalCursor::open(replica, &[matchers], start_ms, end_ms, metrics).map_err(status)?;
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::new();
    let mut frame = wire::SamplesFrame::default();
    let mut frame_bytes = 0;
    while let Some(id) = cursor.next_into(&mut timestamps, &mut values).map_err(status)? {
        let labels = canonical_labels(cursor.shard(), id)?;
        let mut histograms = Vec::new();
        if !cursor.histograms().is_empty() {
            let samples = histograms::take_out(cursor.histograms(), &mut timestamps, &mut values);
            storage::histogram::chunk::encode(&mut encoder, start_ms, &samples, &mut histograms);
        }
        let chunks = encode_chunks(&mut encoder, start_ms, &timestamps, &values);
        frame_bytes += labels.len() + histograms.len() + chunks.iter().map(Bytes::len).sum::<usize>();
        frame.series.push(wire::SeriesSamples { labels, chunks, histograms: histograms.into() });
        if frame_bytes >= FRAME_BYTES {
            frame_bytes = 0;
            if sender.blocking_send(Ok(std::mem::take(&mut frame))).is_err() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Status::deadline_exceeded("query timed out while reading samples"));
            }
        }
    }
    frame.is_last = true;
    let _ = sender.blocking_send(Ok(frame));
    Ok(())
}

/// As `send_samples`, in the order of the labels.
fn send_by_labels(
    selected: Selected,
    metrics: Arc<SelfMetrics>,
    sender: &mpsc::Sender<Result<wire::SamplesFrame, Status>>,
) -> Result<(), Status> {
    let Selected { replica, matchers, start_ms, end_ms, deadline } = selected;
    let mut cursor = OrderedCursor::open(&replica, &matchers, start_ms, end_ms, metrics).map_err(status)?;
    let mut encoder = Encoder::new();
    let mut frame = wire::SamplesFrame::default();
    let mut frame_bytes = 0;
    while let Some(StoredSeries { labels, timestamps, values, histograms }) = cursor.next().map_err(status)? {
        let labels: Bytes = canonical_from_language(&labels).into();
        let chunks = encode_chunks(&mut encoder, start_ms, &timestamps, &values);
        let mut encoded = Vec::new();
        if !histograms.is_empty() {
            storage::histogram::chunk::encode(&mut encoder, start_ms, &histograms, &mut encoded);
        }
        frame_bytes += labels.len() + encoded.len() + chunks.iter().map(Bytes::len).sum::<usize>();
        frame.series.push(wire::SeriesSamples { labels, chunks, histograms: encoded.into() });
        if frame_bytes >= FRAME_BYTES {
            frame_bytes = 0;
            if sender.blocking_send(Ok(std::mem::take(&mut frame))).is_err() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Status::deadline_exceeded("the read took longer than it may"));
            }
        }
    }
    frame.is_last = true;
    let _ = sender.blocking_send(Ok(frame));
    Ok(())
}

fn encode_chunks(encoder: &mut Encoder, base_ms: i64, timestamps: &[i64], values: &[f64]) -> Vec<Bytes> {
    let mut hint = Hint::default();
    let parts = timestamps.chunks(SAMPLES_MAX).zip(values.chunks(SAMPLES_MAX));
    parts
        .map(|(timestamps, values)| {
            let mut out = Vec::new();
            encoder.encode(base_ms, timestamps, values, &mut hint, &mut out);
            Bytes::from(out)
        })
        .collect()
}

fn send_series(selected: &Selected, limit: usize, sender: &mpsc::Sender<Result<wire::SeriesFrame, Status>>) -> Result<(), Status> {
    let selection = selected.replica.select(&selected.matchers, selected.start_ms, selected.end_ms);
    let ids = selection.map_err(|error| Status::internal(error.to_string()))?;
    let mut frame = wire::SeriesFrame::default();
    let mut frame_bytes = 0;
    for id in ids.into_iter().take(limit) {
        let labels = canonical_labels(&selected.replica, id)?;
        frame_bytes += labels.len();
        frame.labels.push(labels);
        if frame_bytes >= FRAME_BYTES {
            frame_bytes = 0;
            if sender.blocking_send(Ok(std::mem::take(&mut frame))).is_err() {
                return Ok(());
            }
        }
    }
    frame.is_last = true;
    let _ = sender.blocking_send(Ok(frame));
    Ok(())
}

fn canonical_labels(shard: &Shard, series: SeriesId) -> Result<Bytes, Status> {
    let labels = shard.labels(series).ok_or_else(|| Status::internal(format!("series {series} has no labels")))?;
    Ok(canonical_from_disk(&labels).into())
}

fn no_replica(shard: u32) -> Status {
    Status::failed_precondition(format!("this node holds no replica of shard {shard}"))
}

fn barrier_status(error: &ReadError) -> Status {
    Status::unavailable(error.to_string())
}

fn status(error: SourceError) -> Status {
    match error {
        SourceError::Unavailable(text) => Status::unavailable(text),
        SourceError::Timeout(text) => Status::deadline_exceeded(text),
        SourceError::Canceled(text) => Status::cancelled(text),
        SourceError::Failed(text) => Status::internal(text),
    }
}
