//! `tern-bench`: one load, four systems, one table.
//!
//! The load ([`load`]) is encoded before any clock starts. Then each system ([`system`]) is started fresh, takes the load as fast as it can
//! ([`sender`]), settles, answers what dashboards ask ([`queries`]), and is stopped before the next one starts, so that each has the machine for
//! itself. The table ([`report`]) puts Tern's figures beside the peers'.
//!
//! It deliberately does not tune the peers beyond their defaults, and does not hide the client: its CPU time is a row of the table.

mod load;
mod sender;
mod queries;
mod system;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tern_jepsen::process::usage_of;
use tern_jepsen::wait;

use crate::load::{Load, LoadOptions};
use crate::report::Figures;
use crate::system::{Running, System};

#[derive(Parser)]
#[command(name = "tern-bench", about = "Runs one remote-write load and the questions of dashboards against Tern and its peers")]
struct Arguments {
    /// Scraped targets, each with 700 series of 8 labels.
    #[arg(long, default_value_t = 60)]
    targets: usize,
    /// Scrapes of every target, 15 s apart, the last one now. 240 are an hour.
    #[arg(long, default_value_t = 240)]
    scrapes: usize,
    /// Largest number of samples in a request.
    #[arg(long, default_value_t = 2000)]
    batch_samples: usize,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 24)]
    connections: usize,
    /// Runs of each query; the median counts.
    #[arg(long, default_value_t = 9)]
    query_runs: usize,
    /// Systems to run, in this order. Prometheus should be the first: its answers are what others are compared with.
    #[arg(long, value_delimiter = ',', default_value = "prometheus,victoria-metrics,tern-one,tern-three")]
    systems: Vec<System>,
    /// The server to measure.
    #[arg(long, default_value = "target/release/tern")]
    tern: PathBuf,
    /// Longest time that one system may take for the load; what was sent until then counts.
    #[arg(long, default_value_t = 90)]
    load_seconds_max: u64,
    /// Writes the table to this file too.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let load = Load::generate(&LoadOptions {
        targets: arguments.targets,
        scrapes: arguments.scrapes,
        batch_samples: arguments.batch_samples,
        connections: arguments.connections,
    });
    eprintln!("load: {load}");
    let mut all_figures: Vec<Figures> = Vec::new();
    for &system in &arguments.systems {
        match measure(system, &arguments, &load, all_figures.first()).await {
            Ok(figures) => all_figures.push(figures),
            Err(error) => eprintln!("{}: left out: {error:#}", system.name()),
        }
    }
    let table = report::table(&load.to_string(), &all_figures);
    println!("{table}");
    if let Some(file) = &arguments.write {
        std::fs::write(file, table)?;
    }
    // Why is told above, where it happened.
    Ok(if all_figures.len() == arguments.systems.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(system: System, arguments: &Arguments, load: &Load, reference: Option<&Figures>) -> anyhow::Result<Figures> {
    eprintln!("{}: starting", system.name());
    let running = Running::start(system, &arguments.tern).await?;
    let own_before = usage_of(std::process::id())?;
    let before = running.usage()?;
    let limit = Duration::from_secs(arguments.load_seconds_max);
    let sent = sender::send_all(load, running.addresses(), limit).await?;
    let loaded = running.usage()?;
    let own_after = usage_of(std::process::id())?;
    eprintln!("{}: {} samples in {:.1} s, settling", system.name(), sent.samples, sent.elapsed.as_secs_f64());
    running.settle().await?;
    let settled = running.usage()?;
    let disk = running.disk_bytes().await?;
    eprintln!("{}: querying", system.name());
    // A moment for caches and background work of the peers; the same for all.
    wait::pace(Duration::from_secs(2)).await;
    let answers = queries::run_all(&running.addresses()[0], load.end_ms, arguments.query_runs).await?;
    let micros_a_sample = |cpu_seconds: f64| cpu_seconds * 1e6 / sent.samples as f64;
    let figures = Figures {
        system,
        samples_a_second: sent.samples as f64 / sent.elapsed.as_secs_f64(),
        cpu_micros_a_sample: micros_a_sample(loaded.cpu_seconds - before.cpu_seconds),
        cpu_micros_a_sample_settled: micros_a_sample(settled.cpu_seconds - before.cpu_seconds),
        client_cpu_micros_a_sample: micros_a_sample(own_after.cpu_seconds - own_before.cpu_seconds),
        acknowledged_p50: sent.latency(0.5),
        acknowledged_p99: sent.latency(0.99),
        retries: sent.retries,
        resident_bytes: loaded.resident_bytes,
        disk_bytes_a_sample: disk.data_bytes as f64 / sent.samples as f64 / running.replicas() as f64,
        disk_bytes_a_sample_with_log: disk.all_bytes as f64 / sent.samples as f64 / running.replicas() as f64,
        differences: reference.map(|reference| queries::differences(&reference.answers, &answers)),
        answers,
    };
    running.finish()?;
    Ok(figures)
}
