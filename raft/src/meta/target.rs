//! Which group's members should be changed next, and to what.
//!
//! In order of urgency: the meta group takes in joined nodes and lets go of empty ones; shards leave nodes that are to
//! leave; shards with too few replicas get more; shards with too many give some up; and when all is well and every node
//! answers, replicas are spread evenly. Each answer makes the cluster strictly better in this order, so it ends.
//!
//! Nothing is ever placed on a node that does not answer, and no change is begun whose result could not commit with the
//! nodes that answer now.

use super::command::MetaCommand;
use super::ids::{GroupId, META_GROUP, NodeId, group_of};
use super::initial::replicas_possible;
use super::member::MemberState;
use super::observed::Observed;
use super::placement::Placement;
use super::state::MetaState;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// More voters would make every write of the meta group slower and no failure likelier survived.
pub const META_VOTERS_MAX: u32 = 5;

type Nodes = BTreeSet<NodeId>;

/// The next move to open, if any is due and possible.
pub fn next_move(state: &MetaState, observed: &Observed) -> Option<MetaCommand> {
    let target = Target { state, observed, loads: loads(state) };
    let (group, replicas, learners) = target.of_meta().or_else(|| target.of_shards()).or_else(|| target.spread())?;
    Some(MetaCommand::StartMove { group, replicas, learners })
}

/// Replicas each active node has, or will have once the moves under way are over.
fn loads(state: &MetaState) -> BTreeMap<NodeId, usize> {
    let mut loads: BTreeMap<NodeId, usize> = state.active_nodes().into_iter().map(|node| (node, 0)).collect();
    for node in state.shards.values().flat_map(|placement| placement.replicas_next()) {
        if let Some(load) = loads.get_mut(node) {
            *load += 1;
        }
    }
    loads
}

struct Target<'a> {
    state: &'a MetaState,
    observed: &'a Observed,
    loads: BTreeMap<NodeId, usize>,
}

impl Target<'_> {
    fn of_meta(&self) -> Option<(GroupId, Nodes, Nodes)> {
        let placement = &self.state.meta;
        if !self.is_ready(META_GROUP, placement) {
            return None;
        }
        let leaves = |node: &NodeId| self.is_draining(*node) && !self.state.holds_shards(*node);
        let mut voters: Nodes = placement.replicas.iter().copied().filter(|node| !leaves(node)).collect();
        let mut learners: Nodes = placement.learners.iter().copied().filter(|node| !leaves(node)).collect();
        learners.extend(self.arriving_at_meta());
        self.promote(&mut voters, &mut learners);
        let changed = voters != placement.replicas || learners != placement.learners;
        (changed && self.observed.has_quorum(&voters)).then_some((META_GROUP, voters, learners))
    }

    fn arriving_at_meta(&self) -> impl Iterator<Item = NodeId> {
        let present = self.state.meta.members();
        let staying = self.state.members.values().filter(|member| {
            let comes = matches!(member.state, MemberState::Joining | MemberState::Active);
            comes && self.observed.is_live(member.id)
        });
        staying.map(|member| member.id).filter(move |node| !present.contains(node))
    }

    /// Gives learners a vote until the voters are as many as there should be, but never leaves them at an even number
    /// that it made itself.
    fn promote(&self, voters: &mut Nodes, learners: &mut Nodes) {
        let staying = voters.iter().chain(learners.iter()).filter(|&&node| !self.is_draining(node)).count();
        let wanted = replicas_possible(META_VOTERS_MAX, staying);
        let able = |node: &&NodeId| self.observed.is_live(**node) && !self.is_draining(**node);
        let candidates: Vec<NodeId> = learners.iter().filter(able).copied().collect();
        for node in &candidates[..arrivals(voters.len(), wanted, candidates.len())] {
            learners.remove(node);
            voters.insert(*node);
        }
    }

    fn of_shards(&self) -> Option<(GroupId, Nodes, Nodes)> {
        let ready = || self.state.shards.iter().filter(|(shard, placement)| self.is_ready(group_of(**shard), placement));
        let find = |wanted: &dyn Fn(&Placement) -> Option<Nodes>| {
            ready().find_map(|(&shard, placement)| {
                let replicas = wanted(placement)?;
                let sound = replicas != placement.replicas && self.observed.has_quorum(&replicas);
                sound.then_some((group_of(shard), replicas, Nodes::new()))
            })
        };
        find(&|placement| self.evict(placement))
            .or_else(|| find(&|placement| self.fill(placement)))
            .or_else(|| find(&|placement| self.shrink(placement)))
    }

    /// Without the nodes that are to leave; with a substitute for each as far as there are any.
    fn evict(&self, placement: &Placement) -> Option<Nodes> {
        let leaving: Nodes = placement.replicas.iter().copied().filter(|&node| self.is_draining(node)).collect();
        let mut replicas: Nodes = placement.replicas.difference(&leaving).copied().collect();
        for node in &leaving {
            if replicas.len() >= self.state.replication_factor as usize {
                break;
            }
            let taken: Nodes = replicas.union(&placement.replicas).copied().collect();
            match self.substitute(*node, &taken) {
                Substitute::Found(node) => drop(replicas.insert(node)),
                Substitute::Wait => return None,
                Substitute::None => {}
            }
        }
        (!leaving.is_empty() && !replicas.is_empty()).then_some(replicas)
    }

    fn substitute(&self, leaving: NodeId, taken: &Nodes) -> Substitute {
        let wished = self.state.member(leaving).and_then(|member| member.replacement);
        if let Some(wished) = wished.filter(|node| !taken.contains(node) && self.may_come(*node)) {
            let ready = self.loads.contains_key(&wished) && self.observed.is_live(wished);
            return if ready { Substitute::Found(wished) } else { Substitute::Wait };
        }
        match self.least_loaded(taken, 1).first() {
            Some(&node) => Substitute::Found(node),
            None if self.loads.keys().any(|node| !taken.contains(node) && self.may_come(*node)) => Substitute::Wait,
            None => Substitute::None,
        }
    }

    /// A node worth waiting for: on its way in, and not known to be dead.
    fn may_come(&self, node: NodeId) -> bool {
        let state = self.state.member(node).map(|member| member.state);
        matches!(state, Some(MemberState::Joining | MemberState::Active)) && !self.observed.is_down(node)
    }

    fn fill(&self, placement: &Placement) -> Option<Nodes> {
        let wanted = replicas_possible(self.state.replication_factor, self.loads.len());
        let candidates = self.least_loaded(&placement.replicas, usize::MAX);
        let arrivals = arrivals(placement.replicas.len(), wanted, candidates.len());
        Some(placement.replicas.iter().copied().chain(candidates.into_iter().take(arrivals)).collect())
    }

    /// Gives up replicas beyond the replication factor: on dead nodes first, then where most are.
    fn shrink(&self, placement: &Placement) -> Option<Nodes> {
        let surplus = placement.replicas.len().checked_sub(self.state.replication_factor as usize)?;
        let mut nodes: Vec<NodeId> = placement.replicas.iter().copied().collect();
        nodes.sort_by_key(|node| (self.observed.is_live(*node), Reverse(self.loads.get(node)), *node));
        Some(nodes.into_iter().skip(surplus).collect())
    }

    /// One replica from the node with most to the node with fewest, if they differ by two or more and all is calm.
    fn spread(&self) -> Option<(GroupId, Nodes, Nodes)> {
        let members = || self.state.members.values().filter(|member| !member.is_removed());
        let calm = members().all(|member| member.is_active() && self.observed.is_live(member.id))
            && self.state.placements().all(|(group, placement)| self.is_ready(group, placement));
        let (&most, &high) = self.loads.iter().max_by_key(|&(node, load)| (*load, Reverse(*node)))?;
        let (&least, &low) = self.loads.iter().min_by_key(|&(node, load)| (*load, *node))?;
        if !calm || high < low + 2 {
            return None;
        }
        let movable = |placement: &Placement| placement.replicas.contains(&most) && !placement.replicas.contains(&least);
        let leads = |group| self.observed.led(group).is_some_and(|(leader, _)| leader == most);
        let candidates = self.state.shards.iter().filter(|(_, placement)| movable(placement));
        let (&shard, placement) = candidates.min_by_key(|(shard, _)| (leads(group_of(**shard)), **shard))?;
        let mut replicas = placement.replicas.clone();
        replicas.remove(&most);
        replicas.insert(least);
        Some((group_of(shard), replicas, Nodes::new()))
    }

    /// The group stands still, has a leader, and is what the map says.
    fn is_ready(&self, group: GroupId, placement: &Placement) -> bool {
        let led = self.observed.led(group);
        placement.moving.is_none() && led.is_some_and(|(_, view)| !view.changing && view.voters == placement.replicas)
    }

    fn is_draining(&self, node: NodeId) -> bool {
        self.state.member(node).is_some_and(|member| member.state == MemberState::Draining)
    }

    /// Up to `count` active nodes that answer and are not `taken`, the emptiest first.
    fn least_loaded(&self, taken: &Nodes, count: usize) -> Vec<NodeId> {
        let able = |node: &NodeId| !taken.contains(node) && self.observed.is_live(*node);
        let mut nodes: Vec<(usize, NodeId)> = self.loads.iter().filter(|(node, _)| able(node)).map(|(&node, &load)| (load, node)).collect();
        nodes.sort();
        nodes.into_iter().take(count).map(|(_, node)| node).collect()
    }
}

enum Substitute {
    Found(NodeId),
    /// There is one, but not now.
    Wait,
    /// There is none: the shard goes on with one replica fewer.
    None,
}

/// How many of the candidates to add to `present` towards `wanted` (odd), so that the sum is odd.
fn arrivals(present: usize, wanted: usize, candidates: usize) -> usize {
    let possible = (present + candidates).min(wanted);
    let odd = if possible % 2 == 1 { possible } else { possible.saturating_sub(1) };
    odd.saturating_sub(present)
}
