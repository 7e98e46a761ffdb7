//! The whole room against a plain model of real groups: random wishes, deaths, forgetful and late controllers.
//!
//! The model knows what Raft promises about membership (a change needs a majority of the old and of the new voters; a
//! voter must have been a member) and panics at what must never happen: a voter that lacks data, a wiped voter.

use super::kv::{Expect, KvChange, KvCondition};
use super::observed::{GroupView, Health, Observed};
use super::plan::{Action, next_actions};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What happens to the cluster between two rounds of its controller.
#[derive(Debug, Clone)]
enum Event {
    Admit,
    Drain {
        node: u64,
        replacement: Option<u64>,
    },
    CancelDrain {
        node: u64,
    },
    Factor(u32),
    Kill {
        node: u64,
    },
    Revive {
        node: u64,
    },
    /// Rounds of the controller; in each, of the planned actions only those in the mask are carried out.
    Rounds {
        count: usize,
        mask: u64,
    },
    /// Actions planned now, carried out by a deposed leader after the next event.
    Late,
}

fn event() -> impl Strategy<Value = Event> {
    let node = || 1u64..8;
    prop_oneof![
        2 => Just(Event::Admit),
        2 => (node(), prop::option::of(node())).prop_map(|(node, replacement)| Event::Drain { node, replacement }),
        1 => node().prop_map(|node| Event::CancelDrain { node }),
        1 => prop::sample::select(vec![1u32, 3, 5]).prop_map(Event::Factor),
        2 => node().prop_map(|node| Event::Kill { node }),
        2 => node().prop_map(|node| Event::Revive { node }),
        6 => (1usize..12, any::<u64>()).prop_map(|(count, mask)| Event::Rounds { count, mask }),
        1 => Just(Event::Late),
    ]
}

/// One real group.
#[derive(Debug, Clone, Default)]
struct RealGroup {
    leader: Option<NodeId>,
    age_ms: u64,
    voters: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
    lag: BTreeMap<NodeId, u64>,
}

struct World {
    state: MetaState,
    groups: BTreeMap<GroupId, RealGroup>,
    silent_rounds: BTreeMap<NodeId, u32>,
    late: Vec<Action>,
}

const LAG_OF_AN_EMPTY_REPLICA: u64 = 300;

impl World {
    fn new(nodes: u64, shards: u32) -> Self {
        let mut state = MetaState::default();
        let member = |id| NewMember { id, grpc: format!("g{id}"), http: format!("h{id}") };
        let answer = state.apply(MetaCommand::Bootstrap {
            cluster_id: "c".to_string(),
            hash_key: [1; 16],
            members: (1..=nodes).map(member).collect(),
            shards,
            replication_factor: 3,
        });
        assert_eq!(answer, MetaAnswer::Done);
        let group = |placement: &Placement| RealGroup {
            voters: placement.replicas.clone(),
            lag: placement.replicas.iter().map(|&node| (node, 0)).collect(),
            ..RealGroup::default()
        };
        let groups = state.placements().map(|(id, placement)| (id, group(placement))).collect();
        Self { state, groups, silent_rounds: BTreeMap::new(), late: Vec::new() }
    }

    fn is_alive(&self, node: NodeId) -> bool {
        !self.silent_rounds.contains_key(&node)
    }

    fn has_quorum(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.iter().filter(|&&node| self.is_alive(node)).count() * 2 > voters.len()
    }

    /// Elections, replication and wiping, as time passes.
    fn tick(&mut self) {
        self.silent_rounds.values_mut().for_each(|rounds| *rounds += 1);
        let alive: BTreeSet<NodeId> = self.state.members.keys().copied().filter(|&node| self.is_alive(node)).collect();
        for group in self.groups.values_mut() {
            let quorum = group.voters.intersection(&alive).count() * 2 > group.voters.len();
            let leads = |node: &NodeId| quorum && alive.contains(node) && group.voters.contains(node);
            if !group.leader.as_ref().is_some_and(leads) {
                group.leader = quorum.then(|| *group.voters.intersection(&alive).next().expect("a quorum"));
                group.age_ms = 0;
            }
            group.age_ms += 6_000;
            if group.leader.is_some() {
                let arriving = group.lag.iter_mut().filter(|(node, _)| alive.contains(node));
                arriving.for_each(|(_, lag)| *lag = lag.saturating_sub(100));
            }
        }
        for &node in &alive {
            self.keep(node);
        }
    }

    /// A node applies the map: it opens what it should hold and wipes what it should not.
    fn keep(&mut self, node: NodeId) {
        let holds = self.state.groups_of(node);
        for group in self.groups.iter_mut().filter(|(id, _)| holds.contains_key(id)).map(|(_, group)| group) {
            if group.voters.contains(&node) || group.learners.contains(&node) {
                group.lag.entry(node).or_insert(LAG_OF_AN_EMPTY_REPLICA);
            }
        }
        for (id, group) in self.groups.iter_mut().filter(|(id, _)| !holds.contains_key(id)) {
            assert!(!group.voters.contains(&node), "node {node} wipes group {id} but votes in it: {group:?}");
            group.lag.remove(&node);
        }
    }

    fn observe(&self) -> Observed {
        let health = |&node: &NodeId| match self.silent_rounds.get(&node) {
            None => (node, Health::Live),
            Some(0..4) => (node, Health::Suspect),
            Some(_) => (node, Health::Down),
        };
        let view = |group: &RealGroup| GroupView {
            leader: group.leader,
            leader_age_ms: group.age_ms,
            voters: group.voters.clone(),
            learners: group.learners.clone(),
            changing: false,
            lag_entries: group.lag.clone(),
        };
        Observed {
            health: self.state.members.keys().map(health).collect(),
            groups: self.groups.iter().map(|(&id, group)| (id, view(group))).collect(),
        }
    }

    fn apply(&mut self, command: MetaCommand) -> MetaAnswer {
        let (before, bytes) = (self.state.encode(), command.encode());
        let answer = self.state.apply(MetaCommand::decode(&bytes).unwrap());
        if answer.is_refusal() {
            assert_eq!(before, self.state.encode(), "{command:?} was refused but changed something");
        }
        self.state.check();
        answer
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Propose(command) => {
                if self.groups[&META_GROUP].leader.is_some() {
                    self.apply(command);
                }
            }
            Action::AddLearner { group, node } => self.with_leader(group, |group| {
                if !group.voters.contains(&node) && group.learners.insert(node) {
                    group.lag.entry(node).or_insert(LAG_OF_AN_EMPTY_REPLICA);
                }
            }),
            Action::ChangeVoters { group, voters } => self.change_voters(group, voters),
            Action::RemoveLearners { group, nodes } => {
                self.with_leader(group, |group| group.learners.retain(|node| !nodes.contains(node)));
            }
            Action::TransferLeader(transfer) => {
                let able = self.is_alive(transfer.to);
                self.with_leader(transfer.group, |group| {
                    if able && group.leader == Some(transfer.from) && group.voters.contains(&transfer.to) {
                        (group.leader, group.age_ms) = (Some(transfer.to), 0);
                    }
                });
            }
        }
    }

    fn with_leader(&mut self, group: GroupId, deed: impl FnOnce(&mut RealGroup)) {
        let group = self.groups.get_mut(&group).unwrap();
        if group.leader.is_some() {
            deed(group);
        }
    }

    fn change_voters(&mut self, id: GroupId, voters: BTreeSet<NodeId>) {
        let group = &self.groups[&id];
        let members: BTreeSet<NodeId> = group.voters.union(&group.learners).copied().collect();
        let possible = voters.is_subset(&members) && self.has_quorum(&group.voters) && self.has_quorum(&voters);
        if group.leader.is_none() || !possible {
            return;
        }
        let group = self.groups.get_mut(&id).unwrap();
        for node in voters.difference(&group.voters) {
            let lag = group.lag[node];
            assert!(lag <= observed::CATCH_UP_ENTRIES_MAX, "{node} gets a vote in group {id} but lags {lag}");
        }
        group.learners.retain(|node| !voters.contains(node));
        group.voters = voters;
    }

    fn round(&mut self, mask: u64) -> usize {
        self.tick();
        let actions = next_actions(&self.state, &self.observe());
        let planned = actions.len();
        for (position, action) in actions.into_iter().enumerate() {
            if mask >> (position % 64) & 1 == 1 {
                self.carry_out(action);
            }
        }
        planned
    }

    fn happen(&mut self, event: Event) {
        let late = std::mem::take(&mut self.late);
        match event {
            Event::Admit => {
                let next = self.state.next_node_id;
                let command = |token: u64| MetaCommand::Admit {
                    token: format!("t{token}"),
                    grpc: format!("g{token}"),
                    http: format!("h{token}"),
                    format: 1,
                };
                if next < 8 {
                    assert_eq!(self.apply(command(next)), MetaAnswer::Admitted { node: next });
                    assert_eq!(self.apply(command(next)), MetaAnswer::Admitted { node: next }, "a retried join");
                }
            }
            Event::Drain { node, replacement } => drop(self.apply(MetaCommand::Drain { node, replacement })),
            Event::CancelDrain { node } => drop(self.apply(MetaCommand::CancelDrain { node })),
            Event::Factor(replication_factor) => {
                self.apply(MetaCommand::SetReplicationFactor { replication_factor });
            }
            Event::Kill { node } => drop(self.silent_rounds.entry(node).or_insert(0)),
            Event::Revive { node } => drop(self.silent_rounds.remove(&node)),
            Event::Rounds { count, mask } => {
                for round in 0..count {
                    self.round(mask.rotate_left(round as u32));
                }
            }
            Event::Late => self.late = next_actions(&self.state, &self.observe()),
        }
        // A deposed leader cannot write, but its deeds may still reach the groups.
        for action in late.into_iter().filter(|action| !matches!(action, Action::Propose(_))) {
            self.carry_out(action);
        }
    }

    fn settle(&mut self) {
        self.silent_rounds.clear();
        let mut quiet = 0;
        for _ in 0..3000 {
            quiet = if self.round(u64::MAX) == 0 { quiet + 1 } else { 0 };
            if quiet > 5 {
                return;
            }
        }
        panic!("the plan does not end: {:?}", next_actions(&self.state, &self.observe()));
    }

    /// What a settled cluster in which every node answers must look like.
    fn check_settled(&self) {
        let active = self.state.active_nodes();
        assert!(progress::changes(&self.state).is_empty(), "{:?}", progress::changes(&self.state));
        let wanted = initial::replicas_possible(self.state.replication_factor, active.len());
        let mut loads: BTreeMap<NodeId, usize> = active.iter().map(|&node| (node, 0)).collect();
        for (id, placement) in self.state.placements() {
            assert_eq!(placement.moving, None, "group {id}");
            assert_eq!(placement.replicas, self.groups[&id].voters, "group {id}");
            assert_eq!(placement.learners, self.groups[&id].learners, "group {id}");
        }
        for placement in self.state.shards.values() {
            let most = self.state.replication_factor as usize;
            assert!((wanted..=most).contains(&placement.replicas.len()), "{placement:?} of {active:?}");
            placement.replicas.iter().for_each(|node| *loads.get_mut(node).unwrap() += 1);
        }
        let (low, high) = (loads.values().min().unwrap(), loads.values().max().unwrap());
        assert!(high - low <= 1, "replicas are spread unevenly: {loads:?}");
        assert_eq!(self.state.meta.members(), active);
        for node in self.state.nodes_in(MemberState::Removed) {
            assert!(self.state.groups_of(node).is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_history_ends_well(founders in 1u64..6, per_node in 1u32..4, events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new(founders, founders as u32 * per_node);
        for event in events {
            world.happen(event);
        }
        world.settle();
        world.check_settled();
        let again = MetaState::decode(&world.state.encode()).unwrap();
        prop_assert_eq!(&again, &world.state);
        prop_assert_eq!(again.encode(), world.state.encode());
    }

    /// The store against a plain map, and the versions against the promise that each is used once.
    #[test]
    fn the_store_is_linear(writes in prop::collection::vec((0u8..5, 0u8..5, prop::option::of(0u64..40), any::<Option<Vec<u8>>>()), 0..60)) {
        let mut world = World::new(1, 1);
        let mut model: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
        let mut last_version = 0;
        for (condition_key, key, expected, value) in writes {
            let (condition_key, key) = (format!("k/{condition_key}"), format!("k/{key}"));
            let expect = expected.map_or(Expect::Absent, Expect::Version);
            let holds = model.get(&condition_key).map(|entry| entry.0) == expected;
            let change = match value.clone() {
                Some(value) => KvChange::Put { key: key.clone(), value },
                None => KvChange::Delete { key: key.clone() },
            };
            let conditions = vec![KvCondition { key: condition_key, expect }];
            match world.apply(MetaCommand::Write { conditions, changes: vec![change] }) {
                MetaAnswer::Written { version } => {
                    prop_assert!(holds && version > last_version);
                    last_version = version;
                    match value {
                        Some(value) => drop(model.insert(key, (version, value))),
                        None => drop(model.remove(&key)),
                    }
                }
                answer => prop_assert!(!holds && answer.is_refusal(), "{:?}", answer),
            }
        }
        let listed: BTreeMap<String, (u64, Vec<u8>)> =
            world.state.kv.list("k/").map(|(key, entry)| (key.to_string(), (entry.version, entry.value.clone()))).collect();
        prop_assert_eq!(listed, model);
    }

    #[test]
    fn damaged_bytes_are_errors(bytes in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
        let _ = MetaCommand::decode(&bytes);
        let whole = MetaCommand::put("rules/a", bytes).encode();
        prop_assert!(MetaCommand::decode(&whole[..cut.index(whole.len())]).is_err());
        let mut newer = whole;
        newer[0] = encoding::FORMAT + 1;
        let is_too_new = |bytes: &[u8]| matches!(MetaCommand::decode(bytes), Err(EncodingError::TooNew { .. }));
        prop_assert!(is_too_new(&newer));
        prop_assert!(is_too_new(b"\x01{\"SplitShard\":{\"shard\":1}}"), "a command of a newer build");
    }
}

fn settled(mut world: World) -> World {
    world.settle();
    world.check_settled();
    world
}

#[test]
fn one_node_grows_to_three() {
    let mut world = World::new(1, 4);
    assert!(world.state.shards.values().all(|placement| placement.replicas.len() == 1));
    world.happen(Event::Admit);
    let mut world = settled(world);
    assert_eq!(world.state.meta.replicas.len(), 1, "two voters are no better than one");
    assert_eq!(world.state.meta.learners.len(), 1);
    world.happen(Event::Admit);
    let world = settled(world);
    assert_eq!(world.state.meta.replicas.len(), 3);
    assert!(world.state.shards.values().all(|placement| placement.replicas.len() == 3));
}

#[test]
fn a_dead_node_is_replaced_under_a_new_id() {
    let mut world = World::new(3, 6);
    world.happen(Event::Kill { node: 3 });
    world.happen(Event::Rounds { count: 20, mask: u64::MAX });
    world.happen(Event::Admit);
    world.happen(Event::Drain { node: 3, replacement: Some(4) });
    world.happen(Event::Rounds { count: 200, mask: u64::MAX });
    assert_eq!(world.state.member(3).unwrap().state, MemberState::Removed);
    let expected = BTreeSet::from([1, 2, 4]);
    assert!(world.state.placements().all(|(_, placement)| placement.replicas == expected));
    let answer = world.apply(MetaCommand::Announce { node: 3, grpc: "g3".into(), http: "h3".into(), format: 1 });
    assert!(answer.is_refusal(), "a removed id is dead: {answer:?}");
}

#[test]
fn a_removed_node_leaves_two_replicas_until_a_third_node_comes() {
    let mut world = World::new(3, 6);
    world.happen(Event::Drain { node: 2, replacement: None });
    let mut world = settled(world);
    assert!(world.state.placements().all(|(_, placement)| placement.replicas == BTreeSet::from([1, 3])));
    world.happen(Event::Admit);
    let world = settled(world);
    assert!(world.state.placements().all(|(_, placement)| placement.replicas == BTreeSet::from([1, 3, 4])));
}

#[test]
fn a_move_to_a_node_that_dies_is_withdrawn() {
    let mut world = World::new(4, 8);
    world.happen(Event::Drain { node: 1, replacement: None });
    world.happen(Event::Rounds { count: 1, mask: u64::MAX });
    let arriving: Vec<NodeId> = world.state.placements().flat_map(|(_, placement)| placement.arriving()).collect();
    assert!(!arriving.is_empty());
    arriving.iter().for_each(|&node| world.happen(Event::Kill { node }));
    world.happen(Event::Rounds { count: 20, mask: u64::MAX });
    let still: BTreeSet<NodeId> = world.state.placements().flat_map(|(_, placement)| placement.arriving()).collect();
    assert!(arriving.iter().all(|node| !still.contains(node)), "{still:?} still wait for one of {arriving:?}");
    settled(world);
}

/// A deposed leader of the meta group withdraws a learner that is about to get its vote: it must be added again, or the
/// change of voters fails for ever.
#[test]
fn a_learner_removed_late_is_added_again() {
    let mut world = World::new(4, 8);
    world.happen(Event::Drain { node: 1, replacement: None });
    let changing = |world: &World| {
        let mut placements = world.state.placements();
        let at_last_stage = |placement: &Placement| placement.moving.as_ref().is_some_and(|change| change.stage == MoveStage::ChangeVoters);
        placements.find(|(_, placement)| at_last_stage(placement)).map(|(group, placement)| (group, placement.arriving()))
    };
    let found = (0..50).find_map(|_| {
        world.round(u64::MAX);
        changing(&world)
    });
    let (group, nodes) = found.expect("some move gets as far as changing voters");
    world.carry_out(Action::RemoveLearners { group, nodes });
    settled(world);
}
