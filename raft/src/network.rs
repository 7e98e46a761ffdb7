//! Raft's calls to one peer for one group.
//!
//! Log entries go over one bidirectional stream that stays open: requests are sent as fast as flow control lets them,
//! answers come back in the same order. A stream whose oldest request has waited too long is given up, because a peer that
//! hangs without an error would otherwise pin the leader's log.
//!
//! Heartbeats have their own connection and are single calls, so that they are never behind entries.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption, RPCTypes, RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use proto::raft as wire;
use proto::raft::raft_peer_client::RaftPeerClient;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::convert::{self, Refusal, VoteKind};
use crate::peers::{Lane, MESSAGE_BYTES_MAX, PeerChannel, Peers};
use crate::settings::Settings;
use crate::snapshot::{Snapshot, SnapshotData};
use crate::transfer;
use crate::types::{GroupId, NodeId, TypeConfig, Vote};

/// Requests of a stream that wait for the connection.
const REQUESTS_AHEAD: usize = 4;

type CallError = RPCError<TypeConfig>;
type AppendResult = Result<StreamAppendResult<TypeConfig>, CallError>;

/// Makes clients for the peers of one group.
pub struct NetworkFactory {
    pub group: GroupId,
    pub peers: Arc<Peers>,
    pub settings: Arc<Settings>,
}

/// What a client is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Replication,
    Heartbeat,
    Snapshot,
}

/// Calls to one peer for one group.
pub struct Network {
    group: GroupId,
    target: NodeId,
    purpose: Purpose,
    peers: Arc<Peers>,
    settings: Arc<Settings>,
}

impl NetworkFactory {
    fn client(&self, target: NodeId, purpose: Purpose) -> Network {
        let (peers, settings) = (Arc::clone(&self.peers), Arc::clone(&self.settings));
        Network { group: self.group, target, purpose, peers, settings }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, _node: &()) -> Network {
        self.client(target, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, _node: &()) -> Network {
        self.client(target, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, _node: &()) -> Network {
        self.client(target, Purpose::Snapshot)
    }
}

/// A client of the peer service over a stamped connection.
pub fn peer_client(peers: &Peers, node: NodeId, lane: Lane) -> Result<RaftPeerClient<PeerChannel>, Status> {
    Ok(RaftPeerClient::new(peers.channel(node, lane)?)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

impl Network {
    fn connect(&self, lane: Lane) -> Result<RaftPeerClient<PeerChannel>, CallError> {
        peer_client(&self.peers, self.target, lane).map_err(call_error)
    }

    /// Bounds a call in time.
    async fn within<T>(
        &self,
        limit: Duration,
        action: RPCTypes,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(call_error),
            Err(_) => Err(RPCError::Timeout(self.timeout(limit, action))),
        }
    }

    fn timeout(&self, timeout: Duration, action: RPCTypes) -> Timeout<TypeConfig> {
        Timeout { action, id: self.peers.local(), target: self.target, timeout }
    }

    async fn heartbeat(&self, request: AppendEntriesRequest<TypeConfig>, limit: Duration) -> AppendResult {
        let mut client = self.connect(Lane::Control)?;
        let request = convert::append_to_proto(self.group, request);
        let answer = self.within(limit, RPCTypes::AppendEntries, client.heartbeat(request)).await?;
        convert::append_answer_from_proto(answer).map_err(refusal)
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        kind: VoteKind,
        limit: Duration,
    ) -> Result<VoteResponse<TypeConfig>, CallError> {
        let mut client = self.connect(Lane::Control)?;
        let request = convert::vote_request_to_proto(self.group, kind, &request);
        let answer = self.within(limit, RPCTypes::Vote, client.request_vote(request)).await?;
        convert::vote_answer_from_proto(answer).map_err(refusal)
    }

    /// Opens the append stream with its first request.
    async fn open_stream<S>(&self, first: AppendEntriesRequest<TypeConfig>, input: S) -> Result<AppendStream<S>, CallError>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let mut client = self.connect(Lane::Replication)?;
        let (requests, outgoing) = mpsc::channel(REQUESTS_AHEAD);
        // There is room: nothing was sent yet, and the receiver is held here.
        let _ = requests.try_send(convert::append_to_proto(self.group, first));
        let limit = self.settings.stream_idle_timeout;
        let answers = self.within(limit, RPCTypes::AppendEntries, client.append(ReceiverStream::new(outgoing))).await?;
        Ok(AppendStream {
            group: self.group,
            input,
            requests: Some(requests),
            answers,
            unanswered: 1,
            waiting_since: Instant::now(),
            idle_timeout: limit,
            ended: false,
        })
    }
}

/// An open append stream: requests go out while answers are awaited.
///
/// The input is driven here and not by the connection: Raft's own state is locked while the input waits for entries, so
/// it must be gone as soon as Raft drops this stream, even if the connection hangs.
struct AppendStream<S> {
    group: GroupId,
    input: S,
    /// None when the input has ended.
    requests: Option<mpsc::Sender<wire::AppendRequest>>,
    answers: tonic::Streaming<wire::AppendAnswer>,
    unanswered: usize,
    /// Since when the oldest unanswered request is the oldest.
    waiting_since: Instant,
    idle_timeout: Duration,
    ended: bool,
}

impl<S> AppendStream<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    /// The next answer; an error ends the stream.
    async fn next(&mut self) -> Option<AppendResult> {
        while !self.ended {
            let patience = self.waiting_since + self.idle_timeout;
            tokio::select! {
                answer = self.answers.message() => return self.take(answer),
                sent = send_next(self.group, &mut self.input, self.requests.as_ref()), if self.requests.is_some() => {
                    match sent {
                        Some(()) => self.count_request(),
                        None => self.requests = None,
                    }
                }
                () = tokio::time::sleep_until(patience), if self.unanswered > 0 => {
                    self.ended = true;
                    let reason = "append stream without answers";
                    return Some(Err(RPCError::Unreachable(Unreachable::from_string(reason))));
                }
            }
        }
        None
    }

    fn count_request(&mut self) {
        if self.unanswered == 0 {
            self.waiting_since = Instant::now();
        }
        self.unanswered += 1;
    }

    fn take(&mut self, answer: Result<Option<wire::AppendAnswer>, Status>) -> Option<AppendResult> {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.waiting_since = Instant::now();
        let answer = match answer {
            Ok(Some(answer)) => convert::append_answer_from_proto(answer).map_err(refusal),
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Err(status) => Err(call_error(status)),
        };
        self.ended = !matches!(answer, Ok(Ok(_)));
        Some(answer)
    }
}

/// Sends the next request once there is room; none when there will be no more. Nothing is lost when it is dropped.
async fn send_next(
    group: GroupId,
    input: &mut (impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin),
    requests: Option<&mpsc::Sender<wire::AppendRequest>>,
) -> Option<()> {
    let room = requests?.reserve().await.ok()?;
    let request = input.next().await?;
    room.send(convert::append_to_proto(group, request));
    Some(())
}

impl NetStreamAppend<TypeConfig> for Network {
    fn stream_append<'s, S>(&'s mut self, mut input: S, option: RPCOption) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult>, CallError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // Asked for before connecting: Raft waits in here after an error, and only here. A peer that refuses the
            // connection would otherwise be tried in a tight loop.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(futures::stream::empty()) as BoxStream<'s, AppendResult>);
            };
            if self.purpose == Purpose::Heartbeat {
                let answer = self.heartbeat(first, option.hard_ttl()).await;
                return Ok(Box::pin(futures::stream::iter([answer])) as BoxStream<'s, AppendResult>);
            }
            let stream = self.open_stream(first, input).await?;
            let answers = futures::stream::unfold(stream, |mut stream| async move {
                let answer = stream.next().await?;
                Some((answer, stream))
            });
            Ok(Box::pin(answers) as BoxStream<'s, AppendResult>)
        })
    }
}

impl NetVote<TypeConfig> for Network {
    async fn vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, CallError> {
        self.ask_vote(request, VoteKind::Vote, option.hard_ttl()).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Result<VoteResponse<TypeConfig>, CallError> {
        self.ask_vote(request, VoteKind::PreVote, option.hard_ttl()).await
    }
}

impl NetTransferLeader<TypeConfig> for Network {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, CallError> {
        let mut client = self.connect(Lane::Control)?;
        let request = convert::transfer_to_proto(self.group, &request);
        // The receiver waits for its own log to be flushed; the usual limit of a heartbeat is too short for that.
        let limit = option.hard_ttl().max(self.settings.election_timeout_max);
        let answer = self.within(limit, RPCTypes::TransferLeader, client.transfer_leader(request)).await?;
        convert::transfer_answer_from_proto(answer).map_err(refusal)
    }
}

impl NetSnapshot<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut client = peer_client(&self.peers, self.target, Lane::Bulk).map_err(streaming_error)?;
        let outgoing = transfer::send(self.group, &vote, snapshot);
        let (frames, progress) = (outgoing.frames, outgoing.progress);
        let stalled = transfer::stalled(progress, self.settings.snapshot_idle_timeout);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            limit = stalled => Err(StreamingError::Timeout(self.timeout(limit, RPCTypes::InstallSnapshot))),
            answer = client.snapshot(frames) => {
                let answer = answer.map_err(streaming_error)?.into_inner();
                let vote = convert::vote_from_proto(answer.vote).map_err(|reason| streaming_error(Status::internal(reason)))?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }
}

impl NetBackoff<TypeConfig> for Network {
    /// Short: a peer that restarts should be found again at once, and a refused connection costs little.
    fn backoff(&self) -> Option<Backoff> {
        let delays = [50, 100, 200, 300].into_iter().chain(std::iter::repeat(300));
        Some(Backoff::new(delays.map(Duration::from_millis)))
    }
}

/// A peer that is down, does not have the group or is another node will not be better at once: back off.
fn call_error(status: Status) -> CallError {
    match status.code() {
        Code::Unavailable | Code::NotFound | Code::FailedPrecondition | Code::DeadlineExceeded | Code::ResourceExhausted => {
            RPCError::Unreachable(Unreachable::new(&io::Error::other(status.to_string())))
        }
        _ => RPCError::Network(NetworkError::new(&io::Error::other(status.to_string()))),
    }
}

fn streaming_error(status: Status) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::new(&io::Error::other(status.to_string())))
}

fn refusal(reason: Refusal) -> CallError {
    RPCError::Network(NetworkError::new(&io::Error::other(reason)))
}
