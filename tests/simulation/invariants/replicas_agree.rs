//! Replicas that have applied the same entries hold the same.

use std::collections::BTreeMap;

use raft::{GroupId, META_GROUP, shard_of};

use super::{Invariant, Sight, marked};

/// Every so many looks: reading whole replicas costs.
const EVERY: u64 = 20;

#[derive(Default)]
pub struct ReplicasAgree {
    looks: u64,
}

impl Invariant for ReplicasAgree {
    fn name(&self) -> &'static str {
        "replicas agree"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        self.looks += 1;
        if !self.looks.is_multiple_of(EVERY) {
            return Ok(());
        }
        let mut seen: BTreeMap<(GroupId, u64), (u64, u64)> = BTreeMap::new();
        for sight in sights {
            let Some(applied) = sight.host.applied(sight.group) else { continue };
            // An image that is just being installed is visible a moment before it counts as applied.
            if marked(sight) > applied || sight.host.durable(sight.group).unwrap_or(0) != marked(sight) {
                continue;
            }
            let Some(hash) = hash(sight) else { continue };
            let (first, expected) = *seen.entry((sight.group, applied)).or_insert((sight.node, hash));
            if expected != hash {
                return Err(format!("nodes {first} and {} differ in group {} at {applied}", sight.node, sight.group));
            }
        }
        Ok(())
    }
}

fn hash(sight: &Sight) -> Option<u64> {
    if sight.group == META_GROUP {
        return Some(u64::from(crc32c::crc32c(format!("{:?}", sight.host.meta()).as_bytes())));
    }
    sight.host.replica(shard_of(sight.group)?)?.content_hash().ok()
}
