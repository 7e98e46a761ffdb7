//! Limits hold, also when several threads read.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use promql::engine::{Engine, EngineOptions, QueryError, QueryOptions, QueryOutput, StatsDetail};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::{ParserOptions, parse};

fn many_series() -> MemorySource {
    let mut source = MemorySource::new().with_partitions(4);
    for number in 0..400 {
        let labels = Labels::from_pairs([("__name__", "a_total".to_owned()), ("n", number.to_string())]);
        (0..100).for_each(|sample| source.push(&labels, sample * 10_000, sample as f64));
    }
    source
}

fn run(options: EngineOptions, query: &str, query_options: &QueryOptions) -> Result<QueryOutput, QueryError> {
    let expr = parse(query, ParserOptions::default()).expect("valid query");
    Engine::new(options).range(&many_series(), &expr, 0, 1_000_000, 5_000, query_options)
}

#[test]
fn a_query_may_not_hold_too_many_samples() {
    let options = EngineOptions { samples_max: 20_000, ..EngineOptions::default() };
    let error = run(options.clone(), "a_total", &QueryOptions::default()).expect_err("holds 80 000 samples");
    assert_eq!(error.to_string(), "query processing would load too many samples into memory in query execution");
    let output = run(options, "sum(a_total)", &QueryOptions::default()).expect("holds one series at a time");
    assert!(output.stats.peak_samples < 20_000, "{:?}", output.stats);
}

#[test]
fn a_query_ends_when_canceled_or_late() {
    let canceled = QueryOptions { cancel: Some(Arc::new(AtomicBool::new(true))), ..QueryOptions::default() };
    let error = run(EngineOptions::default(), "sum(a_total)", &canceled).expect_err("canceled");
    assert_eq!(error.to_string(), "query was canceled in query execution");
    let late = QueryOptions { deadline: Some(Instant::now() - Duration::from_millis(1)), ..QueryOptions::default() };
    let error = run(EngineOptions::default(), "sum(rate(a_total[1m]))", &late).expect_err("late");
    assert_eq!(error.to_string(), "query timed out in query execution");
}

/// One series with so many samples that a function over all of them at every step would take minutes.
#[test]
fn a_query_ends_in_the_middle_of_a_series() {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "a_total")]);
    (0..50_000).for_each(|sample| source.push(&labels, sample * 1_000, sample as f64));
    let expr = parse("deriv(a_total[50000s])", ParserOptions::default()).expect("valid query");
    let options = QueryOptions { deadline: Some(Instant::now() + Duration::from_millis(200)), ..QueryOptions::default() };
    let start = Instant::now();
    let error = Engine::new(EngineOptions::default()).range(&source, &expr, 25_000_000, 50_000_000, 1_000, &options).expect_err("late");
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn samples_are_counted_for_every_step() {
    let per_step = QueryOptions { stats: StatsDetail::PerStep, ..QueryOptions::default() };
    let output = run(EngineOptions::default(), "sum(count_over_time(a_total[20s]))", &per_step).expect("valid query");
    let steps = output.stats.samples_per_step.expect("asked for");
    assert_eq!(steps[..4], [(0, 400), (5_000, 400), (10_000, 800), (15_000, 800)]);
    assert_eq!(output.stats.total_samples, steps.iter().map(|(_, samples)| samples).sum::<u64>());
}

#[test]
fn a_subquery_of_too_many_steps_is_refused_before_it_takes_memory() {
    let query = "max_over_time(vector(1)[50y:1ms])";
    let error = run(EngineOptions::default(), query, &QueryOptions::default()).expect_err("more than a trillion steps");
    assert_eq!(error, QueryError::TooManySamples("query execution"));
}

#[test]
fn names_are_dropped_while_streaming_and_clashes_are_found() {
    let mut source = many_series();
    let other = Labels::from_pairs([("__name__", "b_total"), ("n", "7")]);
    (0..100).for_each(|sample| source.push(&other, sample * 10_000, 1.0));
    let engine = Engine::new(EngineOptions { delayed_name_removal: false, ..EngineOptions::default() });
    let run = |query: &str| {
        let expr = parse(query, ParserOptions::default()).expect("valid query");
        engine.instant(&source, &expr, 500_000, &QueryOptions::default()).map(|output| output.value)
    };
    for query in ["sum(rate({n=\"7\"}[1m]))", "rate({n=\"7\"}[1m])", "sum(abs({n=\"7\"}))", "sum(-{n=\"7\"})", "{n=\"7\"} + 1"] {
        let error = run(query).expect_err(query);
        assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset", "{query}");
    }
    for query in ["sum(rate(a_total[1m]))", "sum by (__name__) ({n=\"7\"})", "last_over_time({n=\"7\"}[1m])"] {
        assert!(run(query).is_ok(), "{query}");
    }
}
