//! One seed from beginning to end: found a cluster, do harm, make peace, and see that it lives and has forgotten nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::{ShardId, runtime};
use storage::Shard;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, strong_read};
use crate::cluster::Cluster;
use crate::host::DiskSpeed;
use crate::invariants::{self, Invariant};
use crate::machine::Surroundings;
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::oracle::Oracle;
use crate::plan::{LOOK_INTERVAL, Plan, Weather};
use crate::randomness::Chance;
use crate::trace::{Trace, tell};

const FOUNDING_PATIENCE: Duration = Duration::from_secs(60);
/// A replacement waits for its members to be trusted, and moves group after group.
const PEACE_PATIENCE: Duration = Duration::from_secs(240);
const AGREEMENT_PATIENCE: Duration = Duration::from_secs(30);

/// What a run ends with: its trace, and what was wrong.
pub struct Outcome {
    pub trace: String,
    pub violation: Option<String>,
}

/// Runs a seed on this thread, which must be seeded already.
pub fn run(seed: u64) -> Outcome {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    tokio.block_on(async {
        let trace = Trace::begin();
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        tell!(trace, "seed {seed}: {plan:?}");
        if let Err(reason) = Run::new(plan, &mut chance, trace.clone()).play().await {
            trace.violated(reason);
        }
        Outcome { trace: trace.text(), violation: trace.violation() }
    })
}

struct Run {
    plan: Plan,
    cluster: Cluster,
    nemesis: Nemesis,
    oracle: Arc<Mutex<Oracle>>,
    invariants: Vec<Box<dyn Invariant>>,
    chance: Chance,
    trace: Trace,
}

impl Run {
    fn new(plan: Plan, chance: &mut Chance, trace: Trace) -> Self {
        let network = Network::new(chance.fork(), Weather::default(), trace.clone());
        let speed = DiskSpeed { sync_max: plan.sync_max, work_max: plan.sync_max };
        let around = Surroundings { network, trace: trace.clone(), settings: plan.settings.clone(), speed };
        let cluster = Cluster::found(plan.nodes, around, plan.torn, chance.fork());
        let nemesis = Nemesis::new(&plan, speed, chance.fork());
        Self { plan, cluster, nemesis, oracle: Arc::default(), invariants: invariants::all(), chance: chance.fork(), trace }
    }

    async fn play(mut self) -> Result<(), String> {
        self.settle("found a cluster", FOUNDING_PATIENCE).await?;
        let until = CancellationToken::new();
        let mut clients = self.start_clients(&until);
        self.cluster.around.network.set_weather(self.plan.weather.clone());
        let end = Instant::now() + self.plan.unrest;
        while Instant::now() < end {
            self.step().await?;
            self.nemesis.look(&mut self.cluster);
        }
        tell!(self.trace, "peace");
        self.cluster.around.network.set_weather(Weather::default());
        self.nemesis.stop(&mut self.cluster);
        self.settle("make peace", PEACE_PATIENCE).await?;
        until.cancel();
        while clients.join_next().await.is_some() {}
        self.agree().await
    }

    fn start_clients(&mut self, until: &CancellationToken) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for id in 1..=self.plan.clients {
            let (directory, oracle) = (Arc::clone(&self.cluster.directory), Arc::clone(&self.oracle));
            let client = Client::new(id, self.shards(), directory, oracle, self.chance.fork(), self.trace.clone());
            clients.spawn(client.run(until.clone()));
        }
        clients
    }

    fn shards(&self) -> u32 {
        self.cluster.up().map(|(_, started)| started.node.shard_map().shard_count()).max().unwrap_or(0)
    }

    /// Lets time pass, and looks.
    async fn step(&mut self) -> Result<(), String> {
        tokio::time::sleep(LOOK_INTERVAL).await;
        self.cluster.look().await;
        let sights = self.cluster.sights();
        for invariant in &mut self.invariants {
            invariant.check(&sights).map_err(|reason| format!("{}: {reason}", invariant.name()))?;
        }
        match self.trace.violation() {
            None => Ok(()),
            Some(violation) => Err(violation),
        }
    }

    async fn settle(&mut self, what: &str, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            self.step().await?;
            if self.cluster.is_settled() {
                tell!(self.trace, "settled: {what}");
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("the cluster did not {what} in {patience:?}:\n{}", self.cluster.unsettled()));
            }
        }
    }

    /// Every replica comes to hold the same, and that is all that was acknowledged.
    async fn agree(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + AGREEMENT_PATIENCE;
        for shard in 0..self.shards() {
            while let Err(reason) = self.agree_on(shard).await {
                self.step().await?;
                if Instant::now() >= deadline {
                    return Err(reason);
                }
            }
        }
        let oracle = self.oracle.lock();
        tell!(self.trace, "{} samples acknowledged, {} reads, {} writes without an answer", oracle.total(), oracle.reads, oracle.refused);
        Ok(())
    }

    async fn agree_on(&self, shard: ShardId) -> Result<(), String> {
        let mut hashes = Vec::new();
        for (machine, started) in self.cluster.up() {
            if !started.node.shard_map().holds(started.node.id(), shard) {
                continue;
            }
            let Some(process) = machine.process() else { continue };
            let count = self.oracle.lock().count(shard);
            let reading = runtime::spawn_on(&process.host(), strong_read(Arc::clone(&started.node), shard));
            let content = reading.await.map_err(|error| error.to_string())?;
            let content = content.map_err(|error| format!("machine {} cannot read shard {shard} in peace: {error}", machine.id))?;
            if let Err(reason) = self.oracle.lock().check(shard, count, &content) {
                self.trace.violated(format!("in the end, machine {}: {reason}", machine.id));
            }
            let hash = started.node.replica(shard).map(|replica: Arc<Shard>| replica.content_hash());
            hashes.push((machine.id, hash.transpose().map_err(|error| error.to_string())?));
        }
        match hashes.windows(2).all(|pair| pair[0].1 == pair[1].1) && !hashes.is_empty() {
            true => Ok(()),
            false => Err(format!("replicas of shard {shard} differ: {hashes:?}")),
        }
    }
}
