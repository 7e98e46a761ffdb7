//! What faults act upon: the cluster, its network, and who is hurt at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, Semaphore};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::network::lan::Lan;
use crate::wait;
use crate::workload::field::Field;

/// A node that does not say how it sees the cluster within this time is taken for one that does not answer.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It took effect, as this observation shows.
    Seen(String),
    /// It was brought about, and nothing shows that it took effect.
    Unproven(String),
    /// It was not possible at that moment, and not begun.
    Skipped(String),
}

/// Shared by all faults of a run.
pub struct World {
    pub cluster: Arc<AsyncMutex<Cluster>>,
    pub lan: Arc<Lan>,
    pub field: Arc<Field>,
    /// The program under test, and the one that came before it.
    pub binary: PathBuf,
    pub previous: Option<PathBuf>,
    /// Only one fault at a time may destroy data, until the cluster has as many copies again.
    pub copies: Semaphore,
    claims: Mutex<BTreeSet<u64>>,
    faults: AtomicU64,
    over: AtomicBool,
}

/// Nodes that one fault has to itself.
pub struct Claim<'a> {
    world: &'a World,
    pub nodes: Vec<u64>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claims = self.world.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|node| !self.nodes.contains(node));
    }
}

impl World {
    pub fn new(cluster: Cluster, lan: Arc<Lan>, field: Arc<Field>, binary: PathBuf, previous: Option<PathBuf>) -> World {
        World {
            cluster: Arc::new(AsyncMutex::new(cluster)),
            lan,
            field,
            binary,
            previous,
            copies: Semaphore::new(1),
            claims: Mutex::default(),
            faults: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    pub async fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().await
    }

    pub async fn nodes(&self) -> Vec<u64> {
        self.cluster().await.numbers()
    }

    /// A name for a fault's chains and files.
    pub fn fault_name(&self) -> String {
        format!("fault{}", self.faults.fetch_add(1, Ordering::Relaxed))
    }

    /// The time of faults is over: those under way end early.
    pub fn end_faults(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Lets a fault last.
    pub async fn hold(&self, hold: Duration) {
        let until = Instant::now() + hold;
        while !self.is_over() && Instant::now() < until {
            wait::pace(Duration::from_millis(100).min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Takes nodes for a fault, all or none.
    pub fn claim(&self, nodes: &[u64]) -> Option<Claim<'_>> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.is_empty() || nodes.iter().any(|node| claims.contains(node)) {
            return None;
        }
        claims.extend(nodes);
        Some(Claim { world: self, nodes: nodes.to_vec() })
    }

    pub fn is_claimed(&self, node: u64) -> bool {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }

    /// `data` of the status of every node that answers.
    pub async fn statuses(&self) -> BTreeMap<u64, Value> {
        let asked: Vec<(u64, Client)> = {
            let cluster = self.cluster().await;
            let running = cluster.numbers().into_iter().filter(|&number| cluster.running(number).is_some());
            let address = |number| Some((number, cluster.node(number).ok()?.http.address()));
            running.filter_map(address).map(|(number, address)| (number, Client::with_timeout(&address, STATUS_LIMIT))).collect()
        };
        let tasks: Vec<_> = asked
            .into_iter()
            .map(|(number, client)| {
                tokio::spawn(async move { Some((number, client.get("/api/v1/status/cluster", &[]).await.ok()?.data().ok()?)) })
            })
            .collect();
        let mut statuses = BTreeMap::new();
        for task in tasks {
            if let Ok(Some((number, status))) = task.await {
                statuses.insert(number, status);
            }
        }
        // A node that lost its log goes on under a new id by itself.
        let mut cluster = self.cluster().await;
        for (&number, status) in &statuses {
            if let Some(id) = status["nodeId"].as_u64().filter(|&id| id > 0) {
                let _ = cluster.set_id(number, id);
            }
        }
        statuses
    }

    /// For every group its leader's id, as the node with the newest term sees it.
    pub async fn leaders(&self) -> BTreeMap<u64, u64> {
        let mut newest: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for status in self.statuses().await.values() {
            for group in status["groups"].as_array().into_iter().flatten() {
                let leader = group["leader"].as_u64().filter(|&leader| leader > 0);
                let (Some(id), Some(term), Some(leader)) = (group["group"].as_u64(), group["term"].as_u64(), leader) else { continue };
                let known = newest.entry(id).or_insert((term, leader));
                if term > known.0 {
                    *known = (term, leader);
                }
            }
        }
        newest.into_iter().map(|(group, (_, leader))| (group, leader)).collect()
    }

    /// The node that leads most groups; any node when none is known to lead.
    pub async fn leading_node(&self, dice: &mut StdRng) -> anyhow::Result<u64> {
        let leaders = self.leaders().await;
        let cluster = self.cluster().await;
        let numbers = cluster.numbers();
        let led = |number: u64| {
            let id = cluster.node(number).ok().and_then(|node| node.id);
            leaders.values().filter(|&&leader| Some(leader) == id).count()
        };
        let most = numbers.iter().copied().max_by_key(|&number| led(number)).filter(|&number| led(number) > 0);
        most.or_else(|| pick(&numbers, dice)).context("no nodes")
    }

    /// A minority of the nodes, at random.
    pub async fn minority(&self, dice: &mut StdRng) -> Vec<u64> {
        let mut nodes = self.nodes().await;
        let count = (nodes.len() - 1) / 2;
        shuffle(&mut nodes, dice);
        nodes.truncate(dice.random_range(1..=count.max(1)));
        nodes
    }

    /// Renews what the loads know of the members.
    pub async fn refresh_targets(&self) {
        let targets = self.cluster().await.clients();
        self.field.set_targets(targets);
    }
}

pub fn pick(nodes: &[u64], dice: &mut StdRng) -> Option<u64> {
    (!nodes.is_empty()).then(|| nodes[dice.random_range(0..nodes.len())])
}

pub fn shuffle(nodes: &mut [u64], dice: &mut StdRng) {
    for at in (1..nodes.len()).rev() {
        nodes.swap(at, dice.random_range(0..=at));
    }
}
