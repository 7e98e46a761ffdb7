//! Random data and random queries.

use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::sample::STALE_MARKER;
use proptest::prelude::*;

/// Samples of one series: distances in time and values.
pub type Samples = Vec<(i64, f64)>;

/// A value that floats are usually hard on: counters, jumps, NaN, infinities, staleness markers.
pub fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (0i32..1000).prop_map(f64::from),
        6 => -1e3..1e3f64,
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        2 => Just(STALE_MARKER),
        1 => Just(1e300),
        1 => Just(f64::MAX),
    ]
}

fn samples() -> impl Strategy<Value = Samples> {
    prop::collection::vec((prop_oneof![8 => Just(15_000i64), 2 => 1i64..200_000], value()), 0..60)
}

/// Series of two metrics with two labels.
pub fn data() -> impl Strategy<Value = Vec<(Labels, Samples)>> {
    prop::collection::vec(samples(), 1..9).prop_map(|all| {
        let labelled = all.into_iter().enumerate().map(|(number, samples)| {
            let name = if number % 3 == 2 { "b" } else { "a_total" };
            let labels =
                Labels::from_pairs([("__name__", name.to_owned()), ("n", (number / 3).to_string()), ("g", (number % 2).to_string())]);
            (labels, samples)
        });
        labelled.collect()
    })
}

pub fn source(data: &[(Labels, Samples)], partitions: usize) -> MemorySource {
    let mut source = MemorySource::new().with_partitions(partitions);
    for (labels, samples) in data {
        let mut time_ms = 0;
        for (distance_ms, value) in samples {
            time_ms += distance_ms;
            source.push(labels, time_ms, *value);
        }
    }
    source
}

/// A function of a range vector of floats.
pub fn range_function() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "first_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "changes",
        "resets",
        "deriv",
        "present_over_time",
        "mad_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
    ])
}

pub fn range_selector() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec!["a_total", "b", "{g=\"1\"}", "a_total{n!=\"0\"}"]);
    let range = prop::sample::select(vec!["10s", "1m", "2m", "7m", "1h"]);
    let modifier = prop::sample::select(vec!["", "", "", " offset 1m", " offset -30s", " @ 200", " @ end()"]);
    (selector, range, modifier).prop_map(|(selector, range, modifier)| format!("{selector}[{range}]{modifier}"))
}

/// A query that gives an instant vector.
///
/// What depends on the order of series stands directly on selections, whose order is always the same: floats added in
/// another order give other bits, of equal values the first series wins in `topk`, and groups come in the order in which they
/// first appear, which in a range query may be at another step. And both sides of `or` have lost their names, because a
/// series that has its name at one step of a range keeps it at all.
pub fn vector_query() -> impl Strategy<Value = String> {
    let call = (range_function(), range_selector()).prop_map(|(function, selector)| format!("{function}({selector})")).boxed();
    let selector = prop::sample::select(vec!["a_total", "b", "{g=\"1\"}", "a_total offset 1m", "b @ 300"]).prop_map(str::to_owned);
    let selection = prop_oneof![4 => call, 2 => selector].boxed();
    let chosen = (prop::sample::select(vec!["topk", "bottomk", "limitk"]), 1u32..4, selection.clone())
        .prop_map(|(aggregate, count, inner)| format!("{aggregate} by (g)({count}, {inner})"));
    let added = (aggregate(&["sum", "avg", "stddev", "stdvar", "min", "max", "count", "group"]), selection.clone())
        .prop_map(|(aggregate, inner)| format!("{aggregate}({inner})"));
    let leaf = prop_oneof![4 => selection, 2 => added];
    let nested = leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (aggregate(&["min", "max", "count", "group"]), inner.clone()).prop_map(|(aggregate, inner)| format!("{aggregate}({inner})")),
            (prop::sample::select(vec!["abs", "-", "ceil", "sgn", "timestamp", "absent"]), inner.clone())
                .prop_map(|(function, inner)| format!("{function}({inner})")),
            (inner.clone(), prop::sample::select(vec!["+ 1", "* 2.5", "> 100", "<= bool 3", "% 7"]))
                .prop_map(|(inner, operation)| format!("({inner}) {operation}")),
            (inner.clone(), prop::sample::select(vec!["and", "or", "unless"]), inner.clone())
                .prop_map(|(left, operator, right)| format!("abs({left}) {operator} abs({right})")),
            (inner.clone(), prop::sample::select(vec!["+", "/", ">", "== bool"]), inner.clone())
                .prop_map(|(left, operator, right)| format!("max by (g)({left}) {operator} min by (g)({right})")),
            (range_function(), inner.clone()).prop_map(|(function, inner)| format!("{function}(({inner})[3m:30s])")),
        ]
    });
    prop_oneof![9 => nested, 1 => chosen]
}

fn aggregate(operators: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let operator = prop::sample::select(operators.to_vec());
    let grouping = prop::sample::select(vec!["", " by (g)", " by (n)", " without (n)"]);
    (operator, grouping).prop_map(|(operator, grouping)| format!("{operator}{grouping}"))
}
