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
            Ok(back) => assert_eq!(one_sign(back.to_string()), one_sign(printed.clone()), "{text:?} was printed as {again:?}"),
            // Parentheses and names written out may go over a limit that the original just kept.
            Err(errors) => assert!(is_limit(&errors.to_string()), "{text:?} was printed as {again:?}: {errors}"),
        }
    }
});

/// Prometheus prints an infinite number as `+Inf`, and a sign binds less tightly than `^`: `Inf ^ 2` comes back as `+(Inf ^ 2)`,
/// which means the same, with one sign more.
fn one_sign(mut printed: String) -> String {
    while printed.contains("++Inf") {
        printed = printed.replace("++Inf", "+Inf");
    }
    printed
}

fn is_limit(error: &str) -> bool {
    ["deeper than", "longer than", "more than"].iter().any(|words| error.contains(words))
}
