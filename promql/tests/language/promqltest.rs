//! Prometheus's own query tests, where they are at hand: they are not part of this repository. Name their folder in
//! `PROMQLTEST_DIR`, or put them into `testdata`; without them these tests have nothing to do.

use std::path::{Path, PathBuf};

use promql::testlang::{Command, CommandKind, parse_script};
use promql::{ParserOptions, parse};

/// The name, the text and the commands of every script.
fn scripts() -> Vec<(PathBuf, String, Vec<Command>)> {
    let named = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    let mut candidates = named.into_iter().chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")]);
    let Some(directory) = candidates.find(|directory| directory.is_dir()) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(directory).expect("list test data");
    let paths = entries.map(|entry| entry.expect("list test data").path());
    let scripts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "test"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("read test data");
        let commands = parse_script(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, text, commands)
    };
    scripts.map(read).collect()
}

#[test]
fn every_line_belongs_to_a_command() {
    for (path, text, commands) in scripts() {
        let starts = |word: &str| text.lines().filter(|line| line.trim().starts_with(word)).count();
        assert_eq!(commands.len(), starts("load") + starts("eval") + starts("clear"), "{}", path.display());
    }
}

#[test]
fn every_query_parses_and_reads_back() {
    for (path, _, commands) in scripts() {
        for command in commands {
            let CommandKind::Eval(eval) = command.kind else {
                continue;
            };
            let place = format!("{}:{}: {}", path.display(), command.line, eval.query);
            let expr = parse(&eval.query, ParserOptions::experimental()).unwrap_or_else(|error| panic!("{place}: {error}"));
            let printed = expr.to_string();
            let again = parse(&printed, ParserOptions::experimental()).unwrap_or_else(|error| panic!("{place}: {printed}: {error}"));
            assert_eq!(again.to_string(), printed, "{place}");
        }
    }
}
