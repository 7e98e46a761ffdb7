//! The engine and its mirror, a map, taking every step together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tern_storage::batch::{self, BatchBuilder, ConflictPolicy};
use tern_storage::{
    Applied, Deletion, Engine, EngineOptions, Exemplar, Frozen, MatchOp, Matcher, Metadata, SeriesId, Shard, UNKNOWN_SERIES, labels,
};

use crate::steps::*;

pub type Model = BTreeMap<u8, BTreeMap<i64, u64>>;

/// Few, so that old ones go.
pub const EXEMPLARS_MAX: usize = 10;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The engine, the log it was fed, and what it must hold.
pub struct World {
    pub directory: PathBuf,
    pub root: tempfile::TempDir,
    pub crashes: u32,
    pub engine: Option<Arc<Engine>>,
    pub log: Vec<Bytes>,
    /// Entries that the durable marker covers.
    pub marker: usize,
    pub frozen: Option<(Frozen, usize, bool)>,
    pub model: Model,
    /// Days in which each series was active.
    pub days: BTreeMap<u8, BTreeSet<i64>>,
    pub exemplars: Vec<(u8, Exemplar)>,
    /// Of the one metric that has metadata, the latest first.
    pub helps: Vec<u8>,
}

fn exemplar(time: i64, trace: u8) -> Exemplar {
    Exemplar { timestamp_ms: BASE_MS + time * 15_000, value: 1.0, labels: vec![("trace_id".into(), trace.to_string())] }
}

fn open(directory: &Path) -> Arc<Engine> {
    // Little memory for recent chunks, so that some are read from files.
    // Compactions and imports write several files.
    let options = EngineOptions { recent_bytes_max: 3000, spill_bytes: 40, exemplars_max: EXEMPLARS_MAX, ..EngineOptions::default() };
    let engine = Engine::open(directory, options).unwrap();
    engine.set_hash_key(KEY).unwrap();
    engine.open_shard(SHARD, INCARNATION).unwrap();
    engine
}

/// What a crash at this moment would leave. RocksDB removes files in the background; an image during
/// which one went never existed at one moment, so it is taken again.
fn copy(from: &Path, to: &Path) {
    while let Err(error) = try_copy(from, to) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        std::fs::remove_dir_all(to).unwrap();
    }
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

impl World {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("0");
        let engine = Some(open(&directory));
        Self {
            directory,
            root,
            crashes: 0,
            engine,
            log: Vec::new(),
            marker: 0,
            frozen: None,
            model: Model::new(),
            days: BTreeMap::new(),
            exemplars: Vec::new(),
            helps: Vec::new(),
        }
    }

    pub fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().unwrap()
    }

    pub fn shard(&self) -> Arc<Shard> {
        self.engine().shard(SHARD).unwrap()
    }

    pub fn id(&self, series: u8) -> SeriesId {
        let mut ids = Vec::new();
        self.shard().lookup(&[labels::hash(&KEY, &canonical(series))], &mut ids);
        ids[0]
    }

    pub fn apply(&mut self, samples: &[(u8, i64, u8)], policy: ConflictPolicy) {
        let mut builder = BatchBuilder::new(policy);
        // Within a batch, samples of new series are applied before those of known ones.
        let (new, known): (Vec<_>, Vec<_>) = samples.iter().partition(|sample| self.id(sample.0) == UNKNOWN_SERIES);
        for &(series, time, number) in new.iter().chain(&known) {
            match (self.id(series), histogram(number)) {
                (UNKNOWN_SERIES, None) => drop(builder.push_new(&canonical(series), time, value(number))),
                (UNKNOWN_SERIES, Some(histogram)) => {
                    let defined = builder.define(&canonical(series));
                    builder.push_defined_histogram(defined, time, &histogram.encoded());
                }
                (id, None) => builder.push(id, time, value(number)),
                (id, Some(histogram)) => builder.push_histogram(id, time, &histogram.encoded()),
            }
        }
        let applied = self.log_and_apply(builder);
        let mut conflicts = 0;
        for &(series, time, number) in new.iter().chain(&known) {
            let samples = self.model.entry(series).or_default();
            let bits = bits_of(number);
            match samples.get(&time) {
                Some(old) if *old != bits && policy == ConflictPolicy::Reject => conflicts += 1,
                _ => {
                    samples.insert(time, bits);
                    self.days.entry(series).or_default().insert(time.div_euclid(DAY_MS));
                }
            }
        }
        let part = &applied.parts[0];
        assert_eq!(part.conflicts, conflicts);
        assert_eq!(part.accepted + part.duplicates + part.conflicts, samples.len() as u64);
        assert_eq!(part.unknown_series, 0);
    }

    pub fn log_and_apply(&mut self, mut builder: BatchBuilder) -> Applied {
        let payload = batch::join(&[builder.encode().into()]);
        self.log.push(payload.clone());
        self.shard().apply(self.log.len() as u64, &payload).unwrap()
    }

    pub fn apply_beside(&mut self, exemplars: &[(u8, i64, u8)], help: u8) {
        let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
        builder.push_metadata(&Metadata { metric: "metric_1".into(), help: help.to_string(), ..Metadata::default() });
        let (mut kept, mut out_of_order) = (0, 0);
        for &(series, time, trace) in exemplars {
            let (id, one) = (self.id(series), exemplar(time, trace));
            builder.push_exemplar(id, &one);
            let own: Vec<&Exemplar> = self.exemplars.iter().filter(|entry| entry.0 == series).map(|entry| &entry.1).collect();
            let is_newest = own.last().is_none_or(|last| (last.timestamp_ms, &last.labels) < (one.timestamp_ms, &one.labels));
            match id {
                UNKNOWN_SERIES => {}
                _ if own.contains(&&one) => kept += 1,
                _ if !is_newest => out_of_order += 1,
                _ => {
                    kept += 1;
                    self.exemplars.push((series, one));
                    self.exemplars.drain(..self.exemplars.len().saturating_sub(EXEMPLARS_MAX));
                }
            }
        }
        self.helps.retain(|known| *known != help);
        self.helps.insert(0, help);
        let applied = self.log_and_apply(builder);
        assert_eq!((applied.parts[0].exemplars, applied.parts[0].exemplars_out_of_order), (kept, out_of_order));
    }

    pub fn delete(&mut self, metric: Option<u8>, (start_ms, end_ms): (i64, i64)) {
        let matcher = match metric {
            Some(metric) => Matcher::equal("__name__", format!("metric_{metric}")),
            None => Matcher::new("job", MatchOp::Re, "job.*").unwrap(),
        };
        let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
        builder.push_deletion(&Deletion { matchers: vec![matcher], start_ms, end_ms });
        self.log_and_apply(builder);
        let is_meant = |series: u8| metric.is_none_or(|metric| series % 3 == metric);
        for (_, samples) in self.model.iter_mut().filter(|(series, _)| is_meant(**series)) {
            samples.retain(|time, _| !(start_ms..=end_ms).contains(time));
        }
        for (_, days) in self.days.iter_mut().filter(|(series, _)| is_meant(**series)) {
            days.retain(|day| day * DAY_MS < start_ms || day * DAY_MS + DAY_MS - 1 > end_ms);
        }
        self.exemplars.retain(|(series, exemplar)| !is_meant(*series) || !(start_ms..=end_ms).contains(&exemplar.timestamp_ms));
    }

    pub fn replay(&mut self) {
        let shard = self.shard();
        for (index, payload) in self.log.iter().enumerate().skip(self.marker) {
            shard.apply(index as u64 + 1, payload).unwrap();
        }
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Apply { samples, policy } => self.apply(samples, *policy),
            Step::Beside { exemplars, help } => self.apply_beside(exemplars, *help),
            Step::Delete { metric, range } => self.delete(*metric, *range),
            Step::Clean => drop(self.engine().clean_tombstones().unwrap()),
            Step::Freeze if self.frozen.is_some() => {}
            Step::Freeze => match self.shard().freeze() {
                Some(frozen) => self.frozen = Some((frozen, self.log.len(), false)),
                // Everything is durable, says the shard.
                None => self.marker = self.log.len(),
            },
            Step::GiveUp => self.frozen = None,
            Step::Persist => {
                if let Some((frozen, _, persisted)) = &mut self.frozen
                    && !*persisted
                {
                    frozen.persist().unwrap();
                    *persisted = true;
                }
            }
            Step::Mark => {
                if let Some((_, upto, true)) = &self.frozen {
                    self.marker = *upto;
                }
            }
            Step::Release => {
                if let Some((frozen, upto, true)) = self.frozen.take_if(|(_, _, persisted)| *persisted) {
                    self.marker = upto;
                    self.shard().release(frozen);
                }
            }
            Step::Compact => drop(self.engine().compact_past(BASE_MS + 1000 * HOUR_MS).unwrap()),
            Step::Crash => {
                self.crashes += 1;
                let next = self.root.path().join(self.crashes.to_string());
                copy(&self.directory, &next);
                self.directory = next;
                self.reopen();
            }
            Step::Restart => self.reopen(),
            Step::Snapshot => self.install_snapshot(),
            Step::Read { series, start, length } => self.check(*series, *start, start + length),
        }
    }

    pub fn reopen(&mut self) {
        self.frozen = None;
        self.engine = None;
        self.engine = Some(open(&self.directory));
        self.replay();
    }

    pub fn install_snapshot(&mut self) {
        let mut sender = self.shard().export().unwrap();
        let mut receiver = self.engine().import(SHARD, INCARNATION).unwrap();
        while let Some(frame) = sender.next_frame().unwrap() {
            receiver.push(&frame).unwrap();
        }
        receiver.finish().unwrap();
        if let Some((frozen, ..)) = self.frozen.take() {
            self.shard().release(frozen);
        }
        self.replay();
    }

    pub fn check(&self, series: u8, start: i64, end: i64) {
        let id = self.id(series);
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        let mut reader = self.shard().reader();
        reader.read(id, start, end, &mut timestamps, &mut values).unwrap();
        let found = found(&mut reader, timestamps, values);
        let samples = self.model.get(&series).cloned().unwrap_or_default();
        let expected: Vec<(i64, u64)> = samples.range(start..=end).map(|(time, bits)| (*time, *bits)).collect();
        assert_eq!(found, expected, "series {series} as {id}");
    }

    pub fn check_all(&self) {
        let shard = self.shard();
        let mut reader = shard.reader();
        let matcher = Matcher::new("job", MatchOp::Re, "job.*").unwrap();
        let selected = shard.select(&[matcher], i64::MIN, i64::MAX).unwrap();
        assert_eq!(selected.len(), self.days.values().filter(|days| !days.is_empty()).count());
        for id in selected {
            let job = shard.labels(id).unwrap().get("job").unwrap().to_string();
            let series: u8 = job.strip_prefix("job").unwrap().parse().unwrap();
            let (mut timestamps, mut values) = (Vec::new(), Vec::new());
            reader.read(id, i64::MIN, i64::MAX, &mut timestamps, &mut values).unwrap();
            let found: BTreeMap<i64, u64> = found(&mut reader, timestamps, values).into_iter().collect();
            assert_eq!(found, self.model[&series], "{job}");
        }
        for (series, samples) in &self.model {
            let matcher = [Matcher::equal("job", format!("job{series}"))];
            for time in samples.keys().take(5) {
                assert_eq!(shard.select(&matcher, *time, *time).unwrap(), [self.id(*series)], "{series} is active at {time}");
            }
        }
    }

    pub fn check_beside(&self, shard: &Shard) {
        let jobs =
            [vec![Matcher::new("job", MatchOp::Re, "job[0-4]").unwrap()], vec![Matcher::new("job", MatchOp::Re, "job[2-9]").unwrap()]];
        let mut found: BTreeMap<u8, Vec<Exemplar>> = BTreeMap::new();
        for (labels, exemplars) in shard.exemplars(&jobs, i64::MIN, i64::MAX) {
            found.insert(labels.get("job").unwrap().strip_prefix("job").unwrap().parse().unwrap(), exemplars);
        }
        let mut expected: BTreeMap<u8, Vec<Exemplar>> = BTreeMap::new();
        self.exemplars.iter().for_each(|(series, exemplar)| expected.entry(*series).or_default().push(exemplar.clone()));
        assert_eq!(found, expected);
        let helps: Vec<String> = shard.metadata(Some("metric_1")).into_iter().map(|entry| entry.help).collect();
        assert_eq!(helps, self.helps.iter().map(u8::to_string).collect::<Vec<_>>());
        assert_eq!(shard.metadata(None).len(), helps.len());
    }

    /// Another replica that only ever applied must have the same content and the same numbers.
    pub fn check_replica(&self) {
        let directory = self.root.path().join("replica");
        let replica = open(&directory).shard(SHARD).unwrap();
        for (index, payload) in self.log.iter().enumerate() {
            replica.apply(index as u64 + 1, payload).unwrap();
        }
        assert_eq!(replica.content_hash().unwrap(), self.shard().content_hash().unwrap());
        self.check_beside(&replica);
        let named = [Matcher::new("job", MatchOp::Ne, "").unwrap()];
        for time in [i64::MIN, BASE_MS - DAY_MS, BASE_MS, BASE_MS + 2 * HOUR_MS] {
            let end = if time == i64::MIN { i64::MAX } else { time };
            assert_eq!(replica.select(&named, time, end).unwrap(), self.shard().select(&named, time, end).unwrap(), "active at {time}");
        }
    }
}
