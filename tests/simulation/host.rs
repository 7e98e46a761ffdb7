//! One simulated process: its tasks end, or stand still, together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use raft::runtime::{Dialled, DiskWork, Host, Served};
use storage::MemoryDisk;
use tokio::task::AbortHandle;

use crate::network::{MachineId, Network};
use crate::randomness::Chance;
use crate::trace::{Trace, tell};

/// The process of a machine, from its start to its end.
pub struct Process {
    pub machine: MachineId,
    disks: Disks,
    network: Network,
    trace: Trace,
    chance: Mutex<Chance>,
    tasks: Mutex<Vec<AbortHandle>>,
    /// Tasks that wanted to run while the process stood still; none while it runs.
    held: Mutex<Option<Vec<Waker>>>,
    speed: Mutex<DiskSpeed>,
    ended: AtomicBool,
    /// Why it ended by itself.
    reason: Mutex<Option<String>>,
}

/// The two disks of a machine; what is on them outlives its processes.
#[derive(Clone)]
pub struct Disks {
    pub log: MemoryDisk,
    pub state: MemoryDisk,
    /// Of a thousand losses of power, how many leave a part of what was not synced.
    pub torn: u32,
}

impl Disks {
    fn crash(&self, chance: &mut Chance) {
        let is_torn = chance.per_mille(self.torn);
        let mut survivors = |unsynced: usize| if is_torn { chance.below(unsynced + 1) } else { 0 };
        self.log.crash(&mut survivors);
        self.state.crash(&mut survivors);
    }

    pub fn wipe(&self) {
        self.log.wipe();
        self.state.wipe();
    }
}

/// How slow the disk is at most.
#[derive(Clone, Copy, Debug)]
pub struct DiskSpeed {
    pub sync_max: Duration,
    pub work_max: Duration,
}

impl Process {
    pub fn start(machine: MachineId, disks: Disks, network: Network, trace: Trace, chance: Chance, speed: DiskSpeed) -> Arc<Self> {
        Arc::new(Self {
            machine,
            disks,
            network,
            trace,
            chance: Mutex::new(chance),
            tasks: Mutex::default(),
            held: Mutex::new(None),
            speed: Mutex::new(speed),
            ended: AtomicBool::new(false),
            reason: Mutex::new(None),
        })
    }

    /// As seen by the node's code.
    pub fn host(self: &Arc<Self>) -> Arc<dyn Host> {
        Arc::clone(self) as Arc<dyn Host>
    }

    /// The power goes: what was not synced is lost, and no task runs again. The disk first: destructors of the tasks must not
    /// put it into better order than a real loss of power would leave.
    pub fn kill(&self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.disks.crash(&mut self.chance.lock());
        self.network.hang_up(self.machine);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }

    /// Why the process ended by itself, if it did.
    pub fn end_reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    pub fn pause(&self) {
        self.held.lock().get_or_insert_default();
    }

    pub fn resume(&self) {
        let held = self.held.lock().take();
        held.into_iter().flatten().for_each(Waker::wake);
    }

    pub fn set_speed(&self, speed: DiskSpeed) {
        *self.speed.lock() = speed;
    }
}

impl Host for Process {
    fn poll_running(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.held.lock() {
            None => Poll::Ready(()),
            Some(held) => {
                held.push(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn adopt(&self, task: AbortHandle) {
        if self.ended.load(Ordering::Acquire) {
            task.abort();
            return;
        }
        let mut tasks = self.tasks.lock();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }

    fn disk_delay(&self, work: DiskWork) -> Duration {
        let speed = *self.speed.lock();
        let most = match work {
            DiskWork::SyncLog => speed.sync_max,
            DiskWork::Blocking => speed.work_max,
        };
        self.chance.lock().microseconds(50, 50 + most.as_micros() as u64)
    }

    fn dial(&self, address: &str) -> Dialled {
        self.network.dial(self.machine, address)
    }

    fn serve(&self, address: SocketAddr, services: Served) {
        self.network.listen(self.machine, &address.to_string(), services);
    }

    fn end(&self, reason: &str) {
        tell!(self.trace, "machine {} ends by itself: {reason}", self.machine);
        self.reason.lock().get_or_insert_with(|| reason.to_owned());
        self.kill();
    }
}
