//! The four layers of settings laid over each other, each value remembering where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::manual::{Manual, flatten};

/// Where a value came from; part of every error about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(String),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(out, "the default"),
            Origin::File(path) => write!(out, "from file {path}"),
            Origin::Environment(name) => write!(out, "from environment variable {name}"),
            Origin::Flag(name) => write!(out, "from flag --{name}"),
        }
    }
}

/// Text and origin of every setting. Invariant: holds exactly the names of the manual.
#[derive(Debug)]
pub struct Layers {
    manual: Manual,
    values: BTreeMap<String, (String, Origin)>,
    /// The file that was laid over the defaults.
    file: Option<PathBuf>,
}

impl Layers {
    pub fn defaults(manual: Manual) -> Layers {
        let values = manual.entries.iter().map(|entry| (entry.name.clone(), (entry.default.clone(), Origin::Default))).collect();
        Layers { manual, values, file: None }
    }

    pub fn lay_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let fault = |error: std::io::Error| ConfigError::File { path: path.display().to_string(), cause: error.to_string() };
        self.lay_text(path, &std::fs::read_to_string(path).map_err(fault)?)
    }

    /// As [`Self::lay_file`], with what stands in the file.
    pub fn lay_text(&mut self, path: &Path, yaml: &str) -> Result<(), ConfigError> {
        let origin = path.display().to_string();
        let settings = flatten(yaml).map_err(|cause| ConfigError::File { path: origin.clone(), cause })?;
        for (name, value) in settings {
            self.set(&name, value, Origin::File(origin.clone()))?;
        }
        self.file = Some(path.to_path_buf());
        Ok(())
    }

    /// These layers with the configuration file as it is now; what the environment and flags say stays.
    pub fn reread(&self) -> Result<Layers, ConfigError> {
        let mut now = Layers::defaults(Manual::read());
        if let Some(path) = &self.file {
            now.lay_file(path)?;
        }
        let overriding = self.values.iter().filter(|(_, (_, origin))| matches!(origin, Origin::Environment(_) | Origin::Flag(_)));
        now.values.extend(overriding.map(|(name, value)| (name.clone(), value.clone())));
        Ok(now)
    }

    /// Names of the settings whose text differs.
    pub fn differences(&self, other: &Layers) -> Vec<String> {
        let differs = |(name, (value, _)): &(&String, &(String, Origin))| other.values.get(*name).is_none_or(|(text, _)| text != value);
        self.values.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    }

    /// Takes the `TERN_…` variables it knows; others are left alone, they may belong to a supervisor.
    pub fn lay_environment(&mut self, read: impl Fn(&str) -> Option<String>) {
        for entry in &self.manual.entries {
            let variable = entry.variable();
            if let Some(value) = read(&variable) {
                self.values.insert(entry.name.clone(), (value, Origin::Environment(variable)));
            }
        }
    }

    pub fn lay_flag(&mut self, name: &str, value: String) -> Result<(), ConfigError> {
        let flag = name.replace(['.', '_'], "-");
        self.set(name, value, Origin::Flag(flag))
    }

    fn set(&mut self, name: &str, value: String, origin: Origin) -> Result<(), ConfigError> {
        match self.values.get_mut(name) {
            Some(slot) => {
                *slot = (value, origin);
                Ok(())
            }
            None => {
                let nearest = self.manual.nearest(name).to_string();
                Err(ConfigError::Unknown { name: name.to_string(), origin, nearest })
            }
        }
    }

    /// A setting's text; the name must be one of the manual's.
    #[cfg(test)]
    pub fn text(&self, name: &str) -> &str {
        &self.values[name].0
    }

    /// Reads a setting with `parse`, whose error says what to write instead.
    pub fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        let (value, origin) = &self.values[name];
        parse(value.trim()).map_err(|problem| ConfigError::Value {
            name: name.to_string(),
            value: value.clone(),
            origin: origin.clone(),
            problem,
        })
    }

    /// Every setting as (name, value text, origin), for the status page.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.values.iter().map(|(name, (value, origin))| (name.as_str(), value.as_str(), origin))
    }

    /// The settings in force as a configuration file.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        // Top-level settings first: in a file they may not stand below a section.
        let (inner, top): (Vec<_>, Vec<_>) = self.iter().partition(|(name, _, _)| name.contains('.'));
        for (name, value, _) in top.into_iter().chain(inner) {
            let value = serde_json::Value::from(value);
            match name.split_once('.') {
                None => text.push_str(&format!("{name}: {value}\n")),
                Some((of, key)) => {
                    if of != section {
                        text.push_str(&format!("{of}:\n"));
                        section = of;
                    }
                    text.push_str(&format!("  {key}: {value}\n"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_beat_environment_beats_file_beats_default() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("tern.yaml");
        std::fs::write(&path, "query:\n  timeout: 10s\n  lookback: 1m\n  samples_max: 7\n").expect("write");
        let mut layers = Layers::defaults(Manual::read());
        layers.lay_file(&path).expect("known settings");
        layers.lay_environment(|name| match name {
            "TERN_QUERY_LOOKBACK" => Some("2m".into()),
            "TERN_QUERY_SAMPLES_MAX" => Some("8".into()),
            _ => None,
        });
        layers.lay_flag("query.samples_max", "9".into()).expect("known");
        assert_eq!(layers.text("query.timeout"), "10s");
        assert_eq!(layers.text("query.lookback"), "2m");
        assert_eq!(layers.text("query.samples_max"), "9");
        assert_eq!(layers.text("query.points_max"), "11000");
    }

    #[test]
    fn a_file_that_changed_since_the_start_is_noticed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("tern.yaml");
        std::fs::write(&path, "query:\n  timeout: 10s\n  samples_max: 7\n").expect("write");
        let mut layers = Layers::defaults(Manual::read());
        layers.lay_file(&path).expect("known settings");
        layers.lay_flag("query.samples_max", "9".into()).expect("known");
        let changed = |layers: &Layers| layers.differences(&layers.reread().expect("readable"));
        assert_eq!(changed(&layers), [""; 0]);
        std::fs::write(&path, "query:\n  timeout: 20s\n  samples_max: 8\nfeatures: search-api\n").expect("write");
        assert_eq!(changed(&layers), ["features", "query.timeout"], "the flag counts, not the file");
        std::fs::remove_file(&path).expect("remove");
        assert!(layers.reread().expect_err("gone").to_string().contains("tern.yaml"));
        assert_eq!(changed(&Layers::defaults(Manual::read())), [""; 0], "without a file");
    }

    #[test]
    fn unknown_settings_are_named_with_the_nearest_known_one() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("tern.yaml");
        std::fs::write(&path, "querry:\n  timeout: 10s\n").expect("write");
        let error = Layers::defaults(Manual::read()).lay_file(&path).expect_err("mistyped").to_string();
        assert!(error.contains("querry.timeout") && error.contains("did you mean query.timeout"), "{error}");
    }

    #[test]
    fn the_settings_in_force_read_back_as_a_file() {
        let mut layers = Layers::defaults(Manual::read());
        layers.lay_flag("peers", "1=a:1/b:2".into()).expect("known");
        let pairs = flatten(&layers.yaml()).expect("valid YAML");
        for (name, value, _) in layers.iter() {
            assert!(pairs.contains(&(name.to_string(), value.to_string())), "{name}");
        }
    }
}
