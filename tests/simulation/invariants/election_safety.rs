//! Nobody leads twice with one vote: not two nodes, and not one node before and after a restart, which would mean that it had
//! forgotten its vote and asked for it again.

use std::collections::BTreeMap;

use raft::GroupId;

use super::{Invariant, LeaderId, Sight};

#[derive(Default)]
pub struct ElectionSafety {
    /// The process that led.
    leaders: BTreeMap<(GroupId, LeaderId), u64>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "one leader a vote"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        for sight in sights.iter().filter(|sight| sight.is_leader) {
            let Sight { machine, process, node, group, term, .. } = sight;
            let first = *self.leaders.entry((*group, (*term, *node))).or_insert(*process);
            if first != *process {
                return Err(format!("node {node} on machine {machine} leads group {group} in term {term}, as an earlier process did"));
            }
        }
        Ok(())
    }
}
