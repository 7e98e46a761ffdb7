//! A pattern in RE2's syntax, a value and a template, a line each. Nothing panics; a replacement is made exactly when the
//! pattern matches; a pattern in a group means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::regex::AnchoredRegex;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (pattern, value, template) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or("$1"));
    let Ok(regex) = AnchoredRegex::new(pattern) else { return };
    let matched = regex.is_match(value);
    assert_eq!(matched, regex.replace(value, template).is_some(), "{pattern:?} {value:?} {template:?}");
    if let Ok(grouped) = AnchoredRegex::new(&format!("(?:{pattern})")) {
        assert_eq!(matched, grouped.is_match(value), "{pattern:?} in a group, {value:?}");
    }
});
