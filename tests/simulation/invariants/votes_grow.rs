//! A node's vote never goes back while it runs, and a leader's vote for itself not even over a crash.

use std::collections::BTreeMap;

use raft::{GroupId, NodeId};

use super::{Invariant, Sight, vote};

#[derive(Default)]
pub struct VotesGrow {
    /// By process and group.
    written: BTreeMap<(u64, GroupId), (u64, NodeId)>,
    /// By node and group: the last term it led.
    led: BTreeMap<(NodeId, GroupId), u64>,
}

impl Invariant for VotesGrow {
    fn name(&self) -> &'static str {
        "votes grow"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        for sight in sights {
            let Some(vote) = vote(sight) else { continue };
            let Sight { node, group, .. } = *sight;
            let before = self.written.insert((sight.process, group), vote);
            if before.is_some_and(|before| vote < before) {
                return Err(format!("node {node} voted {vote:?} in group {group} after {before:?}"));
            }
            let led = self.led.entry((node, group)).or_default();
            if vote.0 < *led {
                return Err(format!("node {node} led group {group} in term {led} and has forgotten it: its vote is {vote:?}"));
            }
            if sight.is_leader {
                *led = sight.term.max(*led);
            }
        }
        Ok(())
    }
}
