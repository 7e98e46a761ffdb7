//! All machines, and the operator who starts them again and replaces those that lost their disks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::{Membership, MetaAnswer, MetaCommand, NodeError, NodeId, runtime};
use tokio::time::Instant;

use crate::invariants::Sight;
use crate::machine::{Machine, News, Started, Surroundings};
use crate::network::MachineId;
use crate::randomness::Chance;
use crate::reachable::{Directory, Reachable};
use crate::trace::tell;

const ORDER_INTERVAL: Duration = Duration::from_secs(1);
const ORDER_PATIENCE: Duration = Duration::from_secs(3);
/// How long a machine with a new disk may try to come back under its old id before the operator gives up.
const RETURN_PATIENCE: Duration = Duration::from_secs(5);

/// See the module's story.
pub struct Cluster {
    pub machines: BTreeMap<MachineId, Machine>,
    pub around: Surroundings,
    pub directory: Directory,
    pub chance: Chance,
    torn: u32,
    processes: u64,
    running: BTreeMap<MachineId, u64>,
    node_ids: BTreeMap<MachineId, NodeId>,
    restart_at: BTreeMap<MachineId, Instant>,
    replacement: Option<Replacement>,
}

/// A node whose disk is lost, on its way to be replaced.
struct Replacement {
    old_machine: MachineId,
    old: NodeId,
    new_machine: MachineId,
    /// The wiped machine tries to come back until then.
    returning_until: Option<Instant>,
    ordered_at: Option<Instant>,
    is_ordered: Arc<Mutex<bool>>,
}

/// How an operator treats a machine whose disk is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Puts a new machine in its place.
    Replace,
    /// Starts it again with the empty disk first, as a supervisor would who knows nothing.
    RestartFirst,
}

impl Cluster {
    pub fn found(nodes: u64, around: Surroundings, torn: u32, chance: Chance) -> Self {
        let founders = Machine::founders(nodes);
        let membership = |id| Membership::Founder { id, peers: founders.clone() };
        let machines = (1..=nodes).map(|id| (id, Machine::new(id, membership(id), torn))).collect();
        let mut cluster = Self {
            machines,
            around,
            directory: Directory::default(),
            chance,
            torn,
            processes: 0,
            running: BTreeMap::new(),
            node_ids: BTreeMap::new(),
            restart_at: BTreeMap::new(),
            replacement: None,
        };
        (1..=nodes).for_each(|id| cluster.start(id));
        cluster
    }

    pub fn start(&mut self, id: MachineId) {
        let chance = self.chance.fork();
        self.restart_at.remove(&id);
        self.processes += 1;
        self.running.insert(id, self.processes);
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.start(&self.around, chance);
        }
    }

    /// The power of a machine goes; it comes back after a while.
    pub fn crash(&mut self, id: MachineId, away: Duration) {
        tell!(self.around.trace, "machine {id} crashes for {} ms", away.as_millis());
        self.directory.lock().remove(&id);
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.kill();
        if machine.is_retired {
            return;
        }
        // A loss that the log does show is found at the next start. Until then the disk counts as lost: no other may be.
        if machine.is_doubtful && !machine.shows_loss() {
            // A loss that the log cannot show (only a vote, say): the operator who saw the disk fail must know better.
            return self.lose(id, Handling::Replace);
        }
        self.restart_at.insert(id, Instant::now() + away);
    }

    /// Machines whose process runs.
    pub fn running(&self) -> Vec<MachineId> {
        self.machines.values().filter(|machine| machine.is_running()).map(|machine| machine.id).collect()
    }

    /// Nodes that are up.
    pub fn up(&self) -> impl Iterator<Item = (&Machine, &Started)> {
        self.machines.values().filter_map(|machine| Some((machine, machine.started()?)))
    }

    /// Whether a disk may be lost now: what the last loss took away must have been made good before.
    pub fn can_lose(&self) -> bool {
        self.replacement.is_none() && self.machines.values().all(|machine| !machine.is_doubtful)
    }

    /// The disk of a machine is lost.
    pub fn lose(&mut self, id: MachineId, handling: Handling) {
        let Some(&old) = self.node_ids.get(&id) else { return };
        tell!(self.around.trace, "machine {id} (node {old}) lost its disks: {handling:?}");
        self.directory.lock().remove(&id);
        self.restart_at.remove(&id);
        let Some(machine) = self.machines.get_mut(&id) else { return };
        machine.kill();
        machine.disks.wipe();
        machine.is_doubtful = false;
        let returns = handling == Handling::RestartFirst && matches!(machine.membership, Membership::Founder { .. });
        machine.is_retired = !returns;
        self.replacement = Some(Replacement {
            old_machine: id,
            old,
            new_machine: 0,
            returning_until: returns.then(|| Instant::now() + RETURN_PATIENCE),
            ordered_at: None,
            is_ordered: Arc::default(),
        });
        match returns {
            true => self.start(id),
            false => self.bring_new(),
        }
    }

    /// A new machine for the lost one.
    fn bring_new(&mut self) {
        let id = self.machines.keys().last().copied().unwrap_or(0) + 1;
        let Some(replacement) = &mut self.replacement else { return };
        replacement.new_machine = id;
        replacement.returning_until = None;
        let standing = self.machines.values().filter(|machine| !machine.is_retired);
        let known = standing.filter_map(|machine| Some((*self.node_ids.get(&machine.id)?, Machine::address(machine.id).to_string())));
        let members = known.collect();
        self.machines.insert(id, Machine::new(id, Membership::Join { members }, self.torn));
        self.start(id);
    }

    /// Sees what became of the processes, and does what an operator does then.
    pub async fn look(&mut self) {
        let ids: Vec<MachineId> = self.machines.keys().copied().collect();
        for id in ids {
            let Some(machine) = self.machines.get_mut(&id) else { continue };
            match machine.look().await {
                None => {}
                Some(News::Up(node)) => self.enter(id, node),
                Some(News::Down(error)) => self.take_out(id, &error),
            }
        }
        let now = Instant::now();
        let due: Vec<MachineId> = self.restart_at.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.start(id));
        self.go_on_replacing();
    }

    fn enter(&mut self, id: MachineId, node: NodeId) {
        tell!(self.around.trace, "machine {id} is up as node {node}");
        self.node_ids.insert(id, node);
        if let Some(machine) = self.machines.get(&id)
            && let (Some(process), Some(started)) = (machine.process(), machine.started())
        {
            let reachable = Reachable { host: process.host(), node: Arc::clone(&started.node) };
            self.directory.lock().insert(id, reachable);
        }
    }

    fn take_out(&mut self, id: MachineId, error: &NodeError) {
        tell!(self.around.trace, "machine {id} is down: {error}");
        self.directory.lock().remove(&id);
        let is_lost = error.to_string().contains("the log lost entries that were synced");
        if matches!(error, NodeError::Wiped { .. }) {
            self.retire(id);
        } else if is_lost {
            self.lose(id, Handling::Replace);
        } else {
            self.restart_at.insert(id, Instant::now() + self.chance.milliseconds(100, 3_000));
        }
    }

    /// The wiped machine was refused, as it must be.
    fn retire(&mut self, id: MachineId) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.kill();
            machine.is_retired = true;
        }
        if self.replacement.as_ref().is_some_and(|replacement| replacement.old_machine == id && replacement.new_machine == 0) {
            self.bring_new();
        }
    }

    fn go_on_replacing(&mut self) {
        let Some(replacement) = &self.replacement else { return };
        if let Some(until) = replacement.returning_until {
            let id = replacement.old_machine;
            if self.machines.get(&id).is_some_and(|machine| machine.started().is_some()) {
                // It should not have been let in. The invariants will tell what comes of it.
                self.replacement = None;
            } else if Instant::now() >= until {
                self.retire(id);
            }
            return;
        }
        let is_over = self.up().any(|(_, started)| {
            let state = started.node.meta();
            let is_still = state.placements().all(|(_, placement)| placement.moving.is_none());
            is_still && state.member(replacement.old).is_some_and(|member| member.is_removed())
        });
        if is_over {
            tell!(self.around.trace, "node {} is replaced", replacement.old);
            self.replacement = None;
        } else {
            self.order_replacement();
        }
    }

    /// Tells the cluster that the new node takes the old one's place, until it has heard it.
    fn order_replacement(&mut self) {
        let Some(replacement) = &mut self.replacement else { return };
        let Some(&new) = self.node_ids.get(&replacement.new_machine) else { return };
        let is_due = replacement.ordered_at.is_none_or(|at| at.elapsed() >= ORDER_INTERVAL);
        if !is_due || *replacement.is_ordered.lock() {
            return;
        }
        replacement.ordered_at = Some(Instant::now());
        let reachable: Vec<Reachable> = self.directory.lock().values().cloned().collect();
        let Some(through) = self.chance.pick(&reachable).cloned() else { return };
        let command = MetaCommand::Drain { node: replacement.old, replacement: Some(new) };
        let (is_ordered, trace) = (Arc::clone(&replacement.is_ordered), self.around.trace.clone());
        runtime::spawn_on(&through.host, async move {
            let answer = through.node.meta_write(&command, Instant::now() + ORDER_PATIENCE).await;
            tell!(trace, "{command:?}: {answer:?}");
            if answer == Ok(MetaAnswer::Done) {
                *is_ordered.lock() = true;
            }
        });
    }

    /// No replacement is under way and every machine that should run does, is ready, and agrees on where things are.
    pub fn is_settled(&self) -> bool {
        let standing = self.machines.values().filter(|machine| !machine.is_retired);
        let mut standing = standing.map(|machine| machine.started());
        let still = |started: &Started| {
            started.node.is_ready() && started.node.meta().placements().all(|(_, placement)| placement.moving.is_none())
        };
        self.replacement.is_none() && standing.all(|started| started.is_some_and(still))
    }

    /// Why it is not settled.
    pub fn unsettled(&self) -> String {
        let mut lines = Vec::new();
        for machine in self.machines.values().filter(|machine| !machine.is_retired) {
            let line = match machine.started() {
                None => format!("machine {}: running {}, not up", machine.id, machine.is_running()),
                Some(started) => format!("machine {}: {:?}", machine.id, started.node.status()),
            };
            lines.push(line);
        }
        if let Some(replacement) = &self.replacement {
            lines.push(format!("node {} is still being replaced by machine {}", replacement.old, replacement.new_machine));
        }
        lines.join("\n")
    }

    /// Everything that runs, as the invariants look at it.
    pub fn sights(&self) -> Vec<Sight> {
        let mut sights = Vec::new();
        for (machine, Started { node, log }) in self.up() {
            let process = self.running.get(&machine.id).copied().unwrap_or_default();
            sights.extend(node.status().groups.into_iter().map(|group| Sight {
                machine: machine.id,
                process,
                node: node.id(),
                group: group.group,
                is_leader: group.role == "leader",
                term: group.term,
                committed: group.committed_index,
                is_written: node.log_is_written(group.group),
                log: Arc::clone(log),
                host: Arc::clone(node),
            }));
        }
        sights
    }

    /// Machines that lead a group, as they themselves believe.
    pub fn leaders(&self) -> BTreeSet<MachineId> {
        self.sights().iter().filter(|sight| sight.is_leader).map(|sight| sight.machine).collect()
    }
}
