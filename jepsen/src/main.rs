//! `jepsen check FILE`: judges a recorded history again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tern_jepsen::checker::sample_set::{self, Verdict};
use tern_jepsen::history;

#[derive(Parser)]
#[command(name = "jepsen", about = "Judges what a Tern cluster did under faults")]
enum Arguments {
    /// Reads a history of JSON lines and says whether every acknowledged sample was kept. Exit code 1 when not, 2 when that cannot be told.
    Check { file: PathBuf },
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments::Check { file } = Arguments::parse();
    let input = File::open(&file).with_context(|| format!("open {}", file.display()))?;
    let operations = history::load(BufReader::new(input))?;
    let report = sample_set::check(&operations);
    print!("{report}");
    Ok(match report.verdict() {
        Verdict::Valid => ExitCode::SUCCESS,
        Verdict::Invalid => ExitCode::from(1),
        Verdict::Unknown => ExitCode::from(2),
    })
}
