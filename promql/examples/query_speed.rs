//! How long queries take over samples in memory: `cargo run --release -p promql --example query_speed`
//!
//! 12 000 series of a counter, one sample every 15 s for an hour (240 each), in two parts as two shards would give them;
//! dashboard queries over that hour with a step of one minute. Prints the best and the median of several runs, and the CPU
//! time of a run, which a busy machine does not distort. Arguments, when there are any, are the queries instead.

use std::time::{Duration, Instant};

use promql::engine::{Engine, EngineOptions, QueryOptions};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::value::Value;
use promql::{ParserOptions, parse};

const SERIES: u64 = 12_000;
const SAMPLES: i64 = 240;
const INTERVAL_MS: i64 = 15_000;
const RUNS: usize = 20;

const QUERIES: [&str; 14] = [
    "sum by (dc)(rate(x_total[5m]))",
    "sum(x_total)",
    "x_total",
    "rate(x_total[5m])",
    "avg by (dc)(x_total)",
    "max by (instance)(irate(x_total[5m]))",
    "topk(5, rate(x_total[5m]))",
    "sum by (dc)(increase(x_total[1h]))",
    "max_over_time(x_total[30m])",
    "avg_over_time(x_total[5m])",
    "quantile by (dc)(0.9, rate(x_total[5m]))",
    "sum by (dc)(rate(x_total[5m])) / on (dc) sum by (dc)(x_total)",
    "rate(x_total[5m]) / x_total",
    "histogram_quantile(0.9, sum by (le, dc)(rate(x_total[5m])))",
];

fn main() {
    let source = data();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let queries = if arguments.is_empty() { QUERIES.map(str::to_owned).to_vec() } else { arguments };
    for threads_max in [1, 2] {
        println!("threads {threads_max}: best, median and CPU in ms, series in the answer");
        let engine = Engine::new(EngineOptions { threads_max, ..EngineOptions::default() });
        for query in &queries {
            measure(&engine, &source, query);
        }
    }
}

fn measure(engine: &Engine, source: &MemorySource, query: &str) {
    let expr = match parse(query, ParserOptions::experimental()) {
        Ok(expr) => expr,
        Err(error) => return println!("{query}: {error}"),
    };
    let cpu = cpu_ms();
    let mut times: Vec<Duration> = Vec::new();
    let mut series = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        match engine.range(source, &expr, 0, SAMPLES * INTERVAL_MS, 60_000, &QueryOptions::default()) {
            Ok(output) => {
                times.push(start.elapsed());
                if let Value::Matrix(matrix) = output.value {
                    series = matrix.len();
                }
            }
            Err(error) => return println!("{query}: {error}"),
        }
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let cpu = (cpu_ms() - cpu) / RUNS as f64;
    println!("{:8.2} {:8.2} {cpu:8.2} {series:6}  {query}", ms(times[0]), ms(times[RUNS / 2]));
}

/// CPU time that this process has used, in ticks of 10 ms (Linux).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() * 10.0
}

/// Counters that grow by different amounts, with a reset now and then.
fn data() -> MemorySource {
    let mut source = MemorySource::new().with_partitions(2);
    let mut random = 0x2545_f491_4f6c_dd1du64;
    for series in 0..SERIES {
        let labels = Labels::from_pairs([
            ("__name__", "x_total".to_owned()),
            ("dc", format!("dc{}", series % 4)),
            ("instance", format!("node{:03}:9100", series / 40 % 300)),
            ("job", "node".to_owned()),
            ("le", ["0.1", "1", "10", "+Inf"][(series / 4 % 4) as usize].to_owned()),
            ("cpu", format!("{}", series % 40)),
        ]);
        let mut value = 0.0;
        for sample in 0..SAMPLES {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            value = if random.is_multiple_of(500) { 0.0 } else { value + (random % 100) as f64 };
            source.push(&labels, sample * INTERVAL_MS, value);
        }
    }
    source
}
