//! How OpenTelemetry names become Prometheus names: metric names with their unit and type as suffixes, label names, units.
//!
//! The rules are those of Prometheus 3.14 (its `otlptranslator` library), which follow
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>.

/// What of a metric's type shows in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Gauge,
    /// A monotonic sum: `_total`.
    Counter,
    Other,
}

/// How metric names are built.
#[derive(Clone, Copy, Debug)]
pub struct MetricNamer {
    /// Whatever is outside of the classic character set becomes `_`.
    pub escape: bool,
    /// Unit and type are appended.
    pub suffixes: bool,
}

/// How attribute names become label names.
#[derive(Clone, Copy, Debug)]
pub struct LabelNamer {
    /// Whatever is outside of the classic character set becomes `_`.
    pub escape: bool,
    /// `_private` becomes `key_private`.
    pub underscore_sanitization: bool,
    /// Otherwise several `_` in a row become one.
    pub preserve_multiple_underscores: bool,
}

impl MetricNamer {
    /// The name, or why there is none.
    pub fn build(&self, name: &str, unit: &str, kind: NameKind) -> Result<String, String> {
        if !self.escape {
            return Ok(if self.suffixes { with_suffixes_as_is(name, unit, kind) } else { name.to_string() });
        }
        let built = if self.suffixes { with_suffixes(name, unit, kind) } else { escaped(name) };
        if built.is_empty() {
            return Err(format!("normalization for metric {name:?} resulted in empty name"));
        }
        if built != name && only_underscores(&built) {
            return Err(format!("normalization for metric {name:?} resulted in invalid name {built:?}"));
        }
        Ok(built)
    }
}

/// Only the characters are mended: runs of bad ones become one `_`.
fn escaped(name: &str) -> String {
    let words: Vec<&str> = name.split(|c| !is_metric_character(c) && c != '_').filter(|word| !word.is_empty()).collect();
    not_beginning_with_digit(words.join("_"))
}

/// The name as words, then the unit's words and the type's word unless they are among them already.
fn with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let mut words: Vec<&str> = name.split(|c| !is_metric_character(c)).filter(|word| !word.is_empty()).collect();
    let (main, per) = unit_suffixes(unit);
    let (main, per) = (clean_unit(&main), clean_unit(&per));
    let per = if per == "per_" { "" } else { per.strip_suffix('_').unwrap_or(&per) };
    let per = if words.contains(&per) { "" } else { per };
    let main = if words.contains(&main.as_str()) { "" } else { &main };
    let main = if per.is_empty() { main } else { main.strip_suffix('_').unwrap_or(main) };
    words.extend([main, per].into_iter().filter(|word| !word.is_empty()));
    if kind == NameKind::Counter {
        move_last(&mut words, "total");
    }
    // Counters of objects often have unit 1 as well; only of gauges is it sure that they are ratios.
    if unit == "1" && kind == NameKind::Gauge {
        move_last(&mut words, "ratio");
    }
    not_beginning_with_digit(words.join("_"))
}

fn move_last<'a>(words: &mut Vec<&'a str>, word: &'a str) {
    words.retain(|other| *other != word);
    words.push(word);
}

/// The same suffixes behind a name that keeps all its characters.
fn with_suffixes_as_is(name: &str, unit: &str, kind: NameKind) -> String {
    let last = match kind {
        NameKind::Gauge if unit == "1" => "ratio",
        NameKind::Counter => "total",
        _ => "",
    };
    let (main, per) = unit_suffixes(unit);
    let mut built = without_word(without_word(name, last), &per).to_string();
    if !main.is_empty() && !built.ends_with(&main) {
        built.push('_');
        built.push_str(&main);
    }
    for word in [per.as_str(), last] {
        if !word.is_empty() {
            built.push('_');
            built.push_str(word);
        }
    }
    built
}

/// A name without its last word and the delimiter before it.
fn without_word<'a>(name: &'a str, word: &str) -> &'a str {
    if word.is_empty() || !name.ends_with(word) || name.len() <= word.len() + 1 {
        return name;
    }
    name.get(..name.len() - word.len() - 1).unwrap_or(name)
}

impl LabelNamer {
    /// The label name, or why there is none.
    pub fn build(&self, name: &str) -> Result<String, String> {
        if name.is_empty() {
            return Err("label name is empty".to_string());
        }
        if !self.escape {
            let bad = only_underscores(name);
            return if bad { Err(format!("label name {name:?} contains only underscores")) } else { Ok(name.to_string()) };
        }
        let mut built = self.sanitized(name);
        if built.starts_with(|c: char| c.is_ascii_digit()) {
            built.insert_str(0, "key_");
        } else if self.underscore_sanitization && built.starts_with('_') && !built.starts_with("__") {
            built.insert_str(0, "key");
        }
        if only_underscores(&built) {
            return Err(format!("normalization for label name {name:?} resulted in invalid name {built:?}"));
        }
        Ok(built)
    }

    fn sanitized(&self, name: &str) -> String {
        if self.preserve_multiple_underscores {
            return name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        }
        // Reserved names keep the underscores around them.
        let inner = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
        let mut built = String::with_capacity(name.len());
        for c in inner.unwrap_or(name).chars() {
            if c.is_ascii_alphanumeric() {
                built.push(c);
            } else if !built.ends_with('_') {
                built.push('_');
            }
        }
        if inner.is_some() { format!("__{built}__") } else { built }
    }
}

/// A unit as metadata spell it: `By/s` is `bytes_per_second`, `1` and `{requests}` are nothing.
pub fn unit_name(unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let (main, per) = (clean_unit(&main), clean_unit(&per));
    let joined = if main.is_empty() || per.is_empty() { main + &per } else { format!("{main}_{per}") };
    let begun = joined.strip_prefix('_').unwrap_or(&joined);
    begun.strip_suffix('_').unwrap_or(begun).to_string()
}

/// The part before the slash, and the part behind it with `per_` before it. Annotations in braces say nothing.
fn unit_suffixes(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let plain = |part: &str| part.trim().to_string();
    let says_something = |part: &String| !part.is_empty() && !part.contains(['{', '}']);
    let main = Some(plain(main)).filter(says_something).map(|main| main_unit(&main).map_or(main, str::to_string));
    let per = Some(plain(per)).filter(says_something).map(|per| per_unit(&per).map_or(per, str::to_string));
    (main.unwrap_or_default(), per.map(|per| format!("per_{per}")).unwrap_or_default())
}

/// UCUM's symbols in Prometheus' words.
fn main_unit(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        _ => return None,
    })
}

fn per_unit(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

/// Bad characters become `_`, several of them one, and none begins the unit.
fn clean_unit(unit: &str) -> String {
    let mut clean = String::with_capacity(unit.len());
    for c in unit.chars() {
        if is_metric_character(c) {
            clean.push(c);
        } else if !clean.ends_with('_') {
            clean.push('_');
        }
    }
    clean.strip_prefix('_').map(str::to_string).unwrap_or(clean)
}

fn is_metric_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn only_underscores(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'_')
}

fn not_beginning_with_digit(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::NameKind::{Counter, Gauge, Other};
    use super::*;
    use proptest::prelude::*;

    fn built(escape: bool, suffixes: bool, name: &str, unit: &str, kind: NameKind) -> String {
        MetricNamer { escape, suffixes }.build(name, unit, kind).unwrap_or_else(|problem| problem)
    }

    #[test]
    fn escaped_names_with_suffixes() {
        for (name, unit, kind, expected) in [
            ("http.server.duration", "s", Other, "http_server_duration_seconds"),
            ("requests", "", Counter, "requests_total"),
            ("requests_total", "1", Counter, "requests_total"),
            ("total.requests", "", Counter, "requests_total"),
            ("cpu.usage", "1", Gauge, "cpu_usage_ratio"),
            ("ratio.of.use", "1", Gauge, "of_use_ratio"),
            ("throughput", "By/s", Gauge, "throughput_bytes_per_second"),
            ("requests", "1/s", Gauge, "requests_per_second"),
            ("per_second_rate", "By/s", Gauge, "per_second_rate_bytes_per_second"),
            ("queue", "{messages}", Gauge, "queue"),
            ("queue", "By/{message}", Gauge, "queue_bytes"),
            ("odd", "fuß²/fuß", Gauge, "odd_fu_per_fu"),
            ("odd", "a__b", Gauge, "odd_a_b"),
            ("memory.bytes", "By", Gauge, "memory_bytes"),
            ("2xx.responses", "", Counter, "_2xx_responses_total"),
            ("a__b..c", "", Gauge, "a_b_c"),
            ("rpc:rate", "%", Gauge, "rpc:rate_percent"),
            ("x", " s ", Gauge, "x_seconds"),
            ("é", "", Gauge, "normalization for metric \"é\" resulted in empty name"),
            ("", "", Gauge, "normalization for metric \"\" resulted in empty name"),
            ("", "s", Gauge, "seconds"),
        ] {
            assert_eq!(built(true, true, name, unit, kind), expected, "{name:?} {unit:?}");
        }
    }

    #[test]
    fn escaped_names_without_suffixes() {
        for (name, expected) in [
            ("metric@with#special$chars", "metric_with_special_chars"),
            ("metric@@##name", "metric_name"),
            ("a__b", "a__b"),
            ("__", "__"),
            ("123metric", "_123metric"),
            ("@#$%", "normalization for metric \"@#$%\" resulted in empty name"),
            ("@_#_$_%", "normalization for metric \"@_#_$_%\" resulted in invalid name \"_____\""),
        ] {
            assert_eq!(built(true, false, name, "s", Counter), expected, "{name:?}");
        }
    }

    #[test]
    fn names_as_they_are_with_suffixes() {
        for (name, unit, kind, expected) in [
            ("http.server.duration", "s", Other, "http.server.duration_seconds"),
            ("cpu_seconds_total", "s", Counter, "cpu_seconds_total"),
            ("cpu.seconds.total", "s", Counter, "cpu.seconds_total"),
            ("use_ratio", "1", Gauge, "use_ratio"),
            ("rate", "By/s", Gauge, "rate_bytes_per_second"),
            ("rate_per_second", "By/s", Counter, "rate_bytes_per_second_total"),
            ("total", "", Counter, "total_total"),
            ("a total", "", Counter, "a_total"),
        ] {
            assert_eq!(built(false, true, name, unit, kind), expected, "{name:?} {unit:?}");
        }
        assert_eq!(built(false, false, "a b", "s", Counter), "a b");
    }

    #[test]
    fn units_of_metadata() {
        for (unit, expected) in [
            ("s", "seconds"),
            ("By/s", "bytes_per_second"),
            ("requests/s", "requests_per_second"),
            ("1", ""),
            ("1/s", "per_second"),
            ("{x}", ""),
            ("°", ""),
        ] {
            assert_eq!(unit_name(unit), expected, "{unit}");
        }
    }

    #[test]
    fn label_names() {
        let kept = LabelNamer { escape: true, underscore_sanitization: true, preserve_multiple_underscores: true };
        let collapsed = LabelNamer { underscore_sanitization: false, preserve_multiple_underscores: false, ..kept };
        let raw = LabelNamer { escape: false, ..kept };
        for (namer, name, expected) in [
            (kept, "http.method", "http_method"),
            (kept, "a..b", "a__b"),
            (kept, "1st", "key_1st"),
            (kept, "_private", "key_private"),
            (kept, "__reserved__", "__reserved__"),
            // One bad character alone becomes `key_`, which upstream accepts as well.
            (kept, "é", "key_"),
            (kept, "", "label name is empty"),
            (collapsed, "a..b__c", "a_b_c"),
            (collapsed, "_private", "_private"),
            (collapsed, "__a..b__", "__a_b__"),
            (collapsed, "__", "normalization for label name \"__\" resulted in invalid name \"_\""),
            (raw, "http.method", "http.method"),
            (raw, "__", "label name \"__\" contains only underscores"),
        ] {
            assert_eq!(namer.build(name).unwrap_or_else(|problem| problem), expected, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn escaped_names_are_classic_names(name in ".{0,12}", unit in ".{0,8}", suffixes: bool) {
            for kind in [Gauge, Counter, Other] {
                if let Ok(built) = (MetricNamer { escape: true, suffixes }).build(&name, &unit, kind) {
                    prop_assert!(built.chars().all(|c| is_metric_character(c) || c == '_'), "{built}");
                    prop_assert!(!built.starts_with(|c: char| c.is_ascii_digit()), "{built}");
                }
                let _ = (MetricNamer { escape: false, suffixes }).build(&name, &unit, kind);
            }
        }
    }
}
