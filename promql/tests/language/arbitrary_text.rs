//! Any text is either a query or refused: never a panic, never a stack overflow, and the refusal names a place in it.

use promql::engine::{Engine, EngineOptions, QueryOptions};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::parser::{parse_metric_selector, parse_series_description};
use promql::testlang::parse_script;
use promql::{ParserOptions, ast_json, parse, pretty};
use proptest::prelude::*;

use crate::generator::{Choices, query};

/// Reads a text with every switch position and as every other language; checks what comes out.
fn check(text: &str) -> Result<(), TestCaseError> {
    for options in [ParserOptions::default(), ParserOptions::experimental()] {
        match parse(text, options) {
            Ok(expr) => {
                let printed = expr.to_string();
                prop_assert!(parse(&printed, options).is_ok(), "{text:?} prints as {printed:?}, which is refused");
            }
            Err(errors) => {
                for error in errors.iter() {
                    prop_assert!(error.position.start <= error.position.end, "{text:?}: {error:?}");
                    prop_assert!(error.position.end <= text.len(), "{text:?}: {error:?}");
                }
            }
        }
    }
    let options = ParserOptions::experimental();
    let _ = parse_metric_selector(text, options);
    let _ = parse_series_description(text, options);
    let _ = parse_script(&format!("load 5m\n  {text}\n\neval instant at 5m {text}\n  {text}"));
    Ok(())
}

/// Words of the language, whole and broken.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "a", "b:c", "1", "0x1f", "5m", ".5", "1e", "\"s\"", "'s'", "`s`", "\"", "'\\x", "(", ")", "{", "}", "[", "]", "{{", "}}", ",", ":", "=",
    "=~", "!~", "!=", "==", "<", "</", ">/", ">=", "+", "-", "*", "/", "%", "^", "@", "and", "or", "unless", "atan2", "sum", "topk", "by",
    "without", "on", "ignoring", "group_left", "bool", "offset", "start", "end", "step", "range", "max_of", "fill", "fill_left", "anchored",
    "smoothed", "rate", "time", "inf", "nan", "#", "\n", " ", "é", "\u{fffd}", "\0", "x", "_", "stale", "buckets", "schema", "x3",
];

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(WORDS)
}

/// One change to a text: cut, doubled, or a word put in.
#[derive(Clone, Debug)]
struct Mutation {
    from: prop::sample::Index,
    length: usize,
    put: Option<&'static str>,
    double: bool,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    (any::<prop::sample::Index>(), 0..8usize, prop::option::of(word()), any::<bool>()).prop_map(|(from, length, put, double)| Mutation {
        from,
        length,
        put,
        double,
    })
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let characters: Vec<char> = text.chars().collect();
    let from = mutation.from.index(characters.len() + 1);
    let to = (from + mutation.length).min(characters.len());
    let kept = if mutation.double { &characters[from..to] } else { &[] };
    let mut mutated: String = characters[..from].iter().collect();
    mutated.extend(kept);
    mutated.push_str(mutation.put.unwrap_or(""));
    mutated.extend(kept);
    mutated.extend(&characters[to..]);
    mutated
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_text(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_words(words in prop::collection::vec(word(), 0..20), spaced in any::<bool>()) {
        check(&words.join(if spaced { " " } else { "" }))?;
    }

    #[test]
    fn almost_queries(bytes in prop::collection::vec(any::<u8>(), 0..100), mutations in prop::collection::vec(mutation(), 1..4)) {
        let text = query(&mut Choices::new(&bytes)).to_string();
        check(&mutations.iter().fold(text, |text, mutation| mutate(&text, mutation)))?;
    }
}

/// A text of `count` repetitions for every way in which the language nests.
fn nested(count: usize) -> Vec<String> {
    let repeat = |text: &str| text.repeat(count);
    vec![
        repeat("("),
        format!("{}1{}", repeat("("), repeat(")")),
        format!("{}a", repeat("-")),
        format!("{}a{}", repeat("sum("), repeat(")")),
        format!("{}a{}", repeat("abs("), repeat(")")),
        format!("{}a{}", repeat("sum(-abs("), repeat("))")),
        format!("a{}", repeat("[1:1]")),
        format!("a{}", repeat(" + a")),
        format!("a{}", repeat(" ^ a")),
        format!("a{}", repeat(" or -a")),
        format!("a[{}1{}]", repeat("("), repeat(")")),
        format!("a[{}1]", repeat("-")),
        format!("a[1{}]", repeat("+1")),
        format!("a[1{}]", repeat("^1")),
        format!("a offset {}step()", repeat("-")),
        format!("a[{}1{}]", repeat("max_of(1,"), repeat(")")),
        format!("a{{b=~\"{}\"}}", repeat("(")),
        format!("a{{b=~\"{}c{}\"}}", repeat("(?:"), repeat(")*")),
    ]
}

/// Runs `work` on a thread with a stack of `stack_bytes`.
fn on_a_stack_of(stack_bytes: usize, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(stack_bytes).spawn(work).expect("start a thread");
    thread.join().expect("no panic");
}

/// Threads have stacks of 2 MiB by default; half of it is more than enough for the tallest tree that is let through.
#[test]
fn nesting_never_exhausts_the_stack() {
    on_a_stack_of(1 << 20, || {
        let options = ParserOptions::experimental();
        for count in [options.depth_max / 3, options.depth_max - 2, options.depth_max + 1, 50_000] {
            for text in nested(count) {
                if let Ok(expr) = parse(&text, options) {
                    let copy = expr.clone();
                    assert_eq!(copy, expr);
                    assert!(!ast_json(&expr).is_null() && !expr.to_string().is_empty() && !pretty(&expr).is_empty());
                }
            }
        }
    });
}

/// What the parser lets through, the engine can run on a thread with the usual stack.
#[test]
fn the_tallest_trees_can_be_evaluated() {
    on_a_stack_of(2 << 20, || {
        let options = ParserOptions::experimental();
        let engine = Engine::new(EngineOptions::default());
        let mut source = MemorySource::new();
        source.push(&Labels::from_pairs([("__name__", "a")]), 1_000, 1.0);
        let levels = options.depth_max - 3;
        let tallest = |open: &str, close: &str| format!("{}a{}", open.repeat(levels), close.repeat(levels));
        let chains = [" + a", " or a", " ^ a", " > bool 0"].map(|link| tallest("", link));
        let nests = [("(", ")"), ("-", ""), ("sum(", ")"), ("abs(", ")"), ("a + (", ")")].map(|(open, close)| tallest(open, close));
        let half = "max_over_time(".repeat(levels / 2) + "a" + &"[1m:1m])".repeat(levels / 2);
        for query in chains.iter().chain(&nests).chain([&half]) {
            let Ok(expr) = parse(query, options) else {
                continue;
            };
            let _ = engine.instant(&source, &expr, 1_000, &QueryOptions::default());
            let _ = engine.range(&source, &expr, 0, 2_000, 1_000, &QueryOptions::default());
        }
    });
}
