//! Both kinds of instance answer alike, and the one in memory forgets what a disk would.

use super::*;
use crate::memory_disk::Syncs;

fn on_disk() -> (tempfile::TempDir, Rocks) {
    let directory = tempfile::tempdir().unwrap();
    let rocks = Rocks::open_log(directory.path(), &LogTuning { wal_bytes_max: 1 << 20, memtable_bytes: 1 << 20 }).unwrap();
    (directory, rocks)
}

fn content(rocks: &Rocks, family: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut scan = rocks.scan(family, b"", None, Caching::Bypass).unwrap();
    let mut found = Vec::new();
    while let Some((key, value)) = scan.item().unwrap() {
        found.push((key.to_vec(), value.to_vec()));
        scan.advance();
    }
    found
}

fn put(rocks: &Rocks, key: &str) {
    let mut batch = Batch::default();
    batch.put_default(key.as_bytes(), b"value");
    rocks.write(batch, Durability::Logged).unwrap();
}

fn keys(rocks: &Rocks) -> Vec<String> {
    content(rocks, FAMILY_DEFAULT).into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn memory_and_disk_answer_alike() {
    let (_directory, disk) = on_disk();
    let memory = Rocks::open_in_memory(&MemoryDisk::new()).unwrap();
    for rocks in [&disk, &memory] {
        let mut batch = Batch::default();
        let long = vec![7; 300];
        for number in 0..20u8 {
            batch.put_default(&[1, number], &long);
        }
        batch.delete_default(&[1, 3]);
        batch.delete_range_default(&[1, 10], &[1, 15]);
        batch.put_default(&[1, 12], b"again");
        rocks.write(batch, Durability::Logged).unwrap();
        rocks.create_family("raw_1").unwrap();
        let mut batch = Batch::default();
        batch.put(rocks, "raw_1", b"b", b"from a batch").unwrap();
        batch.put(rocks, "raw_1", b"c", b"gone").unwrap();
        batch.delete(rocks, "raw_1", b"c").unwrap();
        rocks.write(batch, Durability::Unlogged).unwrap();
    }
    assert_eq!(content(&disk, FAMILY_DEFAULT).len(), 15);
    assert_eq!(content(&disk, FAMILY_DEFAULT), content(&memory, FAMILY_DEFAULT));
    assert_eq!(content(&disk, "raw_1"), content(&memory, "raw_1"));
    for (from, to) in [([1, 5], [1, 13]), ([1, 10], [1, 12]), ([2, 0], [3, 0])] {
        assert_eq!(disk.last(FAMILY_DEFAULT, &from, &to).unwrap(), memory.last(FAMILY_DEFAULT, &from, &to).unwrap());
    }
    assert_eq!(disk.families("raw_").unwrap(), memory.families("raw_").unwrap());
    assert!(memory.get("missing", b"a").is_err() && disk.get("missing", b"a").is_err());
}

#[test]
fn what_was_not_synced_is_lost_but_for_a_beginning() {
    let disk = MemoryDisk::new();
    let rocks = Rocks::open_in_memory(&disk).unwrap();
    put(&rocks, "a");
    rocks.sync_wal().unwrap();
    ["b", "c", "d"].iter().for_each(|key| put(&rocks, key));
    assert_eq!(keys(&rocks), ["a", "b", "c", "d"]);
    disk.crash(|unsynced| unsynced.min(1));
    assert!(rocks.sync_wal().is_err(), "a handle outlived the power");
    assert_eq!(keys(&Rocks::open_in_memory(&disk).unwrap()), ["a", "b"]);
}

#[test]
fn a_disk_that_pretends_to_sync_forgets() {
    let disk = MemoryDisk::new();
    let rocks = Rocks::open_in_memory(&disk).unwrap();
    put(&rocks, "a");
    rocks.sync_wal().unwrap();
    disk.set_syncs(Syncs::Pretended);
    put(&rocks, "b");
    rocks.sync_wal().unwrap();
    disk.crash(|_| 0);
    let rocks = Rocks::open_in_memory(&disk).unwrap();
    assert_eq!(keys(&rocks), ["a"]);
    disk.set_syncs(Syncs::Failing);
    assert!(rocks.sync_wal().is_err());
}

#[test]
fn without_the_log_a_flush_makes_durable() {
    let disk = MemoryDisk::new();
    let rocks = Rocks::open_in_memory(&disk).unwrap();
    rocks.create_family("series").unwrap();
    for (key, flush) in [(b"a", true), (b"b", false)] {
        let mut batch = Batch::default();
        batch.put(&rocks, "series", key, b"value").unwrap();
        rocks.write(batch, Durability::Unlogged).unwrap();
        if flush {
            rocks.flush("series").unwrap();
        }
    }
    let mut file = rocks.sorted_file(Path::new("1.sst")).unwrap();
    file.put(b"c", b"value").unwrap();
    let path = file.finish().unwrap();
    rocks.ingest("series", vec![path]).unwrap();
    disk.crash(|_| 0);
    let keys: Vec<_> = content(&Rocks::open_in_memory(&disk).unwrap(), "series").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"a", b"c"]);
}
