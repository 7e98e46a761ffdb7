//! Which batches a group has applied, so that one that is sent again is not applied twice.
//!
//! A node that does not learn what became of a batch (the leader died, a stream broke) sends it again, and both copies may
//! end up in the log. With last-write-wins the second would undo what was written between the two, and a repeated deletion
//! would take away what was written after the first. So every batch has a name, [`Caller`]: the node that sends it, which
//! start of that node, and a number. Entries carry the names beside the batches, and every replica remembers, in log order,
//! what it answered to the last [`ANSWERS_MAX`] batches of each node.
//!
//! A name that may have been applied but is not remembered any more is refused ([`Forgotten`]), never applied: batches up to
//! the oldest remembered one, and those of an earlier start of the node. So forgetting costs an answer, never correctness.
//!
//! The memory is part of the replicated state: it is a function of the log alone, and its durable form lies in the marker,
//! because it must be exactly as old as the point from which the log is replayed.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use proto::raft as wire;
use storage::{PartOutcome, SeededBug, batch};

use crate::caller::{self, Caller};
use crate::convert;
use crate::meta::apply::MEMBERS_MAX;
use crate::types::{Forgotten, NodeId, PartAnswer, Payload, Proposed};

/// Answers remembered of one node. A batch is repeated within seconds, and a node has about a hundred under way.
const ANSWERS_MAX: usize = 1024;
/// Nodes of which answers are remembered; of those silent the longest only how far they had come.
const ROWS_WITH_ANSWERS_MAX: usize = 64;
/// Nodes remembered at all: as many as a cluster may ever have.
const ROWS_MAX: usize = MEMBERS_MAX;

/// What a group remembers of all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerMemory {
    rows: BTreeMap<NodeId, Row>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    /// The newest start that was heard of.
    start: u64,
    /// Of that start, numbers up to here are forgotten.
    floor: u64,
    /// Index of the last entry with a batch of this node.
    used: u64,
    answers: BTreeMap<u64, Proposed>,
}

/// What is to be done with a batch.
#[derive(Debug)]
enum Verdict {
    /// It was not applied before.
    Apply,
    /// It was, and this was the answer.
    Known(PartAnswer),
    /// The batch at this place of the same entry is the same.
    SameAs(usize),
}

impl CallerMemory {
    /// Applies one entry of a shard, a join of batches: `apply` is given those that were not applied before, as a join.
    pub fn apply_batches<E>(
        &mut self,
        index: u64,
        payload: &Payload,
        apply: impl FnOnce(&[u8]) -> Result<Vec<PartOutcome>, E>,
    ) -> Result<Vec<PartAnswer>, E> {
        let names: Vec<Option<Caller>> = caller::decode(&payload.callers).collect();
        let verdicts = self.judge_all(&names);
        if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Apply)) {
            let outcomes = apply(&payload.body)?;
            let mut names = names.into_iter();
            let answers = outcomes.into_iter().map(|outcome| self.remember(names.next().flatten(), index, Proposed::Written(outcome)));
            return Ok(answers.collect());
        }
        // The proposer makes joins, and with as many parts as there are names; of anything else nothing is applied.
        let parts: Vec<&[u8]> = batch::parts(&payload.body).map(Iterator::collect).unwrap_or_default();
        let fresh = parts.iter().zip(&verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Apply));
        let fresh: Vec<Bytes> = fresh.map(|(part, _)| Bytes::copy_from_slice(part)).collect();
        let mut outcomes = match fresh.is_empty() {
            true => Vec::new().into_iter(),
            false => apply(&batch::join(&fresh))?.into_iter(),
        };
        let mut answers: Vec<PartAnswer> = Vec::with_capacity(names.len());
        for (name, verdict) in names.into_iter().zip(verdicts) {
            let answer = match verdict {
                Verdict::Apply => self.remember(name, index, Proposed::Written(outcomes.next().unwrap_or_default())),
                Verdict::Known(answer) => answer,
                Verdict::SameAs(place) => answers[place].clone(),
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Applies one entry of the meta group, a command.
    pub fn apply_command<E>(
        &mut self,
        index: u64,
        payload: &Payload,
        apply: impl FnOnce(&[u8]) -> Result<Bytes, E>,
    ) -> Result<PartAnswer, E> {
        let name = caller::decode(&payload.callers).next().flatten();
        match self.judge(name) {
            Some(answer) => Ok(answer),
            None => {
                let answer = Proposed::Meta(apply(&payload.body)?);
                Ok(self.remember(name, index, answer))
            }
        }
    }

    fn judge_all(&self, names: &[Option<Caller>]) -> Vec<Verdict> {
        let mut seen: BTreeMap<Caller, usize> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            let earlier = name.and_then(|name| match seen.entry(name) {
                std::collections::btree_map::Entry::Occupied(entry) => Some(*entry.get()),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(place);
                    None
                }
            });
            verdicts.push(match (earlier, self.judge(*name)) {
                (Some(earlier), _) => Verdict::SameAs(earlier),
                (None, Some(answer)) => Verdict::Known(answer),
                (None, None) => Verdict::Apply,
            });
        }
        // An older start's batch beside a newer one's: the order in the entry decides, as it would in two entries.
        self.forget_older_starts(names, &mut verdicts);
        verdicts
    }

    fn forget_older_starts(&self, names: &[Option<Caller>], verdicts: &mut [Verdict]) {
        let mut newest: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (name, verdict) in names.iter().zip(verdicts) {
            let Some(name) = name else { continue };
            let start = newest.entry(name.node).or_insert(name.start);
            if name.start < *start && matches!(verdict, Verdict::Apply) {
                *verdict = Verdict::Known(Err(Forgotten { start: *start }));
            }
            *start = name.start.max(*start);
        }
    }

    /// The answer to a batch that must not be applied.
    fn judge(&self, name: Option<Caller>) -> Option<PartAnswer> {
        let name = name.filter(|_| !SeededBug::DedupeOff.is_on())?;
        let row = self.rows.get(&name.node)?;
        let forgotten = Err(Forgotten { start: row.start });
        match name.start.cmp(&row.start) {
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Less => Some(forgotten),
            std::cmp::Ordering::Equal => match row.answers.get(&name.sequence) {
                Some(answer) => Some(Ok(answer.clone())),
                None if name.sequence <= row.floor => Some(forgotten),
                None => None,
            },
        }
    }

    fn remember(&mut self, name: Option<Caller>, index: u64, answer: Proposed) -> PartAnswer {
        let Some(name) = name else { return Ok(answer) };
        let row = self.rows.entry(name.node).or_default();
        if name.start > row.start {
            *row = Row { start: name.start, ..Row::default() };
        }
        row.used = index;
        let was_silent = row.answers.is_empty();
        row.answers.insert(name.sequence, answer.clone());
        if row.answers.len() > ANSWERS_MAX
            && let Some((oldest, _)) = row.answers.pop_first()
        {
            row.floor = oldest;
        }
        if was_silent {
            self.limit_rows(name.node);
        }
        Ok(answer)
    }

    /// Makes room for a node of which nothing was remembered: those silent the longest are forgotten first.
    fn limit_rows(&mut self, newcomer: NodeId) {
        let silent = |rows: &BTreeMap<NodeId, Row>, wanted: &dyn Fn(&Row) -> bool| {
            let others = rows.iter().filter(|(node, row)| **node != newcomer && wanted(row));
            others.min_by_key(|(node, row)| (row.used, **node)).map(|(node, _)| *node)
        };
        let with_answers = self.rows.values().filter(|row| !row.answers.is_empty()).count();
        if with_answers > ROWS_WITH_ANSWERS_MAX
            && let Some(node) = silent(&self.rows, &|row| !row.answers.is_empty())
            && let Some(row) = self.rows.get_mut(&node)
        {
            row.floor = row.answers.last_key_value().map_or(row.floor, |(sequence, _)| *sequence);
            row.answers.clear();
        }
        if self.rows.len() > ROWS_MAX
            && let Some(node) = silent(&self.rows, &|_| true)
        {
            self.rows.remove(&node);
        }
    }

    /// The durable form.
    pub fn encode(&self) -> Bytes {
        let rows = self.rows.iter().map(|(&node_id, row)| wire::CallerRow {
            node_id,
            start: row.start,
            floor: row.floor,
            used: row.used,
            answers: row.answers.iter().map(|(&sequence, answer)| answer_to_proto(sequence, answer)).collect(),
        });
        Bytes::from(wire::CallerMemory { rows: rows.collect() }.encode_to_vec())
    }

    /// Reads a durable form. Its checksum is that of the record it lies in.
    pub fn decode(bytes: Bytes) -> Result<Self, prost::DecodeError> {
        let memory = wire::CallerMemory::decode(bytes)?;
        let rows = memory.rows.into_iter().map(|row| {
            let answers = row.answers.into_iter().map(|answer| (answer.sequence, answer_from_proto(answer))).collect();
            (row.node_id, Row { start: row.start, floor: row.floor, used: row.used, answers })
        });
        Ok(Self { rows: rows.collect() })
    }
}

fn answer_to_proto(sequence: u64, answer: &Proposed) -> wire::RememberedAnswer {
    match answer {
        Proposed::Written(outcome) => {
            wire::RememberedAnswer { sequence, write: Some(convert::outcome_to_proto(outcome.clone())), meta: Bytes::new() }
        }
        Proposed::Meta(meta) => wire::RememberedAnswer { sequence, write: None, meta: meta.clone() },
    }
}

fn answer_from_proto(answer: wire::RememberedAnswer) -> Proposed {
    match answer.write {
        Some(outcome) => Proposed::Written(convert::outcome_from_proto(outcome)),
        None => Proposed::Meta(answer.meta),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// A replica whose content is the order in which batches were applied; a batch is the text of its name.
    #[derive(Clone, Default)]
    struct Replica {
        memory: CallerMemory,
        applied: Vec<String>,
        sealed: Sealed,
    }

    #[derive(Clone, Default)]
    struct Sealed {
        entries: usize,
        memory: Bytes,
        applied: Vec<String>,
    }

    fn entry(names: &[Caller]) -> Payload {
        let bodies: Vec<Bytes> = names.iter().map(|name| Bytes::from(format!("{name:?}"))).collect();
        let names: Vec<Option<Caller>> = names.iter().copied().map(Some).collect();
        Payload { callers: caller::encode(&names), body: batch::join(&bodies) }
    }

    impl Replica {
        fn apply(&mut self, index: usize, payload: &Payload) -> Vec<PartAnswer> {
            let applied = &mut self.applied;
            let apply = |body: &[u8]| {
                let parts = batch::parts(body).expect("a join").map(|part| {
                    applied.push(String::from_utf8(part.to_vec()).expect("text"));
                    PartOutcome { accepted: applied.len() as u64, ..PartOutcome::default() }
                });
                Ok::<_, Infallible>(parts.collect())
            };
            self.memory.apply_batches(index as u64, payload, apply).expect("infallible")
        }

        fn seal(&mut self, entries: usize) {
            self.sealed = Sealed { entries, memory: self.memory.encode(), applied: self.applied.clone() };
        }

        /// Back to the durable image, then the log behind it.
        fn restart(&mut self, log: &[Payload]) {
            let Sealed { entries, memory, applied } = self.sealed.clone();
            (self.memory, self.applied) = (CallerMemory::decode(memory).expect("sound"), applied);
            for (index, payload) in log.iter().enumerate().skip(entries) {
                self.apply(index, payload);
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// An entry of batches, each new or the repetition of one sent so many before.
        Append(Vec<(u64, Option<usize>)>),
        Restart,
        Seal,
        /// The second replica takes the first one's image.
        Install,
        /// A sender starts again.
        NewStart(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let batch = (1_u64..4, prop_oneof![2 => Just(None), 1 => (0_usize..12).prop_map(Some)]);
        prop_oneof![
            6 => prop::collection::vec(batch, 1..5).prop_map(Step::Append),
            1 => Just(Step::Restart),
            1 => Just(Step::Seal),
            1 => Just(Step::Install),
            1 => (1_u64..4).prop_map(Step::NewStart),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_repeated_ends_as_if_it_was_sent_once(steps in prop::collection::vec(step(), 1..60)) {
            let (mut first, mut second) = (Replica::default(), Replica::default());
            let (mut log, mut sent, mut once) = (Vec::new(), Vec::<Caller>::new(), Vec::<String>::new());
            let mut starts = BTreeMap::from([(1, (1, 0)), (2, (1, 0)), (3, (1, 0))]);
            for step in steps {
                match step {
                    Step::Append(batches) => {
                        let mut names = Vec::new();
                        for (node, repeated) in batches {
                            let (start, sequence) = starts.get_mut(&node).expect("a sender");
                            let old = repeated.and_then(|back| sent.len().checked_sub(back + 1)).map(|at| sent[at]);
                            let name = old.unwrap_or_else(|| {
                                *sequence += 1;
                                Caller { node, start: *start, sequence: *sequence }
                            });
                            // Of an older start nothing new may be applied once a newer one was heard of.
                            let heard = sent.iter().any(|other| other.node == name.node && other.start > name.start);
                            if !sent.contains(&name) && !heard {
                                once.push(format!("{name:?}"));
                            }
                            sent.push(name);
                            names.push(name);
                        }
                        let payload = entry(&names);
                        let answers = first.apply(log.len(), &payload);
                        prop_assert_eq!(&answers, &second.apply(log.len(), &payload));
                        prop_assert_eq!(answers.len(), names.len());
                        for (name, answer) in names.iter().zip(answers) {
                            if let Ok(Proposed::Written(outcome)) = answer {
                                let place = outcome.accepted as usize - 1;
                                prop_assert_eq!(&first.applied[place], &format!("{name:?}"), "the answer of the first application");
                            }
                        }
                        log.push(payload);
                    }
                    Step::Restart => first.restart(&log),
                    Step::Seal => first.seal(log.len()),
                    Step::Install => {
                        second.sealed = first.sealed.clone();
                        second.restart(&log);
                    }
                    Step::NewStart(node) => {
                        let (start, sequence) = starts.get_mut(&node).expect("a sender");
                        (*start, *sequence) = (*start + 1, 0);
                    }
                }
                prop_assert_eq!(&first.applied, &once);
                prop_assert_eq!(&first.memory, &second.memory);
            }
        }
    }

    fn caller(node: NodeId, sequence: u64) -> Caller {
        Caller { node, start: 1, sequence }
    }

    #[test]
    fn what_is_older_than_the_memory_is_refused_and_not_applied() {
        let mut replica = Replica::default();
        let sent = ANSWERS_MAX as u64 + 10;
        for sequence in 1..=sent {
            assert!(replica.apply(sequence as usize, &entry(&[caller(1, sequence)]))[0].is_ok());
        }
        assert_eq!(replica.apply(5000, &entry(&[caller(1, 10)])), [Err(Forgotten { start: 1 })]);
        assert!(replica.apply(5001, &entry(&[caller(1, 11)]))[0].is_ok(), "the oldest that is remembered");
        assert_eq!(replica.applied.len() as u64, sent);
        assert_eq!(replica.memory.rows[&1].answers.len(), ANSWERS_MAX);
    }

    #[test]
    fn of_many_nodes_the_longest_silent_is_forgotten_but_never_applied_again() {
        let mut replica = Replica::default();
        let nodes = ROWS_WITH_ANSWERS_MAX as u64 + 1;
        for node in 1..=nodes {
            replica.apply(node as usize, &entry(&[caller(node, 1)]));
        }
        assert_eq!(replica.apply(1000, &entry(&[caller(1, 1)])), [Err(Forgotten { start: 1 })]);
        assert!(replica.apply(1001, &entry(&[caller(1, 2)]))[0].is_ok(), "the node itself may go on");
        assert_eq!(replica.applied.len() as u64, nodes + 1);
    }

    #[test]
    fn a_batch_without_a_name_is_applied_as_often_as_it_comes() {
        let mut memory = CallerMemory::default();
        let payload = Payload { callers: Bytes::new(), body: batch::join(&[Bytes::from_static(b"x")]) };
        for index in 0..3 {
            let apply = |_: &[u8]| Ok::<_, Infallible>(vec![PartOutcome { accepted: index, ..PartOutcome::default() }]);
            let answers = memory.apply_batches(index, &payload, apply).expect("infallible");
            assert_eq!(answers, [Ok(Proposed::Written(PartOutcome { accepted: index, ..PartOutcome::default() }))]);
        }
        assert_eq!(memory, CallerMemory::default());
    }
}
