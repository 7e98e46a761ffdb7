//! Whether shards evaluate their share of a query or hand out their series must not show in the answer: not in a bit of a
//! value, not in the order of series, not in an annotation or a count of samples.

use std::sync::Arc;

use promql::engine::{Engine, EngineOptions, QueryOptions, QueryOutput, StatsDetail};
use promql::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span};
use promql::labels::Labels;
use promql::memory_source::MemorySource;
use promql::sample::{STALE_MARKER, SampleValue};
use promql::subplan::QueryText;
use promql::value::Value;
use promql::{ParserOptions, parse};
use proptest::prelude::*;

use crate::random::{range_function, range_selector, value};
use crate::shards::{Place, Shards};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn where_a_query_is_evaluated_does_not_show(
        shards in shards(),
        query in query(),
        instant: bool,
        step_ms in prop::sample::select(vec![15_000i64, 60_000, 200_000]),
        delayed_name_removal: bool,
    ) {
        let engine = Engine::new(EngineOptions { delayed_name_removal, threads_max: 2, ..EngineOptions::default() });
        let times = if instant { (400_000, 400_000, 0) } else { (60_000, 700_000, step_ms) };
        let here = run(&engine, &shards.all_here(), &query, times);
        prop_assert_eq!(here, run(&engine, &shards, &query, times), "{}", query);
    }
}

/// Everything there is to an answer, to the last bit.
fn run(engine: &Engine, source: &Shards, query: &str, (start_ms, end_ms, step_ms): (i64, i64, i64)) -> Result<String, String> {
    let parser = ParserOptions::experimental();
    let expr = parse(query, parser).map_err(|error| error.to_string())?;
    let text = Some(QueryText { text: query.into(), parser });
    let options = QueryOptions { text, stats: StatsDetail::PerStep, ..QueryOptions::default() };
    let output = match step_ms {
        0 => engine.instant(source, &expr, start_ms, &options),
        _ => engine.range(source, &expr, start_ms, end_ms, step_ms, &options),
    };
    let QueryOutput { value, annotations, stats } = output.map_err(|error| error.to_string())?;
    let (warnings, infos) = (annotations.warnings(query, 0), annotations.infos(query, 0));
    Ok(format!("{}\n{warnings:?}\n{infos:?}\n{} {:?}", bits(&value), stats.total_samples, stats.samples_per_step))
}

fn bits(value: &Value) -> String {
    let of = |value: &SampleValue| match value {
        SampleValue::Float(float) => format!("{:x}", float.to_bits()),
        SampleValue::Histogram(histogram) => format!("{histogram:?}"),
    };
    match value {
        Value::Vector(samples) => samples.iter().map(|sample| format!("{}={}\n", sample.labels, of(&sample.value))).collect(),
        Value::Matrix(series) => series
            .iter()
            .map(|series| {
                let floats: Vec<_> = series.floats.iter().map(|(time, float)| format!("{time}:{:x}", float.to_bits())).collect();
                format!("{}={floats:?} {:?}\n", series.labels, series.histograms)
            })
            .collect(),
        other => format!("{other:?}"),
    }
}

/// Series by chance in up to four shards, of which at least one is somewhere else.
fn shards() -> impl Strategy<Value = Shards> {
    let place = prop_oneof![3 => Just(Place::Away), 2 => Just(Place::Here), 1 => Just(Place::Old)];
    let series = prop::collection::vec((samples(), any::<prop::sample::Index>()), 1..12);
    (series, prop::collection::vec(place, 0..4)).prop_map(|(series, mut places)| {
        places.push(Place::Away);
        let mut shards: Vec<_> = places.into_iter().map(|place| (place, MemorySource::new())).collect();
        for (number, (samples, at)) in series.into_iter().enumerate() {
            let name = ["a_total", "b", "h_bucket"][number % 3];
            let le = if number % 3 == 2 { ["0.1", "1", "+Inf"][number / 3 % 3] } else { "" };
            let pairs =
                [("__name__", name.to_owned()), ("n", (number / 3).to_string()), ("g", (number % 2).to_string()), ("le", le.to_owned())];
            let at = at.index(shards.len());
            push(&mut shards[at].1, &Labels::from_pairs(pairs), samples);
        }
        Shards::new(shards)
    })
}

fn push(shard: &mut MemorySource, labels: &Labels, samples: Vec<(i64, SampleValue)>) {
    let mut time_ms = 0;
    for (distance_ms, value) in samples {
        time_ms += distance_ms;
        shard.push_sample(labels, time_ms, 0, value);
    }
}

/// Floats, histograms, or both in one series.
fn samples() -> impl Strategy<Value = Vec<(i64, SampleValue)>> {
    let distance = || prop_oneof![8 => Just(15_000i64), 2 => 1i64..200_000];
    let float = || value().prop_map(SampleValue::Float);
    let histogram = || histogram().prop_map(|histogram| SampleValue::Histogram(Arc::new(histogram)));
    prop_oneof![
        4 => prop::collection::vec((distance(), float()), 0..50),
        3 => prop::collection::vec((distance(), histogram()), 0..20),
        1 => prop::collection::vec((distance(), prop_oneof![float(), histogram()]), 0..20),
    ]
}

fn histogram() -> impl Strategy<Value = FloatHistogram> {
    let count = || prop_oneof![6 => (0u32..50).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(1e300), 2 => -5.0..5.0f64];
    let side = || (-3i32..3, prop::collection::vec(count(), 0..4), 0i32..3, prop::collection::vec(count(), 0..3));
    let schema = prop_oneof![3 => 0i32..3, 1 => Just(CUSTOM_BUCKETS_SCHEMA)];
    let hint = prop::sample::select(vec![
        CounterResetHint::Unknown,
        CounterResetHint::Unknown,
        CounterResetHint::Reset,
        CounterResetHint::NotReset,
        CounterResetHint::Gauge,
    ]);
    let sum = prop_oneof![8 => count(), 1 => Just(STALE_MARKER)];
    (schema, hint, side(), side(), (count(), count(), sum)).prop_map(|(schema, hint, positive, negative, (zero_count, count, sum))| {
        let custom = schema == CUSTOM_BUCKETS_SCHEMA;
        let bounds: &[f64] = if !custom {
            &[]
        } else if count > 5.0 {
            &[1.0, 2.0, 5.0, 9.0, 10.0, 11.0, 12.0]
        } else {
            &[1.0, 3.0, 5.0, 6.0, 7.0, 8.0, 9.0]
        };
        let (positive_spans, positive_buckets) = spans(positive, custom);
        let (negative_spans, negative_buckets) = if custom { Default::default() } else { spans(negative, custom) };
        FloatHistogram {
            counter_reset_hint: hint,
            schema,
            zero_threshold: if custom { 0.0 } else { 0.001 },
            zero_count: if custom { 0.0 } else { zero_count },
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: bounds.into(),
        }
    })
}

fn spans((offset, first, gap, second): (i32, Vec<f64>, i32, Vec<f64>), custom: bool) -> (Vec<Span>, Vec<f64>) {
    let offset = if custom { 0 } else { offset };
    let spans = vec![Span { offset, length: first.len() as u32 }, Span { offset: gap.min(1), length: second.len() as u32 }];
    (spans, first.into_iter().chain(second).collect())
}

/// A query with aggregations, choices, functions and operators over them.
fn query() -> impl Strategy<Value = String> {
    let series = prop_oneof![2 => selection(), 1 => series_wise(selection())].boxed();
    let aggregate = prop_oneof![3 => plain_aggregate(series.clone()), 2 => choosing_aggregate(series.clone())].boxed();
    let part = prop_oneof![1 => series, 4 => aggregate].boxed();
    let one = (part.clone(), surroundings()).prop_map(|(inner, around)| around.replace('#', &inner)).boxed();
    let two = (part.clone(), prop::sample::select(vec!["+", "and", "or", "unless", "/ on (g)", "> on (g) group_left ()"]), part)
        .prop_map(|(left, op, right)| format!("({left}) {op} ({right})"));
    prop_oneof![4 => one, 1 => two]
}

/// Series as they are selected, or a function of their ranges.
fn selection() -> BoxedStrategy<String> {
    let selector = prop::sample::select(vec![
        "a_total",
        "b",
        "{g=\"1\"}",
        "h_bucket",
        "{n=~\".+\"}",
        "a_total offset 1m",
        "b @ 300",
        "b @ end()",
        "missing",
    ]);
    let call = (range_function(), range_selector()).prop_map(|(function, selector)| format!("{function}({selector})"));
    let other = prop::sample::select(vec![
        "quantile_over_time(0.7, {g=\"0\"}[3m])",
        "predict_linear(b[5m], 60)",
        "timestamp({n=~\".+\"})",
        "absent_over_time(b[1m])",
        "double_exponential_smoothing(b[5m], 0.3, 0.3)",
        "double_exponential_smoothing(b[5m], 0.3, 2)",
    ]);
    prop_oneof![5 => call, 3 => selector.prop_map(str::to_owned), 1 => other.prop_map(str::to_owned)].boxed()
}

/// What is done to each series by itself.
fn series_wise(inner: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let forms = prop::sample::select(vec![
        "abs(#)",
        "-(#)",
        "histogram_count(#)",
        "histogram_avg(#)",
        "# * 2",
        "3 - #",
        "# > 5",
        "# >= bool 7",
        "clamp_max(#, 40)",
        "round(#, time() / 1000)",
        "# < time()",
        "# == scalar(b)",
        "(-(#)) ^ 2",
    ]);
    (inner, forms).prop_map(|(inner, form)| form.replace('#', &inner))
}

fn plain_aggregate(series: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"]), grouping(), series)
        .prop_map(|(op, grouping, inner)| format!("{op}{grouping}({inner})"))
}

/// Aggregations with a parameter.
fn choosing_aggregate(series: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    (
        prop::sample::select(vec!["topk", "bottomk", "limitk", "limit_ratio", "quantile", "count_values"]),
        grouping(),
        prop::sample::select(vec!["1", "2", "3", "0.5", "-0.4", "time() / 200", "0", "NaN", "scalar(b)"]),
        series,
    )
        .prop_map(|(op, grouping, parameter, inner)| match op {
            "count_values" => format!("count_values{grouping}(\"v\", {inner})"),
            _ => format!("{op}{grouping}({parameter}, {inner})"),
        })
}

/// What stands around the part that is pushed down.
fn surroundings() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "#",
        "#",
        "#",
        "sum(#)",
        "stddev by (g)(#)",
        "histogram_quantile(0.9, #)",
        "histogram_count(#)",
        "max_over_time((#)[3m:30s])",
        "sum_over_time(sum by (g)(#)[3m:30s])",
        "absent(#)",
        "sort_desc(#)",
        "label_replace(#, \"x\", \"$1\", \"g\", \"(.*)\")",
        "topk(2, #)",
        "# or vector(1)",
    ])
}

fn grouping() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " by (g)", " by (le)", " without (n)", " by (__name__, n)"])
}

/// A source of two shards, the second one somewhere else.
fn two_shards() -> Shards {
    let mut shards = vec![(Place::Here, MemorySource::new()), (Place::Away, MemorySource::new())];
    for number in 0..6 {
        let labels = Labels::from_pairs([("__name__", "a_total".to_owned()), ("n", number.to_string())]);
        (0..40).for_each(|sample| shards[number % 2].1.push(&labels, sample * 15_000, (sample * 3) as f64));
    }
    Shards::new(shards)
}

#[test]
fn offers_are_made_where_they_help() {
    let engine = Engine::new(EngineOptions::default());
    let offers = |query: &str, step_ms: i64| {
        let shards = two_shards();
        run(&engine, &shards, query, (0, 500_000, step_ms)).expect("valid");
        *shards.taken.lock().expect("not poisoned")
    };
    for query in [
        "sum(a_total)",
        "sum by (n)(rate(a_total[1m]))",
        "quantile(0.5, rate(a_total[1m]))",
        "topk(1, a_total)",
        "count_values(\"v\", a_total)",
        "rate(a_total[1m]) * 2",
        "histogram_quantile(0.9, sum by (le)(rate(a_total[1m])))",
        "max_over_time(sum(a_total)[1m:15s])",
        "absent(rate(a_total[1m]))",
    ] {
        assert_eq!(offers(query, 15_000), 1, "{query}");
    }
    assert_eq!(offers("a_total", 15_000), 0, "samples are smaller");
    assert_eq!(offers("a_total", 60_000), 1);
    assert_eq!(offers("sum(a_total) / sum(a_total)", 15_000), 2);
    assert_eq!(offers("a_total * scalar(sum(a_total))", 15_000), 1, "the sum, but not the product");
    assert_eq!(offers("info(a_total)", 15_000), 0);
}

/// A part without series would find fault with the parameter before another part finds fault with the function.
#[test]
fn of_two_mistakes_the_same_one_is_told() {
    let mut shards = two_shards();
    shards.shards.push((Place::Away, MemorySource::new()));
    shards.shards.rotate_right(1);
    let engine = Engine::new(EngineOptions::default());
    let query = "topk(NaN, double_exponential_smoothing(a_total[5m], 0.3, 2))";
    let times = (60_000, 500_000, 15_000);
    let here = run(&engine, &shards.all_here(), query, times).expect_err("two mistakes");
    assert_eq!(
        (run(&engine, &shards, query, times), here.as_str()),
        (Err(here.clone()), "invalid trend factor. Expected: 0 < tf < 1, got: 2.000000")
    );
}

#[test]
fn limits_hold_where_the_data_are() {
    let shards = two_shards();
    let engine = Engine::new(EngineOptions { samples_max: 30, ..EngineOptions::default() });
    let error = run(&engine, &shards, "sum(a_total)", (0, 600_000, 15_000)).expect_err("a series has more samples");
    assert_eq!(error, "query processing would load too many samples into memory in query execution");
}
