//! A module imports only modules that its crate lists above it.

use std::collections::HashMap;

use super::source::{SourceFile, blank_comments_and_strings};

/// The modules of a crate in the order of its list, and what the crate re-exports from them.
pub struct Modules {
    positions: HashMap<String, usize>,
    /// A name that the list file re-exports, and the module it comes from.
    reexports: HashMap<String, String>,
}

impl Modules {
    /// Reads `lib.rs` or `main.rs`.
    pub fn read(list: &str) -> Modules {
        let code = blank_comments_and_strings(list);
        let mut modules = Modules { positions: HashMap::new(), reexports: HashMap::new() };
        for line in code.lines() {
            let item = without_visibility(line.trim());
            if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                let position = modules.positions.len();
                modules.positions.insert(name.trim().to_owned(), position);
            }
        }
        for statement in code.split(';') {
            if let Some(start) = statement.find("use ") {
                modules.read_reexport(&statement[start + 4..]);
            }
        }
        modules
    }

    /// `module::{A, B as C}` or `module::inner::A`.
    fn read_reexport(&mut self, path: &str) {
        let path = path.trim().trim_start_matches("crate::").trim_start_matches("self::");
        let Some((module, rest)) = path.split_once("::") else { return };
        if !self.positions.contains_key(module) {
            return;
        }
        for name in rest.split(|character: char| !(character.is_alphanumeric() || character == '_')) {
            if name.chars().next().is_some_and(char::is_uppercase) {
                self.reexports.insert(name.to_owned(), module.to_owned());
            }
        }
    }

    /// The module that a name after `crate::` leads to.
    fn module_of<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if self.positions.contains_key(name) { Some(name) } else { self.reexports.get(name).map(String::as_str) }
    }
}

fn without_visibility(item: &str) -> &str {
    let item = item.strip_prefix("pub(crate) ").or_else(|| item.strip_prefix("pub ")).unwrap_or(item);
    item.trim_start()
}

/// What `file` (below `prefix`) imports although it is listed below it.
pub fn breaches(modules: &Modules, prefix: &str, file: &SourceFile) -> Vec<String> {
    let inside = file.path.strip_prefix(prefix).unwrap_or(&file.path);
    let own = inside.split(['/', '.']).next().unwrap_or_default();
    let Some(&own_position) = modules.positions.get(own) else { return Vec::new() };
    let code = file.code_lines().join("\n");
    let mut findings = Vec::new();
    for name in imported(&code) {
        let Some(module) = modules.module_of(&name) else { continue };
        if modules.positions[module] > own_position {
            findings.push(format!(
                "{}: `crate::{name}` is in `{module}`, which stands below `{own}` in the crate's list. Move what both need into a module \
                 above them, or pass it in from the caller; do not reorder the list to hide a circle.",
                file.path
            ));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Names that directly follow `crate::`, those in braces too.
fn imported(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // Not `$crate::`, nor the end of another word.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(top_names(list)),
            None => names.push(first_word(rest)),
        }
    }
    names
}

/// The first word of every element of a braced list, at depth one.
fn top_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut at_start = true;
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            character if at_start && !character.is_whitespace() => {
                names.push(first_word(&list[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "//! Story.\nmod low;\npub mod middle;\nmod high;\npub use low::{Base, Other as Another};\npub use high::deep::Top;\n";

    fn check(path: &str, text: &str) -> Vec<String> {
        breaches(&Modules::read(LIST), "x/src/", &SourceFile { path: path.into(), text: text.into() })
    }

    #[test]
    fn importing_upwards_in_the_list_is_fine() {
        assert!(check("x/src/high.rs", "use crate::low::A;\nuse crate::{middle::B, Base};").is_empty());
        assert!(check("x/src/middle/inner.rs", "use crate::middle::other;\nuse crate::unknown;").is_empty());
    }

    #[test]
    fn importing_downwards_is_found_in_all_its_forms() {
        for text in [
            "use crate::high::A;",
            "use crate::{low::A, high::B};",
            "fn f() -> crate::high::A {}",
            "use crate::Top;",
            "use crate::{low::{A, B},\n    high};",
        ] {
            assert_eq!(check("x/src/middle.rs", text).len(), 1, "{text}");
        }
        assert_eq!(check("x/src/low/inner.rs", "use crate::middle;").len(), 1);
    }

    #[test]
    fn comments_and_unit_tests_may_name_anything() {
        assert!(check("x/src/low.rs", "// crate::high\nfn f() {}\n#[cfg(test)]\nmod tests { use crate::high; }").is_empty());
    }
}
