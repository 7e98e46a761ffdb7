//! Every script of Prometheus's own query tests can be read.
//!
//! The test data is not part of this repository; without it the test has nothing to do.

use std::path::{Path, PathBuf};

use promql::testlang::{CommandKind, parse_script};

fn test_data() -> Option<PathBuf> {
    let named = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    let candidates = named.into_iter().chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")]);
    candidates.filter(|directory| directory.is_dir()).next()
}

#[test]
fn every_script_can_be_read() {
    let Some(directory) = test_data() else {
        return;
    };
    let (mut loads, mut evals) = (0, 0);
    for entry in std::fs::read_dir(directory).expect("list test data") {
        let path = entry.expect("list test data").path();
        let text = std::fs::read_to_string(&path).expect("read test data");
        let commands = parse_script(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        loads += commands.iter().filter(|command| matches!(command.kind, CommandKind::Load(_))).count();
        evals += commands.iter().filter(|command| matches!(command.kind, CommandKind::Eval(_))).count();
        // Whatever starts with the word is a command of that kind.
        let starts = |word: &str| text.lines().filter(|line| line.trim().starts_with(word)).count();
        assert_eq!(
            commands.len(),
            starts("load") + starts("eval") + starts("clear"),
            "{}",
            path.display()
        );
    }
    assert!(loads > 0 && evals > 0, "test data without commands");
    println!("{loads} loads, {evals} evaluations");
}
