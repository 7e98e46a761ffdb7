//! The language of test scripts: series with their values, selectors, whole scripts. Nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::ParserOptions;
use promql::parser::{parse_metric, parse_metric_selector, parse_series_description};
use promql::testlang::parse_script;

fuzz_target!(|text: &str| {
    let options = ParserOptions::experimental();
    let _ = parse_series_description(text, options);
    let _ = parse_metric(text, options);
    let _ = parse_metric_selector(text, options);
    let _ = parse_script(text);
    let _ = parse_script(&format!("load 1m\n  {text}\n\neval range from 0 to 5m step 1m {text}\n"));
});
