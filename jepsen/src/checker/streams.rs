//! The sample set again, for millions of samples: streams whose samples are numbered, so that what is known of each fits into a few arrays.
//!
//! The classes are those of [`super::sample_set`], which explains them. Beside them counts are judged: a strong count over a range can be no less than
//! what was known before it began, and no more than what was attempted before it ended.

use std::collections::BTreeMap;

use super::sample_set::Report;
use crate::history::{Action, Operation, Outcome, StreamSeries};

/// Stands for: not yet, never.
const NEVER: u64 = u64::MAX;

/// What is known of a stream. All series of a client are written together.
#[derive(Default)]
struct Stream {
    /// By number: when the first attempt began that was not refused for certain.
    attempted_ns: Vec<u64>,
    /// By number: when the first acknowledgement came.
    acknowledged_ns: Vec<u64>,
    /// Each number that was attempted at all, refused ones too.
    written: Vec<bool>,
    series: BTreeMap<u32, Vec<Element>>,
}

/// One sample.
#[derive(Clone, Copy)]
struct Element {
    /// When it was first acknowledged or seen.
    known_ns: u64,
    /// Start of the latest read that had it, plus one; of the latest that should have had it and had not.
    present_ns: u64,
    absent_ns: u64,
}

const UNSEEN: Element = Element { known_ns: NEVER, present_ns: 0, absent_ns: 0 };

type Streams = BTreeMap<u32, Stream>;

/// Judges the operations on streams of a history, in any order.
pub fn check(operations: &[Operation]) -> Report {
    let mut report = Report::default();
    let mut streams = collect_writes(operations);
    let mut reads: Vec<&Operation> = operations.iter().filter(|operation| matches!(operation.action, Action::StreamRead { .. })).collect();
    reads.sort_by_key(|read| read.complete_ns);
    report.reads = reads.len() as u64;
    // What a read has seen is known to every read that begins after it ended, so all sightings come first.
    reads.iter().for_each(|read| note_sightings(read, &mut streams, &mut report));
    reads.iter().for_each(|read| note_absences(read, &mut streams));
    operations.iter().for_each(|operation| check_count(operation, &streams, &mut report));
    streams.iter().for_each(|(client, stream)| classify(*client, stream, &mut report));
    report
}

fn collect_writes(operations: &[Operation]) -> Streams {
    let mut streams = Streams::new();
    for operation in operations {
        let Action::StreamWrite { outcome, client, first, count } = &operation.action else { continue };
        let stream = streams.entry(*client).or_default();
        stream.grow(first + count);
        for number in *first..first + count {
            let at = number as usize;
            stream.written[at] = true;
            if *outcome != Outcome::Fail {
                stream.attempted_ns[at] = stream.attempted_ns[at].min(operation.invoke_ns);
            }
            if *outcome == Outcome::Ok {
                stream.acknowledged_ns[at] = stream.acknowledged_ns[at].min(operation.complete_ns);
            }
        }
    }
    // The series of a client are known from its reads; the acknowledgement holds for each.
    let series = operations.iter().filter_map(|operation| match &operation.action {
        Action::StreamRead { client, series, .. } => Some((client, series)),
        _ => None,
    });
    for (client, series) in series {
        let Some(stream) = streams.get_mut(client) else { continue };
        for one in series.iter().filter(|one| !one.present.is_empty()) {
            let acknowledged = &stream.acknowledged_ns;
            stream.series.entry(one.index).or_insert_with(|| acknowledged.iter().map(|&known_ns| Element { known_ns, ..UNSEEN }).collect());
        }
    }
    streams
}

impl Stream {
    fn grow(&mut self, length: u64) {
        let length = (length as usize).max(self.written.len());
        self.attempted_ns.resize(length, NEVER);
        self.acknowledged_ns.resize(length, NEVER);
        self.written.resize(length, false);
    }
}

fn note_sightings(read: &Operation, streams: &mut Streams, report: &mut Report) {
    let Action::StreamRead { client, series, .. } = &read.action else { return };
    let Some(stream) = streams.get_mut(client) else { return };
    for one in series {
        note_oddities(read, *client, one, report);
        for number in one.present.iter().flat_map(|&(first, last)| first..=last) {
            let attempted_ns = stream.attempted_ns.get(number as usize).copied().unwrap_or(NEVER);
            if attempted_ns > read.complete_ns {
                report.phantom.add(|| format!("{client}/{} #{number}: never written, refused, or written only later", one.index));
                continue;
            }
            let Some(element) = stream.series.get_mut(&one.index).and_then(|elements| elements.get_mut(number as usize)) else { continue };
            element.known_ns = element.known_ns.min(read.complete_ns);
            element.present_ns = element.present_ns.max(read.invoke_ns + 1);
        }
    }
}

fn note_oddities(read: &Operation, client: u32, one: &StreamSeries, report: &mut Report) {
    let name = format!("{client}/{}", one.index);
    for (number, bits) in &one.wrong {
        report.wrong.add(|| format!("{name} #{number} = {} at node {}", f64::from_bits(*bits), read.node));
    }
    for number in &one.twice {
        report.duplicate.add(|| format!("{name} #{number} at node {}", read.node));
    }
    for timestamp_ms in &one.strangers {
        report.phantom.add(|| format!("{name} @{timestamp_ms} at node {}: no sample of this stream", read.node));
    }
}

fn note_absences(read: &Operation, streams: &mut Streams) {
    let Action::StreamRead { client, first, count, series } = &read.action else { return };
    let Some(stream) = streams.get_mut(client) else { return };
    for (index, elements) in &mut stream.series {
        let present = series.iter().find(|one| one.index == *index).map(|one| one.present.as_slice()).unwrap_or_default();
        let mut runs = present.iter().peekable();
        let end = (first + count).min(elements.len() as u64);
        for number in *first..end {
            while runs.next_if(|(_, last)| *last < number).is_some() {}
            let is_present = runs.peek().is_some_and(|(first, _)| *first <= number);
            let element = &mut elements[number as usize];
            if !is_present && element.known_ns < read.invoke_ns {
                element.absent_ns = element.absent_ns.max(read.invoke_ns + 1);
            }
        }
    }
}

fn check_count(operation: &Operation, streams: &Streams, report: &mut Report) {
    let Action::StreamCount { client, first, count, found } = &operation.action else { return };
    let Some(stream) = streams.get(client) else { return };
    let (mut least, mut most) = (0, 0);
    for elements in stream.series.values() {
        let numbered = elements.iter().zip(&stream.attempted_ns);
        for (element, attempted_ns) in numbered.take((first + count) as usize).skip(*first as usize) {
            least += u64::from(element.known_ns < operation.invoke_ns);
            most += u64::from(*attempted_ns <= operation.complete_ns);
        }
    }
    report.reads += 1;
    if !(least..=most).contains(found) {
        report
            .miscounted
            .add(|| format!("client {client} #{first}+{count} at node {}: {found}, where {least} to {most} are possible", operation.node));
    }
}

fn classify(client: u32, stream: &Stream, report: &mut Report) {
    if stream.series.is_empty() {
        // Nothing of this client was ever seen.
        let acknowledged = stream.acknowledged_ns.iter().filter(|&&at| at != NEVER).count();
        for _ in 0..acknowledged {
            report.never_read.add(|| format!("all of client {client}"));
        }
    }
    for (index, elements) in &stream.series {
        for (number, element) in elements.iter().enumerate().filter(|(number, _)| stream.written[*number]) {
            let name = || format!("{client}/{index} #{number}");
            let acknowledged_ns = stream.acknowledged_ns[number];
            let is_acknowledged = acknowledged_ns != NEVER;
            report.attempted += 1;
            report.acknowledged += u64::from(is_acknowledged);
            report.recovered += u64::from(!is_acknowledged && element.present_ns > 0);
            if element.absent_ns > 0 && element.present_ns > element.absent_ns {
                report.unstable.add(name);
            } else if element.absent_ns > 0 {
                report.lost.add(name);
            } else if is_acknowledged && element.present_ns <= acknowledged_ns {
                report.never_read.add(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::sample_set::Verdict;

    fn operation(at_ns: u64, action: Action) -> Operation {
        Operation { process: 0, node: 1, invoke_ns: at_ns, complete_ns: at_ns + 5, action }
    }

    fn write(at_ns: u64, outcome: Outcome, first: u64, count: u64) -> Operation {
        operation(at_ns, Action::StreamWrite { outcome, client: 0, first, count })
    }

    fn series(index: u32, present: &[(u64, u64)]) -> StreamSeries {
        StreamSeries { index, present: present.to_vec(), ..StreamSeries::default() }
    }

    fn read(at_ns: u64, series: Vec<StreamSeries>) -> Operation {
        operation(at_ns, Action::StreamRead { client: 0, first: 0, count: 10, series })
    }

    fn both(present: &[(u64, u64)]) -> Vec<StreamSeries> {
        vec![series(0, present), series(1, present)]
    }

    #[test]
    fn what_is_acknowledged_and_read_in_all_series_is_valid() {
        let report = check(&[write(0, Outcome::Ok, 0, 5), write(10, Outcome::Info, 5, 2), read(20, both(&[(0, 5)]))]);
        assert_eq!((report.verdict(), report.acknowledged, report.recovered, report.attempted), (Verdict::Valid, 10, 2, 14), "{report}");
    }

    #[test]
    fn a_hole_in_one_series_is_lost() {
        let holed = vec![series(0, &[(0, 4)]), series(1, &[(0, 1), (3, 4)])];
        let report = check(&[write(0, Outcome::Ok, 0, 5), read(10, both(&[(0, 4)])), read(20, holed)]);
        assert_eq!((report.lost.count, report.lost.examples[0].as_str()), (1, "0/1 #2"), "{report}");
    }

    #[test]
    fn a_whole_series_that_is_missing_is_lost() {
        let report = check(&[write(0, Outcome::Ok, 0, 5), read(10, both(&[(0, 4)])), read(20, vec![series(0, &[(0, 4)])])]);
        assert_eq!(report.lost.count, 5, "{report}");
    }

    #[test]
    fn a_hole_that_closes_again_is_unstable() {
        let history = [write(0, Outcome::Ok, 0, 5), read(10, both(&[(0, 4)])), read(20, both(&[(1, 4)])), read(30, both(&[(0, 4)]))];
        let report = check(&history);
        assert_eq!((report.unstable.count, report.lost.count), (2, 0), "{report}");
    }

    #[test]
    fn what_one_read_saw_the_next_must_see_though_the_write_is_unknown() {
        let report = check(&[write(0, Outcome::Info, 0, 1), read(10, both(&[(0, 0)])), read(20, both(&[]))]);
        assert_eq!(report.lost.count, 2, "{report}");
    }

    #[test]
    fn what_was_refused_or_comes_before_its_write_is_a_phantom() {
        let report = check(&[write(0, Outcome::Fail, 0, 1), read(10, both(&[(0, 0)]))]);
        assert_eq!(report.phantom.count, 2, "{report}");
        let report = check(&[read(0, both(&[(0, 0)])), write(10, Outcome::Ok, 0, 1), read(20, both(&[(0, 0)]))]);
        assert_eq!(report.phantom.count, 2, "{report}");
        let report = check(&[write(0, Outcome::Ok, 0, 1), read(10, both(&[(0, 1)]))]);
        assert_eq!(report.phantom.count, 2, "{report}");
    }

    #[test]
    fn wrong_values_duplicates_and_strangers_are_counted() {
        let odd = StreamSeries { index: 0, present: vec![(0, 0)], wrong: vec![(1, 7)], twice: vec![2], strangers: vec![-3] };
        let report = check(&[write(0, Outcome::Ok, 0, 1), read(10, vec![odd])]);
        assert_eq!((report.wrong.count, report.duplicate.count, report.phantom.count), (1, 1, 1), "{report}");
    }

    #[test]
    fn acknowledged_and_never_looked_at_is_unknown() {
        let report = check(&[write(0, Outcome::Ok, 0, 1), read(10, both(&[(0, 0)])), write(20, Outcome::Ok, 1, 1)]);
        assert_eq!((report.verdict(), report.never_read.count), (Verdict::Unknown, 2), "{report}");
        assert_eq!(check(&[write(0, Outcome::Ok, 0, 3)]).verdict(), Verdict::Unknown);
    }

    #[test]
    fn a_read_that_overlaps_the_acknowledgement_may_miss_it() {
        let report = check(&[write(0, Outcome::Ok, 0, 1), read(3, both(&[])), read(10, both(&[(0, 0)]))]);
        assert_eq!(report.verdict(), Verdict::Valid, "{report}");
    }

    #[test]
    fn a_count_lies_between_what_is_known_and_what_is_attempted() {
        let count = |found| {
            let counted = operation(30, Action::StreamCount { client: 0, first: 0, count: 10, found });
            check(&[write(0, Outcome::Ok, 0, 4), write(10, Outcome::Info, 4, 2), read(20, both(&[(0, 3)])), counted])
        };
        assert_eq!([7, 8, 12, 13].map(|found| count(found).miscounted.count), [1, 0, 0, 1]);
    }
}
