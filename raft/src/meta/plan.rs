//! What the leader of the meta group does next: the one question its controller asks, over and over.

use super::balance::{Transfer, next_transfer};
use super::command::MetaCommand;
use super::ids::{GroupId, NodeId};
use super::member::MemberState;
use super::observed::{GroupView, Observed};
use super::placement::{MoveStage, Placement};
use super::state::MetaState;
use super::target::next_move;
use std::collections::BTreeSet;

/// Groups that move at once: each costs the transfer of a whole shard.
pub const MOVES_MAX: usize = 2;

/// Something to do now. All may be repeated, and none may be skipped for ever; a failure is no more than "ask again".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this into the meta log.
    Propose(MetaCommand),
    /// At the group's leader: add a learner, without waiting for it to catch up.
    AddLearner { group: GroupId, node: NodeId },
    /// At the group's leader: make exactly these the voters; those who were voters and are not listed leave for good.
    ChangeVoters { group: GroupId, voters: BTreeSet<NodeId> },
    /// At the group's leader: remove members that have no vote.
    RemoveLearners { group: GroupId, nodes: BTreeSet<NodeId> },
    /// At `from`: hand the leadership to `to`.
    TransferLeader(Transfer),
}

/// What to do now, by what is written and what is seen. Nothing, if all is as it should be or can only be waited for.
///
/// These are [`necessary_actions`] and one hand-over for balance.
pub fn next_actions(state: &MetaState, observed: &Observed) -> Vec<Action> {
    let mut actions = necessary_actions(state, observed);
    let transferring = actions.iter().any(|action| matches!(action, Action::TransferLeader(_)));
    if state.is_bootstrapped() && !transferring {
        actions.extend(next_transfer(state, observed).map(Action::TransferLeader));
    }
    actions
}

/// What changes of members need, hand-overs by leaders that leave included; no balance of leaders.
pub fn necessary_actions(state: &MetaState, observed: &Observed) -> Vec<Action> {
    if !state.is_bootstrapped() {
        return Vec::new();
    }
    let mut actions: Vec<Action> = state.placements().flat_map(|(group, placement)| step(state, observed, group, placement)).collect();
    let moving = state.placements().filter(|(_, placement)| placement.moving.is_some()).count();
    if moving < MOVES_MAX {
        actions.extend(next_move(state, observed).map(Action::Propose));
    }
    actions.extend(finished_drains(state).map(|node| Action::Propose(MetaCommand::Remove { node })));
    actions
}

fn finished_drains(state: &MetaState) -> impl Iterator<Item = NodeId> {
    state.nodes_in(MemberState::Draining).into_iter().filter(|&node| state.groups_of(node).is_empty())
}

/// The next deed for one group.
fn step(state: &MetaState, observed: &Observed, group: GroupId, placement: &Placement) -> Vec<Action> {
    let Some((_, view)) = observed.led(group).filter(|(_, view)| !view.voters.is_empty()) else { return Vec::new() };
    let Some(change) = &placement.moving else {
        let wanted = Wanted { replicas: &placement.replicas, members: placement.members() };
        return approach(observed, group, &wanted, view).unwrap_or_default();
    };
    let advance = || vec![Action::Propose(MetaCommand::AdvanceMove { group, from: change.stage })];
    let early = matches!(change.stage, MoveStage::AddLearners | MoveStage::CatchUp);
    if early && placement.arriving().into_iter().any(|node| is_lost(state, observed, node)) {
        return vec![Action::Propose(MetaCommand::WithdrawMove { group })];
    }
    match change.stage {
        MoveStage::AddLearners => {
            let present = view.members();
            let missing = placement.arriving().into_iter().filter(|node| !present.contains(node));
            let add: Vec<_> = missing.map(|node| Action::AddLearner { group, node }).collect();
            if add.is_empty() { advance() } else { add }
        }
        MoveStage::CatchUp => {
            let mut waited_for = change.members().into_iter().filter(|node| !placement.replicas.contains(node));
            if waited_for.all(|node| view.has_caught_up(node)) { advance() } else { Vec::new() }
        }
        MoveStage::ChangeVoters => {
            let wanted = Wanted { replicas: &change.replicas, members: change.members() };
            approach(observed, group, &wanted, view).unwrap_or_else(advance)
        }
        MoveStage::Withdraw => remove_strangers(group, view, &placement.members()).map_or_else(advance, |remove| vec![remove]),
    }
}

/// A new member that will not come: dead, or itself to leave.
fn is_lost(state: &MetaState, observed: &Observed, node: NodeId) -> bool {
    let comes = |state| matches!(state, MemberState::Joining | MemberState::Active);
    observed.is_down(node) || !state.member(node).is_some_and(|member| comes(member.state))
}

/// What is left to do until the membership is the wanted one; `None` when it is. In a move as planned this is a change of
/// voters and no more; but a deposed leader of the meta group may have acted late, so everything is looked at again.
fn approach(observed: &Observed, group: GroupId, wanted: &Wanted, view: &GroupView) -> Option<Vec<Action>> {
    let change = || vec![Action::ChangeVoters { group, voters: wanted.replicas.clone() }];
    if view.changing {
        // Also finishes a joint membership whose leader died half way.
        return Some(change());
    }
    let present = view.members();
    let missing: Vec<_> = wanted.members.difference(&present).map(|&node| Action::AddLearner { group, node }).collect();
    if !missing.is_empty() {
        return Some(missing);
    }
    if view.voters == *wanted.replicas {
        return remove_strangers(group, view, &wanted.members).map(|remove| vec![remove]);
    }
    if !wanted.replicas.difference(&view.voters).all(|&node| view.has_caught_up(node)) {
        return Some(Vec::new());
    }
    let leaving = view.leader.filter(|leader| !wanted.replicas.contains(leader));
    match leaving.zip(heir(observed, wanted.replicas, view)) {
        Some((from, to)) => Some(vec![Action::TransferLeader(Transfer { group, from, to })]),
        None => Some(change()),
    }
}

/// A membership that a group should have.
struct Wanted<'a> {
    replicas: &'a BTreeSet<NodeId>,
    members: BTreeSet<NodeId>,
}

/// Among the voters that stay, one that answers and has caught up; none if no voter stays.
fn heir(observed: &Observed, replicas: &BTreeSet<NodeId>, view: &GroupView) -> Option<NodeId> {
    let able = |node: &&NodeId| observed.is_live(**node) && view.has_caught_up(**node);
    replicas.intersection(&view.voters).find(able).copied()
}

/// Removes learners that are not in `members`.
fn remove_strangers(group: GroupId, view: &GroupView, members: &BTreeSet<NodeId>) -> Option<Action> {
    let nodes: BTreeSet<NodeId> = view.learners.difference(members).copied().collect();
    (!nodes.is_empty()).then_some(Action::RemoveLearners { group, nodes })
}
