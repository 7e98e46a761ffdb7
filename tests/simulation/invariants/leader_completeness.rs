//! A leader's log has everything that was committed under earlier leaders.

use std::collections::{BTreeMap, BTreeSet};

use raft::GroupId;

use super::{Identity, Invariant, LeaderId, Sight, entries, marked};

#[derive(Default)]
pub struct LeaderCompleteness {
    /// The last entry known to be committed, by group and its leader.
    committed: BTreeMap<(GroupId, LeaderId), (u64, Identity)>,
    /// Leaders that were looked at.
    leaders: BTreeSet<(GroupId, LeaderId)>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        for sight in sights.iter().filter(|sight| sight.is_leader && sight.is_written) {
            if self.leaders.insert((sight.group, (sight.term, sight.node))) {
                self.check_leader(sight)?;
            }
        }
        for sight in sights.iter().filter(|sight| sight.is_written) {
            if let Some((index, entry)) = entries(sight, sight.committed, sight.committed + 1).pop_last() {
                let last = self.committed.entry((sight.group, entry.leader)).or_insert((index, entry));
                if last.0 < index {
                    *last = (index, entry);
                }
            }
        }
        Ok(())
    }
}

impl LeaderCompleteness {
    fn check_leader(&self, sight: &Sight) -> Result<(), String> {
        let earlier = self.committed.range((sight.group, (0, 0))..(sight.group, (sight.term, sight.node)));
        for (_, &(index, entry)) in earlier {
            if index <= marked(sight) {
                continue;
            }
            let found = entries(sight, index, index + 1).pop_last().map(|(_, found)| found);
            if found != Some(entry) {
                let Sight { node, group, term, .. } = sight;
                return Err(format!(
                    "node {node} leads group {group} in term {term} with {found:?} at {index}, where {entry:?} was committed"
                ));
            }
        }
        Ok(())
    }
}
