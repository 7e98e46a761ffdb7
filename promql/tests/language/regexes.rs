//! Regular expressions beside another engine, where both read a pattern alike; and patterns of any kind.

use promql::matcher::{MatchOp, Matcher};
use promql::regex::AnchoredRegex;
use proptest::prelude::*;
use regex::Regex;

/// Patterns that mean the same to RE2 and to the `regex` crate.
fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a", "b", "ab", ".", "[ab]", "[^a]", "[a-c]", "é", r"\.", "(?i)A", "(?-s).", "", "^", "$", r"\n", r"\x41", "(?i:É)",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
        let repeat = prop::sample::select(vec!["*", "+", "?", "{2}", "{1,3}", "{0,}", "*?", "+?"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join("|")),
            (inner.clone(), repeat).prop_map(|(part, repeat)| format!("({part}){repeat}")),
            inner.prop_map(|part| format!("(?:{part})")),
        ]
    })
}

fn value() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!['a', 'b', 'c', 'A', 'é', 'É', '\n', '.']), 0..6)
        .prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_engines_agree(pattern in pattern(), values in prop::collection::vec(value(), 1..20)) {
        let own = AnchoredRegex::new(&pattern).map_err(|error| TestCaseError::fail(format!("{pattern}: {error}")))?;
        let other = Regex::new(&format!("^(?s:{pattern})$")).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for value in values {
            prop_assert_eq!(own.is_match(&value), other.is_match(&value), "{:?} on {:?}", pattern, value);
            prop_assert_eq!(own.replace(&value, "[$1]").is_some(), own.is_match(&value));
        }
    }

    #[test]
    fn any_pattern_is_read_or_refused(pattern in any::<String>(), value in any::<String>()) {
        if let Ok(regex) = AnchoredRegex::new(&pattern) {
            let _ = (regex.is_match(&value), regex.replace(&value, &pattern));
        }
    }

    #[test]
    fn any_soup_of_operators_is_read_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
        "a", "(", ")", "(?", "(?P<", "n>", ":", "[", "]", "[:", ":]", "^", "-", "\\", "\\p", "{", "}", "1", ",", "*", "+", "?", "|", "\\x", "\\Q", "\\E", "d", "L", "é", "0",
    ]), 0..16)) {
        let pattern = parts.concat();
        if let Ok(regex) = AnchoredRegex::new(&pattern) {
            let _ = regex.replace("a1", "$n${1}");
        }
    }

    #[test]
    fn a_negated_matcher_is_the_opposite(pattern in pattern(), value in value()) {
        let matcher = |op| Matcher::new(op, "label", pattern.as_str()).map_err(|error| TestCaseError::fail(error.to_string()));
        prop_assert_ne!(matcher(MatchOp::Regex)?.matches(&value), matcher(MatchOp::NotRegex)?.matches(&value));
        prop_assert_ne!(matcher(MatchOp::Equal)?.matches(&value), matcher(MatchOp::NotEqual)?.matches(&value));
    }
}
