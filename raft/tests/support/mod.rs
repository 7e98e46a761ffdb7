//! A cluster in one process: start, stop, write, compare.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::raft::NodeStatus;
use raft::{Membership, MetaCommand, Node, NodeConfig, NodeError, NodeId, Settings, ShardId};
use storage::batch::{BatchBuilder, ConflictPolicy};
use storage::{Engine, EngineOptions, LogDb, LogOptions, labels};
use tempfile::TempDir;
use tern_jepsen::certificates::{Authority, Validity};
use tls::NodeTls;
use tokio::time::Instant;
use tonic::service::Routes;

const PATIENCE: Duration = Duration::from_secs(30);

/// Small and eager, so that tests see seals and snapshots.
pub fn settings() -> Settings {
    Settings {
        seal_check_interval: Duration::from_millis(50),
        log_retain_bytes: 0,
        reconcile_interval: Duration::from_millis(100),
        balance_interval: None,
        ..Settings::default()
    }
}

pub fn run(test: impl Future<Output = ()>) {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("TERN_LOG").unwrap_or_else(|_| "warn".into()))
        .with_test_writer()
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(180), test).await.expect("the test hangs") });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

pub struct Cluster {
    port: u16,
    founders: NodeId,
    settings: Settings,
    /// With one, nodes speak TLS.
    authority: Option<Authority>,
    directories: TempDir,
    nodes: BTreeMap<NodeId, Running>,
}

struct Running {
    node: Arc<Node>,
    log: Arc<LogDb>,
    engine: Arc<Engine>,
}

impl Cluster {
    pub async fn found(port: u16, founders: NodeId, settings: Settings) -> Self {
        Self::start_first(port, founders, settings, None).await
    }

    pub async fn found_with_tls(port: u16, founders: NodeId, settings: Settings) -> Self {
        Self::start_first(port, founders, settings, Some(Authority::create().unwrap())).await
    }

    async fn start_first(port: u16, founders: NodeId, settings: Settings, authority: Option<Authority>) -> Self {
        let directories = TempDir::new().unwrap();
        let mut cluster = Self { port, founders, settings, authority, directories, nodes: BTreeMap::new() };
        cluster.start_all().await;
        cluster
    }

    /// A fresh certificate for a node's id.
    pub fn certificate(&self, id: NodeId) -> Arc<NodeTls> {
        let (authority, folder) = (self.authority.as_ref().expect("a cluster with TLS"), self.directories.path());
        let root = folder.join("authority.pem");
        authority.write(&root).unwrap();
        let files = authority.issue(folder, &format!("certificate-{id}"), &[&tls::node_name(id)], Validity::Good).unwrap();
        Arc::new(NodeTls::open(root, files.certificate, files.key).unwrap())
    }

    pub async fn start_all(&mut self) {
        let starts = (1..=self.founders).map(|id| self.launch(id, self.founder(id)));
        let started = futures::future::try_join_all(starts).await.unwrap();
        self.nodes.extend((1..=self.founders).zip(started));
        self.wait("all nodes are ready", PATIENCE, |cluster| cluster.nodes.values().all(|running| running.node.is_ready())).await;
    }

    pub fn address(&self, id: NodeId) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port + id as u16))
    }

    fn directory(&self, id: NodeId) -> PathBuf {
        self.directories.path().join(format!("node-{id}"))
    }

    fn founder(&self, id: NodeId) -> Membership {
        let peers = (1..=self.founders).map(|peer| (peer, self.address(peer).to_string())).collect();
        Membership::Founder { id, peers }
    }

    async fn launch(&self, id: NodeId, membership: Membership) -> Result<Running, NodeError> {
        let directory = self.directory(id);
        let log = eventually(|| LogDb::open(&directory.join("log"), LogOptions::default())).await;
        let engine = eventually(|| Engine::open(&directory.join("state"), EngineOptions::default())).await;
        let log = Arc::new(log);
        let config = NodeConfig {
            membership,
            listen: self.address(id),
            grpc_address: self.address(id).to_string(),
            http_address: format!("http-{id}"),
            settings: self.settings.clone(),
            tls: self.authority.is_some().then(|| self.certificate(id)),
        };
        let node = Node::start(config, Arc::clone(&engine), Arc::clone(&log), Routes::default()).await?;
        assert_eq!(node.id(), id);
        Ok(Running { node, log, engine })
    }

    pub async fn try_start(&mut self, id: NodeId) -> Result<(), NodeError> {
        let running = self.launch(id, self.founder(id)).await?;
        self.nodes.insert(id, running);
        Ok(())
    }

    pub async fn start(&mut self, id: NodeId) {
        self.try_start(id).await.unwrap();
        self.wait("the node is ready", PATIENCE, |cluster| cluster.nodes[&id].node.is_ready()).await;
    }

    pub async fn join(&mut self, id: NodeId) {
        let members = self.nodes.keys().map(|&node| (node, self.address(node).to_string())).collect();
        let running = self.launch(id, Membership::Join { members }).await.unwrap();
        self.nodes.insert(id, running);
    }

    pub async fn replace(&self, old: NodeId, new: NodeId) {
        let command = MetaCommand::Drain { node: old, replacement: Some(new) };
        let answer = self.any().meta_write(&command, Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(answer, raft::MetaAnswer::Done);
    }

    /// Stops a node at once and waits until its files are free.
    pub async fn halt(&mut self, id: NodeId) {
        let running = self.nodes.remove(&id).unwrap();
        running.node.stop().await;
        released(running).await;
    }

    pub async fn shut_down(&mut self, id: NodeId) {
        let running = self.nodes.remove(&id).unwrap();
        running.node.shutdown().await;
        released(running).await;
    }

    pub async fn restart(&mut self, id: NodeId) {
        self.halt(id).await;
        self.start(id).await;
    }

    pub fn wipe(&self, id: NodeId) {
        std::fs::remove_dir_all(self.directory(id)).unwrap();
    }

    pub async fn stop(mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.halt(id).await;
        }
    }

    fn any(&self) -> &Node {
        &self.nodes.values().next().unwrap().node
    }

    pub fn status(&self, id: NodeId) -> NodeStatus {
        self.nodes[&id].node.status()
    }

    fn shards(&self) -> Vec<ShardId> {
        (0..self.any().shard_map().shard_count()).collect()
    }

    /// Whether every shard of a node was sealed once.
    pub fn is_sealed(&self, id: NodeId) -> bool {
        let node = &self.nodes[&id].node;
        self.shards().into_iter().all(|shard| node.durable(raft::group_of(shard)).is_some())
    }

    /// Writes `count` samples, each a series of its own, to every shard.
    pub async fn write(&self, id: NodeId, tag: &str, count: usize) {
        let writes = self.shards().into_iter().map(|shard| self.try_write_many(id, tag, shard, count, PATIENCE));
        futures::future::try_join_all(writes).await.unwrap();
    }

    async fn try_write_many(
        &self,
        id: NodeId,
        tag: &str,
        shard: ShardId,
        count: usize,
        patience: Duration,
    ) -> Result<(), raft::WriteError> {
        let writes = (0..count).map(|number| async move {
            let payload = batch(&format!("{tag} {number}"));
            let outcome = self.nodes[&id].node.write(shard, payload, Instant::now() + patience).await?.outcome;
            assert_eq!(outcome.accepted + outcome.duplicates, 1, "{outcome:?}");
            Ok(())
        });
        futures::future::try_join_all(writes).await.map(drop)
    }

    pub async fn try_write(&self, id: NodeId, tag: &str, shard: ShardId, patience: Duration) -> Result<(), raft::WriteError> {
        self.try_write_many(id, tag, shard, 1, patience).await
    }

    pub async fn try_barrier(&self, id: NodeId, shard: ShardId, patience: Duration) -> Result<(), raft::ReadError> {
        self.nodes[&id].node.barrier(shard, Instant::now() + patience).await
    }

    /// Every running node has `count` series in each shard, at once, and all replicas are the same.
    pub async fn assert_everywhere(&self, count: u64) {
        self.assert_on(&self.nodes.keys().copied().collect::<Vec<_>>(), count).await;
    }

    pub async fn assert_on(&self, nodes: &[NodeId], count: u64) {
        for shard in self.shards() {
            let mut hashes = Vec::new();
            for id in nodes {
                let node = &self.nodes[id].node;
                node.barrier(shard, Instant::now() + PATIENCE).await.unwrap();
                let replica = node.replica(shard).unwrap();
                assert_eq!(replica.series_count(), count, "shard {shard} on node {id}");
                hashes.push(replica.content_hash().unwrap());
            }
            assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "shard {shard}: {hashes:?}");
        }
    }

    /// Seals every replica of every node and purges the logs behind.
    pub async fn seal(&self) {
        for running in self.nodes.values() {
            running.node.seal_all().await.unwrap();
        }
    }

    pub async fn purged(&self, id: NodeId) -> bool {
        self.status(id).groups.iter().filter(|group| group.group > 0).all(|group| group.purged_index > 0)
    }

    pub fn holds_all_shards(&self, id: NodeId) -> bool {
        let map = self.any().shard_map();
        (0..map.shard_count()).all(|shard| map.holds(id, shard)) && self.nodes[&id].node.is_ready()
    }

    pub async fn wait_directories(&self) {
        let filed = |running: &Running| running.node.meta().kv.get("tern/directories").is_some();
        self.wait("directories are filed", PATIENCE, |cluster| cluster.nodes.values().all(filed)).await;
    }

    pub async fn wait(&self, what: &str, patience: Duration, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        while !condition(self) {
            if Instant::now() >= deadline {
                for running in self.nodes.values() {
                    eprintln!("{:#?}", running.node.status());
                }
                panic!("not in time: {what}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A node that was refused may still be letting go of its files.
async fn eventually<T>(mut open: impl FnMut() -> Result<T, storage::StorageError>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// RocksDB holds a lock on its directory until the last handle is gone.
async fn released(running: Running) {
    let Running { node, log, engine } = running;
    let (log_left, engine_left) = (Arc::downgrade(&log), Arc::downgrade(&engine));
    drop((node, log, engine));
    let deadline = Instant::now() + PATIENCE;
    while log_left.strong_count() + engine_left.strong_count() > 0 {
        let left = (log_left.strong_count(), engine_left.strong_count());
        assert!(Instant::now() < deadline, "handles of (log, engine) left: {left:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One sample of a series named by `tag`.
fn batch(tag: &str) -> Bytes {
    let mut canonical = Vec::new();
    labels::canonicalize(&mut vec![("__name__", "m"), ("tag", tag)], &mut canonical).unwrap();
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    builder.push_new(&canonical, 1_700_000_000_000, 1.0);
    Bytes::from(builder.encode())
}
