//! Registers (keys of the configuration API) behave as if there were one copy and calls happened one after the other.
//!
//! Each key is judged alone: a history is linearizable if it is so for every object (Herlihy and Wing, 1990). Beside the search, which believes
//! nothing but the answers, versions are looked at: one version never names two values, and of two successful writes to a key the one that began
//! after the other ended has the higher version.

use std::collections::BTreeMap;
use std::fmt;

use super::linearizable::{Found, Model, Timed, search};
use super::sample_set::{Class, Verdict};
use crate::history::{Action, Operation, Outcome, RegisterCall};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub operations: u64,
    pub keys: u64,
    /// Keys whose history has no explanation.
    pub violations: Class,
    /// Versions that contradict each other.
    pub versions: Class,
    /// Keys whose history is too tangled to be judged.
    pub given_up: Class,
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        match (self.violations.count + self.versions.count, self.given_up.count) {
            (0, 0) => Verdict::Valid,
            (0, _) => Verdict::Unknown,
            _ => Verdict::Invalid,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:?}: {} operations on {} keys", self.verdict(), self.operations, self.keys)?;
        let classes = [("not linearizable", &self.violations), ("versions", &self.versions), ("given up", &self.given_up)];
        for (name, class) in classes.into_iter().filter(|(_, class)| class.count > 0) {
            writeln!(formatter, "  {name}: {}, such as {}", class.count, class.examples.join("; "))?;
        }
        Ok(())
    }
}

/// A call with its answer.
#[derive(Clone, Debug)]
struct Answered {
    call: RegisterCall,
    outcome: Outcome,
}

/// A register holds a value, or nothing.
struct Register;

impl Model for Register {
    type State = Option<u64>;
    type Call = Answered;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, answered: &Answered) -> Option<Option<u64>> {
        let refused = answered.outcome == Outcome::Fail;
        match &answered.call {
            RegisterCall::Get { found } => (found.map(|(value, _)| value) == *state).then_some(*state),
            RegisterCall::Put { value } => Some(Some(*value)),
            RegisterCall::Delete => Some(None),
            RegisterCall::Swap { expected, value, .. } => conditional(*state == Some(*expected), refused, state, *value),
            RegisterCall::Create { value } => conditional(state.is_none(), refused, state, *value),
        }
    }
}

/// A conditional write that took place needs its condition; one that was refused needs its contrary.
fn conditional(holds: bool, refused: bool, state: &Option<u64>, value: u64) -> Option<Option<u64>> {
    match (holds, refused) {
        (true, false) => Some(Some(value)),
        (false, true) => Some(*state),
        _ => None,
    }
}

/// Judges the operations on registers of a history.
pub fn check(operations: &[Operation]) -> Report {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        if let Action::Register { key, .. } = &operation.action {
            keys.entry(key).or_default().push(operation);
        }
    }
    let mut report = Report { keys: keys.len() as u64, ..Report::default() };
    for (key, operations) in keys {
        report.operations += operations.len() as u64;
        let calls: Vec<Timed<Answered>> = operations.iter().filter_map(|operation| timed(operation)).collect();
        match search(&Register, &calls) {
            Found::Linearizable => {}
            Found::Violation => report.violations.add(|| key.to_owned()),
            Found::GaveUp => report.given_up.add(|| key.to_owned()),
        }
        check_versions(key, &operations, &mut report);
    }
    report
}

fn timed(operation: &Operation) -> Option<Timed<Answered>> {
    let Action::Register { outcome, call, .. } = &operation.action else { return None };
    let unconditional = matches!(call, RegisterCall::Put { .. } | RegisterCall::Delete);
    // Refused for certain, and not because of a condition: it never was.
    if *outcome == Outcome::Fail && unconditional {
        return None;
    }
    let end = (*outcome != Outcome::Info).then_some(operation.complete_ns);
    Some(Timed { begin: operation.invoke_ns, end, call: Answered { call: call.clone(), outcome: *outcome } })
}

fn check_versions(key: &str, operations: &[&Operation], report: &mut Report) {
    let mut values: BTreeMap<u64, u64> = BTreeMap::new();
    let mut writes: Vec<(u64, u64, u64)> = Vec::new();
    for operation in operations {
        let Action::Register { outcome: Outcome::Ok, version, call, .. } = &operation.action else { continue };
        let named = match call {
            RegisterCall::Get { found } => found.map(|(value, version)| (version, value)),
            RegisterCall::Put { value } | RegisterCall::Swap { value, .. } | RegisterCall::Create { value } => {
                version.map(|version| (version, *value))
            }
            RegisterCall::Delete => None,
        };
        let Some((version, value)) = named else { continue };
        if *values.entry(version).or_insert(value) != value {
            report.versions.add(|| format!("{key}: version {version} is both {value} and {}", values[&version]));
        }
        if !matches!(call, RegisterCall::Get { .. }) {
            writes.push((operation.invoke_ns, operation.complete_ns, version));
        }
    }
    check_order(key, writes, report);
}

/// `writes`: beginning, end, version.
fn check_order(key: &str, mut writes: Vec<(u64, u64, u64)>, report: &mut Report) {
    let mut ended: Vec<(u64, u64)> = writes.iter().map(|&(_, end, version)| (end, version)).collect();
    ended.sort_unstable();
    writes.sort_unstable();
    let mut highest = 0;
    let mut ended = ended.into_iter().peekable();
    for (begin, _, version) in writes {
        while let Some((_, earlier)) = ended.next_if(|(end, _)| *end < begin) {
            highest = highest.max(earlier);
        }
        if version <= highest {
            report.versions.add(|| format!("{key}: version {version} was given after version {highest}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(at_ns: u64, outcome: Outcome, version: Option<u64>, call: RegisterCall) -> Operation {
        let action = Action::Register { key: "k".into(), outcome, version, call };
        Operation { process: 0, node: 1, invoke_ns: at_ns, complete_ns: at_ns + 5, action }
    }

    fn put(at_ns: u64, value: u64, version: u64) -> Operation {
        operation(at_ns, Outcome::Ok, Some(version), RegisterCall::Put { value })
    }

    fn get(at_ns: u64, found: Option<(u64, u64)>) -> Operation {
        operation(at_ns, Outcome::Ok, None, RegisterCall::Get { found })
    }

    fn swap(at_ns: u64, outcome: Outcome, expected: u64, value: u64) -> Operation {
        operation(at_ns, outcome, (outcome == Outcome::Ok).then_some(99), RegisterCall::Swap { expected_version: 0, expected, value })
    }

    #[test]
    fn a_sound_history_is_valid() {
        let history = [
            get(0, None),
            operation(10, Outcome::Ok, Some(1), RegisterCall::Create { value: 7 }),
            operation(20, Outcome::Fail, None, RegisterCall::Create { value: 8 }),
            put(30, 9, 2),
            swap(40, Outcome::Fail, 7, 10),
            swap(50, Outcome::Ok, 9, 11),
            get(60, Some((11, 99))),
            operation(70, Outcome::Ok, None, RegisterCall::Delete),
            get(80, None),
        ];
        assert_eq!(check(&history).verdict(), Verdict::Valid);
    }

    #[test]
    fn a_stale_read_is_red() {
        assert_eq!(check(&[put(0, 1, 1), put(10, 2, 2), get(20, Some((1, 1)))]).violations.count, 1);
    }

    #[test]
    fn a_lost_update_is_red() {
        let both_won = [put(0, 1, 1), swap(10, Outcome::Ok, 1, 2), swap(20, Outcome::Ok, 1, 3)];
        assert_eq!(check(&both_won).violations.count, 1);
    }

    #[test]
    fn a_refusal_although_the_condition_held_is_red() {
        // What a blind second attempt of a write that had been applied looks like.
        assert_eq!(check(&[put(0, 1, 1), swap(10, Outcome::Fail, 1, 2), get(20, Some((2, 2)))]).violations.count, 1);
    }

    #[test]
    fn a_write_of_unknown_outcome_may_have_happened_or_not() {
        let unknown = operation(10, Outcome::Info, None, RegisterCall::Put { value: 2 });
        for found in [(1, 1), (2, 2)] {
            assert_eq!(check(&[put(0, 1, 1), unknown.clone(), get(20, Some(found))]).verdict(), Verdict::Valid);
        }
        assert_eq!(check(&[put(0, 1, 1), unknown, get(20, Some((2, 2))), get(30, Some((1, 1)))]).violations.count, 1);
    }

    #[test]
    fn versions_that_go_back_or_name_two_values_are_red() {
        assert_eq!(check(&[put(0, 1, 5), put(10, 2, 4)]).versions.count, 1);
        assert_eq!(check(&[put(0, 1, 5), get(10, Some((1, 6))), put(20, 2, 6)]).versions.count, 1);
    }
}
