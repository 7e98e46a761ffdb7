//! How OpenTelemetry metrics are translated: the settings of Prometheus' `otlp` block, under the same names.

use std::collections::BTreeSet;

use super::layers::Layers;
use super::{ConfigError, value};

/// What becomes of names that Prometheus would not have given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranslationStrategy {
    UnderscoreEscapingWithSuffixes,
    UnderscoreEscapingWithoutSuffixes,
    NoUtf8EscapingWithSuffixes,
    NoTranslation,
}

impl TranslationStrategy {
    fn parse(text: &str) -> Result<TranslationStrategy, String> {
        match text {
            "UnderscoreEscapingWithSuffixes" => Ok(Self::UnderscoreEscapingWithSuffixes),
            "UnderscoreEscapingWithoutSuffixes" => Ok(Self::UnderscoreEscapingWithoutSuffixes),
            "NoUTF8EscapingWithSuffixes" => Ok(Self::NoUtf8EscapingWithSuffixes),
            "NoTranslation" => Ok(Self::NoTranslation),
            _ => Err("write UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes or \
                      NoTranslation"
                .to_string()),
        }
    }

    /// Characters outside of the classic set become `_`.
    pub fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// Metric names end with their unit and type.
    pub fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// Which attributes of a resource become labels of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromotedAttributes {
    Only(BTreeSet<String>),
    AllExcept(BTreeSet<String>),
}

#[derive(Clone, Debug)]
pub struct OtlpSettings {
    pub strategy: TranslationStrategy,
    pub promoted: PromotedAttributes,
    pub keep_identifying_resource_attributes: bool,
    pub convert_histograms_to_nhcb: bool,
    pub promote_scope_metadata: bool,
    pub label_name_underscore_sanitization: bool,
    pub label_name_preserve_multiple_underscores: bool,
    pub accept_delta: bool,
}

impl OtlpSettings {
    pub(super) fn read(layers: &Layers) -> Result<OtlpSettings, ConfigError> {
        Ok(OtlpSettings {
            strategy: layers.read("otlp.translation_strategy", TranslationStrategy::parse)?,
            promoted: read_promoted(layers)?,
            keep_identifying_resource_attributes: layers.read("otlp.keep_identifying_resource_attributes", value::truth)?,
            convert_histograms_to_nhcb: layers.read("otlp.convert_histograms_to_nhcb", value::truth)?,
            promote_scope_metadata: layers.read("otlp.promote_scope_metadata", value::truth)?,
            label_name_underscore_sanitization: layers.read("otlp.label_name_underscore_sanitization", value::truth)?,
            label_name_preserve_multiple_underscores: layers.read("otlp.label_name_preserve_multiple_underscores", value::truth)?,
            accept_delta: layers.read("otlp.accept_delta", value::truth)?,
        })
    }
}

fn read_promoted(layers: &Layers) -> Result<PromotedAttributes, ConfigError> {
    let all = layers.read("otlp.promote_all_resource_attributes", value::truth)?;
    let only = layers.read("otlp.promote_resource_attributes", |text| {
        let keys = attribute_names(text)?;
        let both = all && !keys.is_empty();
        if both { Err("cannot be set together with otlp.promote_all_resource_attributes".to_string()) } else { Ok(keys) }
    })?;
    let ignored = layers.read("otlp.ignore_resource_attributes", |text| {
        let keys = attribute_names(text)?;
        let alone = !all && !keys.is_empty();
        if alone { Err("has no meaning unless otlp.promote_all_resource_attributes is true".to_string()) } else { Ok(keys) }
    })?;
    Ok(if all { PromotedAttributes::AllExcept(ignored) } else { PromotedAttributes::Only(only) })
}

/// `service.version,k8s.pod.name`
fn attribute_names(text: &str) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for name in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        if name.is_empty() {
            return Err("holds an empty attribute name".to_string());
        }
        if !names.insert(name.to_string()) {
            return Err(format!("names {name:?} twice"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::Manual;
    use super::*;

    fn with(flags: &[(&str, &str)]) -> Result<OtlpSettings, String> {
        let mut layers = Layers::defaults(Manual::read());
        for (name, value) in flags {
            layers.lay_flag(name, (*value).to_string()).map_err(|error| error.to_string())?;
        }
        OtlpSettings::read(&layers).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_prometheus() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.strategy, TranslationStrategy::UnderscoreEscapingWithSuffixes);
        assert_eq!(settings.promoted, PromotedAttributes::Only(BTreeSet::new()));
        assert!(settings.label_name_underscore_sanitization && settings.label_name_preserve_multiple_underscores);
        assert!(!settings.accept_delta && !settings.convert_histograms_to_nhcb);
    }

    #[test]
    fn promoted_attributes_are_a_list_or_all_but_a_list() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
        let only = with(&[("otlp.promote_resource_attributes", "a.b, c")]).unwrap();
        assert_eq!(only.promoted, PromotedAttributes::Only(names(&["a.b", "c"])));
        let all = ("otlp.promote_all_resource_attributes", "true");
        let except = with(&[all, ("otlp.ignore_resource_attributes", "x")]).unwrap();
        assert_eq!(except.promoted, PromotedAttributes::AllExcept(names(&["x"])));
        for (flags, expected) in [
            (vec![all, ("otlp.promote_resource_attributes", "a")], "cannot be set together"),
            (vec![("otlp.ignore_resource_attributes", "a")], "has no meaning unless"),
            (vec![("otlp.promote_resource_attributes", "a,a")], "names \"a\" twice"),
            (vec![("otlp.promote_resource_attributes", "a,,b")], "empty attribute name"),
            (vec![("otlp.translation_strategy", "None")], "write UnderscoreEscapingWithSuffixes"),
        ] {
            let error = with(&flags).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
