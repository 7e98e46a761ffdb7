//! Keeping the open groups of this node what the meta group's state says they should be, and opening anew what died.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use storage::Engine;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::NodeError;
use crate::founding::initialize;
use crate::group::{Group, StopReason, Stopped};
use crate::heal;
use crate::identity::{self, Card};
use crate::meta::{MetaCommand, MetaState, Placement};
use crate::runtime;
use crate::types::{GroupId, META_GROUP, NodeId, group_of, shard_of};

/// A new group is started by its first replica; the others wait this long for it before they do the same.
const INITIALIZE_PATIENCE: Duration = Duration::from_secs(3);
/// A group without a leader for this long makes the node unready.
const ELECTION_PATIENCE: Duration = Duration::from_secs(5);
/// A group that keeps dying is opened anew not more often than this.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);
/// How long a node waits for the meta group to answer when it announces itself.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// What this node tells the cluster about itself.
pub struct Announcement {
    pub grpc: String,
    pub http: String,
    pub format: u32,
}

/// Follows the meta group's state until the node closes.
pub struct Keeper {
    pub core: Arc<Core>,
    pub announcement: Announcement,
    pub stopped: mpsc::UnboundedReceiver<Stopped>,
    /// When a pristine group was first seen.
    pub pristine_since: HashMap<GroupId, Instant>,
    /// Groups whose image is being fetched.
    pub healing: Healing,
}

/// Groups that are healed by a task of their own.
pub type Healing = Arc<Mutex<BTreeSet<GroupId>>>;

impl Keeper {
    /// Opens, before anything else, what this node held when it stopped.
    pub async fn open_known(core: &Core) -> Result<(), NodeError> {
        let wanted = core.state().groups_of(core.local());
        let shards = wanted.into_iter().filter(|(group, _)| *group != META_GROUP);
        let opening = shards.map(|(group, incarnation)| async move {
            match core.open(group, incarnation).await {
                // Healed later, when others can be asked.
                Err(NodeError::ImageLost { .. }) if !heal::donors(core, group).is_empty() => Ok(()),
                Err(NodeError::ImageLost { reason, .. }) => Err(NodeError::Refused(format!(
                    "the data of group {group} are damaged ({reason}), and no other node has them; restore a backup of the data directory"
                ))),
                opened => opened.map(drop),
            }
        });
        futures::future::try_join_all(opening).await?;
        Ok(())
    }

    pub async fn run(mut self) {
        let mut meta = self.core.meta.clone();
        loop {
            match self.keep().await {
                Ok(()) => {}
                Err(NodeError::ShuttingDown) => return,
                Err(error) => tracing::warn!(%error, "keep replicas"),
            }
            let interval = self.core.common.settings.reconcile_interval;
            tokio::select! {
                () = self.core.closing.cancelled() => return,
                _ = meta.changed() => {}
                () = tokio::time::sleep(interval) => {}
                Some(stopped) = self.stopped.recv() => self.revive(stopped).await,
            }
        }
    }

    async fn keep(&mut self) -> Result<(), NodeError> {
        let state = self.core.state();
        if !state.is_bootstrapped() {
            return Ok(());
        }
        self.learn_addresses(&state).await;
        let wanted = state.groups_of(self.core.local());
        self.look_for_damage(&wanted);
        for (&group, &incarnation) in wanted.iter().filter(|(group, _)| **group != META_GROUP) {
            if self.healing.lock().contains(&group) {
                continue;
            }
            let open = match self.core.open(group, incarnation).await {
                Err(NodeError::ImageLost { reason, .. }) => {
                    self.heal(group, incarnation, reason);
                    continue;
                }
                opened => opened?,
            };
            if open.log.is_pristine() {
                self.start_group(&state, group).await?;
            } else {
                self.pristine_since.remove(&group);
            }
        }
        if self.meta_is_current() {
            self.close_unwanted(&wanted).await?;
            self.announce(&state).await;
        }
        self.judge_readiness(&wanted);
        Ok(())
    }

    /// Begins to heal what was found damaged since. A database that is damaged as a whole is opened anew by the next start.
    fn look_for_damage(&self, wanted: &BTreeMap<GroupId, u64>) {
        let engine = &self.core.common.engine;
        if let Some(reason) = engine.damage() {
            return end_with_damage(engine, &reason);
        }
        for (shard, reason) in engine.damaged_shards() {
            if let Some(&incarnation) = wanted.get(&group_of(shard)) {
                self.heal(group_of(shard), incarnation, reason);
            }
        }
    }

    fn heal(&self, group: GroupId, incarnation: u64, reason: String) {
        // Alone, it goes on with what can be read, and says of the rest that it cannot.
        if heal::donors(&self.core, group).is_empty() || !self.healing.lock().insert(group) {
            return;
        }
        let (core, healing) = (Arc::clone(&self.core), Arc::clone(&self.healing));
        runtime::spawn(async move {
            heal::run(core, group, incarnation, reason).await;
            healing.lock().remove(&group);
        });
    }

    /// Ready needs a leader for every group. A ready node stays so through an election: another node would be no better.
    fn judge_readiness(&self, wanted: &BTreeMap<GroupId, u64>) {
        let was_ready = self.core.is_ready();
        let patience = match was_ready {
            true => ELECTION_PATIENCE,
            false => self.core.leader_patience(),
        };
        let ready = wanted.keys().all(|&group| self.is_served(group, patience));
        if ready != was_ready && !self.core.closing.is_cancelled() {
            self.core.ready.store(ready, Ordering::Release);
            tracing::info!(node = self.core.local(), groups = wanted.len(), ready, "readiness changed");
        }
    }

    async fn learn_addresses(&self, state: &MetaState) {
        let peers = &self.core.common.peers;
        peers.set_cluster(&state.cluster_id);
        let before = peers.addresses();
        let local = self.core.local();
        let living = state.members.values().filter(|member| !member.is_removed() && member.id != local);
        peers.learn(living.filter(|member| !member.grpc.is_empty()).map(|member| (member.id, member.grpc.clone())));
        let after = peers.addresses();
        if before != after
            && let Err(error) = identity::save_addresses(&self.core.common.writer, &after).await
        {
            tracing::warn!(%error, "save addresses");
        }
        self.keep_card(state);
    }

    /// Writes down, beside the log, what would be needed without it.
    fn keep_card(&self, state: &MetaState) {
        let db = self.core.common.writer.db();
        let Some(folder) = db.directory().and_then(Path::parent) else { return };
        let living = state.members.values().filter(|member| !member.is_removed());
        let nodes: BTreeMap<NodeId, String> = living.map(|member| (member.id, member.grpc.clone())).collect();
        let written = identity::load(db).and_then(|identity| {
            let identity = identity.unwrap_or_default();
            let card = Card {
                cluster_id: state.cluster_id.clone(),
                node_id: identity.node_id,
                directory_id: identity.directory_id,
                configured_node_id: identity.configured_node_id,
                nodes,
            };
            card.write(folder)
        });
        if let Err(error) = written {
            tracing::error!(%error, "write the file identity; the process ends");
            runtime::end_process("write the file identity");
        }
    }

    /// Starts a group that nobody has started yet. Only those that the group was founded with may: a replica that comes
    /// later is brought in by the group's leader.
    async fn start_group(&mut self, state: &MetaState, group: GroupId) -> Result<(), NodeError> {
        let Some(placement) = state.placement(group).filter(|placement| is_founding(placement)) else { return Ok(()) };
        if !placement.replicas.contains(&self.core.local()) {
            return Ok(());
        }
        let since = *self.pristine_since.entry(group).or_insert_with(Instant::now);
        if first_replica(placement, group) != Some(self.core.local()) && since.elapsed() < INITIALIZE_PATIENCE {
            return Ok(());
        }
        let Some(open) = self.core.group(group) else { return Ok(()) };
        initialize(&open, &placement.replicas).await
    }

    /// The local state is not older than what this node acted upon before it restarted.
    fn meta_is_current(&self) -> bool {
        self.is_served(META_GROUP, self.core.leader_patience())
    }

    /// The group has a leader, and this replica has applied all that its log held when it was opened.
    fn is_served(&self, group: GroupId, leader_patience: Duration) -> bool {
        let served = |group: Arc<Group>| group.is_recovered() && group.leader_within(leader_patience).is_some();
        self.core.group(group).is_some_and(served)
    }

    async fn close_unwanted(&self, wanted: &BTreeMap<GroupId, u64>) -> Result<(), NodeError> {
        for group in self.core.groups() {
            let Some(shard) = shard_of(group.id) else { continue };
            if wanted.contains_key(&group.id) {
                continue;
            }
            tracing::info!(shard, "this node no longer holds the shard; its data is removed");
            self.core.close(group.id).await;
            // The log first: without it, what is left of the data is never looked at.
            group.log.wipe().await.map_err(|e| NodeError::storage("wipe log", e))?;
            let engine = Arc::clone(&self.core.common.engine);
            let dropped = runtime::blocking(move || engine.drop_shard(shard)).await;
            dropped.map_err(|e| NodeError::storage("drop shard", e))?.map_err(|e| NodeError::storage("drop shard", e))?;
        }
        Ok(())
    }

    /// Says where this node can be reached now, if the cluster thinks otherwise.
    async fn announce(&self, state: &MetaState) {
        let local = self.core.local();
        let Announcement { grpc, http, format } = &self.announcement;
        let known = state
            .member(local)
            .is_some_and(|member| member.is_removed() || (&member.grpc, &member.http, &member.format) == (grpc, http, format));
        if known || state.member(local).is_none() {
            return;
        }
        let command = MetaCommand::Announce { node: local, grpc: grpc.clone(), http: http.clone(), format: *format };
        let deadline = Instant::now() + ANNOUNCE_TIMEOUT;
        if let Err(error) = self.core.propose(META_GROUP, command.encode().into(), deadline).await {
            tracing::debug!(%error, "announce this node");
        }
    }

    /// A group's Raft ended by itself. With a broken disk nothing this node says can be trusted: it ends. After a panic the
    /// group is read from the disk again.
    async fn revive(&self, stopped: Stopped) {
        let group = stopped.group;
        match stopped.reason {
            StopReason::Storage(reason) => {
                let engine = &self.core.common.engine;
                if let Some(damage) = engine.damage() {
                    return end_with_damage(engine, &damage);
                }
                // Found and filed while it was read: its image is fetched, and it goes on.
                if shard_of(group).is_some_and(|shard| engine.damaged_shards().contains_key(&shard)) {
                    return;
                }
                tracing::error!(group, reason, "storage failed; the process ends");
                runtime::end_process(&reason);
            }
            StopReason::Panic => {
                let Some(dead) = self.core.group(group) else { return };
                tracing::error!(group, "Raft of the group panicked; opening it again");
                self.core.close(group).await;
                tokio::time::sleep(REOPEN_INTERVAL).await;
                match self.core.open(group, dead.incarnation).await {
                    Ok(_) | Err(NodeError::ShuttingDown) => {}
                    Err(error) => {
                        tracing::error!(group, %error, "open group again; the process ends");
                        runtime::end_process(&error.to_string());
                    }
                }
            }
        }
    }
}

/// Another start finds the note and begins with an empty state.
fn end_with_damage(engine: &Engine, reason: &str) {
    tracing::error!(reason, "the state database is damaged; the process ends, and its next start fetches the shards from other nodes");
    if let Err(error) = engine.condemn(reason) {
        tracing::error!(%error, "note the damage");
    }
    runtime::end_process(reason);
}

/// The placement has never changed.
fn is_founding(placement: &Placement) -> bool {
    placement.moving.is_none() && placement.learners.is_empty()
}

/// The replica that starts the group, spread over the nodes, and so its first leader.
fn first_replica(placement: &Placement, group: GroupId) -> Option<NodeId> {
    let count = placement.replicas.len().max(1);
    placement.replicas.iter().nth(group as usize % count).copied()
}
