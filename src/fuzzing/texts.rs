//! What comes with a request, and the configuration file.

use std::path::Path;

use promql::ParserOptions;

use crate::config::{Layers, Manual, Settings};
use crate::http::{native_labels, params::Params};
use crate::ingest::import_labels::{extra_label, grouping_labels};
use crate::query::convert::matchers_to_disk;
use crate::remote_read::request;
use crate::sample_text::{parse_sample_text, push_sample_text};
use crate::time_text::{EARLIEST_MS, LATEST_MS, parse_duration, parse_native_time, parse_time, rfc3339};

const NOW_MS: i64 = 1_700_000_000_000;

/// Times, durations, selectors and numbers, as the query part of an address and as bare texts.
pub fn parameters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let params = Params::from_query(text);
    for name in ["start", "time", "step", "limit", "match[]", ""] {
        let _ = (params.time(name), params.required_time(name), params.required_duration_ms(name), params.limit(name), params.flag(name));
        params.all(name).for_each(value);
    }
    let _ = params.all_readable();
    value(text);
    let parts: Vec<String> = text.split('/').map(str::to_string).collect();
    let _ = (extra_label(text), grouping_labels(&parts));
}

fn value(text: &str) {
    for time in [parse_time(text), parse_native_time(text, NOW_MS)].into_iter().flatten() {
        time_reads_back(time);
    }
    if let Some(duration) = parse_duration(text) {
        let _ = NOW_MS.saturating_sub(duration);
    }
    if let Some(number) = parse_sample_text(text) {
        let mut written = Vec::new();
        push_sample_text(&mut written, number);
        let again = std::str::from_utf8(&written).ok().and_then(parse_sample_text);
        assert!(again.is_some_and(|again| again.to_bits() == number.to_bits()), "{number} was written as {written:?}");
    }
    let selectors = [
        native_labels::parse(text),
        promql::parser::parse_metric_selector(text, ParserOptions::default()).map_err(|error| error.to_string()),
    ];
    for selector in selectors.into_iter().flatten() {
        let _ = matchers_to_disk(&selector);
    }
}

fn time_reads_back(time: i64) {
    assert!((EARLIEST_MS..=LATEST_MS).contains(&time), "{time}");
    let written = rfc3339(time);
    // Years of more than four digits are written as a bare number of milliseconds.
    if written.contains('T') {
        assert_eq!(parse_time(&written), Some(time), "{written}");
    }
}

pub fn remote_read_request(bytes: &[u8]) {
    let Ok(request) = request::decode(bytes) else { return };
    for query in &request.queries {
        let _ = matchers_to_disk(&query.inner_matchers(&promql::labels::Labels::from_pairs([("region", "eu")])));
    }
}

/// A file that is taken is the same when the settings in force are written as a file and read again.
pub fn configuration(bytes: &[u8]) {
    let Ok(yaml) = std::str::from_utf8(bytes) else { return };
    let Ok(layers) = layers_of(yaml) else { return };
    let again = layers_of(&layers.yaml());
    assert!(again.is_ok_and(|again| layers.differences(&again).is_empty()), "{}", layers.yaml());
    if let Err(error) = Settings::read(&layers) {
        assert!(error.to_string().starts_with("setting "), "{error}");
    }
}

fn layers_of(yaml: &str) -> Result<Layers, crate::config::ConfigError> {
    let mut layers = Layers::defaults(Manual::read());
    layers.lay_text(Path::new("tern.yaml"), yaml)?;
    Ok(layers)
}
