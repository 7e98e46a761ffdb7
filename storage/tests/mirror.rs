//! The engine beside a plain map: whatever is applied, sealed, compacted, crashed, replayed or sent as a
//! snapshot, and in whatever order, both hold the same bits.
//!
//! A crash is a copy of the files as they are while the engine runs, opened again: what `kill -9` leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tern_storage::batch::{self, BatchBuilder, ConflictPolicy};
use tern_storage::histogram::{CUSTOM_BUCKETS_SCHEMA, Counts, Histogram, ResetHint, Span, marker_of};
use tern_storage::{
    Applied, Deletion, Engine, EngineOptions, Exemplar, Frozen, HashKey, MatchOp, Matcher, Metadata, Reader, SeriesId, Shard, StorageError,
    UNKNOWN_SERIES, labels,
};

const KEY: HashKey = HashKey([7; 16]);
const SHARD: u32 = 3;
const INCARNATION: u64 = 1;
const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01T23:00:00Z: an hour before the end of a day, and of a bucket.
const BASE_MS: i64 = 1_767_308_400_000;

#[derive(Clone, Debug)]
enum Step {
    Apply {
        samples: Vec<(u8, i64, u8)>,
        policy: ConflictPolicy,
    },
    /// Exemplars of series that exist: (series, time, trace).
    Beside {
        exemplars: Vec<(u8, i64, u8)>,
        help: u8,
    },
    /// Of the series of one of the three metrics, or of all.
    Delete {
        metric: Option<u8>,
        range: (i64, i64),
    },
    Clean,
    Freeze,
    Persist,
    Mark,
    Release,
    /// A seal is given up before it is marked.
    GiveUp,
    Compact,
    Crash,
    Restart,
    Snapshot,
    Read {
        series: u8,
        start: i64,
        length: i64,
    },
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => (0..40i64).prop_map(|n| BASE_MS + n * 15_000),
        2 => (-4 * HOUR_MS..8 * HOUR_MS).prop_map(|offset| BASE_MS + offset),
        1 => Just(BASE_MS - 40 * 24 * HOUR_MS),
    ]
}

fn range() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        2 => Just((i64::MIN, i64::MAX)),
        3 => (time(), 0..2 * HOUR_MS).prop_map(|(start, length)| (start, start + length)),
        1 => time().prop_map(|start| (i64::MIN, start)),
        1 => time().prop_map(|end| (end, i64::MAX)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let samples = prop::collection::vec((0..8u8, time(), 0..10u8), 1..60);
    let policy = prop_oneof![Just(ConflictPolicy::LastWriteWins), Just(ConflictPolicy::Reject)];
    prop_oneof![
        8 => (samples, policy).prop_map(|(samples, policy)| Step::Apply { samples, policy }),
        2 => (prop::collection::vec((0..8u8, 0..20i64, 0..4u8), 0..8), 0..4u8).prop_map(|(exemplars, help)| Step::Beside { exemplars, help }),
        3 => (prop::option::of(0..3u8), range()).prop_map(|(metric, range)| Step::Delete { metric, range }),
        1 => Just(Step::Clean),
        4 => Just(Step::Freeze),
        4 => Just(Step::Persist),
        3 => Just(Step::Mark),
        3 => Just(Step::Release),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Compact),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
        1 => Just(Step::Snapshot),
        4 => (0..8u8, time(), 0..4 * HOUR_MS).prop_map(|(series, start, length)| Step::Read { series, start, length }),
    ]
}

fn value(number: u8) -> f64 {
    match number {
        0 => f64::from_bits(0x7ff0_0000_0000_0002),
        1 => -0.0,
        2 => f64::INFINITY,
        3 => 0.1 + 0.2,
        n => f64::from(n),
    }
}

/// Some numbers mean a histogram: two growing ones with the same or other buckets, one with custom buckets, a gauge.
fn histogram(number: u8) -> Option<Histogram> {
    let number = u64::from(number.checked_sub(6)?) + 1;
    let is_custom = number == 3;
    let counts = match number {
        4 => Counts::Float { count: 1.5, zero_count: 0.5, positive: vec![1.0; 4], negative: vec![] },
        _ => Counts::Integer { count: 4 * number, zero_count: 0, positive: vec![number; 4], negative: vec![] },
    };
    Some(Histogram {
        reset_hint: ResetHint::Unknown,
        schema: if is_custom { CUSTOM_BUCKETS_SCHEMA } else { 0 },
        zero_threshold: 0.0,
        sum: f64::from_bits(0x7ff0_0000_0000_0002 + number / 4),
        counts,
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: i32::from(number == 2), length: 3 }],
        negative_spans: vec![],
        custom_values: if is_custom { vec![0.1, 0.2, 0.3] } else { vec![] },
    })
}

/// As the model keeps it: a float's bits, a histogram's marker.
fn bits_of(number: u8) -> u64 {
    histogram(number).map_or(value(number).to_bits(), |histogram| marker_of(&histogram.encoded()))
}

/// What a reader found, likewise.
fn found(reader: &mut Reader, timestamps: Vec<i64>, values: Vec<f64>) -> Vec<(i64, u64)> {
    let mut bits: Vec<u64> = values.into_iter().map(f64::to_bits).collect();
    for (position, histogram) in reader.histograms().iter() {
        bits[*position as usize] = marker_of(&histogram.encoded());
    }
    timestamps.into_iter().zip(bits).collect()
}

fn canonical(series: u8) -> Vec<u8> {
    let (name, job) = (format!("metric_{}", series % 3), format!("job{series}"));
    let mut out = Vec::new();
    let mut pairs = vec![("__name__", name.as_str()), ("job", job.as_str())];
    labels::canonicalize(&mut pairs, &mut out).unwrap();
    out
}

type Model = BTreeMap<u8, BTreeMap<i64, u64>>;

/// Few, so that old ones go.
const EXEMPLARS_MAX: usize = 10;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The engine, the log it was fed, and what it must hold.
struct World {
    directory: PathBuf,
    root: tempfile::TempDir,
    crashes: u32,
    engine: Option<Arc<Engine>>,
    log: Vec<Bytes>,
    /// Entries that the durable marker covers.
    marker: usize,
    frozen: Option<(Frozen, usize, bool)>,
    model: Model,
    /// Days in which each series was active.
    days: BTreeMap<u8, BTreeSet<i64>>,
    exemplars: Vec<(u8, Exemplar)>,
    /// Of the one metric that has metadata, the latest first.
    helps: Vec<u8>,
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
    fn new() -> Self {
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

    fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().unwrap()
    }

    fn shard(&self) -> Arc<Shard> {
        self.engine().shard(SHARD).unwrap()
    }

    fn id(&self, series: u8) -> SeriesId {
        let mut ids = Vec::new();
        self.shard().lookup(&[labels::hash(&KEY, &canonical(series))], &mut ids);
        ids[0]
    }

    fn apply(&mut self, samples: &[(u8, i64, u8)], policy: ConflictPolicy) {
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

    fn log_and_apply(&mut self, mut builder: BatchBuilder) -> Applied {
        let payload = batch::join(&[builder.encode().into()]);
        self.log.push(payload.clone());
        self.shard().apply(self.log.len() as u64, &payload).unwrap()
    }

    fn apply_beside(&mut self, exemplars: &[(u8, i64, u8)], help: u8) {
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

    fn delete(&mut self, metric: Option<u8>, (start_ms, end_ms): (i64, i64)) {
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

    fn replay(&mut self) {
        let shard = self.shard();
        for (index, payload) in self.log.iter().enumerate().skip(self.marker) {
            shard.apply(index as u64 + 1, payload).unwrap();
        }
    }

    fn take(&mut self, step: &Step) {
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

    fn reopen(&mut self) {
        self.frozen = None;
        self.engine = None;
        self.engine = Some(open(&self.directory));
        self.replay();
    }

    fn install_snapshot(&mut self) {
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

    fn check(&self, series: u8, start: i64, end: i64) {
        let id = self.id(series);
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        let mut reader = self.shard().reader();
        reader.read(id, start, end, &mut timestamps, &mut values).unwrap();
        let found = found(&mut reader, timestamps, values);
        let samples = self.model.get(&series).cloned().unwrap_or_default();
        let expected: Vec<(i64, u64)> = samples.range(start..=end).map(|(time, bits)| (*time, *bits)).collect();
        assert_eq!(found, expected, "series {series} as {id}");
    }

    fn check_all(&self) {
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

    fn check_beside(&self, shard: &Shard) {
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
    fn check_replica(&self) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_engine_holds_what_its_mirror_holds(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.check_all();
        world.check_beside(&world.shard());
        world.check_replica();
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.apply(&[(1, BASE_MS, 4), (2, BASE_MS + 7, 5)], ConflictPolicy::LastWriteWins);
    world.take(&Step::Freeze);
    world.take(&Step::Persist);
    world.take(&Step::Release);
    let mut sender = world.shard().export().unwrap();
    let frames: Vec<Bytes> = std::iter::from_fn(|| sender.next_frame().unwrap()).collect();
    drop(sender);
    assert!(frames.len() >= 3);
    for broken in 0..frames.len() {
        let mut receiver = world.engine().import(SHARD, INCARNATION).unwrap();
        let mut result = Ok(());
        for (number, frame) in frames.iter().enumerate() {
            let mut frame = frame.to_vec();
            if number == broken {
                let middle = frame.len() / 2;
                frame[middle] ^= 1;
            }
            result = result.and_then(|()| receiver.push(&frame));
        }
        assert!(matches!(result, Err(StorageError::Corrupt { .. })), "frame {broken}: {result:?}");
    }
    // A frame that is missing, or comes twice, is noticed at the end at the latest.
    for omitted in 0..frames.len() {
        let mut receiver = world.engine().import(SHARD, INCARNATION).unwrap();
        let kept = frames.iter().enumerate().filter(|(number, _)| *number != omitted);
        let result = kept.map(|(_, frame)| receiver.push(frame)).collect::<Result<Vec<_>, _>>();
        assert!(result.is_err() || receiver.finish().is_err(), "frame {omitted}");
    }
    world.check_all();
    world.reopen();
    world.check_all();
}

#[test]
fn unknown_series_and_foreign_bytes_are_answers() {
    let world = World::new();
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    builder.push(17, BASE_MS, 1.0);
    let good = builder.encode();
    let payload = batch::join(&[good.into(), Bytes::from_static(b"not a batch at all")]);
    let applied = world.shard().apply(1, &payload).unwrap();
    assert_eq!((applied.parts[0].unknown_series, applied.parts[0].accepted), (1, 0));
    assert!(applied.parts[1].first_problem.is_some());
    assert_eq!(world.shard().apply(2, b"\xff\xff").unwrap().parts.len(), 1);
    assert_eq!(world.shard().series_count(), 0);
}

#[test]
fn expired_days_are_gone_and_stay_gone() {
    let mut world = World::new();
    let old = BASE_MS - 20 * 24 * HOUR_MS;
    world.apply(&[(1, old, 4), (1, BASE_MS, 5), (2, old, 4)], ConflictPolicy::LastWriteWins);
    world.take(&Step::Freeze);
    world.take(&Step::Persist);
    world.take(&Step::Release);
    assert_eq!(world.engine().expire(BASE_MS).unwrap(), 1);
    for samples in world.model.values_mut() {
        samples.retain(|time, _| *time > old);
    }
    for series in [1, 2] {
        world.check(series, i64::MIN, i64::MAX);
    }
    let named = [Matcher::new("job", MatchOp::Ne, "").unwrap()];
    assert_eq!(world.shard().select(&named, old, old).unwrap(), []);
    world.reopen();
    world.check(1, i64::MIN, i64::MAX);
}

#[test]
fn another_incarnation_starts_empty() {
    let mut world = World::new();
    world.apply(&[(1, BASE_MS, 4)], ConflictPolicy::LastWriteWins);
    for step in [Step::Freeze, Step::Persist, Step::Release] {
        world.take(&step);
    }
    // Who reads the old content, from files, goes on reading it.
    world.reopen();
    let (mut reader, mut export) = (world.shard().reader(), world.shard().export().unwrap());
    let shard = world.engine().open_shard(SHARD, INCARNATION + 1).unwrap();
    assert_eq!((shard.series_count(), shard.content_hash().unwrap()), (0, 0));
    world.engine().drop_shard(SHARD).unwrap();
    assert!(world.engine().shard(SHARD).is_none());
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    reader.read(0, i64::MIN, i64::MAX, &mut timestamps, &mut values).unwrap();
    assert_eq!((timestamps, values), (vec![BASE_MS], vec![4.0]));
    let mut frames = 0;
    while export.next_frame().unwrap().is_some() {
        frames += 1;
    }
    // Series, chunks, three records and the end.
    assert_eq!(frames, 6);
    drop((reader, export, shard));
    world.engine().expire(BASE_MS).unwrap();
    assert_eq!(world.engine().stats().unwrap().raw_bytes, 0);
    assert!(world.engine().set_hash_key(HashKey([8; 16])).is_err());
}

#[test]
fn a_flipped_bit_on_disk_is_never_served() {
    let mut world = World::new();
    for round in 0..20 {
        let samples: Vec<_> = (0..8u8).map(|series| (series, BASE_MS + round * 15_000, 3 + (series + round as u8) % 3)).collect();
        world.apply(&samples, ConflictPolicy::LastWriteWins);
    }
    for step in [Step::Freeze, Step::Persist, Step::Release] {
        world.take(&step);
    }
    world.engine = None;
    let files = std::fs::read_dir(world.directory.join("rocks")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    assert!(files.len() >= 2);
    let mut refused = 0;
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        for place in (5..bytes.len()).step_by(bytes.len() / 8) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            std::fs::write(file, damaged).unwrap();
            refused += u32::from(is_refused(&world));
        }
        std::fs::write(file, bytes).unwrap();
    }
    assert!(refused > 0, "damage to {} files went unnoticed", files.len());
    assert!(!is_refused(&world));
}

/// Opens the engine and reads everything: an error, or exactly what was applied.
fn is_refused(world: &World) -> bool {
    let read = || -> Result<(), StorageError> {
        let engine = Engine::open(&world.directory, EngineOptions::default())?;
        let shard = engine.open_shard(SHARD, INCARNATION)?;
        let mut reader = shard.reader();
        for (series, samples) in &world.model {
            let mut ids = Vec::new();
            shard.lookup(&[labels::hash(&KEY, &canonical(*series))], &mut ids);
            let (mut timestamps, mut values) = (Vec::new(), Vec::new());
            reader.read(ids[0], i64::MIN, i64::MAX, &mut timestamps, &mut values)?;
            let found: BTreeMap<i64, u64> = timestamps.into_iter().zip(values.into_iter().map(f64::to_bits)).collect();
            assert_eq!(&found, samples, "series {series}");
        }
        Ok(())
    };
    read().is_err()
}

fn seal(world: &mut World) {
    for step in [Step::Freeze, Step::Persist, Step::Release] {
        world.take(&step);
    }
}

/// An image that is newer than its marker holds what came after a deletion; its replay must neither hide that for good nor take
/// it for a duplicate.
#[test]
fn a_deletion_replayed_over_a_newer_image_loses_nothing() {
    for policy in [ConflictPolicy::Reject, ConflictPolicy::LastWriteWins] {
        let mut world = World::new();
        world.apply(&[(1, BASE_MS, 4), (4, BASE_MS, 4)], policy);
        seal(&mut world);
        world.delete(Some(1), (BASE_MS, BASE_MS + 10));
        world.apply(&[(1, BASE_MS, 4), (1, BASE_MS + 5, 5)], policy);
        world.take(&Step::Freeze);
        world.take(&Step::Persist);
        world.take(&Step::Crash);
        world.check_all();
        seal(&mut world);
        world.reopen();
        world.check_all();
        world.check_replica();
    }
}

#[test]
fn deleted_samples_leave_the_disk_and_their_tombstones_with_them() {
    let mut world = World::new();
    for round in 0..3 {
        world.apply(&[(1, BASE_MS + round, 4), (2, BASE_MS + round, 5)], ConflictPolicy::Reject);
        seal(&mut world);
    }
    world.delete(Some(1), (i64::MIN, i64::MAX));
    assert_eq!(world.shard().stats().tombstones, 1);
    // It is durable although no sample came with it.
    seal(&mut world);
    world.reopen();
    assert_eq!((world.log.len(), world.marker, world.shard().stats().tombstones), (4, 4, 1));
    world.check_all();
    assert_eq!(world.engine().clean_tombstones().unwrap(), 3);
    assert_eq!(world.shard().stats().tombstones, 0);
    world.check_all();
    world.delete(Some(2), (i64::MIN, i64::MAX));
    assert_eq!(world.engine().clean_tombstones().unwrap(), 0);
    let stats = world.shard().stats();
    assert_eq!((stats.tombstones, stats.runs), (0, 0));
    world.reopen();
    world.check_all();
    world.check_replica();
}

#[test]
fn a_deletion_of_what_is_in_memory_leaves_no_tombstone() {
    let mut world = World::new();
    world.apply(&[(1, BASE_MS, 4), (2, BASE_MS, 5)], ConflictPolicy::Reject);
    world.delete(None, (i64::MIN, i64::MAX));
    assert_eq!((world.shard().stats().tombstones, world.shard().head_samples()), (0, 0));
    world.check_all();
    world.apply(&[(1, BASE_MS, 5)], ConflictPolicy::Reject);
    world.check_all();
    world.check_replica();
}

/// A deletion that begins in the middle of a day in which the series had nothing: its next sample there makes it active.
#[test]
fn a_series_written_after_its_newest_sample_was_deleted_is_active_again() {
    let old = BASE_MS - 40 * DAY_MS;
    for restart in [false, true] {
        let mut world = World::new();
        world.apply(&[(4, BASE_MS, 4)], ConflictPolicy::LastWriteWins);
        seal(&mut world);
        world.delete(None, (old, i64::MAX));
        if restart {
            seal(&mut world);
            world.reopen();
        }
        world.apply(&[(4, old, 4)], ConflictPolicy::LastWriteWins);
        world.check_all();
        world.apply(&[(4, BASE_MS + 1, 4)], ConflictPolicy::Reject);
        world.check_all();
        world.check_replica();
    }
}
