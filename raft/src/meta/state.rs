//! The state that the meta group replicates, and the questions one can ask it.

use super::ids::{GroupId, META_GROUP, NodeId, ShardId, group_of, shard_of_group};
use super::kv::Kv;
use super::member::{Member, MemberState};
use super::placement::Placement;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything the cluster knows about itself.
///
/// Invariants (held by `apply`, checked by `MetaState::check` in tests):
/// - every id in `members` is below `next_node_id`, and ids are never given twice;
/// - a removed member holds no replica of any group;
/// - every shard has at least one replica, and all members of a group are known;
/// - every version in `kv` is at most `revision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaState {
    /// Grows by one with every command that changed something.
    pub revision: u64,
    /// Empty before the bootstrap.
    pub cluster_id: String,
    #[serde(with = "super::encoding::key_bytes")]
    pub hash_key: [u8; 16],
    /// The wish; see [`super::initial::replicas_possible`] for what it gives.
    pub replication_factor: u32,
    pub next_node_id: NodeId,
    pub members: BTreeMap<NodeId, Member>,
    /// The meta group itself.
    pub meta: Placement,
    pub shards: BTreeMap<ShardId, Placement>,
    /// Shared, so that a copy of the state for readers does not copy it.
    pub kv: Arc<Kv>,
}

impl Default for MetaState {
    fn default() -> Self {
        Self {
            revision: 0,
            cluster_id: String::new(),
            hash_key: [0; 16],
            replication_factor: super::initial::REPLICATION_FACTOR_DEFAULT,
            next_node_id: 1,
            members: BTreeMap::new(),
            meta: Placement::default(),
            shards: BTreeMap::new(),
            kv: Arc::default(),
        }
    }
}

impl MetaState {
    pub fn is_bootstrapped(&self) -> bool {
        !self.cluster_id.is_empty()
    }

    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    pub fn placement(&self, group: GroupId) -> Option<&Placement> {
        match shard_of_group(group) {
            Some(shard) => self.shards.get(&shard),
            None => Some(&self.meta),
        }
    }

    pub(super) fn placement_mut(&mut self, group: GroupId) -> Option<&mut Placement> {
        match shard_of_group(group) {
            Some(shard) => self.shards.get_mut(&shard),
            None => Some(&mut self.meta),
        }
    }

    /// All groups, the meta group first.
    pub fn placements(&self) -> impl Iterator<Item = (GroupId, &Placement)> {
        let shards = self.shards.iter().map(|(&shard, placement)| (group_of(shard), placement));
        std::iter::once((META_GROUP, &self.meta)).chain(shards)
    }

    /// What `node` must have open now: group → incarnation. It opens what is missing and closes and wipes the rest.
    pub fn groups_of(&self, node: NodeId) -> BTreeMap<GroupId, u64> {
        self.placements()
            .filter(|(_, placement)| placement.holders().contains(&node))
            .map(|(group, placement)| (group, placement.incarnation))
            .collect()
    }

    /// Whether the node is a member of any shard, or about to be one.
    pub fn holds_shards(&self, node: NodeId) -> bool {
        self.shards.values().any(|placement| placement.holders().contains(&node))
    }

    pub fn nodes_in(&self, state: MemberState) -> BTreeSet<NodeId> {
        self.members.values().filter(|member| member.state == state).map(|member| member.id).collect()
    }

    pub fn active_nodes(&self) -> BTreeSet<NodeId> {
        self.nodes_in(MemberState::Active)
    }

    /// The newest command format that every living member reads.
    pub fn format(&self) -> u32 {
        let living = self.members.values().filter(|member| !member.is_removed());
        living.map(|member| member.format).min().unwrap_or(0)
    }

    /// The invariants, as a test asks for them.
    #[cfg(test)]
    pub fn check(&self) {
        for (group, placement) in self.placements() {
            assert!(placement.replicas.is_disjoint(&placement.learners), "group {group}: {placement:?}");
            for node in placement.holders() {
                let member = self.members.get(&node);
                assert!(member.is_some_and(|member| !member.is_removed()), "group {group} on {member:?}");
            }
        }
        for (shard, placement) in &self.shards {
            assert!(!placement.replicas.is_empty(), "shard {shard} has no replica");
            if placement.moving.is_none() {
                assert!(placement.learners.is_empty(), "shard {shard}: {placement:?}");
            }
        }
        assert!(self.members.keys().all(|&id| id < self.next_node_id));
        assert!(self.kv.list("").all(|(_, entry)| entry.version <= self.revision));
        let bytes: usize = self.kv.list("").map(|(key, entry)| key.len() + entry.value.len()).sum();
        assert_eq!(bytes, self.kv.bytes());
    }
}
