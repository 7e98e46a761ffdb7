//! What was committed at an index is never another thing, on any node, before or after a restart.

use std::collections::BTreeMap;

use raft::GroupId;

use super::{Identity, Invariant, Sight, entries};

#[derive(Default)]
pub struct CommittedStays {
    committed: BTreeMap<(GroupId, u64), Identity>,
    /// By process and group: the next index to look at.
    next: BTreeMap<(u64, GroupId), u64>,
}

impl Invariant for CommittedStays {
    fn name(&self) -> &'static str {
        "committed entries stay"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        for sight in sights.iter().filter(|sight| sight.is_written) {
            let purged = sight.log.purged(sight.group).ok().flatten().map_or(0, |purged| purged + 1);
            let next = self.next.entry((sight.process, sight.group)).or_insert(purged);
            *next = purged.max(*next);
            if *next > sight.committed {
                continue;
            }
            for (index, entry) in entries(sight, *next, sight.committed + 1) {
                let first = *self.committed.entry((sight.group, index)).or_insert(entry);
                if first != entry {
                    return Err(format!(
                        "node {} committed {entry:?} at {index} of group {}, before it was {first:?}",
                        sight.node, sight.group
                    ));
                }
                *next = index + 1;
            }
        }
        Ok(())
    }
}
