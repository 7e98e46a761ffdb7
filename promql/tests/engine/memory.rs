//! The memory of a query is bounded wherever it goes: into series, groups, lists of values, pairs, answers.

use promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::{ParserOptions, parse};

const SERIES: usize = 100;

fn source() -> MemorySource {
    let mut source = MemorySource::new().with_partitions(4);
    for number in 0..SERIES {
        for name in ["a", "b", "h_bucket"] {
            let labels = Labels::from_pairs([("__name__", name.to_owned()), ("n", number.to_string()), ("le", number.to_string())]);
            (0..300).for_each(|sample| source.push(&labels, sample * 10_000, (sample * 7 + number as i64) as f64));
        }
    }
    source
}

/// Over 300 steps, so that a series takes about 2.5 kB.
fn run(memory_bytes_max: usize, query: &str) -> Result<(), QueryError> {
    let expr = parse(query, ParserOptions::default()).unwrap_or_else(|error| panic!("{query}: {error}"));
    let engine = Engine::new(EngineOptions { memory_bytes_max, ..EngineOptions::default() });
    engine.range(&source(), &expr, 0, 2_990_000, 10_000, &QueryOptions::default()).map(drop)
}

#[test]
fn what_holds_much_is_refused() {
    for query in [
        "a",
        "sum by (n)(a)",
        "avg by (n)(a)",
        "stddev by (n)(a)",
        "quantile(0.5, a)",
        "count_values(\"v\", a)",
        "topk(99, a)",
        "a * on (n) b",
        "a and b",
        "a @ end()",
        "max_over_time(sum by (n)(a)[10s:1s])",
        "label_replace(a, \"x\", \"$1\", \"n\", \"(.*)\")",
        "histogram_quantile(0.5, h_bucket)",
        "sort(a)",
    ] {
        let error = run(100_000, query).expect_err(query);
        assert_eq!(error.to_string(), "query processing would take too much memory in query execution", "{query}");
        run(100_000_000, query).expect(query);
    }
}

#[test]
fn what_is_read_series_by_series_holds_little() {
    for query in ["sum(a)", "max(rate(a[1m]))", "count(a > 5)", "sum(a) / sum(b)", "absent(a)"] {
        run(50_000, query).expect(query);
    }
}
