//! Numbers that name nodes, groups and shards.

/// Names one process with one data directory, for ever: allocated from the meta log, never used again after removal,
/// because a node that forgot its votes and came back under its old id could elect two leaders in one term.
pub type NodeId = u64;

/// A Raft group: 0 is the meta group, shard `s` is group `s + 1`.
pub type GroupId = u64;

/// A shard of the series space.
pub type ShardId = u32;

pub const META_GROUP: GroupId = 0;

pub fn group_of(shard: ShardId) -> GroupId {
    shard as GroupId + 1
}

/// `None` for the meta group.
pub fn shard_of_group(group: GroupId) -> Option<ShardId> {
    group.checked_sub(1).and_then(|shard| ShardId::try_from(shard).ok())
}
