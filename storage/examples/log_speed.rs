//! Measures the log: entries of a given size from several groups, one sync a round.
//!
//! `cargo run --release -p tern-storage --example log_speed -- [bytes an entry] [groups] [rounds] [directory]`
//! Defaults: 64 KiB, 6 groups, 2000 rounds. Every 200 rounds the older half is purged.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tern_storage::{LogBatch, LogDb, LogOptions};

const PURGE_ROUNDS: u64 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (bytes, groups, rounds) = (number(1, 64 << 10) as usize, number(2, 6), number(3, 2000));
    let directory = arguments.get(4).map_or_else(|| std::env::temp_dir().join("tern_log_speed"), PathBuf::from);
    let _absent_is_fine = std::fs::remove_dir_all(&directory);
    let payload: Vec<u8> = (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();

    let log = LogDb::open(&directory, LogOptions::default()).expect("open log");
    let (mut writes, mut syncs) = (Vec::new(), Vec::new());
    let started = Instant::now();
    for round in 1..=rounds {
        let mut batch = LogBatch::new();
        for group in 0..groups {
            batch.put_entry(group, round, 1, &[b"header", &payload]);
            if round % PURGE_ROUNDS == 0 {
                batch.purge_entries(group, round - PURGE_ROUNDS / 2);
            }
        }
        let begun = Instant::now();
        log.write(batch).expect("write");
        writes.push(begun.elapsed());
        let begun = Instant::now();
        log.sync().expect("sync");
        syncs.push(begun.elapsed());
        if round % PURGE_ROUNDS == 0 {
            log.reclaim().expect("reclaim");
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let megabytes = (bytes as u64 * groups * rounds) as f64 / 1e6;
    println!("{megabytes:.0} MB in {seconds:.2} s: {:.0} MB/s, {:.0} rounds/s", megabytes / seconds, rounds as f64 / seconds);
    println!("write {}, sync {}", quantiles(writes), quantiles(syncs));
    println!("SST files: {:.1} MB", log.table_bytes().expect("table bytes") as f64 / 1e6);
    drop(log);
    let started = Instant::now();
    let log = LogDb::open(&directory, LogOptions::default()).expect("open log");
    println!("reopen: {:.0} ms, shortened: {:?}", started.elapsed().as_secs_f64() * 1e3, log.check_high_water().expect("check"));
    let started = Instant::now();
    let entries: usize = (0..groups).map(|group| log.read_entries(group, rounds - 50..rounds, usize::MAX).expect("read").len()).sum();
    println!("read {entries} entries: {:.1} us each", started.elapsed().as_secs_f64() * 1e6 / entries as f64);
    drop(log);
    let _leftovers_are_harmless = std::fs::remove_dir_all(&directory);
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(50), at(99), at(100))
}
