//! The part of the meta state that routing needs, small and flat: who has which shard, and where.

use super::ids::{NodeId, ShardId};
use super::member::Member;
use super::state::MetaState;
use std::collections::BTreeMap;

/// Where one shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRoute {
    pub incarnation: u64,
    /// The voters, in order of their ids. Any of them serves reads; one of them leads.
    pub replicas: Vec<NodeId>,
}

/// A view of one revision of the meta state. Shards are dense: `0..shard_count`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardMap {
    pub revision: u64,
    pub shards: Vec<ShardRoute>,
    /// Living members.
    pub members: BTreeMap<NodeId, Member>,
}

impl ShardMap {
    pub fn of(state: &MetaState) -> Self {
        let routes = state
            .shards
            .values()
            .map(|placement| ShardRoute { incarnation: placement.incarnation, replicas: placement.replicas.iter().copied().collect() });
        let living = state.members.values().filter(|member| !member.is_removed());
        Self { revision: state.revision, shards: routes.collect(), members: living.map(|member| (member.id, member.clone())).collect() }
    }

    pub fn shard_count(&self) -> u32 {
        self.shards.len() as u32
    }

    pub fn replicas(&self, shard: ShardId) -> &[NodeId] {
        self.shards.get(shard as usize).map_or(&[], |route| &route.replicas)
    }

    pub fn holds(&self, node: NodeId, shard: ShardId) -> bool {
        self.replicas(shard).binary_search(&node).is_ok()
    }
}
