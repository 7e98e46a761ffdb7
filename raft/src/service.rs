//! The gRPC services of a node: Raft for its peers, commands for operators.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use proto::raft as wire;
use proto::raft::admin_server::Admin;
use proto::raft::hello_answer::Verdict;
use proto::raft::raft_peer_server::RaftPeer;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;
use crate::error::WriteError;
use crate::founding;
use crate::group::Group;
use crate::meta::{Member, MetaAnswer, MetaCommand};
use crate::proposer::{Proposal, Rejected};
use crate::runtime;
use crate::snapshot::Snapshot;
use crate::space::{Space, SpaceGauge};
use crate::transfer::{self, Head};
use crate::types::{GroupId, META_GROUP, Proposed, TypeConfig, Vote};
use crate::{controller, convert, forward, heal, identity, members, status};

/// Answers of one forwarding stream that wait to be sent.
const ANSWERS_MAX: usize = 4096;
/// An operator's command may wait for a leader this long.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A reader asks for the groups it holds; a node holds far fewer.
const GROUPS_ASKED_MAX: usize = 10_000;

/// Bytes of one append request that a follower takes when its disk is all but full: deletions, changes of members.
const APPEND_BYTES_CRITICAL_MAX: usize = 16 << 10;

type Answer<T> = Result<Response<T>, Status>;
type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What peers may ask.
pub struct PeerService {
    pub core: Arc<Core>,
    pub directory_id: u64,
    /// On the node that founded the cluster: the directories that took part.
    pub founders: Option<wire::Founders>,
}

/// What operators may ask.
pub struct AdminService {
    pub core: Arc<Core>,
    /// Format of the meta log's commands that this build reads.
    pub format: u32,
}

fn group(core: &Core, id: GroupId) -> Result<Arc<Group>, Status> {
    core.group(id).ok_or_else(|| Status::not_found(format!("node {} does not hold group {id}", core.local())))
}

fn invalid(reason: convert::Refusal) -> Status {
    Status::invalid_argument(reason)
}

/// Raft of the group has stopped.
fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl RaftPeer for PeerService {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Answer<wire::HelloAnswer> {
        let hello = request.into_inner();
        let mut answer = wire::HelloAnswer {
            node_id: self.core.local(),
            directory_id: self.directory_id,
            initialized: founding::is_initialized(&self.core),
            cluster_id: self.core.common.peers.cluster().to_string(),
            ..Default::default()
        };
        let founders = match &self.founders {
            Some(founders) => Some(founders.clone()),
            None => identity::load_founders(self.core.common.writer.db()).map_err(stopped)?,
        };
        answer.set_verdict(founding::verdict(&self.core, founders.as_ref(), hello.node_id, hello.directory_id));
        Ok(Response::new(answer))
    }

    type AppendStream = AnswerStream<wire::AppendAnswer>;

    async fn append(&self, request: Request<Streaming<wire::AppendRequest>>) -> Answer<Self::AppendStream> {
        let core = Arc::clone(&self.core);
        let requests = request.into_inner();
        // The answer begins before the first request is there: the caller waits for it before it sends.
        let answers = async_stream::try_stream! {
            let mut requests = requests;
            let Some(first) = requests.next().await else { return };
            let first = first?;
            let group = group(&core, first.group)?;
            let raft = group.raft.clone();
            let (requests, refused) = checked(group, Arc::clone(&core.common.space), first, requests);
            let mut answers = Box::pin(raft.stream_append(requests));
            while let Some(answer) = answers.next().await {
                yield convert::append_answer_to_proto(answer.map_err(stopped)?);
            }
            if let Ok(status) = refused.await {
                Err(status)?;
            }
        };
        Ok(Response::new(Box::pin(answers)))
    }

    async fn heartbeat(&self, request: Request<wire::AppendRequest>) -> Answer<wire::AppendAnswer> {
        let request = request.into_inner();
        let group = group(&self.core, request.group)?;
        let request = convert::append_from_proto(request).map_err(invalid)?;
        group.hear();
        let (previous, last) = (request.prev_log_id, request.prev_log_id);
        let answer = group.raft.append_entries(request).await.map_err(stopped)?;
        Ok(Response::new(convert::append_answer_to_proto(answer.into_stream_result(previous, last))))
    }

    async fn request_vote(&self, request: Request<wire::VoteRequest>) -> Answer<wire::VoteAnswer> {
        let request = request.into_inner();
        let raft = group(&self.core, request.group)?.raft.clone();
        let pre_vote = request.pre_vote;
        let request = convert::vote_request_from_proto(request).map_err(invalid)?;
        let answer = match pre_vote {
            true => raft.pre_vote(request).await,
            false => raft.vote(request).await,
        };
        Ok(Response::new(convert::vote_answer_to_proto(&answer.map_err(stopped)?)))
    }

    async fn transfer_leader(&self, request: Request<wire::TransferLeaderRequest>) -> Answer<wire::TransferLeaderAnswer> {
        let request = request.into_inner();
        let raft = group(&self.core, request.group)?.raft.clone();
        let request = convert::transfer_from_proto(request).map_err(invalid)?;
        let answer = raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(convert::transfer_answer_to_proto(answer)))
    }

    async fn snapshot(&self, request: Request<Streaming<wire::SnapshotFrame>>) -> Answer<wire::SnapshotAnswer> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.head);
        let head = first.ok_or_else(|| Status::invalid_argument("a snapshot without a head"))?;
        let head = Head::parse(head).map_err(invalid)?;
        let raft = group(&self.core, head.group)?.raft.clone();
        if self.core.common.space.get() != Space::Ample {
            return Err(Status::resource_exhausted("the disk of this node is nearly full"));
        }
        let begun = Instant::now();
        let data = transfer::receive(&head, &self.core.common.engine, frames).await.map_err(stopped)?;
        let snapshot = Snapshot { meta: head.marker.meta, snapshot: data };
        let answer = raft.install_full_snapshot(head.vote, snapshot).await.map_err(stopped)?;
        tracing::info!(group = head.group, took_ms = begun.elapsed().as_millis() as u64, "snapshot received");
        Ok(Response::new(wire::SnapshotAnswer { vote: Some(convert::vote_to_proto(&answer.vote)) }))
    }

    type ProposeStream = AnswerStream<wire::ProposeAnswer>;

    async fn propose(&self, request: Request<Streaming<wire::ProposeRequest>>) -> Answer<Self::ProposeStream> {
        let mut requests = request.into_inner();
        let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
        let core = Arc::clone(&self.core);
        runtime::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let (core, answers) = (Arc::clone(&core), answers.clone());
                runtime::spawn(async move {
                    let limit = Duration::from_millis(request.deadline_ms.into());
                    let caller = request.caller.map(convert::caller_from_proto);
                    let proposing = core.propose_here(request.group, Proposal { caller, payload: request.payload });
                    let result = tokio::time::timeout(limit, proposing).await.unwrap_or(Err(Rejected::Unknown));
                    let _ = answers.send(Ok(forward::answer_to_proto(request.id, result))).await;
                });
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn read_index(&self, request: Request<wire::ReadIndexRequest>) -> Answer<wire::ReadIndexAnswer> {
        let request = request.into_inner();
        let local = group(&self.core, request.group)?;
        let limit = Duration::from_millis(request.deadline_ms.into());
        let index = tokio::time::timeout(limit, self.core.read_index(request.group)).await.ok().flatten();
        let leader = local.view().leader;
        let answer = wire::ReadIndexAnswer { confirmed: index.is_some(), index: index.unwrap_or(0), leader };
        Ok(Response::new(answer))
    }

    async fn views(&self, request: Request<wire::ViewsRequest>) -> Answer<wire::ViewsAnswer> {
        let groups = request.into_inner().groups;
        if groups.len() > GROUPS_ASKED_MAX {
            return Err(Status::invalid_argument(format!("{} groups asked for at once, at most {GROUPS_ASKED_MAX}", groups.len())));
        }
        Ok(Response::new(wire::ViewsAnswer { groups: self.core.views(&groups).await }))
    }

    async fn change_group(&self, request: Request<wire::ChangeGroupRequest>) -> Answer<wire::ChangeGroupAnswer> {
        Ok(Response::new(members::change(&self.core, request.into_inner()).await))
    }

    type FetchImageStream = AnswerStream<wire::SnapshotFrame>;

    async fn fetch_image(&self, request: Request<wire::FetchImageRequest>) -> Answer<Self::FetchImageStream> {
        let request = request.into_inner();
        let group = group(&self.core, request.group)?;
        let image = heal::image_of(&group, request.at_least).await.map_err(Status::unavailable)?;
        let outgoing = transfer::send(request.group, &Vote::new(0, 0), image);
        Ok(Response::new(Box::pin(outgoing.frames.map(Ok))))
    }

    async fn peer_status(&self, _request: Request<wire::StatusRequest>) -> Answer<wire::NodeStatus> {
        Ok(Response::new(status::node_status(&self.core)))
    }
}

type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;

/// The requests of a stream for one group as Raft wants them; the stream ends at the first that is none, and the reason is
/// told.
fn checked(
    group: Arc<Group>,
    space: Arc<SpaceGauge>,
    first: wire::AppendRequest,
    rest: Streaming<wire::AppendRequest>,
) -> (impl Stream<Item = AppendRequest> + Send + 'static, tokio::sync::oneshot::Receiver<Status>) {
    let (refuse, refused) = tokio::sync::oneshot::channel();
    let requests = async_stream::stream! {
        let mut requests = Box::pin(futures::stream::iter([Ok(first)]).chain(rest));
        while let Some(Ok(request)) = requests.next().await {
            group.hear();
            let request = match check_room(&group, space.get(), &request) {
                Ok(()) if request.group == group.id => convert::append_from_proto(request).map_err(invalid),
                Ok(()) => Err(invalid("another group on the same stream".to_owned())),
                Err(status) => Err(status),
            };
            match request {
                Ok(request) => yield request,
                Err(status) => {
                    let _ = refuse.send(status);
                    return;
                }
            }
        }
    };
    (requests, refused)
}

/// A follower whose disk is all but full takes only what is small.
fn check_room(group: &Group, space: Space, request: &wire::AppendRequest) -> Result<(), Status> {
    if request.entries.is_empty() {
        return Ok(());
    }
    let bytes: usize = request.entries.iter().map(|entry| entry.payload.len() + entry.callers.len()).sum();
    let has_room = space < Space::Critical || bytes <= APPEND_BYTES_CRITICAL_MAX;
    group.set_behind(!has_room);
    match has_room {
        true => Ok(()),
        false => Err(Status::resource_exhausted("the disk of this node is nearly full")),
    }
}

impl AdminService {
    /// Only who knows what was in a node's directory may have the node replaced without an operator.
    fn check_replaced(&self, replaced: &wire::Replaced) -> Result<(), Status> {
        let state = self.core.state();
        if state.cluster_id != replaced.cluster_id {
            return Err(Status::failed_precondition(format!("this is cluster {}, not {}", state.cluster_id, replaced.cluster_id)));
        }
        let founders = identity::load_founders(self.core.common.writer.db()).map_err(stopped)?;
        match founding::verdict(&self.core, founders.as_ref(), replaced.node_id, replaced.directory_id) {
            Verdict::SameDirectory => Ok(()),
            Verdict::OtherDirectory => {
                Err(Status::failed_precondition(format!("the cluster knows another directory as node {}", replaced.node_id)))
            }
            Verdict::Unknown => Err(Status::unavailable(format!("the directory of node {} is not known here", replaced.node_id))),
        }
    }

    async fn command(&self, command: MetaCommand) -> Result<MetaAnswer, Status> {
        let deadline = Instant::now() + ADMIN_TIMEOUT;
        let proposed = self.core.propose(META_GROUP, command.encode().into(), deadline).await;
        let proposed = proposed.map_err(|error| match error {
            WriteError::Refused { reason } => Status::failed_precondition(reason),
            error => stopped(error),
        })?;
        let Proposed::Meta(bytes) = proposed.proposed else { return Err(Status::internal("a shard answered for the meta group")) };
        match MetaAnswer::decode(&bytes).map_err(|error| Status::internal(error.to_string()))? {
            MetaAnswer::Refused { reason } => Err(Status::failed_precondition(reason)),
            answer => Ok(answer),
        }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn join(&self, request: Request<wire::JoinRequest>) -> Answer<wire::JoinAnswer> {
        let request = request.into_inner();
        let token = identity::token(request.directory_id);
        let (grpc, http) = (request.grpc_address, request.http_address);
        if let Some(replaced) = &request.replaces {
            self.check_replaced(replaced)?;
        }
        let answer = self.command(MetaCommand::Admit { token, grpc, http, format: self.format }).await?;
        let MetaAnswer::Admitted { node } = answer else {
            return Err(Status::internal(format!("the meta group answered {answer:?}")));
        };
        if let Some(wire::Replaced { node_id: old, .. }) = request.replaces
            && !self.core.state().member(old).is_some_and(Member::is_removed)
        {
            self.command(MetaCommand::Drain { node: old, replacement: Some(node) }).await?;
            tracing::warn!(old, node, "a node lost its log; another id takes its place");
        }
        let state = self.core.state();
        let living = state.members.values().filter(|member| !member.is_removed());
        Ok(Response::new(wire::JoinAnswer {
            node_id: node,
            cluster_id: state.cluster_id.clone(),
            nodes: living.map(|member| wire::NodeAddress { node_id: member.id, grpc_address: member.grpc.clone() }).collect(),
        }))
    }

    async fn remove_node(&self, request: Request<wire::RemoveNodeRequest>) -> Answer<wire::RemoveNodeAnswer> {
        let node = request.into_inner().node_id;
        self.command(MetaCommand::Drain { node, replacement: None }).await?;
        Ok(Response::new(wire::RemoveNodeAnswer {}))
    }

    async fn replace_node(&self, request: Request<wire::ReplaceNodeRequest>) -> Answer<wire::ReplaceNodeAnswer> {
        let wire::ReplaceNodeRequest { old_node_id: node, new_node_id } = request.into_inner();
        self.command(MetaCommand::Drain { node, replacement: Some(new_node_id) }).await?;
        Ok(Response::new(wire::ReplaceNodeAnswer {}))
    }

    async fn transfer_group(&self, request: Request<wire::TransferGroupRequest>) -> Answer<wire::TransferGroupAnswer> {
        let wire::TransferGroupRequest { group: id, to } = request.into_inner();
        let leader = group(&self.core, id)?.view().leader;
        let leader = leader.ok_or_else(|| Status::unavailable(format!("group {id} has no leader")))?;
        let mut change = wire::ChangeGroupRequest { group: id, node_id: to, ..Default::default() };
        change.set_change(wire::change_group_request::Change::TransferLeader);
        let answer = controller::change_group(&self.core, leader, change).await?;
        match answer.done {
            true => Ok(Response::new(wire::TransferGroupAnswer {})),
            false => Err(Status::failed_precondition(answer.problem)),
        }
    }

    async fn status(&self, _request: Request<wire::StatusRequest>) -> Answer<wire::NodeStatus> {
        Ok(Response::new(status::node_status(&self.core)))
    }
}
