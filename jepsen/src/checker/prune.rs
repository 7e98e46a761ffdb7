//! Deleting: what was deleted does not come back, and what was not deleted does not go with it.
//!
//! One client (process) writes numbered samples to a series of its own, deletes ranges of what was acknowledged, and reads. Numbers are never
//! written again after their deletion began.

use std::collections::BTreeMap;
use std::fmt;

use super::sample_set::{Class, Verdict};
use crate::history::{Action, Operation, Outcome};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub acknowledged: u64,
    pub deleted: u64,
    pub reads: u64,
    /// Acknowledged, not deleted, and absent.
    pub lost: Class,
    /// Deleted for certain, and present.
    pub risen: Class,
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        if self.lost.count + self.risen.count > 0 { Verdict::Invalid } else { Verdict::Valid }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { acknowledged, deleted, reads, .. } = self;
        writeln!(formatter, "{:?}: {acknowledged} acknowledged, {deleted} deleted, {reads} reads", self.verdict())?;
        for (name, class) in [("lost", &self.lost), ("risen", &self.risen)].into_iter().filter(|(_, class)| class.count > 0) {
            writeln!(formatter, "  {name}: {}, such as {}", class.count, class.examples.join("; "))?;
        }
        Ok(())
    }
}

/// One number of one client.
#[derive(Clone, Copy, Default)]
struct Element {
    acknowledged_ns: Option<u64>,
    /// A write of it has an unknown outcome: it may come late, also after a deletion.
    loose: bool,
    delete_begun_ns: Option<u64>,
    delete_done_ns: Option<u64>,
}

/// Judges the pruned series of a history.
pub fn check(operations: &[Operation]) -> Report {
    let mut report = Report::default();
    let mut clients: BTreeMap<u64, BTreeMap<u64, Element>> = BTreeMap::new();
    for operation in operations {
        let (outcome, first, count, is_delete) = match operation.action {
            Action::PruneWrite { outcome, first, count } => (outcome, first, count, false),
            Action::PruneDelete { outcome, first, count } => (outcome, first, count, true),
            _ => continue,
        };
        let elements = clients.entry(operation.process).or_default();
        for number in first..first + count {
            note(elements.entry(number).or_default(), operation, outcome, is_delete);
        }
    }
    for element in clients.values().flat_map(BTreeMap::values) {
        report.acknowledged += u64::from(element.acknowledged_ns.is_some());
        report.deleted += u64::from(element.delete_done_ns.is_some());
    }
    for operation in operations {
        if let Action::PruneRead { first, count, present } = &operation.action {
            report.reads += 1;
            let Some(elements) = clients.get(&operation.process) else { continue };
            for (number, element) in elements.range(first..&(first + count)) {
                let is_present = present.iter().any(|(from, to)| (from..=to).contains(&number));
                judge(operation, *number, element, is_present, &mut report);
            }
        }
    }
    report
}

fn note(element: &mut Element, operation: &Operation, outcome: Outcome, is_delete: bool) {
    let earliest = |known: Option<u64>, at: u64| Some(known.map_or(at, |known| known.min(at)));
    match (is_delete, outcome) {
        (_, Outcome::Fail) => {}
        (false, Outcome::Ok) => element.acknowledged_ns = earliest(element.acknowledged_ns, operation.complete_ns),
        (false, Outcome::Info) => element.loose = true,
        (true, outcome) => {
            element.delete_begun_ns = earliest(element.delete_begun_ns, operation.invoke_ns);
            if outcome == Outcome::Ok {
                element.delete_done_ns = earliest(element.delete_done_ns, operation.complete_ns);
            }
        }
    }
}

fn judge(read: &Operation, number: u64, element: &Element, is_present: bool, report: &mut Report) {
    let name = || format!("client {} #{number} at node {}", read.process, read.node);
    let acknowledged = element.acknowledged_ns.is_some_and(|at| at < read.invoke_ns);
    let untouched = element.delete_begun_ns.is_none_or(|at| at > read.complete_ns);
    let deleted = element.delete_done_ns.is_some_and(|at| at < read.invoke_ns);
    if acknowledged && untouched && !is_present {
        report.lost.add(name);
    } else if deleted && !element.loose && is_present {
        report.risen.add(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(at_ns: u64, action: Action) -> Operation {
        Operation { process: 1, node: 1, invoke_ns: at_ns, complete_ns: at_ns + 5, action }
    }

    fn write(at_ns: u64, outcome: Outcome) -> Operation {
        operation(at_ns, Action::PruneWrite { outcome, first: 0, count: 4 })
    }

    fn delete(at_ns: u64, outcome: Outcome) -> Operation {
        operation(at_ns, Action::PruneDelete { outcome, first: 1, count: 2 })
    }

    fn read(at_ns: u64, present: &[(u64, u64)]) -> Operation {
        operation(at_ns, Action::PruneRead { first: 0, count: 4, present: present.to_vec() })
    }

    #[test]
    fn the_deleted_range_is_gone_and_its_neighbours_are_there() {
        let report = check(&[write(0, Outcome::Ok), read(10, &[(0, 3)]), delete(20, Outcome::Ok), read(30, &[(0, 0), (3, 3)])]);
        assert_eq!((report.verdict(), report.acknowledged, report.deleted), (Verdict::Valid, 4, 2), "{report}");
    }

    #[test]
    fn what_comes_back_is_risen() {
        assert_eq!(check(&[write(0, Outcome::Ok), delete(20, Outcome::Ok), read(30, &[(0, 1), (3, 3)])]).risen.count, 1);
    }

    #[test]
    fn a_neighbour_that_goes_with_it_is_lost() {
        assert_eq!(check(&[write(0, Outcome::Ok), delete(20, Outcome::Ok), read(30, &[(3, 3)])]).lost.count, 1);
    }

    #[test]
    fn unknown_outcomes_leave_both_possible() {
        for present in [&[(0, 3)][..], &[(0, 0), (3, 3)]] {
            assert_eq!(check(&[write(0, Outcome::Ok), delete(20, Outcome::Info), read(30, present)]).verdict(), Verdict::Valid);
        }
        let late = [write(0, Outcome::Info), write(8, Outcome::Ok), delete(20, Outcome::Ok), read(30, &[(0, 3)])];
        assert_eq!(check(&late).verdict(), Verdict::Valid);
    }
}
