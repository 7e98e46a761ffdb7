//! Which shards a query reads from this node's own replicas, decided once. A replica is read only if it is the same one
//! before and after its read barrier: a shard may be moved to this node while a query runs, and a replica that has just
//! been opened is empty. Everything else is read from peers, who do the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use proto::raft as wire;
use raft::{Node, ReadError, ShardId};
use storage::Shard;

use super::failure::QueryFailure;
use crate::config::Consistency;
use crate::self_metrics::SelfMetrics;

/// One entry a shard; `None`: ask a peer.
pub struct Replicas {
    local: Vec<Option<Arc<Shard>>>,
}

impl Replicas {
    /// As fresh as the consistency asks; what cannot be promised comes back as warnings.
    pub async fn freshen(
        node: &Node,
        consistency: Consistency,
        timeout: Duration,
        metrics: &SelfMetrics,
    ) -> Result<(Replicas, Vec<String>), QueryFailure> {
        let shards = node.shard_map().shard_count();
        if shards == 0 {
            return Err(QueryFailure::Unavailable("the cluster is still forming; try again".to_string()));
        }
        if consistency == Consistency::Eventual {
            let local = (0..shards).map(|shard| full_replica(node, shard)).collect();
            return Ok((Replicas { local }, stale_warnings(node)));
        }
        let start = Instant::now();
        let fresh = join_all((0..shards).map(|shard| fresh_replica(node, shard, start + timeout))).await;
        metrics.query.barrier.observe_since(start);
        match fresh.into_iter().collect::<Result<Vec<_>, ReadError>>() {
            Ok(local) => Ok((Replicas { local }, Vec::new())),
            Err(error) => {
                let hint = "ask with consistency=eventual for what this node has";
                Err(QueryFailure::Unavailable(format!("{error}; {hint}")))
            }
        }
    }

    pub fn shards(&self) -> u32 {
        self.local.len() as u32
    }

    pub fn local(&self, shard: ShardId) -> Option<&Arc<Shard>> {
        self.local.get(shard as usize)?.as_ref()
    }
}

/// The local replica after a read barrier; `None` when there is none, or another one than before the barrier, whatever that
/// one's barrier answered.
pub async fn fresh_replica(node: &Node, shard: ShardId, deadline: Instant) -> Result<Option<Arc<Shard>>, ReadError> {
    let Some(before) = full_replica(node, shard) else { return Ok(None) };
    let confirmed = node.barrier(shard, deadline.into()).await;
    match node.replica(shard).is_some_and(|after| Arc::ptr_eq(&before, &after)) {
        true => confirmed.map(|()| Some(before)),
        false => Ok(None),
    }
}

/// The local replica, unless it is a newcomer that is still being filled, which the shard map does not name: peers answer
/// sooner than it will.
pub fn full_replica(node: &Node, shard: ShardId) -> Option<Arc<Shard>> {
    node.replica(shard).filter(|_| node.shard_map().holds(node.id(), shard))
}

/// A leader of several replicas hears from a majority several times in this time; one that does not is cut off. Longer than
/// any wait for a disk that is merely slow.
const QUORUM_AGE_MS_MAX: u64 = 1_500;

/// One for each local replica that hears of no leader, or leads without a majority.
fn stale_warnings(node: &Node) -> Vec<String> {
    let groups = node.status().groups;
    let leaderless = groups.iter().filter(|group| group.group != raft::META_GROUP && !is_led(group));
    leaderless
        .map(|group| {
            let shard = group.group - 1;
            format!("shard {shard} has no leader with a majority: the answer may lack its newest samples (consistency=eventual)")
        })
        .collect()
}

fn is_led(group: &wire::GroupStatus) -> bool {
    let is_cut_off = group.voters.len() > 1 && group.quorum_age_ms.is_some_and(|age_ms| age_ms > QUORUM_AGE_MS_MAX);
    group.leader.is_some() && !(group.role == "leader" && is_cut_off)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_no_majority_confirms_counts_as_none() {
        let group = |leader, role: &str, voters: u64, quorum_age_ms| wire::GroupStatus {
            leader,
            role: role.to_string(),
            voters: (1..=voters).collect(),
            quorum_age_ms,
            ..wire::GroupStatus::default()
        };
        assert!(is_led(&group(Some(2), "follower", 3, None)));
        assert!(!is_led(&group(None, "candidate", 3, None)));
        assert!(is_led(&group(Some(1), "leader", 3, Some(80))));
        assert!(!is_led(&group(Some(1), "leader", 3, Some(5_000))));
        assert!(is_led(&group(Some(1), "leader", 1, Some(5_000))), "alone it is the majority");
    }
}
