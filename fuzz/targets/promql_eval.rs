//! Evaluating any query ends within its limits and without a panic; and whether shards evaluate their share or hand out
//! their series does not show in the answer, to the last bit.
#![no_main]

#[path = "data.rs"]
mod data;
#[path = "../../promql/tests/engine/shards.rs"]
mod shards;

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use promql::ast::Expr;
use promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use promql::subplan::QueryText;
use promql::{ParserOptions, parse};
use shards::{Place, Shards};

static HERE: LazyLock<Shards> = LazyLock::new(|| in_places([Place::Here; 3]));
static APART: LazyLock<Shards> = LazyLock::new(|| in_places([Place::Here, Place::Away, Place::Old]));
static AWAY: LazyLock<Shards> = LazyLock::new(|| in_places([Place::Away; 3]));

fn in_places(places: [Place; 3]) -> Shards {
    Shards::new(places.into_iter().zip(data::shards()).collect())
}

fuzz_target!(|input: (u8, &str)| {
    let (choice, text) = input;
    let parser = ParserOptions { text_bytes_max: 400, nodes_max: 40, depth_max: 30, ..ParserOptions::experimental() };
    let Ok(expr) = parse(text, parser) else { return };
    let engine = Engine::new(EngineOptions {
        delayed_name_removal: choice & 1 == 0,
        samples_max: 20_000,
        timeout: Duration::from_secs(2),
        threads_max: 1,
        ..EngineOptions::default()
    });
    let step_ms = [0, 15_000, 60_000, 7_000][usize::from(choice >> 1 & 3)];
    let expected = answer(&engine, &HERE, &expr, (text, parser), step_ms);
    let got = answer(&engine, if choice & 8 == 0 { &APART } else { &AWAY }, &expr, (text, parser), step_ms);
    // Where a limit is hit first depends on where samples are held.
    if let (Some(expected), Some(got)) = (expected, got) {
        assert_eq!(expected, got, "{text}");
    }
});

/// All of it as text, the error included; None when a limit was hit.
fn answer(engine: &Engine, source: &Shards, expr: &Expr, (text, parser): (&str, ParserOptions), step_ms: i64) -> Option<String> {
    let options = QueryOptions { text: Some(QueryText { text: text.into(), parser }), ..QueryOptions::default() };
    let output = match step_ms {
        0 => engine.instant(source, expr, data::END_MS / 2, &options),
        _ => engine.range(source, expr, data::START_MS, data::END_MS, step_ms, &options),
    };
    match output {
        Ok(output) => {
            let annotations = (output.annotations.warnings(text, 0), output.annotations.infos(text, 0));
            Some(format!("{:?} {annotations:?} {}", output.value, output.stats.total_samples))
        }
        Err(QueryError::Timeout(_) | QueryError::TooManySamples(_) | QueryError::Canceled(_)) => None,
        Err(error) => Some(error.to_string()),
    }
}
