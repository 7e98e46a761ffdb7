//! Runs test scripts, with all series in one part and in several: the project's own, and Prometheus' when they are at hand (directory `TERN_PROMQLTEST`, by default
//! `../shared/promqltest` beside the workspace).

use std::path::{Path, PathBuf};

use promql::script_runner::run_script_in_parts;

#[test]
fn own_scripts_pass() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    assert!(run_all(&directory) > 0, "no script in {}", directory.display());
}

#[test]
fn prometheus_scripts_pass() {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest");
    let directory = std::env::var_os("TERN_PROMQLTEST").map_or_else(default, PathBuf::from);
    if directory.is_dir() {
        run_all(&directory);
    } else {
        println!("not run: there is no {}", directory.display());
    }
}

/// Runs all scripts of a directory and returns how many evaluations passed.
fn run_all(directory: &Path) -> usize {
    let mut passed = 0;
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(directory).expect("list scripts") {
        let path = entry.expect("list scripts").path();
        if path.extension().is_none_or(|extension| extension != "test") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("read script");
        for parts in [1, 3] {
            let report = run_script_in_parts(&text, parts).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            passed += report.passed;
            failures.extend(report.failures.iter().map(|failure| format!("{} in {parts} parts: {failure}", path.display())));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    passed
}
