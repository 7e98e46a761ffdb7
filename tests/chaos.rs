//! A short run of the chaos tester, so that it works when it is needed and the commonest faults stay harmless. Long ones: `make jepsen`.

use std::path::Path;
use std::time::Duration;

use tern_jepsen::checker::sample_set::Verdict;
use tern_jepsen::disk::image::Medium;
use tern_jepsen::nemesis::kind::Kind;
use tern_jepsen::run::{self, Plan};

use crate::support::*;

/// Of every lane some, and none that needs half of the time for itself.
const NEMESES: [&str; 10] = [
    "kill-leader",
    "kill-all",
    "pause-leader",
    "power-one",
    "power-all",
    "partition-isolated",
    "partition-ring",
    "partition-one-way-in",
    "loss",
    "seal",
];
const LENGTH: Duration = Duration::from_secs(75);
/// The same faults in the same order each time, though not at the same moments: new ones are for `make jepsen`.
const SEED: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_faults_break_no_promise() -> TestResult {
    let _turn = turn().await;
    if !is_root() {
        println!("skipped: namespaces and disks need root");
        return Ok(());
    }
    let kinds: Result<Vec<Kind>, _> = NEMESES.iter().map(|name| name.parse::<Kind>()).collect();
    let plan = Plan {
        binary: Path::new(TERN).to_owned(),
        previous: None,
        nodes: 3,
        length: LENGTH,
        seed: SEED,
        medium: Medium::Memory,
        nemeses: Some(kinds.expect("names of the table")),
        rate: 4000.0,
        clients: 6,
        commit: "make test".to_owned(),
        keep: false,
    };
    let outcome = run::run(&plan).await?;
    let line = serde_json::to_string(&outcome.line)?;
    println!("{}{line}", outcome.judgement);
    assert!(outcome.line.verdict == Verdict::Valid, "{line}\nfiles are kept in {:?}", outcome.directory);
    Ok(())
}
