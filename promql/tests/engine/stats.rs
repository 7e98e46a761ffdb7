//! What a query's statistics count, as Prometheus counts it.

use promql::engine::{Engine, QueryOptions, QueryStats, StatsDetail};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::{ParserOptions, parse};

/// One sample every ten seconds, from 0 to 600 s.
fn stats(query: &str, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> QueryStats {
    let mut source = MemorySource::new();
    let labels = Labels::from_pairs([("__name__", "a_total")]);
    (0..=60).for_each(|sample| source.push(&labels, sample * 10_000, sample as f64));
    let expr = parse(query, ParserOptions::default()).expect("valid query");
    let per_step = QueryOptions { stats: StatsDetail::PerStep, ..QueryOptions::default() };
    Engine::default().range(&source, &expr, start_ms, end_ms, step_ms, &per_step).expect("evaluates").stats
}

fn counts(list: &Option<Vec<(i64, u64)>>) -> Vec<u64> {
    list.as_ref().expect("asked for").iter().map(|(_, samples)| *samples).collect()
}

#[test]
fn samples_of_overlapping_windows_are_looked_at_often_and_read_once() {
    for query in ["sum_over_time(a_total[1m])", "rate(a_total[1m])", "max_over_time(a_total[1m])"] {
        let stats = stats(query, (120_000, 180_000, 20_000));
        assert_eq!(counts(&stats.samples_per_step), [6, 6, 6, 6], "{query}");
        assert_eq!(counts(&stats.read_per_step), [6, 2, 2, 2], "{query}");
        assert_eq!((stats.total_samples, stats.samples_read), (24, 12), "{query}");
    }
}

#[test]
fn samples_of_instant_selectors_are_read_at_every_step() {
    let stats = stats("a_total", (0, 60_000, 30_000));
    assert_eq!((counts(&stats.samples_per_step), counts(&stats.read_per_step)), (vec![1, 1, 1], vec![1, 1, 1]));
}

#[test]
fn what_does_not_depend_on_the_step_is_read_once() {
    let stats = stats("sum_over_time(a_total[1m] @ 120)", (0, 60_000, 30_000));
    assert_eq!(counts(&stats.samples_per_step), [6, 6, 6]);
    assert_eq!(counts(&stats.read_per_step), [6, 0, 0]);
}

#[test]
fn a_subquery_reads_where_its_own_steps_do() {
    // Inner steps every 20 s, one sample each; outer windows of one minute hold three of them.
    let stats = stats("sum_over_time(a_total[1m:20s])", (120_000, 240_000, 60_000));
    assert_eq!(counts(&stats.samples_per_step), [3, 3, 3]);
    assert_eq!(counts(&stats.read_per_step), [3, 3, 3]);
    // Windows overlap: each inner step belongs to the first window that needs it.
    let overlapping = self::stats("sum_over_time(a_total[2m:20s])", (120_000, 240_000, 60_000));
    assert_eq!(counts(&overlapping.samples_per_step), [6, 6, 6]);
    assert_eq!(counts(&overlapping.read_per_step), [6, 3, 3]);
    // Windows leave gaps: what was evaluated in between counts for nobody.
    let gaps = self::stats("sum_over_time(a_total[20s:10s])", (120_000, 240_000, 60_000));
    assert_eq!(counts(&gaps.read_per_step), [2, 2, 2]);
}

#[test]
fn stages_take_time() {
    let timings = stats("rate(a_total[1m])", (0, 600_000, 1_000)).timings;
    assert!(timings.evaluate > timings.sort && !timings.prepare.is_zero(), "{timings:?}");
}
