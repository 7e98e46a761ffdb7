//! A node of the cluster: everything of this crate that runs in one process.
//!
//! Start: identity → log writer → gRPC server → founding check → meta group → the groups held before → the tasks that
//! keep all that going ([`Keeper`], [`Controller`], sealing).
//! Shutdown: refuse new work → hand leadership over → stop the groups → stop the server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use proto::raft as wire;
use proto::raft::admin_server::{Admin, AdminServer};
use proto::raft::raft_peer_server::RaftPeerServer;
use storage::{Engine, LogDb, SeededBug, Shard};
use tls::NodeTls;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tower::Layer;
use tower::util::BoxCloneSyncService;

use crate::controller::Controller;
use crate::core::{Core, FORMAT};
use crate::dial::{KEEPALIVE, WINDOW_BYTES};
use crate::error::{NodeError, ReadError, WriteError};
use crate::founding::{Applicant, Founding, join};
use crate::gate::GateLayer;
use crate::group::Common;
use crate::identity::{self, Directory};
use crate::incoming;
use crate::log_writer::LogWriter;
use crate::meta::{MetaAnswer, MetaCommand, MetaState, ShardMap};
use crate::peers::{Lane, MESSAGE_BYTES_MAX, PeerChannel, Peers, StampCheck};
use crate::pressure;
use crate::replicas::{Announcement, Keeper};
use crate::runtime;
use crate::sealing;
use crate::service::{AdminService, PeerService};
use crate::settings::Settings;
use crate::space::Space;
use crate::status;
use crate::types::{Applied, GroupId, LogLine, META_GROUP, NodeId, Proposed, ShardId, Written, group_of};

/// Calls that peers have given up and this node has not looked at yet. Peers give up many while this node hangs; with h2's bound of 20 it would close
/// their connections when it wakes.
const RESET_STREAMS_MAX: usize = 10_000;

/// How a node takes part.
#[derive(Debug, Clone)]
pub enum Membership {
    /// A founder, or a node alone: its id and the gRPC addresses of all founders (itself may be among them).
    Founder { id: NodeId, peers: BTreeMap<NodeId, String> },
    /// Comes to a cluster that exists: the ids and gRPC addresses of some of its nodes. The id is given by the cluster.
    Join { members: BTreeMap<NodeId, String> },
}

/// What a node must be told.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub membership: Membership,
    /// Where to listen for gRPC.
    pub listen: SocketAddr,
    /// Where others reach this node.
    pub grpc_address: String,
    pub http_address: String,
    pub settings: Settings,
    /// None: nodes speak in the clear.
    pub tls: Option<Arc<NodeTls>>,
}

/// A running node.
pub struct Node {
    core: Arc<Core>,
    tasks: Mutex<JoinSet<()>>,
}

impl Node {
    /// Starts the node on the current tokio runtime and returns when its groups are open; [`Self::is_ready`] says when it
    /// may serve. A new cluster is founded when all founders are there, so the first start of a founder waits for them.
    ///
    /// `routes` are served beside Raft on the same address.
    pub async fn start(config: NodeConfig, engine: Arc<Engine>, log_db: Arc<LogDb>, routes: Routes) -> Result<Arc<Self>, NodeError> {
        refuse_shortened(&log_db)?;
        let settings = Arc::new(config.settings.clone());
        let writer = LogWriter::start(log_db, settings.log_batch_bytes_max, LogWriter::abort_on_fatal())
            .map_err(|e| NodeError::storage("start log writer", e))?;
        let identity = establish_identity(&config, &writer).await?;
        if let Some(tls) = &config.tls {
            tls.claim(identity.node_id).map_err(|error| NodeError::Refused(error.to_string()))?;
        }
        let peers = Arc::new(Peers::new(identity.node_id, &settings, config.tls.clone()));
        peers.set_cluster(&identity.cluster_id);
        learn_peers(&peers, &config, &writer)?;
        let start = identity::count_start(&writer, 0).await.map_err(|e| NodeError::storage("count this start", e))?;

        let (stopped, stopped_groups) = mpsc::unbounded_channel();
        let (meta_sender, meta) = watch::channel(Arc::<MetaState>::default());
        let shard_map = watch::Sender::new(Arc::new(ShardMap::of(&meta.borrow())));
        let space = Arc::default();
        let common = Common { node: identity.node_id, settings, peers, writer, engine, meta: meta_sender, space, stopped };
        let core = Core::new(common, start, meta.clone(), shard_map.subscribe());
        let node = Arc::new(Self { core, tasks: Mutex::default() });
        let closing = node.core.closing.clone();
        node.spawn(async move {
            closing.run_until_cancelled(follow_shard_map(meta, shard_map)).await;
        });
        node.serve(&config, identity.directory_id, routes).await?;
        match node.open_groups(&config, identity, stopped_groups).await {
            Ok(()) => Ok(node),
            Err(error) => {
                node.stop().await;
                Err(error)
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        runtime::spawn_in(&mut self.tasks.lock(), task);
    }

    async fn serve(&self, config: &NodeConfig, directory_id: u64, routes: Routes) -> Result<(), NodeError> {
        let core = Arc::clone(&self.core);
        let peer = RaftPeerServer::new(PeerService { core: Arc::clone(&core), directory_id, founders: None })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let admin = AdminServer::new(AdminService { core: Arc::clone(&core), format: FORMAT });
        let routes = routes.add_service(peer).add_service(admin);
        let gate = GateLayer::new(StampCheck::new(Arc::clone(&core.common.peers)));
        if let Some(host) = runtime::host() {
            host.serve(config.listen, BoxCloneSyncService::new(gate.layer(routes)));
            return Ok(());
        }
        let listen = format!("listen on {}", config.listen);
        let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(|e| NodeError::network(listen, e))?;
        let closing = core.closing.clone();
        let connections = incoming::connections(listener, config.tls.clone(), closing.clone());
        let server = Server::builder()
            .layer(gate)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .http2_max_pending_accept_reset_streams(Some(RESET_STREAMS_MAX))
            .add_routes(routes);
        self.spawn(async move {
            tokio::select! {
                result = server.serve_with_incoming(connections) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "gRPC server ended");
                    }
                }
                () = closing.cancelled() => {}
            }
        });
        Ok(())
    }

    async fn open_groups(
        &self,
        config: &NodeConfig,
        mut identity: wire::Identity,
        stopped: mpsc::UnboundedReceiver<crate::group::Stopped>,
    ) -> Result<(), NodeError> {
        let core = &self.core;
        let founders = founders(config, &identity);
        let founding = Founding { founders: founders.clone(), directory_id: identity.directory_id };
        if identity::directory(&identity) == Directory::Fresh {
            founding.check_directory(core, Directory::Fresh).await?;
            identity.admitted = true;
            save_identity(&core.common.writer, &identity).await?;
        }
        let meta = core.open(META_GROUP, 0).await?;
        if !founders.is_empty() {
            founding.start_meta_group(core, &meta).await?;
        }
        Keeper::open_known(core).await?;
        let announcement = Announcement { grpc: config.grpc_address.clone(), http: config.http_address.clone(), format: FORMAT };
        let keeper =
            Keeper { core: Arc::clone(core), announcement, stopped, pristine_since: Default::default(), healing: Default::default() };
        let founders_written = identity::load_founders(core.common.writer.db()).map_err(|e| NodeError::storage("load founders", e))?;
        let controller =
            Controller { core: Arc::clone(core), founders, founders_written, sights: BTreeMap::new(), balanced_at: Instant::now() };
        self.spawn(keeper.run());
        self.spawn(controller.run());
        self.spawn(sealing::run(Arc::clone(core)));
        self.spawn(pressure::run(Arc::clone(core)));
        Ok(())
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.core.local()
    }

    /// Replicates a batch for a shard; the answer says what became of it. It is durable on a majority and applied on the
    /// leader when this returns.
    pub async fn write(&self, shard: ShardId, payload: Bytes, deadline: Instant) -> Result<Written, WriteError> {
        let Applied { proposed, entry } = self.core.propose(group_of(shard), payload, deadline).await?;
        match proposed {
            Proposed::Written(outcome) => Ok(Written { outcome, entry }),
            Proposed::Meta(_) => Err(WriteError::Unknown { what: format!("shard {shard}") }),
        }
    }

    /// Replicates a command of the meta group.
    pub async fn meta_write(&self, command: &MetaCommand, deadline: Instant) -> Result<MetaAnswer, WriteError> {
        let unreadable = || WriteError::Unknown { what: "the meta group's answer".into() };
        match self.core.propose(META_GROUP, command.encode().into(), deadline).await?.proposed {
            Proposed::Meta(bytes) => MetaAnswer::decode(&bytes).map_err(|_| unreadable()),
            Proposed::Written(_) => Err(unreadable()),
        }
    }

    /// When it returns, the local replica has applied everything that was acknowledged, anywhere, before the call.
    pub async fn barrier(&self, shard: ShardId, deadline: Instant) -> Result<(), ReadError> {
        self.core.barrier(group_of(shard), deadline).await
    }

    /// [`Self::barrier`] of several shards at once; the first failure counts.
    pub async fn barrier_all(&self, shards: impl IntoIterator<Item = ShardId>, deadline: Instant) -> Result<(), ReadError> {
        futures::future::try_join_all(shards.into_iter().map(|shard| self.barrier(shard, deadline))).await.map(drop)
    }

    /// The same for the meta group.
    pub async fn meta_barrier(&self, deadline: Instant) -> Result<(), ReadError> {
        self.core.barrier(META_GROUP, deadline).await
    }

    /// The local replica of a shard, if there is one.
    ///
    /// None as well while the replica cannot follow its leader for want of room: others answer sooner.
    pub fn replica(&self, shard: ShardId) -> Option<Arc<Shard>> {
        self.core.group(group_of(shard)).filter(|group| !group.is_behind())?;
        self.core.common.engine.shard(shard)
    }

    pub fn shard_map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.core.shard_map.borrow())
    }

    pub fn watch_shard_map(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.core.shard_map.clone()
    }

    /// The meta group's state as this node knows it.
    pub fn meta(&self) -> Arc<MetaState> {
        self.core.state()
    }

    pub fn watch_meta(&self) -> watch::Receiver<Arc<MetaState>> {
        self.core.meta.clone()
    }

    /// Whether the cluster has other nodes.
    pub fn has_others(&self) -> bool {
        self.meta().members.values().any(|member| !member.is_removed() && member.id != self.id())
    }

    /// Whether this node leads the meta group, and so evaluates rules.
    pub fn leads_meta(&self) -> bool {
        self.core.group(META_GROUP).is_some_and(|meta| meta.leads())
    }

    /// Whether the local replica of a shard knows a leader that showed a moment ago that it leads. Without one, what the
    /// replica holds may be old.
    pub fn has_leader(&self, shard: ShardId) -> bool {
        self.core.group(group_of(shard)).is_some_and(|group| group.leader_within(self.core.leader_patience()).is_some())
    }

    /// Whether this node leads a shard.
    pub fn leads(&self, shard: ShardId) -> bool {
        self.core.group(group_of(shard)).is_some_and(|group| group.leads())
    }

    /// A connection to another node for services beside Raft.
    pub fn channel(&self, node: NodeId) -> Result<PeerChannel, Status> {
        self.core.common.peers.channel(node, Lane::Application)
    }

    /// Index of the last entry that the local replica of a group has applied.
    pub fn applied(&self, group: GroupId) -> Option<u64> {
        self.core.group(group)?.applied()
    }

    /// Index of the last entry in the durable image of the local replica of a group.
    pub fn durable(&self, group: GroupId) -> Option<u64> {
        self.core.group(group)?.durable.index()
    }

    /// Tells how much room the disk has; ample until it is told.
    pub fn set_space(&self, space: Space) {
        self.core.common.space.set(space);
    }

    /// How much room the disk has.
    pub fn space(&self) -> Space {
        self.core.common.space.get()
    }

    /// What operators may ask of this node; it knows the way to the leader.
    pub fn admin(&self) -> impl Admin {
        AdminService { core: Arc::clone(&self.core), format: FORMAT }
    }

    /// What the disk holds of a group's log in this range of indexes, or of the first part of it. `None`: no replica here.
    pub fn log_listing(&self, group: GroupId, range: std::ops::Range<u64>) -> Option<std::io::Result<Vec<LogLine>>> {
        Some(self.core.group(group)?.log.listing(range))
    }

    /// Whether the disk has been handed everything that a group's log holds: else it may still have entries that were replaced.
    pub fn log_is_written(&self, group: GroupId) -> bool {
        self.core.group(group).is_some_and(|group| group.log.is_written())
    }

    /// This node and its groups, as of now.
    pub fn status(&self) -> wire::NodeStatus {
        status::node_status(&self.core)
    }

    /// Moves what every local replica holds in memory to disk now, and purges the logs as usual.
    pub async fn seal_all(&self) -> Result<(), NodeError> {
        sealing::seal_all(&self.core).await
    }

    /// Whether the node knows its place, holds the groups that it should hold, and each of them has a leader and has
    /// caught up with what this node knew before it restarted.
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Hands leadership over, stops all groups and the server. What was acknowledged is safe without this.
    pub async fn shutdown(&self) {
        self.core.ready.store(false, std::sync::atomic::Ordering::Release);
        self.hand_over().await;
        self.stop().await;
    }

    /// Stops at once, without handing leadership over.
    pub async fn stop(&self) {
        self.core.closing.cancel();
        let groups = self.core.groups();
        futures::future::join_all(groups.iter().map(|group| self.core.close(group.id))).await;
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
    }

    async fn hand_over(&self) {
        let led: Vec<_> = self.core.groups().into_iter().filter(|group| group.leads()).collect();
        let transfers =
            led.iter().filter_map(|group| Some((group, heir(&status::group_status(group, self.core.leader_patience()), self.id())?)));
        let waits = transfers.map(|(group, heir)| async move {
            if group.raft.trigger().transfer_leader(heir).await.is_ok() {
                let mut view = group.watch_view();
                let moved = view.wait_for(|(view, _)| view.leader.is_some_and(|leader| leader != self.id()));
                let _ = tokio::time::timeout(self.core.common.settings.hand_over_timeout, moved).await;
            }
        });
        futures::future::join_all(waits).await;
    }
}

impl Drop for Node {
    /// Ends what still runs when the node was not stopped properly.
    fn drop(&mut self) {
        self.core.closing.cancel();
    }
}

/// The voter that has most of the log.
fn heir(group: &wire::GroupStatus, local: NodeId) -> Option<NodeId> {
    let others = group.lags.iter().filter(|lag| lag.node_id != local && group.voters.contains(&lag.node_id));
    others.min_by_key(|lag| lag.entries).map(|lag| lag.node_id)
}

/// A log that is shorter than what was synced has forgotten what this node promised: it must not vote.
fn refuse_shortened(log_db: &LogDb) -> Result<(), NodeError> {
    if SeededBug::ShortenedLogAccepted.is_on() {
        return Ok(());
    }
    let shortened = log_db.check_high_water().map_err(|e| NodeError::storage("check log", e))?;
    match shortened.first() {
        None => Ok(()),
        Some(first) => {
            Err(NodeError::Refused(format!("the log lost entries that were synced ({first:?}): wipe this node and join under a new id")))
        }
    }
}

async fn save_identity(writer: &LogWriter, identity: &wire::Identity) -> Result<(), NodeError> {
    identity::save(writer, identity).await.map_err(|e| NodeError::storage("save identity", e))
}

async fn establish_identity(config: &NodeConfig, writer: &LogWriter) -> Result<wire::Identity, NodeError> {
    let found = identity::load(writer.db()).map_err(|e| NodeError::storage("load identity", e))?;
    let mut identity = found.unwrap_or_else(|| wire::Identity { directory_id: rand::random(), ..wire::Identity::default() });
    match &config.membership {
        Membership::Founder { id, .. } if identity.node_id == 0 => identity.node_id = *id,
        // The cluster has given it another id since.
        Membership::Founder { id, .. } if identity.configured_node_id == *id => return Ok(identity),
        Membership::Founder { id, .. } if identity.node_id != *id => {
            let (found, expected) = (format!("node {}", identity.node_id), format!("node {id}"));
            return Err(NodeError::ForeignDirectory { found, expected });
        }
        Membership::Join { members } if identity.node_id == 0 => {
            // Before asking: the token must be the same when the answer is lost and the process starts again.
            save_identity(writer, &identity).await?;
            let applicant =
                Applicant { grpc: &config.grpc_address, http: &config.http_address, directory_id: identity.directory_id, replaces: None };
            let answer = join(&applicant, members, config.tls.as_ref(), config.settings.connect_timeout).await?;
            identity.node_id = answer.node_id;
            identity.cluster_id = answer.cluster_id;
            // The cluster has just given this id to this directory.
            identity.admitted = true;
            let nodes = answer.nodes.into_iter().map(|node| (node.node_id, node.grpc_address)).collect();
            identity::save_addresses(writer, &nodes).await.map_err(|e| NodeError::storage("save addresses", e))?;
        }
        Membership::Founder { .. } | Membership::Join { .. } => return Ok(identity),
    }
    save_identity(writer, &identity).await?;
    Ok(identity)
}

fn learn_peers(peers: &Peers, config: &NodeConfig, writer: &LogWriter) -> Result<(), NodeError> {
    if let Membership::Founder { peers: founders, .. } = &config.membership {
        peers.learn(founders.clone());
    }
    // What was learnt later is newer than the configuration.
    let known = identity::load_addresses(writer.db()).map_err(|e| NodeError::storage("load addresses", e))?;
    peers.learn(known);
    peers.learn([(peers.local(), config.grpc_address.clone())]);
    Ok(())
}

/// All founders; none for a node that joined.
fn founders(config: &NodeConfig, identity: &wire::Identity) -> BTreeSet<NodeId> {
    match &config.membership {
        Membership::Founder { .. } if identity.configured_node_id != 0 => BTreeSet::new(),
        Membership::Founder { peers, .. } => peers.keys().copied().chain([identity.node_id]).collect(),
        Membership::Join { .. } => BTreeSet::new(),
    }
}

async fn follow_shard_map(mut meta: watch::Receiver<Arc<MetaState>>, shard_map: watch::Sender<Arc<ShardMap>>) {
    loop {
        let map = ShardMap::of(&meta.borrow_and_update());
        shard_map.send_replace(Arc::new(map));
        if meta.changed().await.is_err() {
            return;
        }
    }
}
