//! What all parts of a running node share: its open groups and the ways to reach their leaders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::ReadPolicy;
use parking_lot::{Mutex, RwLock};
use proto::raft as wire;
use storage::SeededBug;
use storage::batch::BatchReader;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::barrier::{Barriers, Ticket};
use crate::caller::Caller;
use crate::confirmation;
use crate::error::{NodeError, ReadError, WriteError};
use crate::forward::Forwarder;
use crate::group::{Common, Group};
use crate::identity;
use crate::meta::{MetaCommand, MetaState, ShardMap};
use crate::network::peer_client;
use crate::peers::Lane;
use crate::proposer::{Proposal, Proposers, Rejected, taken_for_written};
use crate::runtime;
use crate::space::Space;
use crate::types::{Applied, EntryAt, Forgotten, GroupId, META_GROUP, NodeId, shard_of};

/// The budget of bytes is counted in units of this size, because a semaphore counts in `u32`.
const BUDGET_UNIT_BYTES: usize = 1024;
/// A leader that does not confirm a read within this time is asked again.
const READ_INDEX_ATTEMPT: Duration = Duration::from_millis(700);

/// A caller that waits for a majority looks for a leader so many times in [`crate::Settings::quorum_wait`].
const QUORUM_CHECKS: u32 = 32;

/// The format of logs that this build reads and says it reads: 1 is that of the first builds; from 2 on entries say who sent
/// their batches.
pub const FORMAT: u32 = FORMAT_WITH_NAMES;
const FORMAT_WITH_NAMES: u32 = 2;

/// Shared by all tasks of a node.
pub struct Core {
    pub common: Common,
    pub meta: watch::Receiver<Arc<MetaState>>,
    pub shard_map: watch::Receiver<Arc<ShardMap>>,
    pub closing: CancellationToken,
    pub ready: AtomicBool,
    proposers: Proposers,
    forwarder: Forwarder,
    barriers: Barriers,
    budget: Semaphore,
    names: Names,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    /// Changes whenever a group is opened or closed.
    opened: watch::Sender<u64>,
}

impl Core {
    /// `start` counts the starts of this node; see [`identity::count_start`].
    pub fn new(common: Common, start: u64, meta: watch::Receiver<Arc<MetaState>>, shard_map: watch::Receiver<Arc<ShardMap>>) -> Arc<Self> {
        Arc::new(Self {
            proposers: Proposers::new(Arc::clone(&common.settings)),
            forwarder: Forwarder::new(Arc::clone(&common.peers)),
            barriers: Barriers::default(),
            budget: Semaphore::new(common.settings.in_flight_bytes_max / BUDGET_UNIT_BYTES),
            names: Names { start: AtomicU64::new(start), sequences: Mutex::default() },
            groups: RwLock::default(),
            opened: watch::Sender::new(0),
            closing: CancellationToken::new(),
            ready: AtomicBool::new(false),
            meta,
            shard_map,
            common,
        })
    }

    pub fn local(&self) -> NodeId {
        self.common.node
    }

    pub fn state(&self) -> Arc<MetaState> {
        Arc::clone(&self.meta.borrow())
    }

    /// A leader that shows nothing for this long is no leader any more.
    pub fn leader_patience(&self) -> Duration {
        2 * self.common.settings.election_timeout_max
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn group(&self, group: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&group).cloned()
    }

    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Opens a group; an open one with the same incarnation stays as it is. A node that is closing opens none: nobody would
    /// close it again.
    pub async fn open(&self, id: GroupId, incarnation: u64) -> Result<Arc<Group>, NodeError> {
        if let Some(group) = self.group(id)
            && group.incarnation == incarnation
        {
            return Ok(group);
        }
        if id != META_GROUP {
            let key = storage::HashKey(self.state().hash_key);
            self.common.engine.set_hash_key(key).map_err(|e| NodeError::storage("set hash key", e))?;
        }
        if self.closing.is_cancelled() {
            return Err(NodeError::ShuttingDown);
        }
        let group = Group::open(id, incarnation, &self.common).await?;
        if self.enter(&group) {
            self.opened.send_modify(|count| *count += 1);
            return Ok(group);
        }
        group.close().await;
        Err(NodeError::ShuttingDown)
    }

    /// Adds an opened group, unless the node is closing. Whoever closes the groups first says so and then takes the same
    /// lock, and so finds every group that was added.
    fn enter(&self, group: &Arc<Group>) -> bool {
        let mut groups = self.groups.write();
        let may_enter = !self.closing.is_cancelled();
        if may_enter {
            self.proposers.attach(Arc::clone(group));
            groups.insert(group.id, Arc::clone(group));
        }
        may_enter
    }

    /// Stops a group. What it wrote to the log is durable on return.
    pub async fn close(&self, id: GroupId) {
        self.proposers.detach(id);
        let group = self.groups.write().remove(&id);
        self.opened.send_modify(|count| *count += 1);
        if let Some(group) = group {
            group.close().await;
            let _ = self.common.writer.barrier().await;
        }
    }

    /// Proposes on this node, without looking elsewhere.
    pub async fn propose_here(&self, group: GroupId, mut proposal: Proposal) -> Result<Applied, Rejected> {
        // What cannot be read must not enter the log, where every replica would have to cope with it for ever.
        let grows = match group {
            META_GROUP => MetaCommand::decode(&proposal.payload).map(|_| false).map_err(|error| error.to_string()),
            _ => BatchReader::parse(&proposal.payload).map(|batch| grows(&batch)).map_err(|error| error.to_string()),
        };
        if grows.map_err(Rejected::Refused)? && self.common.space.get() != Space::Ample {
            return Err(Rejected::DiskFull);
        }
        if self.state().format() < FORMAT_WITH_NAMES {
            proposal.caller = None;
        }
        self.proposers.propose(group, proposal).await
    }

    /// Proposes wherever the group's leader is, looking for it until the deadline, or until there is none for too long.
    pub async fn propose(&self, group: GroupId, payload: Bytes, deadline: Instant) -> Result<Applied, WriteError> {
        tokio::select! {
            proposed = self.propose_until(group, payload, deadline) => proposed,
            () = self.quorum_missing(group) => Err(WriteError::NoQuorum { what: name_of(group) }),
        }
    }

    /// Returns when the caller has waited [`crate::Settings::quorum_wait`] and no leader of the group has shown itself here in as long.
    async fn quorum_missing(&self, group: GroupId) {
        let patience = self.common.settings.quorum_wait;
        tokio::time::sleep(patience).await;
        // A node without a replica of the group judges by the meta group, which spans all nodes.
        let judge = || self.group(group).or_else(|| self.group(META_GROUP));
        while judge().is_none_or(|group| group.leader_within(patience).is_some()) {
            tokio::time::sleep(patience / QUORUM_CHECKS).await;
        }
    }

    async fn propose_until(&self, group: GroupId, payload: Bytes, deadline: Instant) -> Result<Applied, WriteError> {
        let units = payload.len().div_ceil(BUDGET_UNIT_BYTES).max(1);
        let units = u32::try_from(units).map_err(|_| WriteError::Overloaded)?;
        let budget = tokio::time::timeout_at(deadline, self.budget.acquire_many(units)).await;
        let _budget = budget.map_err(|_| WriteError::Overloaded)?.map_err(|_| WriteError::ShuttingDown)?;
        let proposal = Proposal { caller: Some(self.names.next(self.local(), group)), payload };
        let mut hint = None;
        let mut attempts = 0;
        let mut disk_full = false;
        loop {
            if self.closing.is_cancelled() {
                return Err(WriteError::ShuttingDown);
            }
            let target = hint.take().or_else(|| self.leader_or_guess(group, attempts));
            let attempt = self.attempt(group, proposal.clone(), target, deadline);
            match tokio::time::timeout_at(deadline, attempt).await {
                Ok(Ok(applied)) => return Ok(applied),
                Ok(Err(Rejected::Refused(reason))) => return Err(WriteError::Refused { reason }),
                Ok(Err(Rejected::Forgotten(forgotten))) => {
                    self.outgrow(forgotten).await;
                    return Err(WriteError::Forgotten { what: name_of(group) });
                }
                Ok(Err(Rejected::NotLeader(Some(leader)))) if Some(leader) != target => {
                    hint = Some(leader);
                    attempts += 1;
                    if attempts % 4 != 0 {
                        continue;
                    }
                }
                Ok(Err(rejected)) => {
                    disk_full = rejected == Rejected::DiskFull;
                    attempts += 1;
                }
                Err(_) => return Err(self.too_late(group)),
            }
            self.wait_for_change(group, deadline).await;
            if Instant::now() >= deadline {
                return Err(if disk_full { WriteError::DiskFull { what: name_of(group) } } else { self.too_late(group) });
            }
        }
    }

    /// A group that knows a later start of this node than this one refuses everything from it: the directory is an older copy of
    /// itself. It goes on under a start that nobody has heard of.
    async fn outgrow(&self, forgotten: Forgotten) {
        if forgotten.start <= self.names.start.load(Ordering::Acquire) {
            return;
        }
        match identity::count_start(&self.common.writer, forgotten.start).await {
            Ok(start) => drop(self.names.start.fetch_max(start, Ordering::AcqRel)),
            Err(error) => tracing::warn!(%error, "count this start anew"),
        }
    }

    async fn attempt(&self, group: GroupId, proposal: Proposal, target: Option<NodeId>, deadline: Instant) -> Result<Applied, Rejected> {
        let target = target.ok_or(Rejected::NotLeader(None))?;
        if target == self.local() {
            return self.propose_here(group, proposal).await;
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let payload = proposal.payload.clone();
        tokio::select! {
            answer = self.forwarder.propose(target, group, proposal, remaining) => answer,
            () = self.leader_is_not(group, target) => match SeededBug::BatchLostAtLeaderChange.is_on() && group != META_GROUP {
                true => Ok(Applied { proposed: taken_for_written(&payload), entry: EntryAt::default() }),
                false => Err(Rejected::Unknown),
            },
        }
    }

    /// The leader that the local replica knows; without one, a member of the group, another one each time.
    fn leader_or_guess(&self, group: GroupId, attempt: usize) -> Option<NodeId> {
        if let Some(local) = self.group(group) {
            return local.view().leader;
        }
        let members: Vec<NodeId> = match shard_of(group) {
            Some(shard) => self.shard_map.borrow().replicas(shard).to_vec(),
            None => self.common.peers.addresses().keys().copied().collect(),
        };
        members.get(attempt % members.len().max(1)).copied()
    }

    /// Returns when the local replica knows of another leader. Never for a group without a local replica.
    async fn leader_is_not(&self, group: GroupId, node: NodeId) {
        match self.group(group) {
            Some(local) => {
                let mut view = local.watch_view();
                let _ = view.wait_for(|(view, _)| view.leader.is_some_and(|leader| leader != node)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for a change of leadership, but not for long.
    async fn wait_for_change(&self, group: GroupId, deadline: Instant) {
        let until = (Instant::now() + self.common.settings.retry_interval).min(deadline);
        let change = async {
            match self.group(group) {
                Some(local) => local.watch_view().changed().await.is_ok(),
                None => self.opened.subscribe().changed().await.is_ok(),
            }
        };
        // A closed group's watch ends at once: that is no change to act upon.
        if let Ok(false) = tokio::time::timeout_at(until, change).await {
            tokio::time::sleep_until(until).await;
        }
    }

    fn too_late(&self, group: GroupId) -> WriteError {
        let what = name_of(group);
        let known = shard_of(group).is_none_or(|shard| shard < self.shard_map.borrow().shard_count());
        match self.group(group).map(|local| local.leader_within(self.leader_patience())) {
            _ if !known => WriteError::Unknown { what },
            Some(None) => WriteError::NoQuorum { what },
            Some(Some(_)) | None => WriteError::Timeout { what },
        }
    }

    /// When it returns, the local replica has applied everything that was acknowledged before the call.
    pub async fn barrier(self: &Arc<Self>, group: GroupId, deadline: Instant) -> Result<(), ReadError> {
        tokio::select! {
            passed = self.barrier_until(group, deadline) => passed,
            () = self.quorum_missing(group) => Err(ReadError::NoQuorum { shard: shard_of(group).unwrap_or(u32::MAX) }),
        }
    }

    async fn barrier_until(self: &Arc<Self>, group: GroupId, deadline: Instant) -> Result<(), ReadError> {
        let shard = shard_of(group).unwrap_or(u32::MAX);
        let local = self.group(group).ok_or(ReadError::NoReplica { shard })?;
        if SeededBug::LocalReadAsStrong.is_on() {
            return Ok(());
        }
        if local.leads_alone() {
            return Ok(());
        }
        let deadline = deadline.min(Instant::now() + self.common.settings.barrier_timeout);
        let index = match self.barriers.enter(group, deadline) {
            Ticket::Wait(index) => index,
            Ticket::Lead(index) => {
                runtime::spawn(Arc::clone(self).run_rounds());
                index
            }
        };
        let index = match tokio::time::timeout_at(deadline, index).await {
            Ok(Ok(index)) => index,
            _ => return Err(ReadError::NoQuorum { shard }),
        };
        if SeededBug::FollowerReadsEarly.is_on() && !local.leads() {
            return Ok(());
        }
        match tokio::time::timeout_at(deadline, local.wait_applied(index)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ReadError::ShuttingDown),
            Err(_) => Err(ReadError::Lagging { shard }),
        }
    }

    async fn run_rounds(self: Arc<Self>) {
        while let Some(round) = self.barriers.next_round() {
            let groups: Vec<_> = round.groups().into_iter().filter_map(|group| self.group(group)).collect();
            let left = confirmation::serve(&self.common, &groups, round).await;
            for (group, callers) in left.into_groups() {
                if self.barriers.enter_group(group, callers) {
                    runtime::spawn(Arc::clone(&self).run_group_barriers(group));
                }
            }
        }
    }

    /// For callers that no round could serve: the group's leader is asked until one answers or nobody waits any more.
    async fn run_group_barriers(self: Arc<Self>, group: GroupId) {
        while let Some(mut round) = self.barriers.next_of_group(group) {
            let deadline = round.deadline();
            loop {
                if let Some(index) = self.confirm_leader(group).await {
                    round.confirm(group, index);
                    break;
                }
                if Instant::now() >= deadline || self.closing.is_cancelled() {
                    break;
                }
                self.wait_for_change(group, deadline).await;
            }
        }
    }

    /// What this node says about groups when a peer reads.
    pub async fn views(&self, groups: &[GroupId]) -> Vec<wire::GroupView> {
        let local = self.local();
        let held = groups.iter().filter_map(|group| self.group(*group));
        let views =
            held.map(|group| async move { Some(confirmation::view_to_proto(group.id, &confirmation::view_of(&group, local).await?)) });
        futures::future::join_all(views).await.into_iter().flatten().collect()
    }

    /// One attempt to have the leader confirm that it leads.
    async fn confirm_leader(&self, group: GroupId) -> Option<u64> {
        let local = self.group(group)?;
        let leader = local.view().leader?;
        if leader == self.local() {
            return self.read_index(group).await;
        }
        let request = wire::ReadIndexRequest { group, deadline_ms: READ_INDEX_ATTEMPT.as_millis() as u32 };
        let mut client = peer_client(&self.common.peers, leader, Lane::Control).ok()?;
        let ask = async {
            tokio::select! {
                answer = client.read_index(request) => answer.ok(),
                () = self.leader_is_not(group, leader) => None,
            }
        };
        let answer = tokio::time::timeout(READ_INDEX_ATTEMPT, ask).await.ok()??.into_inner();
        answer.confirmed.then_some(answer.index)
    }

    /// As the leader: confirms leadership with a majority and says up to where a reader must have applied.
    pub async fn read_index(&self, group: GroupId) -> Option<u64> {
        let local = self.group(group)?;
        let linearizer = local.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        Some(linearizer.read_log_id().index())
    }
}

/// Whether applying the batch takes room: deletions only give some back.
fn grows(batch: &BatchReader<'_>) -> bool {
    let is_empty = batch.is_empty() && batch.definitions().is_empty() && batch.exemplars().is_empty() && batch.metadata().is_empty();
    !is_empty || batch.deletions().is_empty()
}

/// Gives batches their names.
struct Names {
    start: AtomicU64,
    sequences: Mutex<HashMap<GroupId, u64>>,
}

impl Names {
    fn next(&self, node: NodeId, group: GroupId) -> Caller {
        let mut sequences = self.sequences.lock();
        let sequence = sequences.entry(group).or_default();
        *sequence += 1;
        Caller { node, start: self.start.load(Ordering::Acquire), sequence: *sequence }
    }
}

fn name_of(group: GroupId) -> String {
    match (group, shard_of(group)) {
        (META_GROUP, _) | (_, None) => "the meta group".to_owned(),
        (_, Some(shard)) => format!("shard {shard}"),
    }
}
