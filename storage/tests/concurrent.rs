//! Readers beside the writer, the sealer and the compactor: what was applied before a read began is in its
//! answer, whole and in order, wherever the samples are at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tern_storage::batch::{self, BatchBuilder, ConflictPolicy};
use tern_storage::{Deletion, Engine, EngineOptions, HashKey, Matcher, Shard, UNKNOWN_SERIES, labels};

const KEY: HashKey = HashKey([9; 16]);
const SERIES: u32 = 300;
const ROUNDS: i64 = 600;
const STEP_MS: i64 = 60_000;
const BASE_MS: i64 = 1_767_308_400_000;

fn canonical(series: u32) -> Vec<u8> {
    let (name, instance) = (format!("m{}", series % 7), format!("i{series}"));
    let mut pairs = vec![("__name__", name.as_str()), ("instance", instance.as_str())];
    let mut out = Vec::new();
    labels::canonicalize(&mut pairs, &mut out).unwrap();
    out
}

fn write(shard: &Shard, applied: &AtomicI64) {
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    for round in 0..ROUNDS {
        builder.clear();
        for series in 0..SERIES {
            let time = BASE_MS + round * STEP_MS;
            // A third of the series is new later than the others.
            match (round, series % 3) {
                (0, 0 | 1) | (10, 2) => drop(builder.push_new(&canonical(series), time, round as f64)),
                (1..10, 2) | (0, _) => {}
                _ => builder.push(number(shard, series), time, round as f64),
            }
        }
        let outcome = shard.apply(round as u64, &batch::join(&[builder.encode().into()])).unwrap();
        assert_eq!(outcome.parts[0].first_problem, None);
        applied.store(round, Ordering::Release);
    }
}

fn number(shard: &Shard, series: u32) -> u32 {
    let mut found = Vec::new();
    shard.lookup(&[labels::hash(&KEY, &canonical(series))], &mut found);
    found[0]
}

/// Ends the sealer, also when a reader's assertion fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn seal(shard: &Shard, is_done: &AtomicBool) {
    while !is_done.load(Ordering::Acquire) {
        if let Some(frozen) = shard.freeze() {
            frozen.persist().unwrap();
            shard.release(frozen);
        }
        for bucket in shard.compactable(i64::MAX) {
            shard.compact(bucket).unwrap();
        }
        std::thread::yield_now();
    }
}

fn read(shard: &Shard, applied: &AtomicI64, first_series: u32) -> u64 {
    let (mut timestamps, mut values, mut reads) = (Vec::new(), Vec::new(), 0);
    let mut kept = shard.reader();
    loop {
        let mut fresh = shard.reader();
        for series in (first_series..SERIES).step_by(17) {
            let known = applied.load(Ordering::Acquire);
            let (id, first) = (number(shard, series), if series % 3 == 2 { 10 } else { 0 });
            if known < first {
                continue;
            }
            assert_ne!(id, UNKNOWN_SERIES);
            assert_eq!(&**shard.labels(id).unwrap().get("instance").unwrap(), format!("i{series}"));
            for reader in [&mut kept, &mut fresh] {
                reader.read(id, i64::MIN, i64::MAX, &mut timestamps, &mut values).unwrap();
                let rounds = first..first + timestamps.len() as i64;
                assert!(rounds.end > known, "series {series}: {} of {known} rounds", rounds.end);
                assert!(timestamps.iter().copied().eq(rounds.clone().map(|round| BASE_MS + round * STEP_MS)));
                assert!(values.iter().copied().eq(rounds.map(|round| round as f64)));
                reads += 1;
            }
        }
        if applied.load(Ordering::Acquire) == ROUNDS - 1 {
            return reads;
        }
    }
}

#[test]
fn reads_are_whole_whatever_happens_beside_them() {
    let directory = tempfile::tempdir().unwrap();
    // No room for recent chunks in half of the cases: those reads come from files.
    for recent_bytes_max in [0, 64 << 20] {
        let path = directory.path().join(recent_bytes_max.to_string());
        let engine = Engine::open(&path, EngineOptions { recent_bytes_max, ..EngineOptions::default() }).unwrap();
        engine.set_hash_key(KEY).unwrap();
        let shard: Arc<Shard> = engine.open_shard(0, 1).unwrap();
        let (applied, is_done) = (AtomicI64::new(-1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let _done = Done(&is_done);
            scope.spawn(|| seal(&shard, &is_done));
            let readers: Vec<_> = (0..2)
                .map(|first| {
                    scope.spawn({
                        let (shard, applied) = (&shard, &applied);
                        move || read(shard, applied, first)
                    })
                })
                .collect();
            write(&shard, &applied);
            readers.into_iter().for_each(|reader| assert!(reader.join().unwrap() > 0));
        });
        assert!(shard.stats().runs > 0);
    }
}

const REWRITES: i64 = 4000;

/// Replaces one sample again and again, and deletes it in between.
fn rewrite(shard: &Shard) {
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    // Other series of the metric, whose samples are looked for on disk before they are taken.
    let mut strict = BatchBuilder::new(ConflictPolicy::Reject);
    let matchers = vec![Matcher::equal("__name__", "m0")];
    let deletion = Deletion { matchers, start_ms: BASE_MS - 1, end_ms: BASE_MS + 1 };
    for round in 1..=REWRITES {
        builder.clear();
        match round {
            1 => drop(builder.push_new(&canonical(0), BASE_MS, 1.0)),
            _ if round % 3 == 0 => builder.push_deletion(&deletion),
            _ => builder.push(number(shard, 0), BASE_MS, round as f64),
        }
        strict.clear();
        strict.push_new(&canonical(7 * (round % 97 + 1) as u32), BASE_MS + round % 3, 1.0);
        shard.apply(round as u64, &batch::join(&[builder.encode().into(), strict.encode().into()])).unwrap();
    }
}

/// The greatest value seen; none may be older than one seen before.
fn watch(shard: &Shard, is_done: &AtomicBool) -> f64 {
    let (mut timestamps, mut values, mut newest) = (Vec::new(), Vec::new(), 0.0);
    let mut kept = shard.reader();
    loop {
        let is_last = is_done.load(Ordering::Acquire);
        let _ = shard.stats();
        for reader in [&mut kept, &mut shard.reader()] {
            reader.read(0, i64::MIN, i64::MAX, &mut timestamps, &mut values).unwrap();
            if let Some(&value) = values.first() {
                assert!(value >= newest, "{value} after {newest}");
                newest = value;
            }
        }
        if is_last {
            return newest;
        }
    }
}

#[test]
fn what_was_deleted_or_replaced_is_never_seen_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(directory.path(), EngineOptions { recent_bytes_max: 0, ..EngineOptions::default() }).unwrap();
    engine.set_hash_key(KEY).unwrap();
    let shard: Arc<Shard> = engine.open_shard(0, 1).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = Done(&is_done);
        scope.spawn(|| seal(&shard, &is_done));
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                engine.clean_tombstones().unwrap();
                std::thread::yield_now();
            }
        });
        let watchers = [scope.spawn(|| watch(&shard, &is_done)), scope.spawn(|| watch(&shard, &is_done))];
        rewrite(&shard);
        drop(done);
        for watcher in watchers {
            assert_eq!(watcher.join().unwrap(), REWRITES as f64);
        }
    });
}
