//! Two logs that have an entry of the same index and leader are the same up to there. By induction it suffices that such
//! entries are equal and follow entries of the same leader.

use std::collections::BTreeMap;

use raft::GroupId;

use super::{Identity, Invariant, LeaderId, Sight, entries};

/// Entries at the end of a log that are looked at; more than are appended between two looks would be seen later or not at all.
const WINDOW: u64 = 64;

#[derive(Default)]
pub struct LogMatching {
    /// By group, index and leader: checksum, and leader of the entry before.
    seen: BTreeMap<(GroupId, u64, LeaderId), (u32, LeaderId)>,
    /// By process and group: the last entry at the last look.
    ends: BTreeMap<(u64, GroupId), (u64, u64)>,
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        for sight in sights {
            let Ok(Some(last)) = sight.log.last_entry(sight.group) else { continue };
            let end = (last.index, last.term);
            if self.ends.insert((sight.process, sight.group), end) == Some(end) {
                continue;
            }
            let first = sight.log.purged(sight.group).ok().flatten().map_or(0, |purged| purged + 1);
            let log = entries(sight, first.max(last.index.saturating_sub(WINDOW)), last.index + 1);
            let log: Vec<(u64, Identity)> = log.into_iter().collect();
            for pair in log.windows(2) {
                let ((_, before), (index, entry)) = (pair[0], pair[1]);
                let what = (entry.checksum, before.leader);
                let seen = *self.seen.entry((sight.group, index, entry.leader)).or_insert(what);
                if seen != what {
                    let Sight { node, group, .. } = sight;
                    return Err(format!("node {node} has another entry {index} of leader {:?} in group {group}", entry.leader));
                }
            }
        }
        Ok(())
    }
}
