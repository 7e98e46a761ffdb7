//! Runs PromQL test scripts: `cargo run --release -p promql --example promqltest -- FILE_OR_DIRECTORY…`
//!
//! Prints passed and total for every file and each failing case; exits with 1 when there is one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use promql::script_runner::run_script;

fn main() -> ExitCode {
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        if let Err(error) = collect(Path::new(&argument), &mut files) {
            eprintln!("read {argument}: {error}");
            return ExitCode::FAILURE;
        }
    }
    let (mut passed, mut total) = (0, 0);
    let mut broken = false;
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("read {}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        };
        match run_script(&text) {
            Err(error) => {
                println!("{}: {error}", file.display());
                broken = true;
            }
            Ok(report) => {
                for failure in &report.failures {
                    println!("FAIL {}: {failure}", file.display());
                }
                println!("{}/{} {}", report.passed, report.total(), file.display());
                passed += report.passed;
                total += report.total();
            }
        }
    }
    println!("{passed}/{total} in {} files", files.len());
    if passed == total && !broken { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The file, or all `.test` files of the directory in order.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    entries.retain(|entry| entry.extension().is_some_and(|extension| extension == "test"));
    entries.sort();
    files.append(&mut entries);
    Ok(())
}
