//! What one client is promised about its own writes and reads.
//!
//! A session appends growing numbers to a series of its own and asks for the newest. Strong reads, from any node: at least what was
//! acknowledged before (read your writes), and at least what was shown before (monotonic reads). Eventual reads: never less than the same process
//! of the same node has shown this session before. Never anything that was not written.

use std::collections::BTreeMap;
use std::fmt;

use super::sample_set::{Class, Verdict};
use crate::history::{Action, Level, Operation, Outcome};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub strong_reads: u64,
    pub eventual_reads: u64,
    pub own_writes_missing: Class,
    pub went_back: Class,
    pub eventual_went_back: Class,
    pub invented: Class,
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        let clean = self.classes().iter().all(|(_, class)| class.count == 0);
        if clean { Verdict::Valid } else { Verdict::Invalid }
    }

    fn classes(&self) -> [(&'static str, &Class); 4] {
        [
            ("own writes missing", &self.own_writes_missing),
            ("went back", &self.went_back),
            ("eventual went back on one node", &self.eventual_went_back),
            ("invented", &self.invented),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:?}: {} strong and {} eventual reads", self.verdict(), self.strong_reads, self.eventual_reads)?;
        for (name, class) in self.classes().into_iter().filter(|(_, class)| class.count > 0) {
            writeln!(formatter, "  {name}: {}, such as {}", class.count, class.examples.join("; "))?;
        }
        Ok(())
    }
}

/// What a session knows.
#[derive(Default)]
struct Session {
    attempted: Option<u64>,
    acknowledged: Option<u64>,
    shown: Option<u64>,
    /// By node and generation.
    shown_eventually: BTreeMap<(u64, u64), Option<u64>>,
}

/// Judges the sessions of a history. The operations of one session (one process) do not overlap.
pub fn check(operations: &[Operation]) -> Report {
    let mut report = Report::default();
    let is_session = |operation: &&Operation| matches!(operation.action, Action::SessionWrite { .. } | Action::SessionRead { .. });
    let mut ordered: Vec<&Operation> = operations.iter().filter(is_session).collect();
    ordered.sort_by_key(|operation| operation.invoke_ns);
    let mut sessions: BTreeMap<u64, Session> = BTreeMap::new();
    for operation in ordered {
        let session = sessions.entry(operation.process).or_default();
        match operation.action {
            Action::SessionWrite { outcome, number } => session.write(outcome, number),
            Action::SessionRead { level, generation, newest } => session.read(operation, level, generation, newest, &mut report),
            _ => {}
        }
    }
    report
}

impl Session {
    fn write(&mut self, outcome: Outcome, number: u64) {
        if outcome != Outcome::Fail {
            self.attempted = self.attempted.max(Some(number));
        }
        if outcome == Outcome::Ok {
            self.acknowledged = self.acknowledged.max(Some(number));
        }
    }

    fn read(&mut self, operation: &Operation, level: Level, generation: u64, newest: Option<u64>, report: &mut Report) {
        let told =
            |before: Option<u64>| move || format!("session {} at node {}: {newest:?} after {before:?}", operation.process, operation.node);
        if newest > self.attempted {
            report.invented.add(told(self.attempted));
        }
        match level {
            Level::Strong => {
                report.strong_reads += 1;
                if newest < self.acknowledged {
                    report.own_writes_missing.add(told(self.acknowledged));
                }
                if newest < self.shown {
                    report.went_back.add(told(self.shown));
                }
                self.shown = self.shown.max(newest);
            }
            Level::Eventual => {
                report.eventual_reads += 1;
                let shown = self.shown_eventually.entry((operation.node, generation)).or_default();
                if newest < *shown {
                    report.eventual_went_back.add(told(*shown));
                }
                *shown = (*shown).max(newest);
                // What was shown here may have been shown by a node that a later strong read must not fall behind: it was committed.
                self.shown = self.shown.max(newest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at_ns: u64, outcome: Outcome, number: u64) -> Operation {
        Operation { process: 1, node: 1, invoke_ns: at_ns, complete_ns: at_ns + 5, action: Action::SessionWrite { outcome, number } }
    }

    fn read(at_ns: u64, node: u64, level: Level, generation: u64, newest: Option<u64>) -> Operation {
        let action = Action::SessionRead { level, generation, newest };
        Operation { process: 1, node, invoke_ns: at_ns, complete_ns: at_ns + 5, action }
    }

    #[test]
    fn a_sound_session_is_valid() {
        let history = [
            write(0, Outcome::Ok, 1),
            read(10, 2, Level::Strong, 1, Some(1)),
            write(20, Outcome::Info, 2),
            read(30, 3, Level::Eventual, 1, None),
            read(40, 3, Level::Eventual, 1, Some(1)),
            read(50, 3, Level::Eventual, 2, None),
            read(60, 1, Level::Strong, 1, Some(2)),
        ];
        let report = check(&history);
        assert_eq!((report.verdict(), report.strong_reads, report.eventual_reads), (Verdict::Valid, 2, 3), "{report}");
    }

    #[test]
    fn an_own_write_that_is_missing_is_red() {
        assert_eq!(check(&[write(0, Outcome::Ok, 1), read(10, 2, Level::Strong, 1, None)]).own_writes_missing.count, 1);
    }

    #[test]
    fn a_read_that_falls_behind_an_earlier_one_is_red() {
        let history = [write(0, Outcome::Info, 1), read(10, 2, Level::Strong, 1, Some(1)), read(20, 3, Level::Strong, 1, None)];
        assert_eq!(check(&history).went_back.count, 1);
    }

    #[test]
    fn one_process_going_back_is_red_even_eventually() {
        let history = [write(0, Outcome::Ok, 1), read(10, 2, Level::Eventual, 1, Some(1)), read(20, 2, Level::Eventual, 1, None)];
        assert_eq!(check(&history).eventual_went_back.count, 1);
    }

    #[test]
    fn what_nobody_wrote_is_red() {
        assert_eq!(check(&[write(0, Outcome::Fail, 1), read(10, 2, Level::Strong, 1, Some(1))]).invented.count, 1);
    }
}
