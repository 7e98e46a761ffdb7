//! One open Raft group of this node: its log, its replica, and what others may know about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use storage::Engine;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::error::NodeError;
use crate::log_store::LogStore;
use crate::log_writer::LogWriter;
use crate::machine::{DurableImage, ImageLock, ImageState, Machine, MetaMachine, ShardMachine};
use crate::meta::MetaState;
use crate::network::NetworkFactory;
use crate::peers::Peers;
use crate::runtime;
use crate::settings::Settings;
use crate::snapshot::{read_marker, read_meta_image};
use crate::space::SpaceGauge;
use crate::state_machine::StateMachine;
use crate::types::{GroupId, META_GROUP, Marker, NodeId, TypeConfig, shard_of};

/// Raft with our state machine.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Entries between a learner and the leader at which it counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// What every group of a node shares.
#[derive(Clone)]
pub struct Common {
    pub node: NodeId,
    pub settings: Arc<Settings>,
    pub peers: Arc<Peers>,
    pub writer: LogWriter,
    pub engine: Arc<Engine>,
    pub meta: watch::Sender<Arc<MetaState>>,
    pub space: Arc<SpaceGauge>,
    /// Groups whose Raft ended without being asked to.
    pub stopped: mpsc::UnboundedSender<Stopped>,
}

/// A group's Raft ended.
pub struct Stopped {
    pub group: GroupId,
    pub reason: StopReason,
}

/// Why it ended, which decides what to do.
#[derive(Debug)]
pub enum StopReason {
    /// Disk or a poisoned replica: the process must end.
    Storage(String),
    /// A panic in Raft's own task: the group is opened anew.
    Panic,
}

/// Who leads, as this replica sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub leader: Option<NodeId>,
    pub term: u64,
    pub role: ServerState,
}

/// An open group.
pub struct Group {
    pub id: GroupId,
    /// Of the shard; 0 for the meta group.
    pub incarnation: u64,
    pub raft: Raft,
    pub log: LogStore,
    pub durable: Arc<DurableImage>,
    node: NodeId,
    recovered: Arc<AtomicBool>,
    image_lock: ImageLock,
    /// When a leader last sent something.
    heard: Mutex<Instant>,
    /// Whether entries were refused for want of room: what is applied here may be old.
    behind: AtomicBool,
    applied: watch::Receiver<Option<u64>>,
    view: watch::Receiver<(View, Instant)>,
}

impl Group {
    /// Opens the group from what is on disk and starts it. Everything committed that this node knows of is applied when it
    /// returns; what it does not know of comes with the first message of the leader.
    pub async fn open(id: GroupId, incarnation: u64, common: &Common) -> Result<Arc<Self>, NodeError> {
        let log = LogStore::open(id, common.writer.clone(), &common.settings).map_err(|e| NodeError::storage("open log", e))?;
        let opened_at = log.last_index();
        let (machine, durable) = open_machine(id, incarnation, common, &log)?;
        let durable = Arc::new(durable);
        let (applied_sender, applied) = watch::channel(None);
        let image_lock = ImageLock::default();
        let writer = common.writer.clone();
        let machine = StateMachine::new(id, machine, Arc::clone(&durable), applied_sender, writer, Arc::clone(&image_lock))
            .map_err(|e| NodeError::storage("decode marker", e))?;
        let network = NetworkFactory { group: id, peers: Arc::clone(&common.peers), settings: Arc::clone(&common.settings) };
        let config = Arc::new(raft_config(id, &common.settings)?);
        let raft = Raft::new(common.node, config, network, log.clone(), machine)
            .await
            .map_err(|error| NodeError::Group { group: id, reason: error.to_string() })?;
        let recovered = watch_recovery(raft.clone(), opened_at);
        let view = watch_view(id, raft.clone(), common.stopped.clone());
        Ok(Arc::new(Self {
            id,
            incarnation,
            raft,
            log,
            durable,
            node: common.node,
            recovered,
            image_lock,
            heard: Mutex::new(Instant::now()),
            behind: AtomicBool::new(false),
            applied,
            view,
        }))
    }

    /// Who leads now, as far as this replica knows.
    pub fn view(&self) -> View {
        self.view.borrow().0
    }

    /// To be called when another node's request as the group's leader arrives.
    pub fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// Whether entries from the leader were refused, and none taken since.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    pub fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Relaxed);
    }

    /// The leader, if it showed within this time that it leads: as the leader, that a majority answers it; else, that it
    /// sends. (A replica that is cut off keeps the last leader it knew in [`Self::view`], because pre-vote keeps it from
    /// starting an election that it cannot win.)
    pub fn leader_within(&self, patience: Duration) -> Option<NodeId> {
        let leader = self.view().leader?;
        let shown = match leader == self.node {
            false => self.heard.lock().elapsed() <= patience,
            true => {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let alone = metrics.membership_config.voter_ids().count() == 1;
                alone || metrics.last_quorum_acked.as_ref().is_some_and(|acked| acked.elapsed() <= patience)
            }
        };
        shown.then_some(leader)
    }

    /// How long the present leader has led without a break.
    pub fn leader_age(&self) -> Duration {
        self.view.borrow().1.elapsed()
    }

    /// Whether everything is applied that this replica may have shown before it was opened: a leader's commit covered the
    /// whole log once, and was applied.
    pub fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Follows changes of leadership from now on.
    pub fn watch_view(&self) -> watch::Receiver<(View, Instant)> {
        let mut view = self.view.clone();
        // A clone remembers what its original has seen, which is nothing: without this, who waits for a change would be told
        // of every earlier one, and ask a leader that is not there again and again without a pause.
        view.mark_unchanged();
        view
    }

    /// Who votes, in the membership that is in force here.
    pub fn voters(&self) -> Vec<NodeId> {
        self.raft.metrics().borrow_watched().membership_config.voter_ids().collect()
    }

    pub fn leads(&self) -> bool {
        let view = self.view();
        view.role == ServerState::Leader && view.leader == Some(self.node)
    }

    /// Whether this node leads as the only voter, and has applied an entry of this leadership. Then nobody else can have acknowledged
    /// anything since it began, and what this node acknowledged it had applied before.
    pub fn leads_alone(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let is_alone = metrics.membership_config.voter_ids().eq([self.node]);
        let applied_in = metrics.last_applied.as_ref().map(|id| id.committed_leader_id().term);
        metrics.state == ServerState::Leader && is_alone && applied_in == Some(metrics.current_term)
    }

    /// Stops Raft and waits for a seal or an installing snapshot to end; no marker is written afterwards.
    pub async fn close(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = self.id, %error, "close group");
        }
        *self.image_lock.lock().await = ImageState::Closed;
    }

    /// Index of the last applied entry.
    pub fn applied(&self) -> Option<u64> {
        *self.applied.borrow()
    }

    /// Returns when the entry at `index` is applied. False when the group was closed before.
    pub async fn wait_applied(&self, index: u64) -> bool {
        let mut applied = self.applied.clone();
        applied.wait_for(|applied| applied.is_some_and(|applied| applied >= index)).await.is_ok()
    }
}

fn open_machine(id: GroupId, incarnation: u64, common: &Common, log: &LogStore) -> Result<(Machine, DurableImage), NodeError> {
    let Some(shard) = shard_of(id) else {
        let (marker, image) = read_meta_image(&common.writer, META_GROUP).map_err(|e| NodeError::storage("read meta image", e))?;
        let machine = MetaMachine::open(image, common.meta.clone()).map_err(|e| NodeError::storage("decode meta image", e))?;
        return Ok((Machine::Meta(Box::new(machine)), DurableImage::new(marker)));
    };
    let marker = read_marker(&common.writer, id).map_err(|e| NodeError::storage("read marker", e))?;
    let machine = ShardMachine::open(&common.engine, shard, incarnation).map_err(|e| NodeError::image(id, "open shard", e))?;
    check_image(id, &marker, machine.shard.stamp(), log)?;
    Ok((Machine::Shard(machine), DurableImage::new(marker)))
}

/// The image holds what the marker says, and the log goes on from there.
fn check_image(group: GroupId, marker: &Marker, stamp: u64, log: &LogStore) -> Result<(), NodeError> {
    let lost = |reason: String| Err(NodeError::ImageLost { group, reason });
    if stamp < marker.image {
        return lost(format!("it has stamp {stamp:x}, and {:x} had been durable", marker.image));
    }
    let (applied, purged) = (marker.meta.last_log_id.map(|id| id.index()), log.purged_index());
    match applied < purged {
        true => lost(format!("it goes to entry {applied:?}, and the log begins behind {purged:?}")),
        false => Ok(()),
    }
}

fn raft_config(id: GroupId, settings: &Settings) -> Result<openraft::Config, NodeError> {
    let milliseconds = |duration: Duration| duration.as_millis() as u64;
    let config = openraft::Config {
        cluster_name: format!("group-{id}"),
        heartbeat_interval: milliseconds(settings.heartbeat_interval),
        heartbeat_min_interval: Some(milliseconds(settings.heartbeat_interval)),
        election_timeout_min: milliseconds(settings.election_timeout_min),
        election_timeout_max: milliseconds(settings.election_timeout_max),
        // The transfer has its own watch over progress; this one only bounds it for openraft.
        install_snapshot_timeout: milliseconds(settings.snapshot_idle_timeout) * 60,
        max_payload_entries: 4096,
        max_append_entries: Some(4096),
        // Followers fsync while this node does.
        broadcast_submitted_on_append: Some(true),
        replication_lag_threshold: CAUGHT_UP_ENTRIES,
        // Sealing decides when there is a new image, and purging what may go (`sealing.rs`).
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        // What was applied is in memory: a restarted leader must be elected again, not assume it still leads.
        enable_leader_restore: Some(false),
        backoff: "100ms 200ms ...500ms".into(),
        ..Default::default()
    };
    config.validate().map_err(|error| NodeError::Refused(format!("settings of Raft: {error}")))
}

/// Turns true, for good, when the replica has caught up with what its log held when it was opened. What is left of that
/// part of the log (another leader may have cut it) must be committed and applied. (openraft's own `wait_for_recovery` waits
/// for the *whole* log, which a follower under load may not see committed for minutes.)
fn watch_recovery(raft: Raft, opened_at: Option<u64>) -> Arc<AtomicBool> {
    let recovered = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&recovered);
    runtime::spawn(async move {
        let caught_up = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            let wanted = opened_at.min(metrics.last_log_index);
            let committed = metrics.cluster_committed.map(|id| id.index());
            let applied = metrics.last_applied.map(|id| id.index());
            metrics.current_leader.is_some() && committed.is_some() && committed >= wanted && applied >= wanted
        };
        if raft.wait(None).metrics(caught_up, "recovered").await.is_ok() {
            flag.store(true, Ordering::Release);
        }
    });
    recovered
}

/// Copies Raft's metrics into a value that may be looked at without holding Raft up, and reports the end of Raft.
fn watch_view(group: GroupId, raft: Raft, stopped: mpsc::UnboundedSender<Stopped>) -> watch::Receiver<(View, Instant)> {
    let mut metrics = raft.server_metrics();
    let read = |metrics: &openraft::metrics::RaftServerMetrics<TypeConfig>| View {
        leader: metrics.current_leader,
        term: metrics.vote.leader_id().term,
        role: metrics.state,
    };
    let first = read(&metrics.borrow_watched());
    let (sender, receiver) = watch::channel((first, Instant::now()));
    runtime::spawn(async move {
        while metrics.changed().await.is_ok() {
            let view = read(&metrics.borrow_watched());
            sender.send_if_modified(|(shown, since)| {
                let same_leader = (shown.leader, shown.term) == (view.leader, view.term);
                if !same_leader {
                    *since = Instant::now();
                }
                std::mem::replace(shown, view) != view
            });
        }
        sender.send_replace((View { leader: None, term: 0, role: ServerState::Shutdown }, Instant::now()));
        let end = raft.metrics().borrow_watched().running_state.clone();
        let reason = match end {
            Err(openraft::errors::Fatal::StorageError(error)) => StopReason::Storage(error.to_string()),
            Err(openraft::errors::Fatal::Stopped) => return,
            Err(openraft::errors::Fatal::Panicked) | Ok(()) => StopReason::Panic,
        };
        let _ = stopped.send(Stopped { group, reason });
    });
    receiver
}
