//! The shape of files: length, story, doors of folders, and no panic on what comes from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::source::SourceFile;

/// Lines of product code and comments before the unit tests. Past 500 there usually is a second thing in the file; past this it is sure.
const LINES_MAX: usize = 700;
/// Files that are tables: long by nature.
const TABLES: [&str; 1] = ["promql/src/function_signatures.rs"];

/// Calls that end a thread. `assert!` is allowed: it states an invariant of our own.
const PANICS: [&str; 6] = [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("];
/// A comment on the same line or just above, which begins so, says why the call cannot fail.
const REASONS: [&str; 3] = ["// Safe:", "// Invariant:", "// Cannot fail:"];

pub fn shape_breaches(file: &SourceFile) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = file.product().lines().count();
    if lines > LINES_MAX && !TABLES.contains(&file.path.as_str()) {
        findings.push(format!(
            "{}: {lines} lines before its tests, {LINES_MAX} at most. Find the second thing that lives there and give it a file.",
            file.path
        ));
    }
    if !file.text.trim_start().starts_with("//!") {
        findings.push(format!("{}: no story. Begin the file with `//!`: what it is for and why it is so.", file.path));
    }
    findings
}

pub fn panic_breaches(file: &SourceFile) -> Vec<String> {
    let originals: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in file.code_lines().iter().enumerate() {
        let Some(call) = PANICS.iter().find(|call| line.contains(*call)) else { continue };
        if *call == ".expect(" && !expects_with_message(originals[index]) {
            continue;
        }
        if !has_reason(&originals, index) {
            findings.push(format!(
                "{}:{}: `{call}` can end a thread on outside data. Return an error; or, when it cannot fail, say why in a comment above that begins \
                 with `// Invariant:`.",
                file.path,
                index + 1
            ));
        }
    }
    findings
}

/// `.expect("…")` of an option or result, and not a method of that name with another argument, as parsers have.
fn expects_with_message(line: &str) -> bool {
    line.match_indices(".expect(").any(|(at, call)| {
        let argument = line[at + call.len()..].trim_start();
        argument.is_empty() || argument.starts_with('"') || argument.starts_with("&format!")
    })
}

/// A reason on the line itself, or in the block of comments that ends within the three lines above it (a call chain may begin there).
fn has_reason(lines: &[&str], index: usize) -> bool {
    let gives_reason = |line: &&str| REASONS.iter().any(|reason| line.contains(reason));
    if gives_reason(&lines[index]) {
        return true;
    }
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let Some(last) = (index.saturating_sub(4)..index).rev().find(|&above| is_comment(lines[above])) else { return false };
    let block = (0..=last).rev().take_while(|&above| is_comment(lines[above]));
    block.map(|above| &lines[above]).any(gives_reason)
}

/// A folder's door is its `mod.rs`, the file of its name beside it, or the crate's `lib.rs` or `main.rs`.
pub fn folders_without_door(files: &BTreeMap<&str, &SourceFile>) -> Vec<String> {
    let folders: BTreeSet<&str> = files.keys().filter_map(|path| path.rsplit_once('/')).map(|(folder, _)| folder).collect();
    let mut findings = Vec::new();
    for folder in folders {
        let doors = [format!("{folder}/mod.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs"), format!("{folder}.rs")];
        if !doors.iter().any(|door| files.contains_key(door.as_str())) {
            findings.push(format!("{folder}: no door. Add mod.rs with a `//!` story and the list of modules, from the bottom up."));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn long_files_and_files_without_a_story_are_found() {
        let long = format!("//! Story.\n{}", "fn f() {}\n".repeat(LINES_MAX));
        assert_eq!(shape_breaches(&file("src/a.rs", &long)).len(), 1);
        assert_eq!(shape_breaches(&file("src/a.rs", "fn f() {}")).len(), 1);
        assert!(shape_breaches(&file("src/a.rs", "//! Story.\nfn f() {}")).is_empty());
    }

    #[test]
    fn a_panic_without_a_reason_is_found() {
        for call in ["x.unwrap();", "x.expect(\"y\");", "panic!(\"y\");", "todo!()"] {
            assert_eq!(panic_breaches(&file("src/a.rs", &format!("fn f() {{ {call} }}"))).len(), 1, "{call}");
        }
    }

    #[test]
    fn a_panic_with_a_reason_in_a_comment_or_in_tests_is_fine() {
        for text in [
            "x.unwrap() // Safe: just set",
            "// Invariant: the list has\n// one element.\nlet y = x\n    .first()\n    .expect(\"one\");",
            "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { x.unwrap() } }",
            "self.expect(Token::Comma)?;",
            "// x.unwrap()\nlet text = \".unwrap()\";\nx.unwrap_or(1);",
        ] {
            assert!(panic_breaches(&file("src/a.rs", text)).is_empty(), "{text}");
        }
        assert_eq!(panic_breaches(&file("src/a.rs", "// Says nothing.\nx.unwrap()")).len(), 1);
    }

    #[test]
    fn a_folder_without_a_door_is_found() {
        let (one, two) = (file("src/a/b.rs", ""), file("src/main.rs", ""));
        let files = BTreeMap::from([("src/a/b.rs", &one), ("src/main.rs", &two)]);
        assert_eq!(
            folders_without_door(&files),
            ["src/a: no door. Add mod.rs with a `//!` story and the list of modules, from the bottom up."]
        );
    }
}
