//! The engine beside a plain map: whatever is applied, sealed, compacted, crashed, replayed or sent as a
//! snapshot, and in whatever order, both hold the same bits.
//!
//! A crash is a copy of the files as they are while the engine runs, opened again: what `kill -9` leaves.

mod steps;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use tern_storage::batch::{self, BatchBuilder, ConflictPolicy};
use tern_storage::{Engine, EngineOptions, HashKey, MatchOp, Matcher, StorageError, labels};

use crate::steps::*;
use crate::world::*;

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
