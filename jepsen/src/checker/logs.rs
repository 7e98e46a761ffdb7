//! Raft logs, read back from the disks of all nodes: at the same index of a group there is the same entry everywhere, and whatever an
//! acknowledgement named is there, unless it has been purged.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::ensure;

/// An entry as a node's disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub index: u64,
    pub term: u64,
    /// Of all its bytes.
    pub hash: u64,
}

/// Entries that acknowledgements named: (group, index) → term.
pub type Named = BTreeMap<(u64, u64), u64>;

/// The logs that were looked at so far.
#[derive(Debug, Default)]
pub struct Logs {
    /// By group and index, as the first node had it.
    known: BTreeMap<(u64, u64), LogLine>,
    /// How far the furthest node of a group has applied it.
    applied: BTreeMap<u64, u64>,
    /// Entries that a further node has as well.
    pub same: u64,
    /// Named entries, counted at every node that has them.
    pub read_back: u64,
}

impl Logs {
    /// What a node has of a group up to what it has `applied`, without a gap; nothing, when all is purged.
    pub fn add(&mut self, named: &Named, group: u64, node: u64, applied: u64, lines: &[LogLine]) -> anyhow::Result<()> {
        let furthest = self.applied.entry(group).or_default();
        *furthest = applied.max(*furthest);
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(()) };
        let terms: BTreeMap<u64, u64> = lines.iter().map(|line| (line.index, line.term)).collect();
        for ((_, index), term) in named.range((group, first.index)..=(group, last.index)) {
            let there = terms.get(index);
            ensure!(there == Some(term), "entry {index} of group {group} was acknowledged in term {term}; node {node} has it in {there:?}");
            self.read_back += 1;
        }
        for line in lines {
            match self.known.entry((group, line.index)) {
                Entry::Vacant(place) => drop(place.insert(*line)),
                Entry::Occupied(known) => {
                    ensure!(known.get() == line, "group {group}: node {node} has {line:?}, another one {:?}", known.get());
                    self.same += 1;
                }
            }
        }
        Ok(())
    }

    /// When all nodes were looked at: what was acknowledged is applied.
    pub fn check_applied(&self, named: &Named) -> anyhow::Result<()> {
        for ((group, index), term) in named {
            let applied = self.applied.get(group).copied();
            ensure!(applied >= Some(*index), "entry {index} of group {group} was acknowledged in term {term}; applied is {applied:?}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(index: u64, term: u64) -> LogLine {
        LogLine { index, term, hash: index * 1000 + term }
    }

    fn verdict(named: &[(u64, u64)], nodes: &[&[LogLine]]) -> anyhow::Result<Logs> {
        let named: Named = named.iter().map(|(index, term)| ((1, *index), *term)).collect();
        let mut logs = Logs::default();
        for (node, lines) in nodes.iter().enumerate() {
            logs.add(&named, 1, node as u64, lines.last().map_or(10, |line| line.index), lines)?;
        }
        logs.check_applied(&named)?;
        Ok(logs)
    }

    #[test]
    fn entries_that_were_acknowledged_are_read_back_where_they_are_not_purged() {
        let logs = verdict(&[(2, 1), (3, 2), (4, 2)], &[&[line(2, 1), line(3, 2), line(4, 2)], &[line(4, 2)]]).expect("all is well");
        assert_eq!((logs.read_back, logs.same), (4, 1));
        assert!(verdict(&[(7, 1)], &[&[]]).is_ok(), "all is purged");
    }

    #[test]
    fn a_missing_a_replaced_and_a_differing_entry_are_noticed() {
        let gap = verdict(&[(3, 1)], &[&[line(2, 1), line(4, 1)]]).expect_err("entry 3 is missing");
        assert!(gap.to_string().contains("entry 3"), "{gap}");
        let replaced = verdict(&[(3, 1)], &[&[line(3, 2)]]).expect_err("another term");
        assert!(replaced.to_string().contains("Some(2)"), "{replaced}");
        let differing = verdict(&[], &[&[line(3, 2)], &[LogLine { hash: 9, ..line(3, 2) }]]).expect_err("other bytes");
        assert!(differing.to_string().contains("node 1"), "{differing}");
        let beyond = verdict(&[(5, 2)], &[&[line(3, 2), line(4, 2)]]).expect_err("lost at the end");
        assert!(beyond.to_string().contains("applied is Some(4)"), "{beyond}");
    }
}
