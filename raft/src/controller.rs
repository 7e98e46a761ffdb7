//! The leader of the meta group at work: it looks at the cluster, asks [`next_actions`] what is to be done, and does it.
//!
//! All knowledge is in the meta group's log and all deeds may be repeated, so nothing is remembered here but how long
//! nodes have been silent. Another leader takes over by starting its own loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proto::raft as wire;
use proto::raft::change_group_request::Change;
use tokio::time::Instant;

use crate::core::Core;
use crate::founding;
use crate::meta::observed::{GroupView, Health, Observed};
use crate::meta::plan::{Action, necessary_actions, next_actions};
use crate::meta::{MetaCommand, MetaState};
use crate::network::peer_client;
use crate::peers::Lane;
use crate::types::{GroupId, META_GROUP, NodeId};

const ASK_TIMEOUT: Duration = Duration::from_millis(500);
const BARRIER_TIMEOUT: Duration = Duration::from_secs(1);
const DEED_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that has answered without a gap for so long is live,
const LIVE_AFTER: Duration = Duration::from_secs(5);
/// and one that was silent for so long is down: its replicas move elsewhere.
const DOWN_AFTER: Duration = Duration::from_secs(60);

/// The loop of one node; idle unless it leads the meta group.
pub struct Controller {
    pub core: Arc<Core>,
    /// Who may be founders, when the cluster is not founded yet.
    pub founders: BTreeSet<NodeId>,
    pub founders_written: Option<wire::Founders>,
    pub sights: BTreeMap<NodeId, Sight>,
    /// When leadership was last looked at for balance.
    pub balanced_at: Instant,
}

/// When a node answered.
pub struct Sight {
    answering_since: Option<Instant>,
    last_answer: Instant,
}

impl Controller {
    pub async fn run(mut self) {
        let interval = self.core.common.settings.reconcile_interval;
        while self.core.closing.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            self.file_directories().await;
            match self.core.group(META_GROUP) {
                Some(meta) if meta.leads() => self.lead().await,
                _ => self.sights.clear(),
            }
        }
    }

    /// One round as the leader.
    async fn lead(&mut self) {
        // A fresh leader may not have applied what its log holds, and a deposed one does not know that it is.
        if self.core.barrier(META_GROUP, Instant::now() + BARRIER_TIMEOUT).await.is_err() {
            return;
        }
        let state = self.core.state();
        if !state.is_bootstrapped() {
            self.found_cluster().await;
            return;
        }
        let statuses = self.ask_members(&state).await;
        let observed = self.observe(&state, &statuses);
        let actions = self.plan(&state, &observed);
        let deeds = actions.into_iter().map(|action| self.carry_out(action, &observed));
        futures::future::join_all(deeds).await;
    }

    async fn found_cluster(&self) {
        if !self.founders.is_empty() {
            tracing::info!(founders = ?self.founders, "found the cluster");
            self.write(founding::bootstrap_command(&self.core, &self.founders)).await;
        }
    }

    async fn file_directories(&self) {
        let state = self.core.state();
        if let Some(founders) = &self.founders_written
            && state.is_bootstrapped()
            && let Some(command) = founding::directories_command(&state, founders)
        {
            self.write(command).await;
        }
    }

    async fn ask_members(&self, state: &MetaState) -> BTreeMap<NodeId, wire::NodeStatus> {
        let core = &self.core;
        let members = state.members.values().filter(|member| !member.is_removed()).map(|member| member.id);
        let asks = members.map(|node| async move {
            if node == core.local() {
                return Some((node, crate::status::node_status(core)));
            }
            let mut client = peer_client(&core.common.peers, node, Lane::Control).ok()?;
            let answer = tokio::time::timeout(ASK_TIMEOUT, client.peer_status(wire::StatusRequest {})).await.ok()?.ok()?;
            Some((node, answer.into_inner()))
        });
        futures::future::join_all(asks).await.into_iter().flatten().collect()
    }

    fn observe(&mut self, state: &MetaState, statuses: &BTreeMap<NodeId, wire::NodeStatus>) -> Observed {
        let now = Instant::now();
        let mut observed = Observed::default();
        for &node in state.members.keys() {
            let sight = self.sights.entry(node).or_insert(Sight { answering_since: None, last_answer: now });
            if statuses.contains_key(&node) {
                sight.last_answer = now;
                sight.answering_since.get_or_insert(now);
            } else {
                sight.answering_since = None;
            }
            // A full node answers, but nothing may be built on it.
            let health = match statuses.get(&node).is_some_and(|status| status.disk_full) {
                true => Health::Suspect,
                false => sight.health(now),
            };
            observed.health.insert(node, health);
        }
        for (&node, status) in statuses {
            for group in status.groups.iter().filter(|group| group.leader == Some(node) && group.role == "leader") {
                // After a change of leader two may think they lead: the higher term is right.
                let newer = observed.groups.get(&group.group).is_none_or(|seen: &GroupView| {
                    seen.leader.and_then(|leader| term_of(statuses, leader, group.group)) < Some(group.term)
                });
                if newer {
                    observed.groups.insert(group.group, group_view(group));
                }
            }
        }
        observed
    }

    /// Leadership moves for balance only now and then; what a change of members needs is always due.
    fn plan(&mut self, state: &MetaState, observed: &Observed) -> Vec<Action> {
        let balance = self.core.common.settings.balance_interval;
        if balance.is_none_or(|interval| self.balanced_at.elapsed() < interval) {
            return necessary_actions(state, observed);
        }
        self.balanced_at = Instant::now();
        next_actions(state, observed)
    }

    async fn carry_out(&self, action: Action, observed: &Observed) {
        tracing::info!(?action, "change the cluster");
        let request = |group: GroupId, change: Change, node_id: NodeId, nodes: Vec<NodeId>| wire::ChangeGroupRequest {
            group,
            change: change.into(),
            node_id,
            nodes,
        };
        let request = match action {
            Action::Propose(command) => return self.write(command).await,
            Action::AddLearner { group, node } => request(group, Change::AddLearner, node, Vec::new()),
            Action::ChangeVoters { group, voters } => request(group, Change::SetVoters, 0, voters.into_iter().collect()),
            Action::RemoveLearners { group, nodes } => request(group, Change::RemoveLearners, 0, nodes.into_iter().collect()),
            Action::TransferLeader(transfer) => request(transfer.group, Change::TransferLeader, transfer.to, Vec::new()),
        };
        let Some((leader, _)) = observed.led(request.group) else { return };
        let group = request.group;
        let problem = match tokio::time::timeout(DEED_TIMEOUT, change_group(&self.core, leader, request)).await {
            Ok(Ok(answer)) if answer.done => return,
            Ok(Ok(answer)) => answer.problem,
            Ok(Err(status)) => status.to_string(),
            Err(_) => "no answer in time".into(),
        };
        tracing::info!(group, leader, problem, "the change is tried again");
    }

    async fn write(&self, command: MetaCommand) {
        let deadline = Instant::now() + BARRIER_TIMEOUT;
        if let Err(error) = self.core.propose(META_GROUP, command.encode().into(), deadline).await {
            tracing::debug!(%error, "write to the meta group");
        }
    }
}

/// Has a group's leader change its members or hand over.
pub async fn change_group(
    core: &Core,
    leader: NodeId,
    request: wire::ChangeGroupRequest,
) -> Result<wire::ChangeGroupAnswer, tonic::Status> {
    if leader == core.local() {
        return Ok(crate::members::change(core, request).await);
    }
    let mut client = peer_client(&core.common.peers, leader, Lane::Control)?;
    Ok(client.change_group(request).await?.into_inner())
}

impl Sight {
    fn health(&self, now: Instant) -> Health {
        match self.answering_since {
            Some(since) if now - since >= LIVE_AFTER => Health::Live,
            Some(_) => Health::Suspect,
            None if now - self.last_answer >= DOWN_AFTER => Health::Down,
            None => Health::Suspect,
        }
    }
}

fn term_of(statuses: &BTreeMap<NodeId, wire::NodeStatus>, node: NodeId, group: GroupId) -> Option<u64> {
    statuses.get(&node)?.groups.iter().find(|status| status.group == group).map(|status| status.term)
}

fn group_view(status: &wire::GroupStatus) -> GroupView {
    GroupView {
        leader: status.leader,
        leader_age_ms: status.leader_age_ms,
        voters: status.voters.iter().copied().collect(),
        learners: status.learners.iter().copied().collect(),
        changing: status.changing,
        lag_entries: status.lags.iter().map(|lag| (lag.node_id, lag.entries)).collect(),
    }
}
