//! The table, as Markdown.

use std::fmt::Write;
use std::time::Duration;

use crate::queries::{QUESTIONS, QueryAnswer};
use crate::system::System;

/// All figures of one system.
pub struct Figures {
    pub system: System,
    pub samples_a_second: f64,
    pub cpu_micros_a_sample: f64,
    pub cpu_micros_a_sample_settled: f64,
    pub client_cpu_micros_a_sample: f64,
    pub acknowledged_p50: Duration,
    pub acknowledged_p99: Duration,
    pub retries: u64,
    pub resident_bytes: u64,
    /// Of one replica.
    pub disk_bytes_a_sample: f64,
    pub disk_bytes_a_sample_with_log: f64,
    pub answers: Vec<QueryAnswer>,
    /// For each query what differs from the first system; none for the first system itself.
    pub differences: Option<Vec<Option<String>>>,
}

/// A line of the table: what it is and how to get it.
type Row = (&'static str, fn(&Figures) -> f64);

const ROWS: [Row; 10] = [
    ("samples/s acknowledged", |figures| figures.samples_a_second),
    ("server CPU µs a sample", |figures| figures.cpu_micros_a_sample),
    ("server CPU µs a sample, settled", |figures| figures.cpu_micros_a_sample_settled),
    ("client CPU µs a sample", |figures| figures.client_cpu_micros_a_sample),
    ("acknowledged p50, ms", |figures| milliseconds(figures.acknowledged_p50)),
    ("acknowledged p99, ms", |figures| milliseconds(figures.acknowledged_p99)),
    ("refused for overload and sent again", |figures| figures.retries as f64),
    ("resident, MiB, all processes", |figures| figures.resident_bytes as f64 / (1 << 20) as f64),
    ("bytes a sample on disk, a replica", |figures| figures.disk_bytes_a_sample),
    ("bytes a sample with logs, a replica", |figures| figures.disk_bytes_a_sample_with_log),
];

/// Figures of all systems with, behind each of Tern's, its ratio to each peer.
pub fn table(load: &str, all_figures: &[Figures]) -> String {
    let mut out = format!("Load: {load}.\nIn brackets: Tern's figure as a multiple of each peer's, in the order of the columns.\n\n");
    header(&mut out, all_figures);
    for (name, figure) in ROWS {
        row(&mut out, name, all_figures, figure);
    }
    for (index, (name, _)) in QUESTIONS.iter().enumerate() {
        let series = all_figures.first().map_or(0, |figures| figures.answers[index].series());
        row(&mut out, &format!("query: {name} ({series} results), ms"), all_figures, |figures| milliseconds(figures.answers[index].median));
    }
    out.push('\n');
    for (index, (name, question)) in QUESTIONS.iter().enumerate() {
        writeln_to(&mut out, format_args!("- {name}: `{question}`"));
        for figures in all_figures {
            let Some(differences) = &figures.differences else { continue };
            let verdict = differences[index].as_deref().unwrap_or("same answer");
            writeln_to(&mut out, format_args!("  - {}: {verdict}", figures.system.name()));
        }
    }
    out
}

fn header(out: &mut String, all_figures: &[Figures]) {
    out.push_str("| |");
    for figures in all_figures {
        out.push_str(&format!(" {} |", figures.system.name()));
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(all_figures.len()));
    out.push('\n');
}

fn row(out: &mut String, name: &str, all_figures: &[Figures], figure: impl Fn(&Figures) -> f64) {
    out.push_str(&format!("| {name} |"));
    for figures in all_figures {
        let own = figure(figures);
        let peers = all_figures.iter().filter(|peer| figures.system.is_tern() && !peer.system.is_tern());
        let ratios: Vec<String> = peers.map(|peer| format!("{}x", short(own / figure(peer)))).collect();
        let ratios = if ratios.is_empty() { String::new() } else { format!(" ({})", ratios.join(", ")) };
        out.push_str(&format!(" {}{ratios} |", short(own)));
    }
    out.push('\n');
}

fn writeln_to(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Three digits that matter.
fn short(figure: f64) -> String {
    match figure.abs() {
        magnitude if !magnitude.is_finite() => "-".to_owned(),
        magnitude if magnitude >= 10_000.0 => format!("{:.0} k", figure / 1e3),
        magnitude if magnitude >= 100.0 => format!("{figure:.0}"),
        magnitude if magnitude >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
