//! One computer of the cluster: two disks, and now and then a process that runs the node on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use raft::{Membership, Node, NodeConfig, NodeError, NodeId, Settings, runtime};
use storage::{Engine, EngineOptions, LogDb, LogOptions, MemoryDisk, Syncs};
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::host::{DiskSpeed, Disks, Process};
use crate::network::{MachineId, Network};
use crate::randomness::Chance;
use crate::trace::{Trace, tell};

/// See the module's story.
pub struct Machine {
    pub id: MachineId,
    pub disks: Disks,
    pub membership: Membership,
    /// Its content is lost: the operator never starts it again.
    pub is_retired: bool,
    /// The disk may have forgotten what it said was durable.
    pub is_doubtful: bool,
    running: Option<Running>,
}

struct Running {
    process: Arc<Process>,
    starting: Option<JoinHandle<Result<Started, NodeError>>>,
    started: Option<Started>,
}

/// A node that is up.
#[derive(Clone)]
pub struct Started {
    pub node: Arc<Node>,
    pub log: Arc<LogDb>,
}

/// What became of a process since the last look.
pub enum News {
    Up(NodeId),
    /// It ended by itself, or could not start.
    Down(NodeError),
}

/// What every machine is started with.
#[derive(Clone)]
pub struct Surroundings {
    pub network: Network,
    pub trace: Trace,
    pub settings: Settings,
    pub speed: DiskSpeed,
}

impl Machine {
    pub fn new(id: MachineId, membership: Membership, torn: u32) -> Self {
        let disks = Disks { log: MemoryDisk::new(), state: MemoryDisk::new(), torn };
        Self { id, disks, membership, is_retired: false, is_doubtful: false, running: None }
    }

    /// Where a machine listens.
    pub fn address(id: MachineId) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, id as u8], 7000))
    }

    /// The founders as each of them is told.
    pub fn founders(count: u64) -> BTreeMap<NodeId, String> {
        (1..=count).map(|id| (id, Self::address(id).to_string())).collect()
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn process(&self) -> Option<&Arc<Process>> {
        self.running.as_ref().map(|running| &running.process)
    }

    pub fn started(&self) -> Option<&Started> {
        self.running.as_ref()?.started.as_ref()
    }

    pub fn start(&mut self, around: &Surroundings, chance: Chance) {
        let process = Process::start(self.id, self.disks.clone(), around.network.clone(), around.trace.clone(), chance, around.speed);
        let config = NodeConfig {
            membership: self.membership.clone(),
            listen: Self::address(self.id),
            grpc_address: Self::address(self.id).to_string(),
            http_address: format!("http-{}", self.id),
            settings: around.settings.clone(),
            tls: None,
        };
        tell!(around.trace, "machine {} starts", self.id);
        let starting = runtime::spawn_on(&process.host(), open(config, self.disks.clone()));
        self.running = Some(Running { process, starting: Some(starting), started: None });
    }

    /// The power goes.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.process.kill();
        }
    }

    pub fn set_syncs(&mut self, syncs: Syncs) {
        self.is_doubtful |= syncs == Syncs::Pretended;
        self.disks.log.set_syncs(syncs);
        self.disks.state.set_syncs(syncs);
    }

    /// Whether the log on the disk shows that it has forgotten something.
    pub fn shows_loss(&self) -> bool {
        let log = LogDb::open_in_memory(&self.disks.log, log_options());
        log.and_then(|log| log.check_high_water()).is_ok_and(|shortened| !shortened.is_empty())
    }

    /// Looks at the process. One that ended is cleared away.
    pub async fn look(&mut self) -> Option<News> {
        let running = self.running.as_mut()?;
        if let Some(reason) = running.process.end_reason() {
            self.running = None;
            return Some(News::Down(NodeError::Refused(reason)));
        }
        let result = running.starting.take_if(|starting| starting.is_finished())?.await;
        match result {
            Ok(Ok(started)) => {
                let id = started.node.id();
                running.started = Some(started);
                Some(News::Up(id))
            }
            Ok(Err(error)) => {
                self.kill();
                Some(News::Down(error))
            }
            Err(error) => {
                self.kill();
                Some(News::Down(NodeError::Refused(error.to_string())))
            }
        }
    }
}

fn log_options() -> LogOptions {
    // The marks are saved with every sync: when that is due must not hang on the real clock.
    LogOptions { high_water_interval: Duration::ZERO, ..LogOptions::default() }
}

async fn open(config: NodeConfig, disks: Disks) -> Result<Started, NodeError> {
    let log = LogDb::open_in_memory(&disks.log, log_options()).map_err(|error| NodeError::storage("open log", error))?;
    let engine = Engine::open_in_memory(&disks.state, EngineOptions::default()).map_err(|error| NodeError::storage("open state", error))?;
    let log = Arc::new(log);
    let node = Node::start(config, engine, Arc::clone(&log), Routes::default()).await?;
    Ok(Started { node, log })
}
