//! `jepsen run`: hurts a cluster and judges it. `jepsen check FILE`: judges a recorded history again. `jepsen clean`: removes what crashed runs left.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tern_jepsen::checker::{self, sample_set::Verdict};
use tern_jepsen::disk::image::Medium;
use tern_jepsen::nemesis::kind::Kind;
use tern_jepsen::run::{self, Plan};
use tern_jepsen::{failover, history, ledger};

#[derive(Parser)]
#[command(name = "jepsen", about = "Judges what a Tern cluster did under faults")]
enum Arguments {
    /// Reads a history of JSON lines and says whether every promise was kept. Exit code 1 when not, 2 when that cannot be told.
    Check { file: PathBuf },
    /// Starts a cluster in network namespaces, loads it, hurts it, and judges. Exit codes as for check. Needs root.
    Run(RunArguments),
    /// Starts a cluster in network namespaces for experiments by hand (partition.sh), and stops it on Ctrl-C or SIGTERM. Needs root.
    Up {
        #[arg(long, default_value = "target/release/tern")]
        tern: PathBuf,
        #[arg(long, default_value_t = 3)]
        nodes: u64,
        /// Where the names and addresses are written for the scripts.
        #[arg(long, default_value = "run/cluster-netns.env")]
        state: PathBuf,
    },
    /// Measures how long writes stop when a leader is killed, restarted in good order, drained, or cut off. Needs root.
    Failover {
        #[arg(long, default_value = "target/release/tern")]
        tern: PathBuf,
        #[arg(long, default_value_t = 3)]
        nodes: u64,
        /// How many leaders are killed; of the other deeds a quarter as many.
        #[arg(long, default_value_t = 100)]
        kills: u32,
    },
    /// Removes namespaces, mounts, images and processes of runs that have crashed.
    Clean,
}

#[derive(clap::Args)]
struct RunArguments {
    /// The server to test.
    #[arg(long, default_value = "target/release/tern")]
    tern: PathBuf,
    /// An older server, for the nemesis `upgrade`.
    #[arg(long)]
    previous: Option<PathBuf>,
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Repeats an earlier run's choices. Default: a new one, printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the nodes' disks are.
    #[arg(long, value_enum, default_value_t = Medium::Memory)]
    disks: Medium,
    /// Only these nemeses, separated by commas. Default: a subset drawn from the seed.
    #[arg(long, value_delimiter = ',')]
    nemeses: Option<Vec<Kind>>,
    /// Samples a second that the writers aim at.
    #[arg(long, default_value_t = 8000.0)]
    rate: f64,
    #[arg(long, default_value_t = 6)]
    clients: u32,
    /// Where the run's line is added.
    #[arg(long, default_value = "jepsen/ledger.jsonl")]
    ledger: PathBuf,
    /// What stands as commit in the ledger. Default: that of the current folder.
    #[arg(long)]
    commit: Option<String>,
    /// Keep the files also after a good end.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse() {
        Arguments::Check { file } => check(&file),
        Arguments::Run(arguments) => run_once(arguments).await,
        Arguments::Up { tern, nodes, state } => {
            run::stay_up(&absolute(&tern)?, nodes, &state).await?;
            Ok(ExitCode::SUCCESS)
        }
        Arguments::Failover { tern, nodes, kills } => {
            failover::measure(&absolute(&tern)?, nodes, kills).await?;
            Ok(ExitCode::SUCCESS)
        }
        Arguments::Clean => {
            println!("removed: {:?}", run::clean());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let input = File::open(file).with_context(|| format!("open {}", file.display()))?;
    let judgement = checker::judge(&history::load(BufReader::new(input))?);
    print!("{judgement}");
    Ok(exit_code(judgement.verdict()))
}

fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Valid => ExitCode::SUCCESS,
        Verdict::Invalid => ExitCode::from(1),
        Verdict::Unknown => ExitCode::from(2),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("{}: build it first", path.display()))
}

async fn run_once(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        binary: absolute(&arguments.tern)?,
        previous: arguments.previous.as_deref().map(absolute).transpose()?,
        nodes: arguments.nodes,
        length: Duration::from_secs_f64(arguments.minutes * 60.0),
        seed: arguments.seed.unwrap_or_else(|| rand::random::<u64>() >> 16),
        medium: arguments.disks,
        nemeses: arguments.nemeses,
        rate: arguments.rate,
        clients: arguments.clients,
        commit: arguments.commit.unwrap_or_else(|| ledger::commit_of(Path::new("."))),
        keep: arguments.keep,
    };
    let outcome = run::run(&plan).await?;
    print!("{}", outcome.judgement);
    println!("{}", serde_json::to_string(&outcome.line)?);
    if let Some(directory) = &outcome.directory {
        println!("files are kept in {}", directory.display());
    }
    ledger::append(&arguments.ledger, &outcome.line)?;
    Ok(exit_code(outcome.line.verdict))
}
