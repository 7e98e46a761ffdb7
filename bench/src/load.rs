//! What node_exporter and a web service look like to a database: 700 series a target, 8 labels each.
//!
//! Values are of the kinds that real targets have, in about their real proportions: constants, integer counters (many of them idle), CPU seconds
//! with two decimals, byte gauges in pages of 4096, loads with two decimals and ratios with all their digits. Series are split over
//! the connections and each connection sends its series in time order, as the shards of a Prometheus do.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tern_jepsen::history::Sample;
use tern_jepsen::remote_write::{TimeSeries, encode_v1};

pub const SCRAPE_INTERVAL_MS: i64 = 15_000;
/// Where in the interval scrapes happen. Not on whole minutes: there the queries have the ends of their windows, which Prometheus 2 takes into the
/// window on both sides and Prometheus 3, as Tern, on one side only.
const SCRAPE_OFFSET_MS: i64 = 7_000;
/// The same load in every run.
const SEED: u64 = 20_261_123;

/// Size and shape of a load.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    pub targets: usize,
    pub scrapes: usize,
    pub batch_samples: usize,
    pub connections: usize,
}

/// A request body and how many samples are in it.
#[derive(Clone, Debug)]
pub struct Body {
    pub samples: u64,
    pub bytes: Bytes,
}

/// All requests, ready to be sent.
pub struct Load {
    /// For each connection its bodies in the order of sending.
    pub connections: Vec<Vec<Body>>,
    pub series: usize,
    pub samples: u64,
    pub body_bytes: u64,
    /// Time of the last scrape.
    pub end_ms: i64,
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: usize = self.connections.iter().map(Vec::len).sum();
        write!(
            formatter,
            "{} series, {:.1} M samples in {requests} requests of {:.0} kB over {} connections",
            self.series,
            self.samples as f64 / 1e6,
            self.body_bytes as f64 / requests as f64 / 1e3,
            self.connections.len()
        )
    }
}

impl Load {
    /// Encodes everything. The newest scrape is of now, since Debian's Prometheus refuses samples that are far from now.
    pub fn generate(options: &LoadOptions) -> Load {
        let mut series = all_series(options.targets);
        let count = series.len();
        let rounds = count.div_ceil(options.connections * options.batch_samples).max(1);
        let group_size = count.div_ceil(options.connections * rounds);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let end_ms = (now_ms - SCRAPE_OFFSET_MS) / SCRAPE_INTERVAL_MS * SCRAPE_INTERVAL_MS + SCRAPE_OFFSET_MS;
        let mut random = StdRng::seed_from_u64(SEED);
        let mut connections = vec![Vec::new(); options.connections];
        for scrape in 0..options.scrapes {
            let timestamp_ms = end_ms - (options.scrapes - 1 - scrape) as i64 * SCRAPE_INTERVAL_MS;
            for (group, members) in series.chunks_mut(group_size).enumerate() {
                connections[group % options.connections].push(scrape_of(members, timestamp_ms, &mut random));
            }
        }
        let bodies = || connections.iter().flatten();
        let (samples, body_bytes) = (bodies().map(|body| body.samples).sum(), bodies().map(|body| body.bytes.len() as u64).sum());
        Load { connections, series: count, samples, body_bytes, end_ms }
    }
}

fn scrape_of(members: &mut [Series], timestamp_ms: i64, random: &mut StdRng) -> Body {
    let samples: Vec<[Sample; 1]> = members.iter_mut().map(|series| [(timestamp_ms, series.values.next(random))]).collect();
    let encoded = members.iter().zip(&samples).map(|(series, sample)| TimeSeries { labels: &series.labels, samples: sample });
    Body { samples: samples.len() as u64, bytes: encode_v1(encoded).into() }
}

/// How the values of a series go on, with the present one.
#[derive(Clone, Debug)]
enum Values {
    Constant(f64),
    /// An integer that grows by up to `step` a scrape; 0 for an idle counter.
    Counter {
        value: u64,
        step: u64,
    },
    /// Seconds with two decimals that grow by up to `step` hundredths a scrape.
    Seconds {
        hundredths: u64,
        step: u64,
    },
    /// Bytes in whole pages, wandering below a limit.
    Pages {
        pages: i64,
        limit: i64,
    },
    /// A gauge with two decimals.
    Load {
        hundredths: i64,
    },
    /// A quotient with all its digits.
    Ratio {
        part: u64,
        whole: u64,
    },
}

impl Values {
    fn next(&mut self, random: &mut StdRng) -> f64 {
        match self {
            Values::Constant(value) => *value,
            Values::Counter { value, step } => {
                *value += if *step == 0 { 0 } else { random.random_range(0..=*step) };
                *value as f64
            }
            Values::Seconds { hundredths, step } => {
                *hundredths += random.random_range(0..=*step);
                *hundredths as f64 / 100.0
            }
            Values::Pages { pages, limit } => {
                *pages = (*pages + random.random_range(-500..=500)).clamp(0, *limit);
                (*pages * 4096) as f64
            }
            Values::Load { hundredths } => {
                *hundredths = (*hundredths + random.random_range(-30..=30)).max(0);
                *hundredths as f64 / 100.0
            }
            Values::Ratio { part, whole } => {
                *whole += random.random_range(1..500);
                *part += random.random_range(0..100);
                *part as f64 / *whole as f64 * 100.0
            }
        }
    }
}

struct Series {
    labels: Vec<(String, String)>,
    values: Values,
}

fn all_series(targets: usize) -> Vec<Series> {
    let mut random = StdRng::seed_from_u64(SEED);
    (0..targets).flat_map(|target| Target::new(target).series(&mut random)).collect()
}

/// One scraped machine; collects its series.
struct Target {
    common: Vec<(String, String)>,
    rack: String,
    series: Vec<Series>,
}

const CPU_MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const NETWORK_COUNTERS: [&str; 16] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
];
const DISK_COUNTERS: [&str; 12] = [
    "read_bytes",
    "written_bytes",
    "reads_completed",
    "writes_completed",
    "reads_merged",
    "writes_merged",
    "read_time_seconds",
    "write_time_seconds",
    "io_time_seconds",
    "io_time_weighted_seconds",
    "discards_completed",
    "discarded_sectors",
];
const BUCKETS: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

impl Target {
    fn new(number: usize) -> Target {
        let label = |name: &str, value: String| (name.to_owned(), value);
        let common = vec![
            label("cluster", format!("cluster-{}", number % 3)),
            label("dc", format!("dc{}", number % 4)),
            label("env", ["prod", "prod", "staging"][number % 3].to_owned()),
            label("instance", format!("node-{number:04}.example.net:9100")),
            label("job", "node".to_owned()),
        ];
        Target { common, rack: format!("rack-{}", number % 20), series: Vec::with_capacity(700) }
    }

    fn series(mut self, random: &mut StdRng) -> Vec<Series> {
        self.cpu(random);
        self.network(random);
        self.disks(random);
        self.filesystems(random);
        self.requests(random);
        self.memory_and_gauges(random);
        self.constants(random);
        self.series
    }

    /// Adds a series with one label of its own besides the rack.
    fn add(&mut self, name: String, label: (&str, String), values: Values) {
        let rack = self.rack.clone();
        self.add_two(name, label, ("rack", rack), values);
    }

    fn add_two(&mut self, name: String, first: (&str, String), second: (&str, String), values: Values) {
        let mut labels = self.common.clone();
        labels.extend([("__name__".to_owned(), name), (first.0.to_owned(), first.1), (second.0.to_owned(), second.1)]);
        labels.sort();
        self.series.push(Series { labels, values });
    }

    /// 16 processors in 8 modes: 128 series.
    fn cpu(&mut self, random: &mut StdRng) {
        for processor in 0..16 {
            for mode in CPU_MODES {
                let step = match mode {
                    "idle" => 1500,
                    "user" | "system" => 600,
                    _ => 20,
                };
                let values = Values::Seconds { hundredths: random.random_range(0..10_000_000), step };
                self.add_two("node_cpu_seconds_total".into(), ("cpu", processor.to_string()), ("mode", mode.to_owned()), values);
            }
        }
    }

    /// 8 interfaces with 16 counters, of which only bytes and packets move: 128 series.
    fn network(&mut self, random: &mut StdRng) {
        for device in 0..8 {
            for counter in NETWORK_COUNTERS {
                let step = match counter {
                    "receive_bytes" | "transmit_bytes" => 20_000_000,
                    "receive_packets" | "transmit_packets" => 20_000,
                    _ => 0,
                };
                let value = if step == 0 { random.random_range(0..5) } else { random.random_range(0..1 << 40) };
                self.add(format!("node_network_{counter}_total"), ("device", format!("eth{device}")), Values::Counter { value, step });
            }
        }
    }

    /// 8 disks with 12 counters: 96 series.
    fn disks(&mut self, random: &mut StdRng) {
        for device in 0..8 {
            for counter in DISK_COUNTERS {
                let values = if counter.ends_with("seconds") {
                    Values::Seconds { hundredths: random.random_range(0..1_000_000), step: 300 }
                } else if counter.starts_with("discard") {
                    Values::Constant(0.0)
                } else {
                    let step = if counter.contains("bytes") { 4096 * 5000 } else { 2000 };
                    Values::Counter { value: random.random_range(0..1 << 36), step }
                };
                self.add(format!("node_disk_{counter}_total"), ("device", format!("nvme{device}n1")), values);
            }
        }
    }

    /// 12 mount points with 6 gauges: 72 series.
    fn filesystems(&mut self, random: &mut StdRng) {
        for mount in 0..12 {
            let limit = 1_i64 << random.random_range(22..28);
            for gauge in ["size_bytes", "free_bytes", "avail_bytes", "files", "files_free", "readonly"] {
                let values = match gauge {
                    "size_bytes" => Values::Constant((limit * 4096) as f64),
                    "free_bytes" | "avail_bytes" => Values::Pages { pages: random.random_range(0..limit), limit },
                    "files_free" => Values::Counter { value: random.random_range(0..1 << 24), step: 3 },
                    "files" => Values::Constant((limit / 4) as f64),
                    _ => Values::Constant(0.0),
                };
                self.add(format!("node_filesystem_{gauge}"), ("mountpoint", format!("/mnt/volume{mount}")), values);
            }
        }
    }

    /// 8 paths with a histogram of 12 buckets: 96 series. Each bucket grows faster than the one below, as a cumulative histogram does.
    fn requests(&mut self, random: &mut StdRng) {
        for path in 0..8 {
            let busy = random.random_range(1..20);
            for (position, bucket) in BUCKETS.iter().enumerate() {
                let values = Values::Counter { value: 1000 * position as u64, step: busy * (position as u64 + 1) };
                let path = ("path", format!("/api/v1/path{path}"));
                self.add_two("http_request_duration_seconds_bucket".into(), ("le", (*bucket).to_owned()), path, values);
            }
        }
    }

    /// 48 byte gauges of memory, 4 loads, 20 temperatures and 8 ratios: 80 series.
    fn memory_and_gauges(&mut self, random: &mut StdRng) {
        const MEMORY_PAGES: i64 = 1 << 25;
        let cluster_node = |number: usize| ("numa", (number % 2).to_string());
        self.add("node_memory_MemTotal_bytes".into(), cluster_node(0), Values::Constant((MEMORY_PAGES * 4096) as f64));
        let available = Values::Pages { pages: MEMORY_PAGES / 2, limit: MEMORY_PAGES };
        self.add("node_memory_MemAvailable_bytes".into(), cluster_node(0), available);
        for gauge in 0..46 {
            let values = Values::Pages { pages: random.random_range(0..MEMORY_PAGES / 8), limit: MEMORY_PAGES };
            self.add(format!("node_memory_Gauge{gauge}_bytes"), cluster_node(gauge), values);
        }
        for load in ["node_load1", "node_load5", "node_load15", "node_pressure"] {
            self.add(load.into(), cluster_node(0), Values::Load { hundredths: random.random_range(0..2000) });
        }
        for sensor in 0..20 {
            let values = Values::Load { hundredths: random.random_range(3000..7000) };
            self.add("node_hwmon_temp_celsius".into(), ("sensor", format!("temp{sensor}")), values);
        }
        for cache in 0..8 {
            let values = Values::Ratio { part: random.random_range(1..1000), whole: random.random_range(1000..100_000) };
            self.add("cache_hit_percent".into(), ("cache", format!("cache{cache}")), values);
        }
    }

    /// Versions, limits and successes that never change: 100 series.
    fn constants(&mut self, random: &mut StdRng) {
        for collector in 0..50 {
            let collector = ("collector", format!("collector{collector}"));
            self.add("node_scrape_collector_success".into(), collector, Values::Constant(1.0));
        }
        for limit in 0..50 {
            let values = Values::Constant(f64::from(random.random_range(1..1_000_000)));
            self.add(format!("node_limit_{limit}"), ("kind", "static".to_owned()), values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_700_series_of_8_labels_all_different() {
        let series = all_series(2);
        assert_eq!(series.len(), 1400);
        assert!(series.iter().all(|one| one.labels.len() == 8));
        let names: std::collections::HashSet<_> = series.iter().map(|one| one.labels.clone()).collect();
        assert_eq!(names.len(), 1400);
    }

    #[test]
    fn every_sample_is_sent_once_and_in_time_order() {
        let options = LoadOptions { targets: 1, scrapes: 3, batch_samples: 100, connections: 4 };
        let load = Load::generate(&options);
        assert_eq!((load.samples, load.connections.len()), (2100, 4));
        assert!(load.connections.iter().flatten().all(|body| body.samples <= 100));
    }

    #[test]
    fn counters_never_fall() {
        let mut random = StdRng::seed_from_u64(1);
        let mut counter = Values::Counter { value: 5, step: 10 };
        let values: Vec<f64> = (0..100).map(|_| counter.next(&mut random)).collect();
        assert!(values.is_sorted());
    }
}
