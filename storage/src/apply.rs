//! Applying a log entry: the deterministic heart of a shard.
//!
//! Every replica calls this with the same bytes in the same order and must end up with the same
//! content; so it reads no clock and no randomness, and whatever is wrong with a payload is an answer,
//! not an error. Applying an entry again, as replay after a restart does, changes nothing.

use crate::batch::{self, BatchReader, Columns, ExemplarTarget};
use crate::beside::{Beside, BesideBatch};
use crate::error::Error;
use crate::fault::{Result, StorageError};
use crate::head::Tally;
use crate::labels::{self, HashKey, SeriesId};
use crate::state::ShardState;

/// What became of one batch of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartOutcome {
    /// Samples that are stored now and were not before, or that replaced another value.
    pub accepted: u64,
    /// Samples that were stored already, with the same value.
    pub duplicates: u64,
    /// Samples refused because another value is stored at their time.
    pub conflicts: u64,
    /// Samples whose series number does not exist: the sender resends them with their labels.
    pub unknown_series: u64,
    /// Series created.
    pub new_series: u64,
    /// Exemplars that are stored now; those that were stored already count too.
    pub exemplars: u64,
    /// Exemplars refused because their series has a newer one.
    pub exemplars_out_of_order: u64,
    /// The first thing that was wrong, in words.
    pub first_problem: Option<String>,
}

/// What became of one log entry: one outcome for each batch joined in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// In the order of the batches.
    pub parts: Vec<PartOutcome>,
}

/// Buffers that apply keeps between entries.
#[derive(Default)]
pub(crate) struct ApplyScratch {
    columns: Columns,
    numbers: Vec<SeriesId>,
    marks: Vec<(i64, SeriesId)>,
}

impl ShardState {
    /// Applies one entry. Errors only for faults of this node.
    pub fn apply(&self, index: u64, payload: &[u8], scratch: &mut ApplyScratch) -> Result<Applied> {
        let key = self.core.hash_key()?;
        let parts = match batch::parts(payload) {
            Ok(parts) => parts,
            Err(error) => return Ok(Applied { parts: vec![malformed(error)?] }),
        };
        // For the whole entry, so that its durable form never holds half of one.
        let mut beside = self.beside.lock();
        let parts = parts.map(|part| self.apply_part(index, part, &key, &mut beside, scratch));
        let parts = parts.collect::<Result<_>>()?;
        beside.reached(index);
        Ok(Applied { parts })
    }

    fn apply_part(&self, index: u64, part: &[u8], key: &HashKey, beside: &mut Beside, scratch: &mut ApplyScratch) -> Result<PartOutcome> {
        let reader = match BatchReader::parse(part) {
            Ok(reader) => reader,
            Err(error) => return malformed(error),
        };
        if let Err(error) = reader.decode_into(&mut scratch.columns) {
            return malformed(error);
        }
        let new_series = self.define(reader.definitions(), key, &mut scratch.numbers);
        for target in &mut scratch.columns.targets[..reader.new_samples()] {
            *target = scratch.numbers[*target as usize];
        }
        scratch.marks.clear();
        let count = self.index.read().len();
        let sealed = |series: SeriesId, time: i64| self.sealed_value(series, time);
        let runs = self.run_list();
        let tally = self.head.append(&scratch.columns, count, reader.policy(), &sealed, &runs.tombstones, &mut scratch.marks)?;
        drop(runs);
        if !scratch.marks.is_empty() {
            let mut index = self.index.write();
            scratch.marks.iter().for_each(|&(day, series)| index.mark_active(day, series));
        }
        let mut outcome = outcome(&tally, new_series);
        self.apply_beside(index, &reader, count, &scratch.numbers, beside, &mut outcome);
        Ok(outcome)
    }

    /// Applies what a batch has beside samples; deletions come last.
    fn apply_beside(
        &self,
        index: u64,
        reader: &BatchReader<'_>,
        count: u32,
        numbers: &[SeriesId],
        beside: &mut Beside,
        outcome: &mut PartOutcome,
    ) {
        let deleted: Vec<_> = reader.deletions().iter().map(|it| (self.delete(it), it.start_ms, it.end_ms)).collect();
        if deleted.is_empty() && reader.exemplars().is_empty() && reader.metadata().is_empty() {
            return;
        }
        let targets = reader.exemplars().iter().map(|(target, exemplar)| match *target {
            ExemplarTarget::Defined(position) => (numbers[position as usize], exemplar),
            ExemplarTarget::Known(series) => (series, exemplar),
        });
        let tally = beside.apply(
            index,
            BesideBatch {
                exemplars: &mut targets.filter(|(series, _)| *series < count),
                metadata: reader.metadata(),
                deleted: &deleted,
                exemplars_max: self.core.options.exemplars_max,
            },
        );
        outcome.exemplars = tally.kept;
        outcome.exemplars_out_of_order = tally.out_of_order;
    }

    /// Numbers the series of a batch, creating those that are new. Answers how many were.
    fn define(&self, definitions: &[&[u8]], key: &HashKey, numbers: &mut Vec<SeriesId>) -> u64 {
        numbers.clear();
        if definitions.is_empty() {
            return 0;
        }
        let mut created = Vec::new();
        let mut index = self.index.write();
        let mut ids = self.ids.write();
        for canonical in definitions {
            let hash = labels::hash(key, canonical);
            let number = ids.get(hash).unwrap_or_else(|| {
                let series = index.add(canonical);
                ids.insert(hash, series);
                created.push(series);
                series
            });
            numbers.push(number);
        }
        if !created.is_empty() {
            // Before the locks go: a number that can be looked up has its place in the head.
            self.head.reserve(index.len());
        }
        created.len() as u64
    }
}

/// A batch that cannot be decoded is refused by every replica alike. A *newer* format is not refused:
/// other replicas may understand it, so this node must stop instead of falling apart from them.
fn malformed(error: Error) -> Result<PartOutcome> {
    match error {
        Error::Unsupported { .. } => Err(StorageError::Format(error)),
        error => Ok(PartOutcome { first_problem: Some(error.to_string()), ..PartOutcome::default() }),
    }
}

fn outcome(tally: &Tally, new_series: u64) -> PartOutcome {
    let conflict = tally.first_conflict.map(|(series, time)| format!("series {series} has another value at {time} already"));
    let unknown = tally.first_unknown.map(|series| format!("there is no series {series}"));
    PartOutcome {
        accepted: tally.accepted,
        duplicates: tally.duplicates,
        conflicts: tally.conflicts,
        unknown_series: tally.unknown_series,
        new_series,
        exemplars: 0,
        exemplars_out_of_order: 0,
        first_problem: unknown.or(conflict),
    }
}
