//! One line for every run: what was tested, how long, and how it ended.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::checker::sample_set::Verdict;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Of the tree that the program was built from, as far as it is known.
    pub commit: String,
    pub seed: u64,
    pub minutes: f64,
    pub nodes: u64,
    /// Recorded operations of all workloads.
    pub operations: u64,
    /// Acknowledged samples, each counted once.
    pub acknowledged: u64,
    /// How often each fault took effect.
    pub nemeses: BTreeMap<String, u64>,
    pub verdict: Verdict,
    /// Why it is not `valid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// Adds a line.
pub fn append(file: &Path, line: &Line) -> anyhow::Result<()> {
    let mut text = serde_json::to_string(line).context("write a ledger line")?;
    text.push('\n');
    let opened = OpenOptions::new().create(true).append(true).open(file);
    // One write: runs side by side do not mix their lines.
    opened.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("write {}", file.display()))
}

/// The commit that a tree stands at; `+` when files differ from it.
pub fn commit_of(tree: &Path) -> String {
    let git = |arguments: &[&str]| crate::shell::run("git", &[&["-C", tree.to_str().unwrap_or(".")], arguments].concat());
    let Ok(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!jepsen/ledger.jsonl"])
        .is_ok_and(|text| !text.trim().is_empty());
    format!("{}{}", commit.trim(), if changed { "+" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_and_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ledger.jsonl");
        let nemeses = BTreeMap::from([("kill-all".to_owned(), 3)]);
        let (commit, verdict, reasons) = ("abc".to_owned(), Verdict::Valid, vec![]);
        let line = Line { commit, seed: 5, minutes: 10.0, nodes: 3, operations: 7, acknowledged: 9, nemeses, verdict, reasons };
        append(&file, &line).unwrap();
        append(&file, &line).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), lines[1].nemeses["kill-all"]), (2, 3));
        assert!(text.contains(r#""verdict":"valid""#), "{text}");
    }
}
