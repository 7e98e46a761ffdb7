//! The default configuration file read as a manual: each setting's name, default text and help.

use serde_yaml_ng::Value;

/// What `tern config` prints and what the binary starts from.
pub const DEFAULT_FILE: &str = include_str!("../../deploy/tern.yaml");

/// One setting, as the default file describes it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Dotted: `query.timeout`.
    pub name: String,
    /// The default as text.
    pub default: String,
    /// The comment above it, in one line.
    pub help: String,
}

impl Entry {
    /// `query.timeout` → `query-timeout`.
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// `query.timeout` → `TERN_QUERY_TIMEOUT`.
    pub fn variable(&self) -> String {
        format!("TERN_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// All settings in the order of the file.
#[derive(Debug)]
pub struct Manual {
    pub entries: Vec<Entry>,
}

impl Manual {
    pub fn read() -> Manual {
        // Invariant: the file is part of the binary, and the tests below read it.
        let values = flatten(DEFAULT_FILE).expect("the built-in configuration file is valid YAML");
        let helps = help_texts(DEFAULT_FILE);
        let entries = values
            .into_iter()
            .map(|(name, default)| {
                let help = helps.iter().find(|(of, _)| *of == name).map(|(_, text)| text.clone()).unwrap_or_default();
                Entry { name, default, help }
            })
            .collect();
        Manual { entries }
    }

    #[cfg(test)]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The known name that looks most like a mistyped one.
    pub fn nearest(&self, name: &str) -> &str {
        let distance = |entry: &&Entry| edit_distance(&entry.name, name);
        self.entries.iter().min_by_key(distance).map_or("", |entry| &entry.name)
    }
}

/// A YAML text as (dotted name, value text) pairs.
pub fn flatten(yaml: &str) -> Result<Vec<(String, String)>, String> {
    let root: Value = serde_yaml_ng::from_str(yaml).map_err(|error| error.to_string())?;
    let mut pairs = Vec::new();
    match root {
        Value::Null => {}
        Value::Mapping(_) => flatten_into("", &root, &mut pairs)?,
        _ => return Err("the file must hold `setting: value` lines".to_string()),
    }
    Ok(pairs)
}

fn flatten_into(prefix: &str, value: &Value, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
    let text = match value {
        Value::Mapping(mapping) => {
            for (key, inner) in mapping {
                let key = key.as_str().ok_or_else(|| format!("a name under {prefix:?} is not text"))?;
                let name = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
                flatten_into(&name, inner, pairs)?;
            }
            return Ok(());
        }
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(format!("{prefix}: a list or tag is not expected here")),
    };
    pairs.push((prefix.to_string(), text));
    Ok(())
}

/// The comment lines directly above each setting. Two settings under one comment share it.
fn help_texts(yaml: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut after_setting = false;
    let mut helps = Vec::new();
    for line in yaml.lines() {
        let trimmed = line.trim_start();
        if let Some(text) = trimmed.strip_prefix('#') {
            if after_setting {
                comment.clear();
            }
            after_setting = false;
            comment.push(text.trim());
        } else if trimmed.is_empty() {
            comment.clear();
        } else if let Some((key, value)) = trimmed.split_once(':') {
            if trimmed.len() == line.len() {
                section.clear();
            }
            if value.trim().is_empty() {
                section = format!("{key}.");
            } else {
                helps.push((format!("{section}{key}"), comment.join(" ")));
            }
            after_setting = true;
        }
    }
    helps
}

fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_help_text_and_names_of_its_own() {
        let manual = Manual::read();
        assert!(manual.entries.len() > 30);
        for (at, entry) in manual.entries.iter().enumerate() {
            assert!(!entry.help.is_empty(), "{} has no comment above it", entry.name);
            assert!(manual.entries[at + 1..].iter().all(|other| other.flag() != entry.flag()), "{} twice", entry.flag());
        }
    }

    #[test]
    fn names_become_flags_and_variables() {
        let manual = Manual::read();
        let entry = manual.entry("query.samples_max").expect("known setting");
        assert_eq!(entry.flag(), "query-samples-max");
        assert_eq!(entry.variable(), "TERN_QUERY_SAMPLES_MAX");
        assert_eq!(manual.nearest("query.timeot"), "query.timeout");
    }
}
