//! Whether a leader still leads, judged from outside: ReadIndex (Ongaro's thesis, 6.4) without a heartbeat.
//!
//! A reader collects *views*, all taken after it began: a node's vote in a group and, from a leader, the index that it has
//! committed in its own term and who has a vote. The leader of vote V is confirmed when, in each of its voter sets, a majority
//! has no vote above V. Why that suffices: had a newer leader V′ > V acknowledged anything before the reader began, a majority
//! would have voted for V′ before that; it shares a node with the majority that the reader heard, and that node would have
//! shown V′ or more, because votes only grow. (Votes are read inside Raft's own task, so a vote that was answered is seen.)
//! No clock takes part.
//!
//! On the leader's followers the reader is itself one of the majority: with three nodes one request to the leader suffices,
//! and that one request serves all groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use openraft::ServerState;
use proto::raft as wire;

use crate::barrier::Round;
use crate::group::{Common, Group};
use crate::network::peer_client;
use crate::peers::{Lane, Peers};
use crate::types::{GroupId, LeaderId, NodeId};

/// A healthy peer answers far sooner, even on a busy machine. Who is left then is served group by group.
const ROUND_PATIENCE: Duration = Duration::from_millis(50);

/// What one node says about one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// For whom it voted last.
    pub vote: LeaderId,
    /// If it leads and has committed an entry of its own term.
    pub claim: Option<Claim>,
}

/// What a leader claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Committed up to here.
    pub index: u64,
    /// One set of voters, or two while the membership changes.
    pub voters: Vec<BTreeSet<NodeId>>,
}

/// What all nodes say, by group.
type Views = BTreeMap<GroupId, BTreeMap<NodeId, GroupView>>;

/// Serves a round: asks all peers that vote in any of its groups at once, and confirms each group as soon as the answers
/// suffice. Answers the callers that could not be served in time. `groups` are those of the round that this node holds.
pub async fn serve(common: &Common, groups: &[Arc<Group>], mut round: Round) -> Round {
    let mut views = own_views(common.node, groups).await;
    confirm_all(&views, &mut round);
    if round.is_empty() {
        return round;
    }
    let peers: BTreeSet<NodeId> = groups.iter().flat_map(|group| group.voters()).filter(|node| *node != common.node).collect();
    let asked: Vec<GroupId> = round.groups().into_iter().collect();
    let ask = |peer| ask_views(&common.peers, peer, asked.clone());
    let mut answers: FuturesUnordered<_> = peers.into_iter().map(ask).collect();
    let patience = tokio::time::sleep(ROUND_PATIENCE);
    tokio::pin!(patience);
    while !round.is_empty() {
        tokio::select! {
            Some((peer, answer)) = answers.next() => {
                for (group, view) in answer {
                    views.entry(group).or_default().insert(peer, view);
                }
                confirm_all(&views, &mut round);
            }
            () = &mut patience => break,
            else => break,
        }
    }
    round
}

fn confirm_all(views: &Views, round: &mut Round) {
    for group in round.groups() {
        if let Some(index) = views.get(&group).and_then(confirmed) {
            round.confirm(group, index);
        }
    }
}

async fn own_views(local: NodeId, groups: &[Arc<Group>]) -> Views {
    let views = join_all(groups.iter().map(|group| async move { Some((group.id, view_of(group, local).await?)) })).await;
    views.into_iter().flatten().map(|(group, view)| (group, BTreeMap::from([(local, view)]))).collect()
}

/// A peer that does not answer says nothing.
async fn ask_views(peers: &Arc<Peers>, peer: NodeId, groups: Vec<GroupId>) -> (NodeId, Vec<(GroupId, GroupView)>) {
    let Ok(mut client) = peer_client(peers, peer, Lane::Control) else { return (peer, Vec::new()) };
    let answer = client.views(wire::ViewsRequest { groups }).await;
    (peer, answer.map_or_else(|_| Vec::new(), |answer| answer.into_inner().groups.into_iter().map(view_from_proto).collect()))
}

/// This node's own view of a group it holds; `None` when Raft of the group has ended.
pub async fn view_of(group: &Group, local: NodeId) -> Option<GroupView> {
    let view = group.raft.with_raft_state(move |state| {
        let vote = state.vote_ref();
        let leader = *vote.leader_id();
        let leads = state.server_state == ServerState::Leader && vote.is_committed() && leader.node_id == local;
        let committed = state.cluster_committed().filter(|id| leads && *id.committed_leader_id() == leader);
        let voters = || state.membership_state.effective().membership().get_joint_config().clone();
        GroupView { vote: leader, claim: committed.map(|id| Claim { index: id.index(), voters: voters() }) }
    });
    view.await.ok()
}

/// The read index of the group whose views these are, once its leader is confirmed.
pub fn confirmed(views: &BTreeMap<NodeId, GroupView>) -> Option<u64> {
    let (vote, claim) = views.values().filter_map(|view| Some((view.vote, view.claim.as_ref()?))).max_by_key(|(vote, _)| *vote)?;
    let stands_by = |node: &NodeId| views.get(node).is_some_and(|view| view.vote <= vote);
    let has_majority = |voters: &BTreeSet<NodeId>| 2 * voters.iter().filter(|node| stands_by(node)).count() > voters.len();
    claim.voters.iter().all(has_majority).then_some(claim.index)
}

pub fn view_to_proto(group: GroupId, view: &GroupView) -> wire::GroupView {
    let voters = |set: &BTreeSet<NodeId>| wire::VoterSet { voters: set.iter().copied().collect() };
    wire::GroupView {
        group,
        term: view.vote.term,
        node_id: view.vote.node_id,
        claim: view
            .claim
            .as_ref()
            .map(|claim| wire::LeaderClaim { index: claim.index, configs: claim.voters.iter().map(voters).collect() }),
    }
}

pub fn view_from_proto(view: wire::GroupView) -> (GroupId, GroupView) {
    let voters = |set: wire::VoterSet| set.voters.into_iter().collect();
    // A claim without voters would be confirmed by nobody's vote.
    let claim = view.claim.filter(|claim| !claim.configs.is_empty() && claim.configs.iter().all(|set| !set.voters.is_empty()));
    let claim = claim.map(|claim| Claim { index: claim.index, voters: claim.configs.into_iter().map(voters).collect() });
    (view.group, GroupView { vote: LeaderId { term: view.term, node_id: view.node_id }, claim })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vote(term: u64, node_id: NodeId) -> LeaderId {
        LeaderId { term, node_id }
    }

    fn follower(term: u64, node: NodeId) -> GroupView {
        GroupView { vote: vote(term, node), claim: None }
    }

    fn leader(term: u64, node: NodeId, index: u64, voters: &[&[NodeId]]) -> GroupView {
        let voters = voters.iter().map(|set| set.iter().copied().collect()).collect();
        GroupView { vote: vote(term, node), claim: Some(Claim { index, voters }) }
    }

    #[test]
    fn a_majority_that_stands_by_the_leader_confirms_it() {
        let claim = leader(4, 1, 90, &[&[1, 2, 3]]);
        assert_eq!(confirmed(&BTreeMap::from([(1, claim.clone())])), None, "the leader alone");
        assert_eq!(confirmed(&BTreeMap::from([(1, claim.clone()), (2, follower(4, 1))])), Some(90));
        assert_eq!(confirmed(&BTreeMap::from([(1, claim.clone()), (2, follower(3, 2))])), Some(90), "behind is not against");
        assert_eq!(confirmed(&BTreeMap::from([(1, claim.clone()), (2, follower(5, 3))])), None, "it voted for a newer one");
        assert_eq!(confirmed(&BTreeMap::from([(1, claim.clone()), (9, follower(4, 1))])), None, "no voter");
        assert_eq!(confirmed(&BTreeMap::from([(2, follower(4, 1)), (3, follower(4, 1))])), None, "no leader");
        let two = BTreeMap::from([(1, claim), (2, leader(5, 2, 95, &[&[1, 2, 3]])), (3, follower(5, 2))]);
        assert_eq!(confirmed(&two), Some(95), "the newer of two who claim to lead");
        assert_eq!(confirmed(&BTreeMap::from([(7, leader(1, 7, 3, &[&[7]]))])), Some(3), "alone it is the majority");
    }

    #[test]
    fn a_joint_membership_needs_both_majorities() {
        let claim = leader(4, 1, 90, &[&[1, 2, 3], &[3, 4, 5]]);
        let mut views = BTreeMap::from([(1, claim), (2, follower(4, 1)), (3, follower(4, 1))]);
        assert_eq!(confirmed(&views), None);
        views.insert(5, follower(4, 1));
        assert_eq!(confirmed(&views), Some(90));
    }

    #[test]
    fn views_travel() {
        for view in [follower(7, 2), leader(9, 3, 1234, &[&[1, 2, 3], &[2]])] {
            assert_eq!(view_from_proto(view_to_proto(5, &view)), (5, view));
        }
        let empty = wire::GroupView { group: 5, term: 1, node_id: 1, claim: Some(wire::LeaderClaim { index: 3, configs: vec![] }) };
        assert_eq!(view_from_proto(empty).1.claim, None);
    }

    /// Elections and writes in a group of five, in random order; some leaders never hear that they were replaced.
    #[derive(Clone, Debug)]
    enum Event {
        /// Node asks these for their votes.
        Stand { node: u64, asked: Vec<u64> },
        /// The node, if it believes it leads, writes through those who still accept it.
        Write { node: u64, reached: Vec<u64> },
    }

    fn event() -> impl Strategy<Value = Event> {
        let nodes = || proptest::collection::vec(1..=5u64, 0..6);
        prop_oneof![
            (1..=5u64, nodes()).prop_map(|(node, asked)| Event::Stand { node, asked }),
            (1..=5u64, nodes()).prop_map(|(node, reached)| Event::Write { node, reached }),
        ]
    }

    #[derive(Default)]
    struct Model {
        votes: BTreeMap<NodeId, LeaderId>,
        /// What each node believes to lead with, and its committed index.
        leading: BTreeMap<NodeId, (LeaderId, u64)>,
        acknowledged: u64,
    }

    impl Model {
        fn vote_of(&self, node: NodeId) -> LeaderId {
            self.votes.get(&node).copied().unwrap_or(vote(0, 0))
        }

        fn grant(&mut self, nodes: impl Iterator<Item = NodeId>, wanted: LeaderId) -> bool {
            let granting: BTreeSet<NodeId> = nodes.filter(|node| self.vote_of(*node) <= wanted).collect();
            granting.iter().for_each(|node| {
                self.votes.insert(*node, wanted);
                self.leading.retain(|leader, (with, _)| leader != node || *with == wanted);
            });
            granting.len() >= 3
        }

        fn run(&mut self, event: &Event) {
            match event {
                Event::Stand { node, asked } => {
                    let wanted = vote(self.vote_of(*node).term + 1, *node);
                    if self.grant(asked.iter().copied().chain([*node]), wanted) {
                        // Its first entry commits everything before.
                        self.acknowledged += 1;
                        self.leading.insert(*node, (wanted, self.acknowledged));
                    }
                }
                Event::Write { node, reached } => {
                    let Some((with, _)) = self.leading.get(node).copied() else { return };
                    if self.grant(reached.iter().copied().chain([*node]), with) {
                        self.acknowledged += 1;
                        self.leading.insert(*node, (with, self.acknowledged));
                    }
                }
            }
        }

        fn view(&self, node: NodeId) -> GroupView {
            let claim = self.leading.get(&node).map(|(_, index)| Claim { index: *index, voters: vec![BTreeSet::from([1, 2, 3, 4, 5])] });
            GroupView { vote: self.vote_of(node), claim }
        }
    }

    proptest! {
        #[test]
        fn what_was_acknowledged_before_is_never_missed(
            before in proptest::collection::vec(event(), 0..40),
            meanwhile in proptest::collection::vec((event(), 1..=5u64), 0..12),
        ) {
            let mut model = Model::default();
            before.iter().for_each(|event| model.run(event));
            let acknowledged = model.acknowledged;
            let mut views = BTreeMap::new();
            for (event, seen) in &meanwhile {
                views.insert(*seen, model.view(*seen));
                if let Some(index) = confirmed(&views) {
                    prop_assert!(index >= acknowledged, "confirmed {index}, but {acknowledged} was acknowledged before");
                }
                model.run(event);
            }
        }
    }
}
