//! From waiting batches to log entries, on the node that leads.
//!
//! Batches for one shard that wait at the same time become one entry: an entry costs a round trip and a share of an fsync
//! whatever its size. While nothing is under way a batch goes at once; otherwise it lingers for company, until 2 ms or
//! 1 MiB. Commands of the meta group are never joined.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use openraft::errors::{ClientWriteError, Fatal};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use storage::batch::{self, BatchReader};
use storage::{PartOutcome, SeededBug};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::caller::{self, Caller};
use crate::group::Group;
use crate::runtime;
use crate::settings::Settings;
use crate::types::{Answer, Applied, EntryAt, Forgotten, GroupId, META_GROUP, NodeId, PartAnswer, Payload, Proposed, TypeConfig};

/// Proposals that may wait for a group's proposer; the budget of bytes binds long before.
const WAITING_MAX: usize = 16 * 1024;

/// A batch or a command, and its name, which is the same however often it is proposed.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub caller: Option<Caller>,
    pub payload: Bytes,
}

/// Why a proposal was not applied, as far as this node can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// Nothing was appended; ask this node instead, if one is named.
    NotLeader(Option<NodeId>),
    /// Appended perhaps, applied perhaps: repeat it.
    Unknown,
    /// This node does not have the group.
    NoGroup,
    /// Not applied; whether an earlier copy was is not remembered any more.
    Forgotten(Forgotten),
    /// The leader's disk is nearly full; nothing was appended. It hands over soon.
    DiskFull,
    /// The payload cannot be read.
    Refused(String),
}

type ProposalAnswer = Result<Applied, Rejected>;

struct Waiting {
    proposal: Proposal,
    answer: oneshot::Sender<ProposalAnswer>,
}

/// The proposers of all groups of a node.
pub struct Proposers {
    settings: Arc<Settings>,
    queues: Mutex<HashMap<GroupId, mpsc::Sender<Waiting>>>,
}

impl Proposers {
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, queues: Mutex::default() }
    }

    /// Takes over proposing for a group that was opened (again).
    pub fn attach(&self, group: Arc<Group>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let id = group.id;
        let proposer = Proposer {
            group,
            entries: Arc::new(Semaphore::new(self.settings.entries_in_flight_max)),
            in_flight: Arc::default(),
            settings: Arc::clone(&self.settings),
            waiting,
        };
        self.queues.lock().insert(id, queue);
        runtime::spawn(proposer.run());
    }

    /// Its proposer ends when what waits is proposed.
    pub fn detach(&self, group: GroupId) {
        self.queues.lock().remove(&group);
    }

    /// Proposes on this node and waits for the answer. The caller bounds the time.
    pub async fn propose(&self, group: GroupId, proposal: Proposal) -> ProposalAnswer {
        let queue = self.queues.lock().get(&group).cloned().ok_or(Rejected::NoGroup)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Waiting { proposal, answer }).await.map_err(|_| Rejected::NoGroup)?;
        answered.await.unwrap_or(Err(Rejected::Unknown))
    }
}

struct Proposer {
    group: Arc<Group>,
    /// Limits entries under way.
    entries: Arc<Semaphore>,
    in_flight: Arc<AtomicUsize>,
    settings: Arc<Settings>,
    waiting: mpsc::Receiver<Waiting>,
}

impl Proposer {
    async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            let Ok(permit) = Arc::clone(&self.entries).acquire_owned().await else { return };
            let proposals = self.gather(first).await;
            let in_flight = Arc::clone(&self.in_flight);
            in_flight.fetch_add(1, Ordering::Relaxed);
            let entry = self.entry(&proposals);
            let (responder, completed) = ProgressResponder::<TypeConfig, _>::complete_only();
            let handed_in = self.group.raft.client_write_ff(entry, Some(responder)).await;
            if SeededBug::AckBeforeQuorum.is_on() && self.group.id != META_GROUP && self.group.leads() {
                let taken = proposals.iter().map(|waiting| Ok(taken_for_written(&waiting.proposal.payload))).collect();
                in_flight.fetch_sub(1, Ordering::Relaxed);
                answer_each(proposals, taken, EntryAt::default());
                continue;
            }
            runtime::spawn(async move {
                let result = match handed_in {
                    Ok(()) => completed.await.map_err(|_| Fatal::Stopped),
                    Err(fatal) => Err(fatal),
                };
                in_flight.fetch_sub(1, Ordering::Relaxed);
                drop(permit);
                answer_all(proposals, result);
            });
        }
    }

    /// The batches that go together.
    async fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = first.proposal.payload.len();
        let mut proposals = vec![first];
        if self.group.id == META_GROUP {
            return proposals;
        }
        let linger = match self.in_flight.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(Instant::now() + self.settings.merge_linger),
        };
        while bytes < self.settings.merge_bytes_max {
            let next = match (self.waiting.try_recv(), linger) {
                (Ok(next), _) => Some(next),
                (Err(_), None) => None,
                (Err(_), Some(until)) => tokio::time::timeout_at(until, self.waiting.recv()).await.ok().flatten(),
            };
            let Some(next) = next else { break };
            bytes += next.proposal.payload.len();
            proposals.push(next);
        }
        proposals
    }

    fn entry(&self, waiting: &[Waiting]) -> Payload {
        let body = match (self.group.id, waiting) {
            (META_GROUP, [only]) => only.proposal.payload.clone(),
            _ => batch::join(&waiting.iter().map(|waiting| waiting.proposal.payload.clone()).collect::<Vec<_>>()),
        };
        let names: Vec<Option<Caller>> = waiting.iter().map(|waiting| waiting.proposal.caller).collect();
        let callers = match names.iter().any(Option::is_some) {
            true => caller::encode(&names),
            false => Bytes::new(),
        };
        Payload { callers, body }
    }
}

/// What a batch would probably come to; only for seeded bugs.
pub fn taken_for_written(batch: &[u8]) -> Proposed {
    let samples = BatchReader::parse(batch).map_or(0, |batch| batch.len());
    Proposed::Written(PartOutcome { accepted: samples as u64, ..PartOutcome::default() })
}

fn answer_all(waiting: Vec<Waiting>, result: Result<ClientWriteResult<TypeConfig>, Fatal<TypeConfig>>) {
    let rejected = match result {
        Ok(Ok(response)) => match response.data {
            Answer::Parts(parts) => return answer_each(waiting, parts, EntryAt::from(&response.log_id)),
            Answer::Nothing => Rejected::Unknown,
        },
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Rejected::NotLeader(forward.leader_id),
        Ok(Err(_)) | Err(_) => Rejected::Unknown,
    };
    for waiting in waiting {
        let _ = waiting.answer.send(Err(rejected.clone()));
    }
}

fn answer_each(waiting: Vec<Waiting>, answers: Vec<PartAnswer>, entry: EntryAt) {
    // A caller that gave up is not there to hear.
    for (waiting, answer) in waiting.into_iter().zip(answers) {
        let answer = answer.map(|proposed| Applied { proposed, entry });
        let _ = waiting.answer.send(answer.map_err(Rejected::Forgotten));
    }
}
