//! Whatever is parsed is printed so that it parses to the same again, plain and pretty; nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::{ParserOptions, ast_json, parse, pretty};

fuzz_target!(|text: &str| {
    let options = ParserOptions::experimental();
    let _ = parse(text, ParserOptions::default());
    let Ok(expr) = parse(text, options) else { return };
    let _ = ast_json(&expr);
    let printed = expr.to_string();
    for again in [printed.clone(), pretty(&expr)] {
        match parse(&again, options) {
            Ok(back) => assert_eq!(back.to_string(), printed, "{text:?} was printed as {again:?}"),
            // Parentheses and names written out may go over a limit that the original just kept.
            Err(errors) => assert!(is_limit(&errors.to_string()), "{text:?} was printed as {again:?}: {errors}"),
        }
    }
});

fn is_limit(error: &str) -> bool {
    ["deeper than", "longer than", "more than"].iter().any(|words| error.contains(words))
}
