//! What must hold at every moment, one file each. They look at all nodes that are up, from outside, after every step of the
//! nemesis.

mod election_safety;
mod log_matching;
mod committed_stays;
mod leader_completeness;
mod order_of_marks;
mod votes_grow;
mod replicas_agree;

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use proto::raft as wire;
use raft::{GroupId, Node, NodeId};
use storage::{LogDb, LogEntry};

use crate::network::MachineId;

/// One replica of one group, as it is now.
pub struct Sight {
    pub machine: MachineId,
    /// Counts the processes of the whole run: a restarted machine has another one.
    pub process: u64,
    pub node: NodeId,
    pub group: GroupId,
    pub is_leader: bool,
    pub term: u64,
    pub committed: u64,
    /// Whether `log` has all that Raft has appended; else it may hold entries that are replaced already.
    pub is_written: bool,
    pub log: Arc<LogDb>,
    pub host: Arc<Node>,
}

/// One promise; it remembers what it saw.
pub trait Invariant {
    fn name(&self) -> &'static str;

    /// The first breach in these sights, in words.
    fn check(&mut self, sights: &[Sight]) -> Result<(), String>;
}

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election_safety::ElectionSafety>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<committed_stays::CommittedStays>::default(),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::<order_of_marks::OrderOfMarks>::default(),
        Box::<votes_grow::VotesGrow>::default(),
        Box::<replicas_agree::ReplicasAgree>::default(),
    ]
}

/// Whose vote a leader leads with: openraft orders votes by term and then by node, so a term can see several leaders.
type LeaderId = (u64, NodeId);

/// What identifies an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    leader: LeaderId,
    checksum: u32,
}

impl Identity {
    fn of(entry: &LogEntry) -> Self {
        // The header of a record: one byte, the term, the node, both little endian.
        let node = entry.payload.get(9..17).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        Self { leader: (entry.term, node), checksum: crc32c::crc32c(&entry.payload) }
    }
}

/// What one replica's log holds of `from..to`, as far as it was handed to the disk.
fn entries(sight: &Sight, from: u64, to: u64) -> BTreeMap<u64, Identity> {
    let entries = sight.log.read_entries(sight.group, from..to, usize::MAX).unwrap_or_default();
    entries.iter().map(|entry| (entry.index, Identity::of(entry))).collect()
}

fn fact<M: Message + Default>(sight: &Sight, name: &str) -> Option<M> {
    M::decode(sight.log.get_meta(sight.group, name).ok()??).ok()
}

/// The vote on the disk, with what is not synced yet.
fn vote(sight: &Sight) -> Option<(u64, NodeId)> {
    let vote: wire::Vote = fact(sight, "vote")?;
    Some((vote.term, vote.node_id))
}

/// Last entry of the durable image, as the marker on the disk says.
fn marked(sight: &Sight) -> u64 {
    let marker = match sight.group {
        raft::META_GROUP => fact::<wire::SnapshotFrame>(sight, "image").and_then(|frame| frame.head?.marker),
        _ => fact(sight, "marker"),
    };
    marker.and_then(|marker: wire::Marker| marker.applied).map_or(0, |applied| applied.index)
}
