//! The log against a model, and against damage.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn small() -> LogOptions {
    LogOptions { memtable_bytes: 64 << 10, high_water_interval: Duration::ZERO, reclaim_bytes_min: 16 << 10, ..LogOptions::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Append { group: u64, count: u64, bytes: usize },
    Truncate { group: u64, back: u64 },
    Purge { group: u64, keep: u64 },
    Meta { group: u64, value: u8 },
    DropGroup { group: u64 },
    Sync,
    Reclaim,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 0..3u64;
    prop_oneof![
        6 => (group.clone(), 1..20u64, 0..3000usize).prop_map(|(group, count, bytes)| Step::Append { group, count, bytes }),
        2 => (group.clone(), 0..10u64).prop_map(|(group, back)| Step::Truncate { group, back }),
        2 => (group.clone(), 0..10u64).prop_map(|(group, keep)| Step::Purge { group, keep }),
        1 => (group.clone(), any::<u8>()).prop_map(|(group, value)| Step::Meta { group, value }),
        1 => group.prop_map(|group| Step::DropGroup { group }),
        2 => Just(Step::Sync),
        1 => Just(Step::Reclaim),
        2 => Just(Step::Reopen),
    ]
}

/// What one group must answer.
#[derive(Clone, Debug, Default)]
struct Mirror {
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    purged: Option<u64>,
    meta: Option<u8>,
    next: u64,
    term: u64,
}

fn check(log: &LogDb, mirrors: &BTreeMap<u64, Mirror>) {
    for (&group, mirror) in mirrors {
        let first = mirror.entries.first_key_value();
        let last = mirror.entries.last_key_value();
        assert_eq!(log.first_entry(group).unwrap().map(|e| e.index), first.map(|(i, _)| *i));
        assert_eq!(log.last_entry(group).unwrap().map(|e| (e.index, e.term)), last.map(|(i, (t, _))| (*i, *t)));
        assert_eq!(log.purged(group).unwrap(), mirror.purged);
        assert_eq!(log.get_meta(group, "m").unwrap(), mirror.meta.map(|m| Bytes::from(vec![m])));
        let from = first.map_or(0, |(i, _)| *i);
        let read = log.read_entries(group, from..u64::MAX, usize::MAX).unwrap();
        assert_eq!(read.len(), mirror.entries.len());
        for (entry, (index, (term, payload))) in read.iter().zip(&mirror.entries) {
            assert_eq!((entry.index, entry.term, &entry.payload[..]), (*index, *term, &payload[..]));
        }
    }
    let there = mirrors.iter().filter(|(_, m)| !m.entries.is_empty() || m.purged.is_some() || m.meta.is_some());
    assert_eq!(log.groups().unwrap(), there.map(|(g, _)| *g).collect());
}

fn apply(step: &Step, log: &LogDb, mirrors: &mut BTreeMap<u64, Mirror>) {
    let mut batch = LogBatch::new();
    match *step {
        Step::Append { group, count, bytes } => {
            let mirror = mirrors.entry(group).or_default();
            mirror.term += 1;
            for _ in 0..count {
                mirror.next += 1;
                let payload = vec![mirror.next as u8; bytes];
                let (head, tail) = payload.split_at(bytes / 3);
                batch.put_entry(group, mirror.next, mirror.term, &[head, tail]);
                mirror.entries.insert(mirror.next, (mirror.term, payload));
            }
        }
        Step::Truncate { group, back } => {
            let mirror = mirrors.entry(group).or_default();
            let floor = mirror.purged.unwrap_or(0);
            mirror.next = mirror.next.saturating_sub(back).max(floor);
            batch.truncate_entries(group, mirror.next + 1);
            mirror.entries.split_off(&(mirror.next + 1));
        }
        Step::Purge { group, keep } => {
            let mirror = mirrors.entry(group).or_default();
            let upto = mirror.next.saturating_sub(keep).max(mirror.purged.unwrap_or(0));
            batch.purge_entries(group, upto);
            mirror.entries = mirror.entries.split_off(&(upto + 1));
            mirror.purged = Some(upto);
        }
        Step::Meta { group, value } => {
            batch.put_meta(group, "m", &[value]);
            mirrors.entry(group).or_default().meta = Some(value);
        }
        Step::DropGroup { group } => {
            batch.drop_group(group);
            mirrors.insert(group, Mirror::default());
        }
        Step::Sync => return log.sync().unwrap(),
        Step::Reclaim => return log.reclaim().unwrap(),
        Step::Reopen => unreachable!("handled by the caller"),
    }
    log.write(batch).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn answers_like_its_mirror(steps in proptest::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogDb::open(directory.path(), small()).unwrap();
        let mut mirrors = BTreeMap::new();
        for step in &steps {
            if let Step::Reopen = step {
                drop(log);
                log = LogDb::open(directory.path(), small()).unwrap();
                prop_assert_eq!(log.check_high_water().unwrap(), vec![]);
            } else {
                apply(step, &log, &mut mirrors);
            }
        }
        check(&log, &mirrors);
    }
}

fn put(log: &LogDb, group: u64, range: Range<u64>, term: u64) {
    let mut batch = LogBatch::new();
    for index in range {
        batch.put_entry(group, index, term, &[b"payload"]);
    }
    log.write(batch).unwrap();
}

#[test]
fn a_log_shorter_than_its_mark_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogDb::open(directory.path(), small()).unwrap();
    put(&log, 1, 1..11, 3);
    put(&log, 2, 1..11, 3);
    log.sync().unwrap();
    drop(log);
    // Keep the marks, lose the log: what a truncated write-ahead log amounts to.
    let saved: Vec<_> =
        ["high_water.0", "high_water.1"].map(|name| (name, std::fs::read(directory.path().join(name)).unwrap_or_default())).into();
    let other = tempfile::tempdir().unwrap();
    let log = LogDb::open(other.path(), small()).unwrap();
    put(&log, 1, 1..10, 3);
    put(&log, 2, 1..11, 2);
    // As many writes as there were before, but other ones.
    put(&log, 3, 1..11, 2);
    drop(log);
    std::fs::remove_file(other.path().join("high_water.latest")).unwrap();
    for (name, bytes) in saved {
        std::fs::write(other.path().join(name), bytes).unwrap();
    }
    let log = LogDb::open(other.path(), small()).unwrap();
    let shortened = log.check_high_water().unwrap();
    let expected = Mark { index: 10, term: 3 };
    assert_eq!(
        shortened,
        [
            ShortenedLog { group: 1, expected, found: Some(Mark { index: 9, term: 3 }) },
            ShortenedLog { group: 2, expected, found: Some(Mark { index: 10, term: 2 }) },
        ]
    );
}

#[test]
fn a_flipped_bit_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogDb::open(directory.path(), small()).unwrap();
    put(&log, 1, 1..3, 1);
    let key = entry_key(1, 2);
    let mut value = log.rocks.get(FAMILY_DEFAULT, &key).unwrap().unwrap();
    value[14] ^= 4;
    let mut batch = Batch::default();
    batch.put_default(&key, &value);
    log.rocks.write(batch, Durability::Logged).unwrap();
    assert!(log.read_entries(1, 1..2, 0).is_ok());
    assert!(matches!(log.read_entries(1, 1..3, 1000), Err(StorageError::Corrupt { .. })));
    assert!(matches!(log.last_entry(1), Err(StorageError::Corrupt { .. })));
}

#[test]
fn purged_space_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogDb::open(directory.path(), small()).unwrap();
    let payload: Vec<u8> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for index in 1..=200 {
        let mut batch = LogBatch::new();
        batch.put_entry(1, index, 1, &[&payload]);
        log.write(batch).unwrap();
    }
    assert!(log.table_bytes().unwrap() > 4 << 20);
    let mut batch = LogBatch::new();
    batch.purge_entries(1, 199);
    log.write(batch).unwrap();
    log.reclaim().unwrap();
    assert!(log.table_bytes().unwrap() < 1 << 20, "{} bytes left", log.table_bytes().unwrap());
}

#[test]
fn the_loss_of_any_synced_write_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    // The slots that are synced lag far behind.
    let options = LogOptions { high_water_interval: Duration::from_secs(3600), ..small() };
    let log = LogDb::open(directory.path(), options.clone()).unwrap();
    put(&log, 1, 1..11, 3);
    log.sync().unwrap();
    let mut vote = LogBatch::new();
    vote.put_meta(1, "vote", b"for node 2 in term 4");
    log.write(vote).unwrap();
    log.sync().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_files(directory.path(), copy.path());
    drop(log);
    assert_eq!(LogDb::open(copy.path(), options.clone()).unwrap().get_meta(1, "vote").unwrap().unwrap(), "for node 2 in term 4");

    // As the process left it, but for the last bytes of the write-ahead log.
    let copy = tempfile::tempdir().unwrap();
    let log = LogDb::open(directory.path(), options.clone()).unwrap();
    put(&log, 1, 11..13, 3);
    log.sync().unwrap();
    copy_files(directory.path(), copy.path());
    drop(log);
    let wal = newest_with(copy.path(), ".log");
    let length = std::fs::metadata(&wal).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 3).unwrap();
    let error = LogDb::open(copy.path(), options).map(drop).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains("had been synced"), "{error}");
}

#[test]
fn damage_met_while_running_is_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogDb::open(directory.path(), small()).unwrap();
    put(&log, 1, 1..3, 1);
    assert!(log.scrub(&mut |_| true).is_ok());
    let mut batch = Batch::default();
    batch.put_default(&entry_key(1, 2), b"not an entry");
    log.rocks.write(batch, Durability::Logged).unwrap();
    assert!(log.scrub(&mut |_| true).is_err());
    drop(log);
    let error = LogDb::open(directory.path(), small()).map(drop).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains("log entry"), "{error}");
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn newest_with(directory: &Path, end: &str) -> PathBuf {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().ends_with(end)).max().unwrap()
}
