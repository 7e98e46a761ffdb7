//! Measures one shard's engine: apply, memory, seal, disk, restart, select and read.
//!
//! `cargo run --release -p tern-storage --example engine_speed -- [series] [scrapes] [directory] [queries]`
//! Defaults: 100 000 series, 240 scrapes 15 s apart (one hour), a directory under the system's temporary one.
//! Times are CPU times of the one thread, so that a busy machine does not matter; those of RocksDB's own
//! threads are not in them. A seal every 60 scrapes, as a node does it
//! every 15 minutes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tern_storage::batch::{self, BatchBuilder, ConflictPolicy};
use tern_storage::{Engine, EngineOptions, HashKey, Matcher, Shard, labels};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEY: HashKey = HashKey([7; 16]);
const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_767_312_000_000;
const SCRAPES_A_SEAL: usize = 60;
const SAMPLES_A_BATCH: usize = 10_000;
/// Series a target has; a metric has one series on each target or, for some, several.
const SERIES_A_TARGET: usize = 500;
const QUERY_SERIES: usize = 12_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let series = arguments.get(1).map_or(100_000, |text| text.parse().expect("a number of series"));
    let scrapes = arguments.get(2).map_or(240, |text| text.parse().expect("a number of scrapes"));
    let directory = arguments.get(3).map_or_else(|| std::env::temp_dir().join("tern_engine_speed"), PathBuf::from);
    let _absent_is_fine = std::fs::remove_dir_all(&directory);

    let mut load = Load::new(series);
    let rss_start = rss_bytes();
    let engine = open(&directory);
    let shard = engine.open_shard(0, 1).expect("open shard");
    load.numbers = (0..series as u32).collect();
    let started = Clock::now();
    define(&shard, &load);
    println!("new series: {:.0} ns each", started.elapsed().as_nanos() as f64 / series as f64);
    report_memory("index and empty head", rss_start, &shard, series);
    feed(&shard, &mut load, scrapes, rss_start);
    let samples = (series * scrapes) as f64;
    println!("disk: {:.3} bytes/sample before compaction", engine.stats().expect("stats").raw_bytes as f64 / samples);
    let repeats = arguments.get(4).map_or(1, |text| text.parse().expect("a number of queries"));
    (0..repeats).for_each(|_| query(&shard, scrapes, "all in memory"));
    let started = Clock::now();
    let compacted: u64 = shard.compactable(i64::MAX).into_iter().map(|bucket| shard.compact(bucket).expect("compact")).sum();
    println!("compaction: {:.1} ns/sample", started.elapsed().as_nanos() as f64 / compacted.max(1) as f64);
    let stats = engine.stats().expect("stats");
    println!("disk: {:.3} bytes/sample after it", stats.raw_bytes as f64 / samples);
    println!("disk: {:.1} bytes/series for definitions", stats.series_bytes as f64 / series as f64);
    query(&shard, scrapes, "after compaction");
    drop((shard, engine));
    let started = Clock::now();
    let engine = open(&directory);
    let shard = engine.open_shard(0, 1).expect("open shard");
    println!("restart: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    query(&shard, scrapes, "after restart, first");
    query(&shard, scrapes, "after restart, second");
    drop((shard, engine));
    let _leftovers_are_harmless = std::fs::remove_dir_all(&directory);
}

fn open(directory: &std::path::Path) -> Arc<Engine> {
    let engine = Engine::open(directory, EngineOptions::default()).expect("open engine");
    engine.set_hash_key(KEY).expect("set hash key");
    engine
}

/// What targets send: counters, gauges with few decimals, and some full-precision values.
struct Load {
    values: Vec<f64>,
    numbers: Vec<u32>,
    random: u64,
}

impl Load {
    fn new(series: usize) -> Self {
        Self { values: (0..series).map(|n| (n % 1000) as f64).collect(), numbers: Vec::new(), random: 88_172_645_463_325_252 }
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn scrape(&mut self) {
        for series in 0..self.values.len() {
            let random = self.next();
            let value = &mut self.values[series];
            *value = match series % 10 {
                0..4 => *value + (random % 50) as f64,
                4..7 => *value,
                7 => (random % 10_000) as f64 / 100.0,
                8 => *value + (random % 1000) as f64 / 1000.0,
                _ => (random >> 11) as f64 / (1u64 << 53) as f64,
            };
        }
    }
}

fn canonical(series: usize, out: &mut Vec<u8>) {
    let (target, place) = (series / SERIES_A_TARGET, series % SERIES_A_TARGET);
    let texts = [
        format!("node_metric_{}_total", place / 4),
        format!("10.1.{}.{}:9100", target / 250, target % 250),
        format!("cpu{}", place % 4),
        format!("zone-{}", target % 3),
    ];
    let mut pairs = vec![
        ("__name__", texts[0].as_str()),
        ("instance", texts[1].as_str()),
        ("cpu", texts[2].as_str()),
        ("zone", texts[3].as_str()),
        ("job", "node"),
        ("cluster", "production"),
        ("region", "eu-central-1"),
        ("team", "infrastructure"),
    ];
    out.clear();
    labels::canonicalize(&mut pairs, out).expect("canonical labels");
}

fn define(shard: &Shard, load: &Load) {
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
    for first in (0..load.values.len()).step_by(SAMPLES_A_BATCH) {
        builder.clear();
        for series in first..(first + SAMPLES_A_BATCH).min(load.values.len()) {
            canonical(series, &mut bytes);
            builder.define(&bytes);
        }
        shard.apply(1, &batch::join(&[builder.encode().into()])).expect("apply");
    }
}

fn feed(shard: &Shard, load: &mut Load, scrapes: usize, rss_start: u64) {
    let (mut apply_ns, mut seal_ns, mut sealed) = (0, 0, 0);
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    for scrape in 0..scrapes {
        load.scrape();
        let time = START_MS + scrape as i64 * STEP_MS;
        let payloads = encode(load, &mut builder, time);
        let started = Clock::now();
        for payload in &payloads {
            shard.apply(1, payload).expect("apply");
        }
        apply_ns += started.elapsed().as_nanos();
        if (scrape + 1) % SCRAPES_A_SEAL == 0 || scrape + 1 == scrapes {
            if scrape + 1 == SCRAPES_A_SEAL {
                report_memory("before the first seal", rss_start, shard, load.values.len());
            }
            let started = Clock::now();
            let frozen = shard.freeze().expect("something to seal");
            let freeze = started.elapsed();
            sealed += frozen.persist().expect("persist").samples;
            shard.release(frozen);
            seal_ns += started.elapsed().as_nanos();
            println!("seal: freeze {:.2} ms, all {:.0} ms", freeze.as_secs_f64() * 1e3, started.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("apply: {:.1} ns/sample", apply_ns as f64 / (load.values.len() * scrapes) as f64);
    println!("seal: {:.1} ns/sample", seal_ns as f64 / sealed as f64);
    report_memory("after sealing", rss_start, shard, load.values.len());
}

/// One scrape of all targets; each target has its own offset, and its clock jitters by a millisecond.
fn encode(load: &mut Load, builder: &mut BatchBuilder, time: i64) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    let jitter = load.next();
    for first in (0..load.values.len()).step_by(SAMPLES_A_BATCH) {
        builder.clear();
        for series in first..(first + SAMPLES_A_BATCH).min(load.values.len()) {
            let target = (series / SERIES_A_TARGET) as i64;
            let late = target * 37 % STEP_MS + (jitter >> (target % 60) & 1) as i64;
            builder.push(load.numbers[series], time + late, load.values[series]);
        }
        payloads.push(batch::join(&[builder.encode().into()]));
    }
    payloads
}

fn query(shard: &Shard, scrapes: usize, when: &str) {
    let started = Clock::now();
    let matchers = [Matcher::equal("job", "node"), Matcher::equal("cpu", "cpu0")];
    let end = START_MS + scrapes as i64 * STEP_MS + STEP_MS;
    let start = end - 3_600_000 - STEP_MS;
    let mut selected = shard.select(&matchers, start, end).expect("select");
    let select = started.elapsed();
    selected.truncate(QUERY_SERIES);
    let started = Clock::now();
    let labels = shard.labels_of(&selected).len();
    let labelled = started.elapsed();
    let started = Clock::now();
    let mut reader = shard.reader();
    let (mut timestamps, mut values, mut samples) = (Vec::new(), Vec::new(), 0);
    for &series in &selected {
        reader.read(series, start, end, &mut timestamps, &mut values).expect("read");
        samples += timestamps.len();
    }
    let read = started.elapsed();
    println!(
        "query, {when}: select {:.2} ms, labels of {labels} {:.2} ms, read {samples} samples {:.1} ms ({:.1} ns/sample)",
        select.as_secs_f64() * 1e3,
        labelled.as_secs_f64() * 1e3,
        read.as_secs_f64() * 1e3,
        read.as_nanos() as f64 / samples.max(1) as f64,
    );
}

fn report_memory(when: &str, rss_start: u64, shard: &Shard, series: usize) {
    let grown = rss_bytes().saturating_sub(rss_start) as f64 / series as f64;
    let counted = shard.stats().memory_bytes as f64 / series as f64;
    println!("memory, {when}: {grown:.0} bytes/series grown, {counted:.0} counted");
}

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// CPU time of this thread.
struct Clock(Duration);

impl Clock {
    fn now() -> Self {
        Self(cpu_time())
    }

    fn elapsed(&self) -> Duration {
        cpu_time() - self.0
    }
}

fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}
