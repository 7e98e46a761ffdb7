//! Spreading leaderships: which one to hand over next.
//!
//! The leader of a shard does most of its work (merging, proposing, sending), so every live node should lead about the
//! same number of shards. Elections scatter leaders anyhow, a restarted node comes back leading nothing.
//!
//! It never flaps: only a difference of two or more is a reason to act, each hand-over makes the spread smaller, a new
//! leader stays for [`LEADER_AGE_MS_MIN`], and nothing happens while some shard has no leader or is moving its replicas.

use super::ids::{GroupId, META_GROUP, NodeId};
use super::observed::{GroupView, Observed};
use super::state::MetaState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A leader is left alone for this long.
pub const LEADER_AGE_MS_MIN: u64 = 10_000;

/// Hand the leadership of `group` from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    pub group: GroupId,
    pub from: NodeId,
    pub to: NodeId,
}

/// The next hand-over, if one is due. Ask again after it has happened.
pub fn next_transfer(state: &MetaState, observed: &Observed) -> Option<Transfer> {
    let shards: Vec<_> = state.placements().filter(|(group, _)| *group != META_GROUP).collect();
    let calm = shards.iter().all(|(group, _)| observed.led(*group).is_some_and(|(_, view)| !view.changing));
    if !calm {
        return None;
    }
    let takers: BTreeSet<NodeId> = state.active_nodes().into_iter().filter(|&node| observed.is_live(node)).collect();
    let led: Vec<Led> = shards
        .iter()
        .filter_map(|&(group, placement)| {
            let (leader, view) = observed.led(group)?;
            let fixed = placement.moving.is_some() || view.leader_age_ms < LEADER_AGE_MS_MIN;
            let heirs = if fixed { BTreeSet::new() } else { heirs(view, leader, &takers) };
            Some(Led { group, leader, heirs })
        })
        .collect();
    leave_draining(state, &led, &takers).or_else(|| even_out(&led, &takers))
}

/// A group, who leads it, and to whom that could be handed now.
struct Led {
    group: GroupId,
    leader: NodeId,
    heirs: BTreeSet<NodeId>,
}

fn heirs(view: &GroupView, leader: NodeId, takers: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let able = |node: &NodeId| *node != leader && takers.contains(node) && view.has_caught_up(*node);
    view.voters.iter().copied().filter(able).collect()
}

fn loads(led: &[Led], takers: &BTreeSet<NodeId>) -> BTreeMap<NodeId, usize> {
    let mut loads: BTreeMap<NodeId, usize> = takers.iter().map(|&node| (node, 0)).collect();
    for group in led {
        if let Some(load) = loads.get_mut(&group.leader) {
            *load += 1;
        }
    }
    loads
}

/// A node that is to leave leads nothing as soon as others can.
fn leave_draining(state: &MetaState, led: &[Led], takers: &BTreeSet<NodeId>) -> Option<Transfer> {
    let loads = loads(led, takers);
    let stuck = led.iter().find(|group| !is_active(state, group.leader) && !group.heirs.is_empty())?;
    let to = *stuck.heirs.iter().min_by_key(|&node| (loads[node], *node))?;
    Some(Transfer { group: stuck.group, from: stuck.leader, to })
}

fn is_active(state: &MetaState, node: NodeId) -> bool {
    state.member(node).is_some_and(|member| member.is_active())
}

/// From the node that leads most, along the shortest chain of hand-overs, to a node that leads at least two fewer. The
/// last link of the chain goes first: it makes room, and the next round sees a shorter chain.
fn even_out(led: &[Led], takers: &BTreeSet<NodeId>) -> Option<Transfer> {
    let loads = loads(led, takers);
    let mut sources: Vec<_> = loads.iter().map(|(&node, &load)| (load, node)).collect();
    sources.sort_by_key(|&(load, node)| (std::cmp::Reverse(load), node));
    sources
        .into_iter()
        .filter(|&(load, _)| load >= 2)
        .find_map(|(load, source)| chain_to(source, led, |node| loads.get(&node).is_some_and(|&other| other + 2 <= load)))
}

/// Breadth-first over "leads a group that the other could take"; answers the link that arrives at the goal.
fn chain_to(source: NodeId, led: &[Led], is_goal: impl Fn(NodeId) -> bool) -> Option<Transfer> {
    let mut seen = BTreeSet::from([source]);
    let mut queue = VecDeque::from([source]);
    while let Some(from) = queue.pop_front() {
        for group in led.iter().filter(|group| group.leader == from) {
            for &to in &group.heirs {
                if is_goal(to) {
                    return Some(Transfer { group: group.group, from, to });
                }
                if seen.insert(to) {
                    queue.push_back(to);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{MemberState, MetaCommand, NewMember, group_of};
    use super::*;
    use crate::meta::observed::Health;
    use proptest::prelude::*;

    fn cluster(nodes: u64, shards: u32) -> MetaState {
        let member = |id| NewMember { id, grpc: format!("g{id}"), http: format!("h{id}") };
        let mut state = MetaState::default();
        state.apply(MetaCommand::Bootstrap {
            cluster_id: "c".to_string(),
            hash_key: [7; 16],
            members: (1..=nodes).map(member).collect(),
            shards,
            replication_factor: 3,
        });
        state
    }

    fn observe(state: &MetaState, leaders: &[NodeId]) -> Observed {
        let health = state.members.keys().map(|&node| (node, Health::Live)).collect();
        let mut observed = Observed { health, ..Observed::default() };
        for (&shard, placement) in &state.shards {
            let replicas = placement.replicas.clone();
            let view = GroupView {
                leader: Some(leaders[shard as usize]),
                leader_age_ms: LEADER_AGE_MS_MIN,
                lag_entries: replicas.iter().map(|&node| (node, 0)).collect(),
                voters: replicas,
                ..GroupView::default()
            };
            observed.groups.insert(group_of(shard), view);
        }
        observed
    }

    fn settle(state: &MetaState, leaders: &mut [NodeId]) -> usize {
        for round in 0..1000 {
            let Some(transfer) = next_transfer(state, &observe(state, leaders)) else { return round };
            let shard = transfer.group as usize - 1;
            assert_eq!(leaders[shard], transfer.from);
            assert!(state.shards[&(shard as u32)].replicas.contains(&transfer.to));
            leaders[shard] = transfer.to;
        }
        panic!("balance flaps: {leaders:?}");
    }

    proptest! {
        #[test]
        fn ends_evenly_from_anywhere(nodes in 1u64..8, per_node in 1u32..5, picks in prop::collection::vec(0usize..3, 40)) {
            let state = cluster(nodes, nodes as u32 * per_node);
            let pick = |(placement, pick): (&crate::meta::Placement, &usize)| {
                *placement.replicas.iter().nth(pick % placement.replicas.len()).unwrap()
            };
            let mut leaders: Vec<NodeId> = state.shards.values().zip(&picks).map(pick).collect();
            settle(&state, &mut leaders);
            let count = |node| leaders.iter().filter(|&&leader| leader == node).count();
            for node in 1..=nodes {
                let (led, share) = (count(node), per_node as usize);
                prop_assert!(led.abs_diff(share) <= 1, "node {node} leads {led} of a share of {share}");
            }
        }
    }

    #[test]
    fn waits_for_a_young_leader_and_for_calm() {
        let state = cluster(3, 6);
        let mut observed = observe(&state, &[1; 6]);
        assert!(next_transfer(&state, &observed).is_some());
        observed.groups.get_mut(&3).unwrap().leader = None;
        assert_eq!(next_transfer(&state, &observed), None);
        let mut observed = observe(&state, &[1; 6]);
        observed.groups.values_mut().for_each(|view| view.leader_age_ms = LEADER_AGE_MS_MIN - 1);
        assert_eq!(next_transfer(&state, &observed), None);
    }

    #[test]
    fn a_draining_or_silent_node_is_given_nothing() {
        let mut state = cluster(3, 6);
        state.apply(MetaCommand::Drain { node: 3, replacement: None });
        assert_eq!(state.member(3).unwrap().state, MemberState::Draining);
        let mut leaders = vec![3, 3, 1, 1, 1, 3];
        settle(&state, &mut leaders);
        assert_eq!(leaders.iter().filter(|&&leader| leader == 1).count(), 3);
        assert_eq!(leaders.iter().filter(|&&leader| leader == 2).count(), 3);
        let mut observed = observe(&state, &[1; 6]);
        observed.health.insert(2, Health::Suspect);
        assert_eq!(next_transfer(&state, &observed), None);
    }
}
