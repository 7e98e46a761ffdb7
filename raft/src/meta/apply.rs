//! Applying a command: the only place where the meta state changes.
//!
//! `apply` cannot fail: a command that makes no sense in the state it meets is refused, on every replica alike, and
//! changes nothing. It checks everything itself, because between the proposal and its turn other commands came first.

use super::command::{MetaAnswer, MetaCommand, NewMember};
use super::encoding::FORMAT;
use super::ids::{GroupId, META_GROUP, NodeId};
use super::initial::{SHARDS_MAX, place};
use super::kv::{KvChange, KvCondition, KvRefusal};
use super::member::{Member, MemberState};
use super::placement::{Move, MoveStage, Placement};
use super::state::MetaState;
use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;

/// Upper bound of the replication factor: more copies only cost.
pub const REPLICATION_FACTOR_MAX: u32 = 7;
/// Member ids ever given, tombstones included.
pub const MEMBERS_MAX: usize = 10_000;

type Outcome = Result<MetaAnswer, MetaAnswer>;

fn refuse<T>(reason: impl Into<String>) -> Result<T, MetaAnswer> {
    Err(MetaAnswer::refused(reason))
}

/// Unless `sound`, the command is refused for this reason.
fn ensure(sound: bool, reason: impl FnOnce() -> String) -> Result<(), MetaAnswer> {
    if sound { Ok(()) } else { Err(MetaAnswer::refused(reason())) }
}

impl MetaState {
    /// Carries out the next command of the log.
    pub fn apply(&mut self, command: MetaCommand) -> MetaAnswer {
        match self.carry_out(command) {
            Ok(answer) => {
                self.revision += 1;
                answer
            }
            Err(answer) => answer,
        }
    }

    /// `Ok` if something changed.
    fn carry_out(&mut self, command: MetaCommand) -> Outcome {
        if let MetaCommand::Bootstrap { cluster_id, hash_key, members, shards, replication_factor } = command {
            return self.bootstrap(cluster_id, hash_key, members, shards, replication_factor);
        }
        ensure(self.is_bootstrapped(), || "the cluster is not founded yet".to_string())?;
        match command {
            MetaCommand::Bootstrap { .. } => Err(MetaAnswer::Done),
            MetaCommand::Admit { token, grpc, http, format } => self.admit(token, grpc, http, format),
            MetaCommand::Announce { node, grpc, http, format } => self.announce(node, grpc, http, format),
            MetaCommand::Drain { node, replacement } => self.drain(node, replacement),
            MetaCommand::CancelDrain { node } => self.cancel_drain(node),
            MetaCommand::Remove { node } => self.remove(node),
            MetaCommand::SetReplicationFactor { replication_factor } => {
                check_replication_factor(replication_factor)?;
                self.replication_factor = replication_factor;
                Ok(MetaAnswer::Done)
            }
            MetaCommand::StartMove { group, replicas, learners } => self.start_move(group, replicas, learners),
            MetaCommand::AdvanceMove { group, from } => self.advance_move(group, from),
            MetaCommand::WithdrawMove { group } => self.withdraw_move(group),
            MetaCommand::Write { conditions, changes } => self.write(&conditions, changes),
        }
    }

    fn bootstrap(
        &mut self,
        cluster_id: String,
        hash_key: [u8; 16],
        members: Vec<NewMember>,
        shards: u32,
        replication_factor: u32,
    ) -> Outcome {
        if self.is_bootstrapped() {
            return Err(MetaAnswer::Done);
        }
        let nodes: BTreeSet<NodeId> = members.iter().map(|member| member.id).collect();
        let distinct = nodes.len() == members.len() && !nodes.is_empty() && !nodes.contains(&0);
        ensure(distinct && nodes.len() <= MEMBERS_MAX, || "founders need distinct ids, from 1".to_string())?;
        ensure(nodes.iter().all(|&node| node < NodeId::MAX), || "node id too large".to_string())?;
        ensure(!cluster_id.is_empty(), || "a cluster needs an id".to_string())?;
        ensure((1..=SHARDS_MAX).contains(&shards), || format!("shards must be 1 to {SHARDS_MAX}"))?;
        check_replication_factor(replication_factor)?;
        self.cluster_id = cluster_id;
        self.hash_key = hash_key;
        self.replication_factor = replication_factor;
        self.next_node_id = nodes.iter().max().map_or(1, |&highest| highest + 1);
        self.shards = place(&nodes, shards, replication_factor);
        self.members = members.into_iter().map(|member| (member.id, founder(member))).collect();
        self.meta = Placement::founded(nodes);
        Ok(MetaAnswer::Done)
    }

    fn admit(&mut self, token: String, grpc: String, http: String, format: u32) -> Outcome {
        ensure(!token.is_empty(), || "a joining node needs a token".to_string())?;
        if let Some(known) = self.members.values().find(|member| member.token == token) {
            let node = known.id;
            ensure(!known.is_removed(), || format!("node {node} was removed; join again with an empty data directory"))?;
            return Err(MetaAnswer::Admitted { node });
        }
        ensure(self.members.len() < MEMBERS_MAX, || format!("more than {MEMBERS_MAX} nodes were ever admitted"))?;
        let node = self.next_node_id;
        self.next_node_id += 1;
        let state = MemberState::Joining;
        self.members.insert(node, Member { id: node, grpc, http, state, token, replacement: None, format });
        Ok(MetaAnswer::Admitted { node })
    }

    fn announce(&mut self, node: NodeId, grpc: String, http: String, format: u32) -> Outcome {
        let member = self.living_member(node)?;
        if member.grpc == grpc && member.http == http && member.format == format {
            return Err(MetaAnswer::Done);
        }
        (member.grpc, member.http, member.format) = (grpc, http, format);
        Ok(MetaAnswer::Done)
    }

    fn living_member(&mut self, node: NodeId) -> Result<&mut Member, MetaAnswer> {
        match self.members.get_mut(&node) {
            Some(member) if !member.is_removed() => Ok(member),
            Some(_) => refuse(format!("node {node} was removed")),
            None => refuse(format!("node {node} is unknown")),
        }
    }

    fn drain(&mut self, node: NodeId, replacement: Option<NodeId>) -> Outcome {
        if let Some(replacement) = replacement {
            ensure(replacement != node, || format!("node {node} cannot replace itself"))?;
            let state = self.living_member(replacement)?.state;
            ensure(state != MemberState::Draining, || format!("node {replacement} is itself to leave"))?;
        }
        let mut others = self.active_nodes();
        others.remove(&node);
        ensure(!others.is_empty(), || format!("node {node} is the last active node"))?;
        let member = self.living_member(node)?;
        if member.state == MemberState::Draining && member.replacement == replacement {
            return Err(MetaAnswer::Done);
        }
        member.state = MemberState::Draining;
        member.replacement = replacement;
        Ok(MetaAnswer::Done)
    }

    /// A node that had not got as far as being a member of the meta group is joining again.
    fn cancel_drain(&mut self, node: NodeId) -> Outcome {
        let in_meta = self.meta.members().contains(&node);
        let leaving_meta = self.meta.moving.as_ref().is_some_and(|change| in_meta && !change.members().contains(&node));
        let member = self.living_member(node)?;
        ensure(member.state == MemberState::Draining, || format!("node {node} is not to leave"))?;
        ensure(!leaving_meta, || format!("node {node} is already leaving the meta group"))?;
        member.state = if in_meta { MemberState::Active } else { MemberState::Joining };
        member.replacement = None;
        Ok(MetaAnswer::Done)
    }

    fn remove(&mut self, node: NodeId) -> Outcome {
        let holds = self.groups_of(node);
        let member = self.living_member(node)?;
        ensure(member.state == MemberState::Draining, || format!("node {node} must be drained first"))?;
        ensure(holds.is_empty(), || format!("node {node} still holds groups {:?}", holds.keys()))?;
        member.state = MemberState::Removed;
        member.replacement = None;
        Ok(MetaAnswer::Done)
    }

    fn start_move(&mut self, group: GroupId, replicas: BTreeSet<NodeId>, learners: BTreeSet<NodeId>) -> Outcome {
        ensure(!replicas.is_empty(), || "a group needs a replica".to_string())?;
        ensure(replicas.is_disjoint(&learners), || "a node is voter or learner, not both".to_string())?;
        ensure(group == META_GROUP || learners.is_empty(), || "only the meta group keeps learners".to_string())?;
        let most = REPLICATION_FACTOR_MAX as usize;
        ensure(replicas.len() <= most || group == META_GROUP, || format!("more than {most} replicas"))?;
        let Some(placement) = self.placement(group) else { return refuse(format!("group {group} is unknown")) };
        ensure(placement.moving.is_none(), || format!("group {group} is already moving"))?;
        ensure(placement.replicas != replicas || placement.learners != learners, || "nothing to move".to_string())?;
        let present = placement.members();
        for &node in replicas.union(&learners).filter(|&node| !present.contains(node)) {
            self.check_arrival(group, node)?;
        }
        for &node in present.iter().filter(|&node| !replicas.contains(node) && !learners.contains(node)) {
            self.check_departure(group, node)?;
        }
        let stage = MoveStage::AddLearners;
        if let Some(placement) = self.placement_mut(group) {
            placement.moving = Some(Move { replicas, learners, stage });
        }
        Ok(MetaAnswer::Done)
    }

    /// Whether `node` may become a member of `group`.
    fn check_arrival(&self, group: GroupId, node: NodeId) -> Result<(), MetaAnswer> {
        match self.member(node).map(|member| member.state) {
            Some(MemberState::Active) => Ok(()),
            Some(MemberState::Joining) if group == META_GROUP => Ok(()),
            Some(state) => refuse(format!("node {node} is {state:?} and cannot take group {group}")),
            None => refuse(format!("node {node} is unknown")),
        }
    }

    /// A shard may leave any node. The meta group leaves a node last, because through it the node hears what to do.
    fn check_departure(&self, group: GroupId, node: NodeId) -> Result<(), MetaAnswer> {
        let draining = self.member(node).is_some_and(|member| member.state == MemberState::Draining);
        ensure(group != META_GROUP || draining, || format!("node {node} must be drained first"))?;
        ensure(group != META_GROUP || !self.holds_shards(node), || format!("node {node} still holds shards"))
    }

    fn advance_move(&mut self, group: GroupId, from: MoveStage) -> Outcome {
        let Some(placement) = self.placement_mut(group) else { return refuse(format!("group {group} is unknown")) };
        let Some(change) = &mut placement.moving else { return refuse(format!("group {group} is not moving")) };
        ensure(change.stage == from, || format!("group {group} is at stage {:?}", change.stage))?;
        match from {
            MoveStage::AddLearners => change.stage = MoveStage::CatchUp,
            MoveStage::CatchUp => change.stage = MoveStage::ChangeVoters,
            MoveStage::ChangeVoters => {
                (placement.replicas, placement.learners) = (take(&mut change.replicas), take(&mut change.learners));
                placement.moving = None;
                self.activate_joined();
            }
            MoveStage::Withdraw => placement.moving = None,
        }
        Ok(MetaAnswer::Done)
    }

    /// A node that has caught up with the meta group knows the map: it may take shards.
    fn activate_joined(&mut self) {
        let joined = self.meta.members();
        for member in self.members.values_mut() {
            if member.state == MemberState::Joining && joined.contains(&member.id) {
                member.state = MemberState::Active;
            }
        }
    }

    fn withdraw_move(&mut self, group: GroupId) -> Outcome {
        let Some(placement) = self.placement_mut(group) else { return refuse(format!("group {group} is unknown")) };
        let Some(change) = &mut placement.moving else { return refuse(format!("group {group} is not moving")) };
        match change.stage {
            MoveStage::AddLearners | MoveStage::CatchUp => change.stage = MoveStage::Withdraw,
            MoveStage::ChangeVoters => return refuse(format!("group {group} is already changing its voters")),
            MoveStage::Withdraw => return Err(MetaAnswer::Done),
        }
        Ok(MetaAnswer::Done)
    }

    fn write(&mut self, conditions: &[KvCondition], changes: Vec<KvChange>) -> Outcome {
        match self.kv.check(conditions, &changes) {
            Ok(()) => {}
            Err(KvRefusal::Conflict { key, version }) => return Err(MetaAnswer::Conflict { key, version }),
            Err(KvRefusal::TooLarge(reason)) => return refuse(reason),
        }
        let version = self.revision + 1;
        Arc::make_mut(&mut self.kv).carry_out(version, changes);
        Ok(MetaAnswer::Written { version })
    }
}

fn founder(member: NewMember) -> Member {
    Member {
        id: member.id,
        grpc: member.grpc,
        http: member.http,
        state: MemberState::Active,
        token: String::new(),
        replacement: None,
        format: FORMAT as u32,
    }
}

fn check_replication_factor(replication_factor: u32) -> Result<(), MetaAnswer> {
    let sound = replication_factor % 2 == 1 && replication_factor <= REPLICATION_FACTOR_MAX;
    ensure(sound, || format!("the replication factor must be odd and at most {REPLICATION_FACTOR_MAX}"))
}
