//! One node from start to end.
//!
//! Start: settings → log → HTTP answers "not ready" → disk → agreement → HTTP answers everything. Agreement and HTTP run on
//! threads of their own, so that parsing never delays a heartbeat.
//! End, on SIGTERM or SIGINT: not ready any more → running requests finish → leaders are handed over → groups stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use raft::{Membership, Node, NodeConfig, Seldom};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin_client;
use crate::clock;
use crate::config::{Join, Layers, Peer, Settings};
use crate::disk;
use crate::disk_space;
use crate::exit;
use crate::http::{self, App, Web};
use crate::ingest::writer::Writer;
use crate::logging;
use crate::maintenance;
use crate::notifications::Notifications;
use crate::peers::Peers;
use crate::query::peer_service::PeerService;
use crate::query::runner::Runner;
use crate::query::session::Gate;
use crate::self_metrics::SelfMetrics;
use crate::trust::Trust;
use crate::version;

/// Handing leaders over and closing groups may take this long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);
/// Between two questions for the members of the cluster to be joined.
const JOIN_INTERVAL: Duration = Duration::from_secs(1);
/// A node that has joined before does not need the address it joined through, so it does not wait longer for it.
const REJOIN_ATTEMPTS: usize = 3;

/// Runs until told to stop; returns only when the start failed.
pub fn run(layers: Layers) -> anyhow::Result<()> {
    let settings = Settings::read(&layers)?;
    logging::start(&settings.log);
    let raft_runtime = runtime("raft", settings.raft.threads)?;
    let http_runtime = runtime("http", settings.web.threads)?;
    http_runtime.block_on(serve(layers, settings, raft_runtime.handle()))?;
    // Blocking queries that nobody waits for any more must not hold up the exit.
    http_runtime.shutdown_timeout(Duration::from_secs(1));
    raft_runtime.shutdown_timeout(Duration::from_secs(1));
    exit::leave(0)
}

fn runtime(name: &str, threads: usize) -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name(format!("tern-{name}")).enable_all().build();
    runtime.with_context(|| format!("start the {name} threads"))
}

async fn serve(layers: Layers, settings: Settings, raft_runtime: &tokio::runtime::Handle) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let trust = Trust::open(&settings)?;
    let listener = TcpListener::bind(settings.http).await.with_context(|| format!("listen on {} (http)", settings.http))?;
    let router = Arc::new(ArcSwap::from_pointee(http::starting_router()));
    let stop = CancellationToken::new();
    let web = Web { router: Arc::clone(&router), settings: settings.web.clone(), tls: trust.web.clone() };
    let (folder, space) = (settings.data_dir.clone(), settings.storage.space);
    let scrub = settings.storage.scrub;
    let serving = tokio::spawn(http::serve(listener, web, stop.clone()));
    tracing::info!(version = version::TERN, http = %settings.http, grpc = %settings.grpc, data = %settings.data_dir.display(), "tern starts");

    let reloading = tokio::spawn(trust.clone().keep_fresh(settings.tls.reload_interval, stop.clone()));
    let starting = start(layers, settings, &trust, raft_runtime);
    let app = tokio::select! {
        app = starting => app?,
        () = signals.wait() => return Ok(()),
    };
    router.store(Arc::new(http::router(Arc::clone(&app))));
    let watching = tokio::spawn(disk_space::watch(Arc::clone(&app.node), folder, space, stop.clone()));
    let maintenance = tokio::spawn(maintenance::run(Arc::clone(&app.node), Arc::clone(&app.engine), stop.clone()));
    let scrubbing =
        tokio::spawn(maintenance::scrub(Arc::clone(&app.node), Arc::clone(&app.engine), Arc::clone(&app.log_db), scrub, stop.clone()));
    tracing::info!(node = app.node.id(), "tern serves");

    tokio::select! {
        () = signals.wait() => {}
        () = app.quit.cancelled() => {}
    }
    tracing::info!("tern stops");
    app.notifications.add("Tern is shutting down and finishes what it has begun.");
    app.stopping.store(true, Ordering::Relaxed);
    app.closing.cancel();
    stop.cancel();
    let _ = tokio::join!(serving, watching, maintenance, scrubbing, reloading);
    let node = Arc::clone(&app.node);
    let ending = raft_runtime.spawn(async move { node.shutdown().await });
    match tokio::time::timeout(SHUTDOWN_TIMEOUT, ending).await {
        Ok(_) => tracing::info!("tern has stopped"),
        // What was acknowledged is on a majority of disks already; nothing is lost by leaving now.
        Err(_) => tracing::warn!("the node did not stop in time; leaving"),
    }
    Ok(())
}

/// Opens the disk and joins the cluster.
async fn start(layers: Layers, settings: Settings, trust: &Trust, raft_runtime: &tokio::runtime::Handle) -> anyhow::Result<Arc<App>> {
    let (engine, log_db) = disk::open(&settings, trust.node.as_ref()).await?;
    let joined_as = raft::node_id(&log_db).context("read this node's identity")?;
    let metrics = Arc::new(SelfMetrics::default());
    let peer_service = PeerService::new(&settings.query, Arc::clone(&metrics));
    let config = NodeConfig {
        membership: membership(&settings, joined_as).await,
        listen: settings.grpc,
        grpc_address: settings.advertise_grpc.clone(),
        http_address: settings.advertise_http.clone(),
        settings: raft_settings(&settings),
        tls: trust.node.clone(),
    };
    let routes = tonic::service::Routes::new(peer_service.clone().into_server());
    let node = raft_runtime.spawn(Node::start(config, Arc::clone(&engine), Arc::clone(&log_db), routes)).await??;
    peer_service.attach(Arc::clone(&node));
    let peers = Peers::new(Arc::clone(&node));
    let retention = settings.storage.retention;
    let writer = Writer::new(Arc::clone(&node), peers.clone(), settings.ingest.clone(), retention, Arc::clone(&metrics));
    let queries = Runner::new(Arc::clone(&node), peers, settings.query.clone(), settings.features, retention, Arc::clone(&metrics));
    let bulk_reads = Gate::new(settings.bulk_read.concurrency, Arc::clone(&metrics));
    let notifications = Notifications::new(settings.web.notification_subscribers);
    Ok(Arc::new(App {
        settings,
        layers,
        node,
        engine,
        log_db,
        writer: Arc::new(writer),
        queries: Arc::new(queries),
        bulk_reads,
        metrics,
        notifications: Arc::new(notifications),
        accounts: trust.accounts.clone(),
        wrong_credentials: Seldom::default(),
        started_ms: clock::now_ms(),
        stopping: AtomicBool::new(false),
        quit: CancellationToken::new(),
        closing: CancellationToken::new(),
    }))
}

/// How this node gets, or got, its id. `joined_as` is the one it has.
async fn membership(settings: &Settings, joined_as: Option<u64>) -> Membership {
    let address = match &settings.join {
        None => return Membership::Founder { id: settings.node_id.max(1), peers: grpc_by_id(&settings.peers) },
        Some(Join::Members(members)) => return Membership::Join { members: grpc_by_id(members) },
        Some(Join::Ask(address)) => address,
    };
    let mut attempts = 0;
    loop {
        match admin_client::members(address).await {
            Ok(members) => return Membership::Join { members },
            Err(error) => tracing::warn!(%error, "ask for the members of the cluster to join"),
        }
        attempts += 1;
        if joined_as.is_some() && attempts >= REJOIN_ATTEMPTS {
            return Membership::Join { members: BTreeMap::new() };
        }
        tokio::time::sleep(JOIN_INTERVAL).await;
    }
}

fn grpc_by_id(peers: &[Peer]) -> BTreeMap<u64, String> {
    peers.iter().map(|peer| (peer.id, peer.grpc.clone())).collect()
}

fn raft_settings(settings: &Settings) -> raft::Settings {
    let raft = &settings.raft;
    let storage = &settings.storage;
    raft::Settings {
        heartbeat_interval: raft.heartbeat,
        election_timeout_min: raft.election_timeout_min,
        election_timeout_max: raft.election_timeout_max,
        merge_linger: raft.merge_wait,
        merge_bytes_max: raft.merge_bytes,
        in_flight_bytes_max: raft.in_flight_bytes,
        quorum_wait: raft.quorum_wait,
        log_retain_bytes: raft.log_retain_bytes as u64,
        balance_interval: raft.balance_after,
        seal_bytes: storage.head_bytes as u64,
        seal_interval: storage.head_age,
        seal_log_bytes: storage.log_bytes as u64,
        shards_per_node: settings.cluster.shards_per_node,
        replicas: settings.cluster.replication_factor,
        ..raft::Settings::default()
    }
}

/// What asks the process to stop.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Manual;

    /// To join through an address at which nobody listens.
    async fn joining() -> Settings {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut layers = Layers::defaults(Manual::read());
        layers.lay_flag("join", address.to_string()).expect("known");
        Settings::read(&layers).expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_node_that_has_its_id_starts_without_the_cluster_it_joined() {
        let settings = joining().await;
        let found = membership(&settings, Some(4)).await;
        assert!(matches!(found, Membership::Join { members } if members.is_empty()));
        let patience = JOIN_INTERVAL * (REJOIN_ATTEMPTS as u32 + 20);
        assert!(tokio::time::timeout(patience, membership(&settings, None)).await.is_err(), "goes on asking");
    }
}
