//! The series that both databases get: those of Prometheus's compliance suite, and shapes that it lacks.
//!
//! All samples stand at a fraction of [`FRACTION_MS`] of a second, and queries ask at other fractions. So no sample ever lies on the boundary of
//! a range or of the lookback, where Prometheus 2 includes what Prometheus 3 leaves out.
//!
//! Values are integers and quarters as far as possible: sums of them are exact, so the order of adding does not show.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tern_jepsen::remote_write::TimeSeries;

pub const FRACTION_MS: i64 = 321;
const SPACING_MS: i64 = 5_000;
/// 50 minutes: Prometheus takes nothing that is more than an hour older than its newest sample.
const TICKS: i64 = 600;
const SEED: u64 = 20_231_120;
/// The NaN that says "this series has ended".
const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// One series with all its samples, in time order.
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub samples: Vec<(i64, f64)>,
}

/// All series, ending a little before `end_second`.
pub fn all(end_second: i64) -> Vec<Series> {
    let begin_ms = end_second * 1000 - TICKS * SPACING_MS + FRACTION_MS;
    let mut maker = Maker { random: StdRng::seed_from_u64(SEED), begin_ms, series: Vec::new() };
    maker.compliance();
    maker.request_durations();
    maker.counters();
    maker.gauges();
    maker.infos();
    maker.gaps();
    maker.odd_labels();
    maker.series
}

/// The samples of a range of times, as the series of one request.
pub fn slice(series: &[Series], from_ms: i64, to_ms: i64) -> impl Iterator<Item = TimeSeries<'_>> {
    series.iter().filter_map(move |one| {
        let start = one.samples.partition_point(|sample| sample.0 < from_ms);
        let end = one.samples.partition_point(|sample| sample.0 < to_ms);
        (start < end).then(|| TimeSeries { labels: &one.labels, samples: &one.samples[start..end] })
    })
}

struct Maker {
    random: StdRng,
    begin_ms: i64,
    series: Vec<Series>,
}

const INSTANCES: [&str; 3] = ["demo.promlabs.com:10000", "demo.promlabs.com:10001", "demo.promlabs.com:10002"];

impl Maker {
    /// One series whose value at each tick is what `value` says; none is a gap.
    fn add(&mut self, name: &str, labels: &[(&str, &str)], mut value: impl FnMut(i64, &mut StdRng) -> Option<f64>) {
        let present = labels.iter().filter(|(_, value)| !value.is_empty());
        let mut all: Vec<(String, String)> = present.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.push(("__name__".to_owned(), name.to_owned()));
        all.sort();
        let (begin_ms, random) = (self.begin_ms, &mut self.random);
        let samples = (0..TICKS).filter_map(|tick| Some((begin_ms + tick * SPACING_MS, value(tick, random)?))).collect();
        self.series.push(Series { labels: all, samples });
    }

    fn counter(&mut self, name: &str, labels: &[(&str, &str)], start: f64, step_max: u32) {
        let mut total = start;
        self.add(name, labels, move |_, random| {
            total += f64::from(random.random_range(0..=step_max)) / 4.0;
            Some(total)
        });
    }

    fn walk(&mut self, name: &str, labels: &[(&str, &str)], start: i64, step_max: i64) {
        let mut level = start;
        self.add(name, labels, move |_, random| {
            level += random.random_range(-step_max..=step_max);
            Some(level as f64)
        });
    }

    fn compliance(&mut self) {
        for (number, instance) in (1_i64..).zip(INSTANCES) {
            let base = [("job", "demo"), ("instance", instance)];
            for (kind, bytes) in [("free", 2_000_000_000), ("buffers", 120_000_000), ("cached", 900_000_000), ("used", 4_000_000_000)] {
                self.walk("demo_memory_usage_bytes", &[base[0], base[1], ("type", kind)], bytes + number * 1000, 500_000);
            }
            for (mode, step_max) in [("idle", 19), ("user", 9), ("system", 3)] {
                self.counter("demo_cpu_usage_seconds_total", &[base[0], base[1], ("mode", mode)], 100_000.0 * number as f64, step_max);
            }
            let cpus = (1_i64 << number) as f64;
            self.add("demo_num_cpus", &base, |_, _| Some(cpus));
            self.counter("demo_disk_usage_bytes", &base, 3e9 * number as f64, 4_000_000);
            let begin_second = self.begin_ms / 1000;
            self.add("demo_batch_last_success_timestamp_seconds", &base, |tick, _| {
                let since = (tick + 7 * number) % 40;
                Some((begin_second + (tick - since) * SPACING_MS / 1000) as f64)
            });
            // Two minutes on, three off, as a metric that comes and goes; with and without a mark at its end.
            self.add("demo_intermittent_metric", &base, |tick, random| match (tick + 5 * number) % 60 {
                0..24 => Some(f64::from(random.random_range(0..100))),
                24 if number != 2 => Some(f64::from_bits(STALE_MARKER)),
                _ => None,
            });
        }
    }

    /// Classic histograms: buckets that only grow, their sum and their count.
    fn request_durations(&mut self) {
        const BOUNDS: [&str; 7] = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "+Inf"];
        for instance in INSTANCES {
            for (method, path, status) in [("GET", "/api/foo", "200"), ("POST", "/api/foo", "200"), ("GET", "/api/bar", "500")] {
                let labels = [("job", "demo"), ("instance", instance), ("method", method), ("path", path), ("status", status)];
                let mut counts = vec![[0.0; BOUNDS.len()]; TICKS as usize];
                let mut running = [1000.0; BOUNDS.len()];
                for at_tick in &mut counts {
                    let mut below = 0.0;
                    for (total, bucket) in running.iter_mut().zip(at_tick.iter_mut()) {
                        below += f64::from(self.random.random_range(0..4_u32));
                        *total += below;
                        *bucket = *total;
                    }
                }
                for (index, bound) in BOUNDS.into_iter().enumerate() {
                    let labels: Vec<_> = labels.into_iter().chain([("le", bound)]).collect();
                    self.add("demo_api_request_duration_seconds_bucket", &labels, |tick, _| Some(counts[tick as usize][index]));
                }
                let last = BOUNDS.len() - 1;
                self.add("demo_api_request_duration_seconds_count", &labels, |tick, _| Some(counts[tick as usize][last]));
                self.add("demo_api_request_duration_seconds_sum", &labels, |tick, _| Some(counts[tick as usize][last] / 4.0));
            }
        }
    }

    fn counters(&mut self) {
        for (pod, restart_every) in [("a", 50), ("b", 97), ("c", 1000)] {
            let mut total = 5000.0;
            self.add("app_jobs_total", &[("pod", pod), ("queue", "fast")], move |tick, random| {
                total = if tick % restart_every == restart_every - 1 { 0.0 } else { total + f64::from(random.random_range(0..8_u32)) };
                Some(total)
            });
        }
    }

    fn gauges(&mut self) {
        for (zone, rack) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("c", "1")] {
            self.add("app_level", &[("zone", zone), ("rack", rack)], |_, random| Some(f64::from(random.random_range(-8..=8))));
        }
        for (zone, limit) in [("a", 3.0), ("b", -2.0), ("d", 5.0)] {
            self.add("app_limit", &[("zone", zone), ("unit", "m")], move |tick, _| Some(limit + (tick % 3) as f64));
        }
        for (room, special) in [("hall", f64::NAN), ("attic", f64::INFINITY), ("cellar", f64::NEG_INFINITY)] {
            self.add("app_temperature_celsius", &[("room", room)], move |_, random| match random.random_range(0..12_u32) {
                0 => Some(special),
                other => Some(f64::from(other) * 2.25 - 10.0),
            });
        }
        for (size, value) in [("huge", 1e150), ("tiny", 1e-150), ("zero", 0.0)] {
            self.add("app_extreme", &[("size", size)], move |tick, _| Some(value * (1 + tick % 4) as f64));
        }
        let mut wide: Vec<(String, String)> = (0..24).map(|number| (format!("label_{number:02}"), format!("value {number}"))).collect();
        for shard in ["0", "1", "2"] {
            wide[0].1 = shard.to_owned();
            let labels: Vec<(&str, &str)> = wide.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            self.walk("app_wide", &labels, 100, 3);
        }
    }

    /// Series that say something by their labels, one of which gives way to another in the middle.
    fn infos(&mut self) {
        for (number, instance) in (0_i64..).zip(INSTANCES) {
            for (version, from, to) in [("1.0", 0, 300 + number), ("1.1", 300 + number, TICKS)] {
                let labels = [("job", "demo"), ("instance", instance), ("version", version), ("commit", "c0ffee")];
                self.add("app_build_info", &labels, move |tick, _| match tick {
                    tick if tick == to => Some(f64::from_bits(STALE_MARKER)),
                    tick => (from..to).contains(&tick).then_some(1.0),
                });
            }
        }
    }

    fn gaps(&mut self) {
        // 50 s, with some missing; and one that is rarer than the lookback.
        self.add("app_sparse", &[("every", "50s")], |tick, random| {
            (tick % 10 == 0 && random.random_range(0..4_u32) > 0).then_some((tick / 10) as f64)
        });
        self.add("app_sparse", &[("every", "6m")], |tick, _| (tick % 72 == 3).then_some(-(tick as f64)));
        // It ends, and begins again within the lookback.
        self.add("app_flapping", &[("kind", "marked")], |tick, random| match tick % 30 {
            0..20 => Some(f64::from(random.random_range(0..3_u32))),
            20 => Some(f64::from_bits(STALE_MARKER)),
            _ => None,
        });
        self.add("app_flapping", &[("kind", "unmarked")], |tick, random| {
            (tick % 90 < 20).then(|| f64::from(random.random_range(0..3_u32)))
        });
    }

    fn odd_labels(&mut self) {
        for (number, text) in (1_u32..).zip(["日本語", "say \"hi\"", r"C:\temp", "a.b*c", "", " spaced ", "tab\there"]) {
            self.add("app_text", &[("text", text), ("n", &number.to_string())], move |_, _| Some(f64::from(number)));
        }
    }
}
