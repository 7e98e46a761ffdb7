//! Between the wire and Raft: each function translates one message, and refuses one that misses what it must have.

use std::collections::BTreeSet;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use prost::Message;
use proto::raft as wire;
use proto::raft::append_answer::Outcome as AppendOutcome;
use proto::raft::transfer_leader_answer::Outcome as TransferOutcome;

use storage::PartOutcome;

use crate::caller::{self, Caller};
use crate::types::{
    Entry, EntryPayload, GroupId, LeaderId, LogId, Marker, Membership, Payload, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

/// Why a message is refused.
pub type Refusal = String;

pub fn log_id_to_proto(id: &LogId) -> wire::LogId {
    let leader = id.committed_leader_id();
    wire::LogId { term: leader.term, node_id: leader.node_id, index: id.index() }
}

pub fn log_id_from_proto(id: wire::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: id.node_id }, id.index)
}

pub fn vote_to_proto(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id().term, node_id: vote.leader_id().node_id, committed: vote.is_committed() }
}

pub fn vote_from_proto(vote: Option<wire::Vote>) -> Result<Vote, Refusal> {
    let vote = vote.ok_or("no vote in the message")?;
    Ok(match vote.committed {
        true => Vote::new_committed(vote.term, vote.node_id),
        false => Vote::new(vote.term, vote.node_id),
    })
}

pub fn membership_to_proto(membership: &Membership) -> wire::Membership {
    let voters = |set: &BTreeSet<u64>| wire::VoterSet { voters: set.iter().copied().collect() };
    wire::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(|(id, ())| *id).collect(),
    }
}

pub fn membership_from_proto(membership: wire::Membership) -> Result<Membership, Refusal> {
    // A membership that was never set has no configuration at all; openraft's constructor refuses it.
    if membership.configs.is_empty() {
        return Ok(Membership::default());
    }
    let configs: Vec<BTreeSet<u64>> = membership.configs.into_iter().map(|set| set.voters.into_iter().collect()).collect();
    if configs.iter().any(BTreeSet::is_empty) {
        return Err("a membership without voters".into());
    }
    Ok(Membership::new_with_defaults(configs, membership.nodes))
}

pub fn stored_membership_to_proto(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

pub fn stored_membership_from_proto(stored: Option<wire::StoredMembership>) -> Result<StoredMembership, Refusal> {
    let Some(stored) = stored else { return Ok(StoredMembership::default()) };
    let membership = membership_from_proto(stored.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(stored.log_id.map(log_id_from_proto), membership))
}

pub fn marker_to_proto(marker: &Marker) -> wire::Marker {
    wire::Marker {
        applied: marker.meta.last_log_id.as_ref().map(log_id_to_proto),
        membership: Some(stored_membership_to_proto(&marker.meta.last_membership)),
        callers: marker.callers.clone(),
        image: marker.image,
    }
}

pub fn marker_from_proto(marker: wire::Marker) -> Result<Marker, Refusal> {
    let meta = SnapshotMeta {
        last_log_id: marker.applied.map(log_id_from_proto),
        last_membership: stored_membership_from_proto(marker.membership)?,
    };
    Ok(Marker { meta, callers: marker.callers, image: marker.image })
}

pub fn entry_to_proto(entry: Entry) -> wire::Entry {
    let leader = *entry.log_id.committed_leader_id();
    let index = entry.log_id.index();
    let (kind, callers, payload) = match entry.payload {
        EntryPayload::Blank => (wire::EntryKind::Blank, Bytes::new(), Bytes::new()),
        EntryPayload::Normal(payload) if payload.callers.is_empty() => (wire::EntryKind::Normal, Bytes::new(), payload.body),
        EntryPayload::Normal(payload) => (wire::EntryKind::Identified, payload.callers, payload.body),
        EntryPayload::Membership(membership) => {
            (wire::EntryKind::Membership, Bytes::new(), Bytes::from(membership_to_proto(&membership).encode_to_vec()))
        }
    };
    wire::Entry { term: leader.term, node_id: leader.node_id, index, kind: kind.into(), payload, callers }
}

pub fn entry_from_proto(entry: wire::Entry) -> Result<Entry, Refusal> {
    let log_id = LogId::new(LeaderId { term: entry.term, node_id: entry.node_id }, entry.index);
    let payload = match wire::EntryKind::try_from(entry.kind) {
        Ok(wire::EntryKind::Blank) => EntryPayload::Blank,
        Ok(wire::EntryKind::Normal) => EntryPayload::Normal(Payload { callers: Bytes::new(), body: entry.payload }),
        Ok(wire::EntryKind::Identified) if caller::encoded_length(&entry.callers) == Some(entry.callers.len()) => {
            EntryPayload::Normal(Payload { callers: entry.callers, body: entry.payload })
        }
        Ok(wire::EntryKind::Identified) => return Err("names of batches are cut off".into()),
        Ok(wire::EntryKind::Membership) => {
            let message = wire::Membership::decode(entry.payload).map_err(|error| error.to_string())?;
            EntryPayload::Membership(membership_from_proto(message)?)
        }
        Err(error) => return Err(error.to_string()),
    };
    Ok(Entry::new(log_id, payload))
}

pub fn append_to_proto(group: GroupId, request: AppendEntriesRequest<TypeConfig>) -> wire::AppendRequest {
    wire::AppendRequest {
        group,
        vote: Some(vote_to_proto(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to_proto),
        committed: request.leader_commit.as_ref().map(log_id_to_proto),
        entries: request.entries.into_iter().map(entry_to_proto).collect(),
    }
}

pub fn append_from_proto(request: wire::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Refusal> {
    Ok(AppendEntriesRequest {
        vote: vote_from_proto(request.vote)?,
        prev_log_id: request.previous.map(log_id_from_proto),
        leader_commit: request.committed.map(log_id_from_proto),
        entries: request.entries.into_iter().map(entry_from_proto).collect::<Result<_, _>>()?,
    })
}

pub fn append_answer_to_proto(result: StreamAppendResult<TypeConfig>) -> wire::AppendAnswer {
    let answer = |outcome: AppendOutcome, log_id: Option<LogId>, vote: Option<Vote>| wire::AppendAnswer {
        outcome: outcome.into(),
        log_id: log_id.as_ref().map(log_id_to_proto),
        vote: vote.as_ref().map(vote_to_proto),
    };
    match result {
        Ok(matched) => answer(AppendOutcome::Matched, matched, None),
        Err(StreamAppendError::Conflict(at)) => answer(AppendOutcome::Conflict, Some(at), None),
        Err(StreamAppendError::HigherVote(vote)) => answer(AppendOutcome::HigherVote, None, Some(vote)),
    }
}

pub fn append_answer_from_proto(answer: wire::AppendAnswer) -> Result<StreamAppendResult<TypeConfig>, Refusal> {
    let log_id = answer.log_id.map(log_id_from_proto);
    Ok(match AppendOutcome::try_from(answer.outcome) {
        Ok(AppendOutcome::Matched) => Ok(log_id),
        Ok(AppendOutcome::Conflict) => Err(StreamAppendError::Conflict(log_id.ok_or("a conflict that does not say where")?)),
        Ok(AppendOutcome::HigherVote) => Err(StreamAppendError::HigherVote(vote_from_proto(answer.vote)?)),
        Err(error) => return Err(error.to_string()),
    })
}

/// Whether a vote is asked for or only whether it would be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteKind {
    Vote,
    PreVote,
}

pub fn vote_request_to_proto(group: GroupId, kind: VoteKind, request: &VoteRequest<TypeConfig>) -> wire::VoteRequest {
    wire::VoteRequest {
        group,
        vote: Some(vote_to_proto(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_to_proto),
        leadership_transfer: request.leadership_transfer,
        pre_vote: kind == VoteKind::PreVote,
    }
}

pub fn vote_request_from_proto(request: wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, Refusal> {
    let mut vote = VoteRequest::new(vote_from_proto(request.vote)?, request.last.map(log_id_from_proto));
    vote.leadership_transfer = request.leadership_transfer;
    Ok(vote)
}

pub fn vote_answer_to_proto(answer: &VoteResponse<TypeConfig>) -> wire::VoteAnswer {
    wire::VoteAnswer {
        vote: Some(vote_to_proto(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(log_id_to_proto),
    }
}

pub fn vote_answer_from_proto(answer: wire::VoteAnswer) -> Result<VoteResponse<TypeConfig>, Refusal> {
    Ok(VoteResponse::new(vote_from_proto(answer.vote)?, answer.last.map(log_id_from_proto), answer.granted))
}

pub fn transfer_to_proto(group: GroupId, request: &TransferLeaderRequest<TypeConfig>) -> wire::TransferLeaderRequest {
    wire::TransferLeaderRequest {
        group,
        from: Some(vote_to_proto(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id_to_proto),
    }
}

pub fn transfer_from_proto(request: wire::TransferLeaderRequest) -> Result<TransferLeaderRequest<TypeConfig>, Refusal> {
    let last = request.last.map(log_id_from_proto);
    Ok(TransferLeaderRequest::new(vote_from_proto(request.from)?, request.to, last))
}

pub fn transfer_answer_to_proto(answer: TransferLeaderResponse<TypeConfig>) -> wire::TransferLeaderAnswer {
    let mut message = wire::TransferLeaderAnswer::default();
    match answer {
        Ok(()) => message.set_outcome(TransferOutcome::Accepted),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            message.set_outcome(TransferOutcome::VoteChanged);
            message.expected_vote = Some(vote_to_proto(&expected));
            message.actual_vote = Some(vote_to_proto(&actual));
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            message.set_outcome(TransferOutcome::LogNotFlushed);
            message.expected_log = expected.as_ref().map(log_id_to_proto);
            message.actual_log = actual.as_ref().map(log_id_to_proto);
        }
    }
    message
}

pub fn transfer_answer_from_proto(answer: wire::TransferLeaderAnswer) -> Result<TransferLeaderResponse<TypeConfig>, Refusal> {
    Ok(match answer.outcome() {
        TransferOutcome::Accepted => Ok(()),
        TransferOutcome::VoteChanged => Err(TransferLeaderError::VoteChanged {
            expected: vote_from_proto(answer.expected_vote)?,
            actual: vote_from_proto(answer.actual_vote)?,
        }),
        TransferOutcome::LogNotFlushed => Err(TransferLeaderError::LogNotFlushed {
            expected: answer.expected_log.map(log_id_from_proto),
            actual: answer.actual_log.map(log_id_from_proto),
        }),
    })
}

pub fn caller_to_proto(caller: &Caller) -> wire::Caller {
    wire::Caller { node_id: caller.node, start: caller.start, sequence: caller.sequence }
}

pub fn caller_from_proto(caller: wire::Caller) -> Caller {
    Caller { node: caller.node_id, start: caller.start, sequence: caller.sequence }
}

pub fn outcome_to_proto(outcome: PartOutcome) -> wire::WriteOutcome {
    wire::WriteOutcome {
        accepted: outcome.accepted,
        duplicates: outcome.duplicates,
        conflicts: outcome.conflicts,
        unknown_series: outcome.unknown_series,
        new_series: outcome.new_series,
        first_problem: outcome.first_problem,
        exemplars: outcome.exemplars,
        exemplars_out_of_order: outcome.exemplars_out_of_order,
    }
}

pub fn outcome_from_proto(outcome: wire::WriteOutcome) -> PartOutcome {
    PartOutcome {
        accepted: outcome.accepted,
        duplicates: outcome.duplicates,
        conflicts: outcome.conflicts,
        unknown_series: outcome.unknown_series,
        new_series: outcome.new_series,
        first_problem: outcome.first_problem,
        exemplars: outcome.exemplars,
        exemplars_out_of_order: outcome.exemplars_out_of_order,
    }
}
