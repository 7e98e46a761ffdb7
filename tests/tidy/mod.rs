//! The house rules, as a test. Each message ends with the mend.
//!
//! A rule is a pure function from source text to findings, so each is shown here to fail on a planted breach, and then run over the house.
//! A new rule that was learnt the hard way belongs here.

mod source;
mod doors;
mod order;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use source::{SourceFile, rust_files};

/// The crates of the house: folder, and the file that lists its modules.
const CRATES: [(&str, &str); 8] = [
    ("proto/src", "lib.rs"),
    ("tls/src", "lib.rs"),
    ("storage/src", "lib.rs"),
    ("raft/src", "lib.rs"),
    ("promql/src", "lib.rs"),
    ("src", "lib.rs"),
    ("jepsen/src", "lib.rs"),
    ("bench/src", "main.rs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn house() -> Vec<SourceFile> {
    let mut files = Vec::new();
    for folder in CRATES.iter().map(|(folder, _)| *folder).chain(["tests"]) {
        files.extend(rust_files(root(), folder));
    }
    assert!(files.len() > 50, "only {} source files were found: the test looks in the wrong place", files.len());
    files
}

fn expect_none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} breaches of the house rules:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn modules_import_only_what_is_listed_above_them() {
    let mut findings = Vec::new();
    for (folder, door) in CRATES {
        let files = rust_files(root(), folder);
        let Some(list) = files.iter().find(|file| file.path == format!("{folder}/{door}")) else { continue };
        let modules = order::Modules::read(&list.text);
        let prefix = format!("{folder}/");
        let inside = |file: &&SourceFile| file.path != list.path && file.path != format!("{folder}/main.rs");
        findings.extend(files.iter().filter(inside).flat_map(|file| order::breaches(&modules, &prefix, file)));
    }
    expect_none(findings);
}

#[test]
fn heavy_dependencies_have_one_door() {
    expect_none(house().iter().flat_map(doors::breaches).collect());
}

#[test]
fn crates_know_only_the_crates_below_them() {
    let manifests = ["proto", "tls", "storage", "raft", "promql"].map(|name| {
        let path = root().join(name).join("Cargo.toml");
        (name, std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display())))
    });
    expect_none(manifests.iter().flat_map(|(name, manifest)| doors::forbidden_dependencies(name, manifest)).collect());
}

#[test]
fn files_are_not_too_long_and_tell_their_story() {
    expect_none(house().iter().flat_map(text::shape_breaches).collect());
}

#[test]
fn nothing_panics_on_what_comes_from_outside() {
    let guarded = ["src/", "tls/src/", "raft/src/", "storage/src/", "promql/src/"];
    let files = house();
    let test_only: Vec<String> = files.iter().flat_map(SourceFile::test_only_modules).collect();
    let for_tests = |file: &SourceFile| {
        test_only.iter().any(|module| file.path == format!("{module}.rs") || file.path.starts_with(&format!("{module}/")))
    };
    let in_rooms = files.iter().filter(|file| guarded.iter().any(|room| file.path.starts_with(room)) && !for_tests(file));
    expect_none(in_rooms.flat_map(text::panic_breaches).collect());
}

#[test]
fn folders_have_a_door_with_a_story() {
    let files = house();
    let by_path: BTreeMap<&str, &SourceFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    expect_none(text::folders_without_door(&by_path));
}
