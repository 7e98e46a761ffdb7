//! No acknowledged sample is lost, and nothing is invented.
//!
//! The idea is Jepsen's `set-full` with linearizable reads, extended by a look at values. An element is one (series, timestamp). It becomes
//! *known* when a write that carries it is acknowledged, or when a read has returned it, whichever completes first. Every read that begins
//! after that and covers it must return it. Classes of elements:
//!
//! | class | meaning | verdict |
//! |---|---|---|
//! | lost | known, and absent in the last read that began later | invalid |
//! | unstable | known, absent in some later read, present in the last one (a stale read) | invalid |
//! | phantom | returned, but never attempted before the read ended, or refused for certain | invalid |
//! | wrong | returned with a value nobody wrote there | invalid |
//! | duplicate | returned twice in one answer | invalid |
//! | never read | acknowledged, and no read that covers it began later | unknown |
//! | recovered | outcome unknown to the writer, later seen | fine, counted |

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::{Action, Operation, Outcome, Sample, SeriesSamples};

/// How many elements of each class the report names.
const EXAMPLES_MAX: usize = 5;

/// The answer of a checker; the worst of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Valid,
    /// Nothing wrong was seen, but something acknowledged was never looked at.
    Unknown,
    Invalid,
}

/// How many elements of one class there are, with the first few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Class {
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

/// Everything the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub attempted: u64,
    pub acknowledged: u64,
    pub reads: u64,
    pub lost: Class,
    pub unstable: Class,
    pub phantom: Class,
    pub wrong: Class,
    pub duplicate: Class,
    /// Counts that cannot be, given what was known and what was attempted.
    pub miscounted: Class,
    pub never_read: Class,
    pub recovered: u64,
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        let faults = [&self.lost, &self.unstable, &self.phantom, &self.wrong, &self.duplicate, &self.miscounted];
        if faults.iter().any(|class| class.count > 0) {
            Verdict::Invalid
        } else if self.never_read.count > 0 {
            Verdict::Unknown
        } else {
            Verdict::Valid
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:?}: {} attempted, {} acknowledged, {} recovered, {} reads",
            self.verdict(),
            self.attempted,
            self.acknowledged,
            self.recovered,
            self.reads
        )?;
        let classes = [
            ("lost", &self.lost),
            ("unstable", &self.unstable),
            ("phantom", &self.phantom),
            ("wrong", &self.wrong),
            ("duplicate", &self.duplicate),
            ("miscounted", &self.miscounted),
            ("never read", &self.never_read),
        ];
        for (name, class) in classes {
            if class.count > 0 {
                writeln!(formatter, "  {name}: {}, such as {}", class.count, class.examples.join("; "))?;
            }
        }
        Ok(())
    }
}

/// What is known about one (series, timestamp).
#[derive(Debug, Default)]
struct Element {
    /// Values somebody tried to write, each with the time the attempt began and whether it was refused for certain.
    attempts: Vec<Attempt>,
    /// When the first acknowledgement arrived.
    acknowledged_ns: Option<u64>,
    /// When it first was acknowledged or seen.
    known_ns: Option<u64>,
    /// Start of the latest read that had it, and of the latest read that had not.
    present_ns: Option<u64>,
    absent_after_known_ns: Option<u64>,
}

#[derive(Debug)]
struct Attempt {
    value_bits: u64,
    invoke_ns: u64,
    refused: bool,
}

type Elements<'a> = HashMap<&'a str, BTreeMap<i64, Element>>;

/// Judges a history. The order of the operations in the slice does not matter.
pub fn check(operations: &[Operation]) -> Report {
    let mut report = Report::default();
    let mut elements = collect_writes(operations);
    let mut reads: Vec<&Operation> = operations.iter().filter(|operation| matches!(operation.action, Action::Read { .. })).collect();
    reads.sort_by_key(|read| read.complete_ns);
    report.reads = reads.len() as u64;
    // Two passes: what a read has seen is known to every read that begins after it ended, so all sightings come first.
    for read in &reads {
        note_sightings(read, &mut elements, &mut report);
    }
    for read in &reads {
        note_absences(read, &mut elements);
    }
    classify(&elements, &mut report);
    report
}

fn collect_writes(operations: &[Operation]) -> Elements<'_> {
    let mut elements = Elements::new();
    for operation in operations {
        let Action::Write { outcome, data } = &operation.action else { continue };
        for SeriesSamples { series, samples } in data {
            let series_elements = elements.entry(series.as_str()).or_default();
            for &(timestamp_ms, value) in samples {
                note_write(series_elements.entry(timestamp_ms).or_default(), operation, *outcome, value);
            }
        }
    }
    elements
}

fn note_write(element: &mut Element, operation: &Operation, outcome: Outcome, value: f64) {
    element.attempts.push(Attempt { value_bits: value.to_bits(), invoke_ns: operation.invoke_ns, refused: outcome == Outcome::Fail });
    if outcome == Outcome::Ok {
        let acknowledged = earlier(element.acknowledged_ns, operation.complete_ns);
        element.acknowledged_ns = Some(acknowledged);
        element.known_ns = Some(earlier(element.known_ns, acknowledged));
    }
}

fn earlier(known: Option<u64>, candidate: u64) -> u64 {
    known.map_or(candidate, |known| known.min(candidate))
}

fn later(known: Option<u64>, candidate: u64) -> Option<u64> {
    Some(known.map_or(candidate, |known| known.max(candidate)))
}

fn note_sightings<'a>(read: &'a Operation, elements: &mut Elements<'a>, report: &mut Report) {
    let Action::Read { data, .. } = &read.action else { return };
    for SeriesSamples { series, samples } in data {
        let mut seen = std::collections::HashSet::with_capacity(samples.len());
        for &sample in samples {
            if seen.insert(sample.0) {
                note_sighting(read, series, sample, elements, report);
            } else {
                report.duplicate.add(|| format!("{series} @{} in a read of process {}", sample.0, read.process));
            }
        }
    }
}

fn note_sighting<'a>(read: &Operation, series: &'a str, (timestamp_ms, value): Sample, elements: &mut Elements<'a>, report: &mut Report) {
    let element = elements.get_mut(series).and_then(|series_elements| series_elements.get_mut(&timestamp_ms));
    let Some(element) = element else {
        report.phantom.add(|| format!("{series} @{timestamp_ms} = {value}: never written"));
        return;
    };
    let begun = element.attempts.iter().any(|attempt| attempt.invoke_ns <= read.complete_ns && !attempt.refused);
    let matches = element.attempts.iter().any(|attempt| attempt.value_bits == value.to_bits());
    if !begun {
        report.phantom.add(|| format!("{series} @{timestamp_ms} = {value}: refused, or written only later"));
    } else if !matches {
        report.wrong.add(|| format!("{series} @{timestamp_ms} = {value}: nobody wrote this value"));
    }
    element.known_ns = Some(earlier(element.known_ns, read.complete_ns));
    element.present_ns = later(element.present_ns, read.invoke_ns);
}

fn note_absences(read: &Operation, elements: &mut Elements<'_>) {
    let Action::Read { series, start_ms, end_ms, data } = &read.action else { return };
    for name in series {
        let Some(series_elements) = elements.get_mut(name.as_str()) else { continue };
        let present: std::collections::HashSet<i64> =
            data.iter().filter(|answer| &answer.series == name).flat_map(|answer| answer.samples.iter().map(|sample| sample.0)).collect();
        for (timestamp_ms, element) in series_elements.range_mut(start_ms..=end_ms) {
            let known_before = element.known_ns.is_some_and(|known| known < read.invoke_ns);
            if known_before && !present.contains(timestamp_ms) {
                element.absent_after_known_ns = later(element.absent_after_known_ns, read.invoke_ns);
            }
        }
    }
}

fn classify(elements: &Elements<'_>, report: &mut Report) {
    for (series, series_elements) in elements {
        for (timestamp_ms, element) in series_elements {
            let name = || format!("{series} @{timestamp_ms}");
            report.attempted += 1;
            if element.acknowledged_ns.is_some() {
                report.acknowledged += 1;
            } else if element.present_ns.is_some() {
                report.recovered += 1;
            }
            match (element.absent_after_known_ns, element.present_ns) {
                (Some(absent), Some(present)) if present > absent => report.unstable.add(name),
                (Some(_), _) => report.lost.add(name),
                (None, present) => {
                    let looked_at = present.is_some() && present > element.acknowledged_ns;
                    if element.acknowledged_ns.is_some() && !looked_at {
                        report.never_read.add(name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERIES: [&str; 3] = ["a", "b", "c"];

    fn value_of(series: usize, timestamp_ms: i64) -> f64 {
        (series as f64) * 1000.0 + timestamp_ms as f64 / 8.0
    }

    fn write(at_ns: u64, outcome: Outcome, series: usize, timestamps_ms: &[i64]) -> Operation {
        let samples = timestamps_ms.iter().map(|&timestamp_ms| (timestamp_ms, value_of(series, timestamp_ms))).collect();
        Operation {
            process: 1,
            node: 1,
            invoke_ns: at_ns,
            complete_ns: at_ns + 5,
            action: Action::Write { outcome, data: vec![SeriesSamples { series: SERIES[series].into(), samples }] },
        }
    }

    fn read(at_ns: u64, series: usize, timestamps_ms: &[i64]) -> Operation {
        let samples = timestamps_ms.iter().map(|&timestamp_ms| (timestamp_ms, value_of(series, timestamp_ms))).collect();
        Operation {
            process: 2,
            node: 2,
            invoke_ns: at_ns,
            complete_ns: at_ns + 5,
            action: Action::Read {
                series: vec![SERIES[series].into()],
                start_ms: 0,
                end_ms: 1_000_000,
                data: vec![SeriesSamples { series: SERIES[series].into(), samples }],
            },
        }
    }

    fn samples_of(operation: &mut Operation) -> &mut Vec<Sample> {
        let (Action::Write { data, .. } | Action::Read { data, .. }) = &mut operation.action else { panic!("neither a write nor a read") };
        &mut data[0].samples
    }

    #[test]
    fn an_acknowledged_sample_that_is_read_is_valid() {
        let report = check(&[write(0, Outcome::Ok, 0, &[1, 2]), read(10, 0, &[1, 2])]);
        assert_eq!((report.verdict(), report.acknowledged, report.attempted), (Verdict::Valid, 2, 2));
    }

    #[test]
    fn absent_at_the_end_is_lost() {
        let report = check(&[write(0, Outcome::Ok, 0, &[1, 2]), read(10, 0, &[1, 2]), read(20, 0, &[1])]);
        assert_eq!((report.lost.count, report.unstable.count), (1, 0));
    }

    #[test]
    fn absent_in_between_is_unstable() {
        let report = check(&[write(0, Outcome::Ok, 0, &[1]), read(10, 0, &[]), read(20, 0, &[1])]);
        assert_eq!((report.lost.count, report.unstable.count), (0, 1));
    }

    #[test]
    fn what_one_read_saw_the_next_must_see_though_the_write_is_unknown() {
        let report = check(&[write(0, Outcome::Info, 0, &[1]), read(10, 0, &[1]), read(20, 0, &[])]);
        assert_eq!((report.lost.count, report.recovered), (1, 1));
    }

    #[test]
    fn a_read_that_overlaps_the_acknowledgement_may_miss_it() {
        let report = check(&[write(0, Outcome::Ok, 0, &[1]), read(3, 0, &[]), read(10, 0, &[1])]);
        assert_eq!(report.verdict(), Verdict::Valid, "{report}");
    }

    #[test]
    fn an_unknown_write_may_stay_away() {
        let report = check(&[write(0, Outcome::Info, 0, &[1]), read(10, 0, &[])]);
        assert_eq!((report.verdict(), report.recovered), (Verdict::Valid, 0));
    }

    #[test]
    fn acknowledged_and_not_looked_at_is_unknown() {
        let report = check(&[read(0, 0, &[]), write(10, Outcome::Ok, 0, &[1])]);
        assert_eq!((report.verdict(), report.never_read.count), (Verdict::Unknown, 1));
    }

    #[test]
    fn refused_but_there_is_a_phantom() {
        let report = check(&[write(0, Outcome::Fail, 0, &[1]), read(10, 0, &[1])]);
        assert_eq!(report.phantom.count, 1);
    }

    #[test]
    fn seen_before_it_was_written_is_a_phantom() {
        let report = check(&[read(0, 0, &[1]), write(10, Outcome::Ok, 0, &[1]), read(20, 0, &[1])]);
        assert_eq!(report.phantom.count, 1);
    }

    #[test]
    fn series_outside_the_question_and_samples_outside_the_range_are_not_missed() {
        let mut narrow = read(10, 0, &[5]);
        if let Action::Read { start_ms, .. } = &mut narrow.action {
            *start_ms = 4;
        }
        let history = [write(0, Outcome::Ok, 0, &[1, 5]), write(0, Outcome::Ok, 1, &[1]), narrow, read(20, 0, &[1, 5]), read(20, 1, &[1])];
        assert_eq!(check(&history).verdict(), Verdict::Valid);
    }

    /// A sound history: writes one after the other to three series, each read afterwards, and all at the end.
    fn sound_history(plan: &[(usize, Outcome, u8, bool)]) -> Vec<Operation> {
        let mut operations = Vec::new();
        let mut stored: [Vec<i64>; 3] = Default::default();
        let mut now_ns = 0;
        for (index, &(series, outcome, count, lands)) in plan.iter().enumerate() {
            let timestamps: Vec<i64> = (0..i64::from(count)).map(|offset| index as i64 * 300 + offset).collect();
            now_ns += 10;
            operations.push(write(now_ns, outcome, series, &timestamps));
            if outcome == Outcome::Ok || (outcome == Outcome::Info && lands) {
                stored[series].extend(&timestamps);
            }
            now_ns += 10;
            operations.push(read(now_ns, series, &stored[series]));
        }
        for (series, timestamps) in stored.iter().enumerate() {
            now_ns += 10;
            operations.push(read(now_ns, series, timestamps));
        }
        operations
    }

    fn plan() -> impl Strategy<Value = Vec<(usize, Outcome, u8, bool)>> {
        let outcome = prop_oneof![4 => Just(Outcome::Ok), 1 => Just(Outcome::Fail), 1 => Just(Outcome::Info)];
        // The first write is always acknowledged, so that there is something to damage.
        proptest::collection::vec((0..3usize, outcome, 1..20u8, any::<bool>()), 1..20).prop_map(|mut plan| {
            plan[0].1 = Outcome::Ok;
            plan
        })
    }

    /// A read after the first write that returned something, chosen by `pick`; the last ones are the final reads.
    fn some_full_read(history: &[Operation], pick: usize) -> usize {
        let full: Vec<usize> = (0..history.len())
            .filter(|&index| matches!(&history[index].action, Action::Read { data, .. } if !data[0].samples.is_empty()))
            .collect();
        full[pick % full.len()]
    }

    proptest! {
        #[test]
        fn sound_histories_are_valid(plan in plan()) {
            let report = check(&sound_history(&plan));
            prop_assert_eq!(report.verdict(), Verdict::Valid, "{}", report);
        }

        #[test]
        fn a_dropped_acknowledged_sample_is_found(plan in plan(), pick in any::<usize>(), which in any::<usize>()) {
            let mut history = sound_history(&plan);
            let droppable: Vec<(usize, usize)> = acknowledged_sightings(&mut history, &plan);
            let (index, at) = droppable[(pick ^ which) % droppable.len()];
            samples_of(&mut history[index]).remove(at);
            let report = check(&history);
            prop_assert_eq!(report.lost.count + report.unstable.count, 1, "{}", report);
        }

        #[test]
        fn a_changed_value_is_found(plan in plan(), pick in any::<usize>(), which in any::<usize>()) {
            let mut history = sound_history(&plan);
            let index = some_full_read(&history, pick);
            let samples = samples_of(&mut history[index]);
            let at = which % samples.len();
            samples[at].1 += 0.5;
            prop_assert_eq!(check(&history).wrong.count, 1);
        }

        #[test]
        fn an_invented_sample_is_found(plan in plan(), pick in any::<usize>()) {
            let mut history = sound_history(&plan);
            let index = some_full_read(&history, pick);
            samples_of(&mut history[index]).push((999_999, 1.0));
            prop_assert_eq!(check(&history).phantom.count, 1);
        }

        #[test]
        fn a_doubled_sample_is_found(plan in plan(), pick in any::<usize>(), which in any::<usize>()) {
            let mut history = sound_history(&plan);
            let index = some_full_read(&history, pick);
            let samples = samples_of(&mut history[index]);
            let doubled = samples[which % samples.len()];
            samples.push(doubled);
            prop_assert_eq!(check(&history).duplicate.count, 1);
        }
    }

    /// Where reads return samples of acknowledged writes: (operation, position of the sample). A timestamp tells which write it is from.
    fn acknowledged_sightings(history: &mut [Operation], plan: &[(usize, Outcome, u8, bool)]) -> Vec<(usize, usize)> {
        let mut sightings = Vec::new();
        for (index, operation) in history.iter_mut().enumerate() {
            if matches!(operation.action, Action::Write { .. }) {
                continue;
            }
            for (at, sample) in samples_of(operation).iter().enumerate() {
                if plan[(sample.0 / 300) as usize].1 == Outcome::Ok {
                    sightings.push((index, at));
                }
            }
        }
        sightings
    }
}
