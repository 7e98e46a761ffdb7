//! Where the shards of a new cluster are placed.
//!
//! Replication factor 3, or 1 as long as there are fewer than three nodes: two voters would be no more available than
//! one. Two shards a node by default, so that each node leads two of them and both of two cores have one to apply.

use super::ids::{NodeId, ShardId};
use super::placement::Placement;
use std::collections::{BTreeMap, BTreeSet};

pub const SHARDS_PER_NODE_DEFAULT: u32 = 2;
pub const REPLICATION_FACTOR_DEFAULT: u32 = 3;
pub const SHARDS_MAX: u32 = 4096;

/// How many replicas a shard gets when `nodes` may hold one: as many as wished, but an odd number.
pub fn replicas_possible(replication_factor: u32, nodes: usize) -> usize {
    let possible = (replication_factor as usize).min(nodes);
    if possible == 0 { 0 } else { possible - (possible + 1) % 2 }
}

/// Shard `i` starts at node `i`, and each round over all nodes pairs them with other followers, so that the work of a
/// dead node falls to all others. Every node holds the same number of replicas and is first of the same number of shards.
pub fn place(nodes: &BTreeSet<NodeId>, shards: u32, replication_factor: u32) -> BTreeMap<ShardId, Placement> {
    let nodes: Vec<NodeId> = nodes.iter().copied().collect();
    let replicas = replicas_possible(replication_factor, nodes.len());
    (0..shards).map(|shard| (shard, Placement::founded(replicas_of(&nodes, shard as usize, replicas)))).collect()
}

fn replicas_of(nodes: &[NodeId], shard: usize, replicas: usize) -> BTreeSet<NodeId> {
    let count = nodes.len();
    let (round, first) = (shard / count, shard % count);
    let followers = (0..replicas.saturating_sub(1)).map(|follower| first + 1 + (follower + round) % (count - 1));
    std::iter::once(first).chain(followers).map(|position| nodes[position % count]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_holds_its_share() {
        for count in 1..=9u64 {
            let nodes: BTreeSet<NodeId> = (1..=count).collect();
            let shards = place(&nodes, count as u32 * 2, 3);
            let expected = replicas_possible(3, count as usize);
            assert!(shards.values().all(|shard| shard.replicas.len() == expected), "{count} nodes: {shards:?}");
            for node in &nodes {
                let held = shards.values().filter(|shard| shard.replicas.contains(node)).count();
                assert_eq!(held, 2 * expected, "node {node} of {count}");
            }
        }
    }

    #[test]
    fn voters_are_odd() {
        let possible = |nodes| replicas_possible(3, nodes);
        assert_eq!([0, 1, 2, 3, 4, 9].map(possible), [0, 1, 1, 3, 3, 3]);
        assert_eq!([3, 4, 5].map(|nodes| replicas_possible(5, nodes)), [3, 3, 5]);
    }
}
