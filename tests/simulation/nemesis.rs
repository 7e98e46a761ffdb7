//! Whoever does harm: begins faults by the seed's plan, and ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proto::raft as wire;
use proto::raft::admin_client::AdminClient;
use raft::runtime;
use storage::Syncs;
use tokio::time::Instant;

use crate::cluster::{Cluster, Handling};
use crate::host::DiskSpeed;
use crate::machine::Machine;
use crate::network::MachineId;
use crate::plan::{Faults, Plan};
use crate::randomness::Chance;
use crate::reachable::Reachable;
use crate::trace::tell;

/// A pair of machines: from, to.
type Links = BTreeSet<(MachineId, MachineId)>;

const ORDER_PATIENCE: Duration = Duration::from_secs(3);

/// See the module's story.
pub struct Nemesis {
    chance: Chance,
    faults: Faults,
    usual: DiskSpeed,
    cut_until: Option<Instant>,
    paused_until: BTreeMap<MachineId, Instant>,
    slow_until: BTreeMap<MachineId, Instant>,
    /// Machines whose disk lies, and when their power goes.
    lying_until: BTreeMap<MachineId, Instant>,
}

impl Nemesis {
    pub fn new(plan: &Plan, usual: DiskSpeed, chance: Chance) -> Self {
        Self {
            chance,
            faults: plan.faults.clone(),
            usual,
            cut_until: None,
            paused_until: BTreeMap::new(),
            slow_until: BTreeMap::new(),
            lying_until: BTreeMap::new(),
        }
    }

    /// Ends what is due and begins what the plan says.
    pub fn look(&mut self, cluster: &mut Cluster) {
        self.end(cluster, Instant::now());
        let Faults { crash, crash_all, partition, pause, slow_disk, sync_error, lying_disk, transfer, seal, replace } = self.faults;
        if self.chance.per_mille(crash) {
            self.crash(cluster);
        }
        if self.chance.per_mille(crash_all) {
            cluster.running().into_iter().for_each(|id| cluster.crash(id, self.chance.milliseconds(100, 2_000)));
        }
        if self.cut_until.is_none() && self.chance.per_mille(partition) {
            self.cut(cluster);
        }
        if self.chance.per_mille(pause) {
            self.pause(cluster);
        }
        if self.chance.per_mille(slow_disk) {
            self.slow(cluster);
        }
        if self.chance.per_mille(sync_error) {
            self.spoil_syncs(cluster, Syncs::Failing);
        }
        if self.chance.per_mille(lying_disk) && cluster.can_lose() {
            self.spoil_syncs(cluster, Syncs::Pretended);
        }
        if self.chance.per_mille(transfer) {
            self.transfer(cluster);
        }
        if self.chance.per_mille(seal) {
            self.seal(cluster);
        }
        if self.chance.per_mille(replace) && cluster.can_lose() {
            self.replace(cluster);
        }
    }

    /// Peace: everything that was begun ends.
    pub fn stop(&mut self, cluster: &mut Cluster) {
        for until in [&mut self.paused_until, &mut self.slow_until, &mut self.lying_until] {
            until.values_mut().for_each(|until| *until = Instant::now());
        }
        self.cut_until = self.cut_until.map(|_| Instant::now());
        self.end(cluster, Instant::now());
    }

    fn end(&mut self, cluster: &mut Cluster, now: Instant) {
        if self.cut_until.is_some_and(|until| until <= now) {
            self.cut_until = None;
            tell!(cluster.around.trace, "the network is whole");
            cluster.around.network.set_cut(Links::new());
        }
        for id in due(&mut self.paused_until, now) {
            tell!(cluster.around.trace, "machine {id} goes on");
            if let Some(process) = cluster.machines.get(&id).and_then(Machine::process) {
                process.resume();
            }
        }
        for id in due(&mut self.slow_until, now) {
            if let Some(process) = cluster.machines.get(&id).and_then(Machine::process) {
                process.set_speed(self.usual);
            }
        }
        for id in due(&mut self.lying_until, now) {
            cluster.crash(id, self.chance.milliseconds(50, 1_000));
        }
    }

    /// A victim; half of the time one that leads something.
    fn victim(&mut self, cluster: &Cluster) -> Option<MachineId> {
        let leaders: Vec<MachineId> = cluster.leaders().into_iter().collect();
        match leaders.is_empty() || self.chance.per_mille(500) {
            true => self.chance.pick(&cluster.running()).copied(),
            false => self.chance.pick(&leaders).copied(),
        }
    }

    fn crash(&mut self, cluster: &mut Cluster) {
        if let Some(id) = self.victim(cluster) {
            cluster.crash(id, self.chance.milliseconds(50, 4_000));
        }
    }

    fn cut(&mut self, cluster: &mut Cluster) {
        let all: Vec<MachineId> = cluster.machines.keys().copied().collect();
        let Some(victim) = self.victim(cluster) else { return };
        let others: Vec<MachineId> = all.iter().copied().filter(|id| *id != victim).collect();
        let both = |from: &[MachineId], to: &[MachineId]| -> Links {
            from.iter().flat_map(|&a| to.iter().flat_map(move |&b| [(a, b), (b, a)])).collect()
        };
        let (shape, links): (_, Links) = match self.chance.below(6) {
            0 => ("cut off", both(&[victim], &others)),
            1 => ("cannot hear", others.iter().map(|&other| (other, victim)).collect()),
            2 => ("cannot speak", others.iter().map(|&other| (victim, other)).collect()),
            3 => {
                let side: Vec<MachineId> = all.iter().copied().filter(|_| self.chance.per_mille(500)).collect();
                let rest: Vec<MachineId> = all.iter().copied().filter(|id| !side.contains(id)).collect();
                ("in two parts", both(&side, &rest))
            }
            4 => ("a bridge between the others", others.iter().flat_map(|a| both(&[*a], &others)).filter(|(a, b)| a != b).collect()),
            _ => {
                let pairs = all.iter().flat_map(|&a| all.iter().map(move |&b| (a, b)));
                ("with holes", pairs.filter(|(a, b)| a != b && self.chance.per_mille(300)).collect())
            }
        };
        let lasts = self.chance.milliseconds(200, 6_000);
        tell!(cluster.around.trace, "machine {victim} {shape}: {links:?} cut for {} ms", lasts.as_millis());
        self.cut_until = Some(Instant::now() + lasts);
        cluster.around.network.set_cut(links);
    }

    fn pause(&mut self, cluster: &Cluster) {
        let Some(id) = self.victim(cluster) else { return };
        let lasts = self.chance.milliseconds(100, 3_000);
        if let Some(process) = cluster.machines.get(&id).and_then(Machine::process) {
            tell!(cluster.around.trace, "machine {id} stands still for {} ms", lasts.as_millis());
            process.pause();
            self.paused_until.insert(id, Instant::now() + lasts);
        }
    }

    fn slow(&mut self, cluster: &Cluster) {
        let Some(id) = self.victim(cluster) else { return };
        let (sync_max, work_max) = (self.chance.milliseconds(20, 800), self.chance.milliseconds(20, 800));
        if let Some(process) = cluster.machines.get(&id).and_then(Machine::process) {
            tell!(cluster.around.trace, "machine {id} has a slow disk: {} ms", sync_max.as_millis());
            process.set_speed(DiskSpeed { sync_max, work_max });
            self.slow_until.insert(id, Instant::now() + self.chance.milliseconds(500, 5_000));
        }
    }

    fn spoil_syncs(&mut self, cluster: &mut Cluster, syncs: Syncs) {
        let Some(id) = self.victim(cluster) else { return };
        let Some(machine) = cluster.machines.get_mut(&id).filter(|machine| !machine.is_doubtful) else { return };
        tell!(cluster.around.trace, "machine {id}: syncs are {syncs:?}");
        machine.set_syncs(syncs);
        if syncs == Syncs::Pretended {
            self.lying_until.insert(id, Instant::now() + self.chance.milliseconds(100, 2_000));
        }
    }

    /// An operator has a leader hand over.
    fn transfer(&mut self, cluster: &Cluster) {
        let groups = cluster.machines.values().find_map(Machine::started).map_or(0, |started| started.node.status().groups.len());
        let up: Vec<(MachineId, u64)> = cluster.up().map(|(machine, started)| (machine.id, started.node.id())).collect();
        let (Some(&(asked, _)), Some(&(_, to))) = (self.chance.pick(&up), self.chance.pick(&up)) else { return };
        let group = self.chance.below(groups) as u64;
        let link = cluster.around.network.dial_as_operator(&Machine::address(asked).to_string());
        let trace = cluster.around.trace.clone();
        tokio::spawn(async move {
            let mut admin = AdminClient::new(link);
            let request = admin.transfer_group(wire::TransferGroupRequest { group, to });
            let answer = tokio::time::timeout(ORDER_PATIENCE, request).await;
            let answer = answer.map(|answer| answer.map(|_| ()).map_err(|status| status.message().to_owned()));
            tell!(trace, "group {group} to node {to}: {answer:?}");
        });
    }

    fn seal(&mut self, cluster: &Cluster) {
        let reachable: Vec<Reachable> = cluster.directory.lock().values().cloned().collect();
        let Some(at) = self.chance.pick(&reachable).cloned() else { return };
        let trace = cluster.around.trace.clone();
        runtime::spawn_on(&at.host, async move {
            let node = Arc::clone(&at.node);
            let sealed = at.node.seal_all().await;
            tell!(trace, "node {} seals: {}", node.id(), sealed.map_or_else(|error| error.to_string(), |()| "done".to_owned()));
        });
    }

    fn replace(&mut self, cluster: &mut Cluster) {
        let up: Vec<MachineId> = cluster.up().map(|(machine, _)| machine.id).collect();
        let Some(&id) = self.chance.pick(&up) else { return };
        let handling = if self.chance.per_mille(500) { Handling::RestartFirst } else { Handling::Replace };
        cluster.lose(id, handling);
    }
}

fn due(until: &mut BTreeMap<MachineId, Instant>, now: Instant) -> Vec<MachineId> {
    let due: Vec<MachineId> = until.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
    due.iter().for_each(|id| {
        until.remove(id);
    });
    due
}
