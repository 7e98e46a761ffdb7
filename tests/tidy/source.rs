//! Source files, and their text with comments and strings blanked out.

use std::path::Path;

/// A Rust file of the house.
pub struct SourceFile {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    /// Lines of product code: what stands before the unit tests, without comments and the insides of strings.
    pub fn code_lines(&self) -> Vec<String> {
        blank_comments_and_strings(self.product()).lines().map(str::to_owned).collect()
    }

    /// The text before the unit tests that are written into the file. (`#[cfg(test)] mod x;` only names a file of tests.)
    pub fn product(&self) -> &str {
        let tests = self.test_modules().find(|(_, declaration)| declaration.contains('{'));
        tests.map_or(&self.text, |(at, _)| &self.text[..at])
    }

    /// Every `#[cfg(test)]` module: where it begins, and the line that declares it.
    fn test_modules(&self) -> impl Iterator<Item = (usize, &str)> {
        let modules = self.text.match_indices(TEST_MODULE);
        modules.map(|(at, _)| (at, self.text[at + TEST_MODULE.len()..].lines().next().unwrap_or_default().trim()))
    }

    /// Paths without `.rs` of the modules that this file declares for tests only.
    pub fn test_only_modules(&self) -> Vec<String> {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let inside = match name.trim_end_matches(".rs") {
            "mod" | "lib" | "main" => folder.to_owned(),
            stem => format!("{folder}/{stem}"),
        };
        let names = self.test_modules().filter_map(|(_, declaration)| declaration.strip_suffix(';'));
        names.map(|name| format!("{inside}/{name}")).collect()
    }
}

const TEST_MODULE: &str = "#[cfg(test)]\nmod ";

/// All Rust files below a folder, sorted; none when the folder is absent. Files in folders named `tests` are tests.
pub fn rust_files(root: &Path, folder: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(root, folder, &mut files);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn collect(root: &Path, folder: &str, files: &mut Vec<SourceFile>) {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("read {path}: {error}"));
            files.push(SourceFile { path, text });
        }
    }
}

/// Replaces comments, and what is inside string literals, by spaces; line breaks stay. Raw strings with one `#` or none are understood.
pub fn blank_comments_and_strings(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = match (characters[at], characters.get(at + 1)) {
            ('/', Some('/')) => end_of_line(&characters, at),
            ('/', Some('*')) => end_of(&characters, at + 2, "*/"),
            ('r', Some('#')) if characters.get(at + 2) == Some(&'"') => end_of(&characters, at + 3, "\"#"),
            ('r', Some('"')) if at == 0 || !characters[at - 1].is_alphanumeric() => end_of(&characters, at + 2, "\""),
            ('"', _) => end_of_string(&characters, at + 1),
            ('\'', Some('"')) => at + 3,
            (character, _) => {
                out.push(character);
                at += 1;
                continue;
            }
        };
        let end = end.min(characters.len());
        out.extend(characters[at..end].iter().map(|&character| if character == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn end_of_line(characters: &[char], from: usize) -> usize {
    (from..characters.len()).find(|&at| characters[at] == '\n').unwrap_or(characters.len())
}

fn end_of(characters: &[char], from: usize, closing: &str) -> usize {
    let closing: Vec<char> = closing.chars().collect();
    (from..characters.len()).find(|&at| characters[at..].starts_with(&closing)).map_or(characters.len(), |at| at + closing.len())
}

fn end_of_string(characters: &[char], mut at: usize) -> usize {
    while at < characters.len() && characters[at] != '"' {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

#[test]
fn comments_and_strings_are_blanked_and_code_stays() {
    let text = "let a = \"x // \\\" y\"; // b\n/* c\n */ d r#\"e \" f\"# '\"' g";
    let blanked = blank_comments_and_strings(text);
    assert_eq!(blanked.split_whitespace().collect::<Vec<_>>(), ["let", "a", "=", ";", "d", "g"]);
    assert_eq!(blanked.lines().count(), 3);
}

#[test]
fn a_module_declared_for_tests_is_known_and_does_not_end_the_product() {
    let file = SourceFile { path: "a/mod.rs".into(), text: "#[cfg(test)]\nmod model;\nfn f() {}\n#[cfg(test)]\nmod tests {\n}".into() };
    assert_eq!(file.test_only_modules(), ["a/model"]);
    assert!(file.product().ends_with("fn f() {}\n"));
}
