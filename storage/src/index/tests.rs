//! The index against naive matching over all label sets.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type LabelSet = BTreeMap<String, String>;

fn canonical(labels: &LabelSet) -> Vec<u8> {
    let mut pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut out = Vec::new();
    crate::labels::canonicalize(&mut pairs, &mut out).unwrap();
    out
}

fn texts(list: &[Arc<str>]) -> Vec<String> {
    list.iter().map(|text| text.to_string()).collect()
}

fn label_set() -> impl Strategy<Value = LabelSet> {
    let name = prop::sample::select(vec!["__name__", "a", "b", "job"]).prop_map(String::from);
    let value = prop::sample::select(vec!["x", "xy", "y", "x\ny", "1", "longer value"]).prop_map(String::from);
    prop::collection::btree_map(name, value, 1..4)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::sample::select(vec!["__name__", "a", "b", "job", "absent"]);
    let op = prop::sample::select(vec![MatchOp::Eq, MatchOp::Ne, MatchOp::Re, MatchOp::Nre]);
    let value = prop::sample::select(vec![
        "", "x", "y", "xy", ".*", ".+", "x.*", "x|y", "x?", ".*y", "(x|1).*", "[xy]", "x.y", "(?i)X", "y{0,2}", "longer.+",
    ]);
    (name, op, value).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

fn passes(labels: &LabelSet, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| {
        let value = labels.get(matcher.name()).map_or("", String::as_str);
        let whole = || regex::Regex::new(&format!("^(?s:{})$", matcher.value())).unwrap().is_match(value);
        match matcher.op() {
            MatchOp::Eq => value == matcher.value(),
            MatchOp::Ne => value != matcher.value(),
            MatchOp::Re => whole(),
            MatchOp::Nre => !whole(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn selects_like_naive_matching(
        sets in prop::collection::vec((label_set(), 0..4i64), 1..120),
        matchers in prop::collection::vec(matcher(), 0..4),
        days in (0..4i64, 0..4i64),
    ) {
        let mut index = Index::default();
        for (series, (labels, day)) in sets.iter().enumerate() {
            prop_assert_eq!(index.add(&canonical(labels)), series as u32);
            index.mark_active(*day, series as u32);
        }
        let (start, end) = (days.0.min(days.1) * DAY_MS, days.0.max(days.1) * DAY_MS + 5);
        let there = |(labels, day): &&(LabelSet, i64)| {
            passes(labels, &matchers) && (day_of(start)..=day_of(end)).contains(day)
        };
        let expected: Vec<&LabelSet> = sets.iter().filter(there).map(|(labels, _)| labels).collect();
        // Ask twice: the second time the regex cache answers.
        for _ in 0..2 {
            let selected = index.select(&matchers, start, end);
            let mut ids: Vec<u32> = selected.clone();
            ids.sort_unstable();
            let naive = sets.iter().enumerate().filter(|(_, set)| there(set)).map(|(id, _)| id as u32);
            prop_assert_eq!(ids, naive.collect::<Vec<_>>());
            prop_assert!(selected.is_sorted_by_key(|&id| (index.metric(id), id)));
        }
        let mut names: Vec<String> = expected.iter().flat_map(|labels| labels.keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(texts(&index.label_names(&matchers, start, end)), names);
        let mut values: Vec<String> = expected.iter().filter_map(|labels| labels.get("a").cloned()).collect();
        values.sort_unstable();
        values.dedup();
        prop_assert_eq!(texts(&index.label_values("a", &matchers, start, end, usize::MAX)), values.clone());
        let one = index.label_values("a", &matchers, start, end, 1);
        prop_assert_eq!(texts(&one), values.iter().take(1).cloned().collect::<Vec<_>>());
        let counts = index.label_value_counts("a", &matchers, start, end);
        let with = |value: &str| expected.iter().filter(|labels| labels.get("a").is_some_and(|found| found == value)).count() as u64;
        let naive: Vec<(Arc<str>, u64)> = values.iter().map(|value| (value.as_str().into(), with(value))).collect();
        prop_assert_eq!(counts, naive);
        prop_assert_eq!(index.count(&matchers, start, end), expected.len() as u64);
    }

    #[test]
    fn labels_and_metrics_survive_a_restore(sets in prop::collection::vec(label_set(), 1..40)) {
        let mut index = Index::default();
        for labels in &sets {
            index.add(&canonical(labels));
        }
        let mut restored = Index::default();
        for (series, labels) in sets.iter().enumerate() {
            let mut bytes = Vec::new();
            index.canonical(series as u32, &mut bytes);
            prop_assert_eq!(&bytes, &canonical(labels));
            restored.restore(&bytes, index.metric(series as u32));
            let texts = restored.labels(series as u32).unwrap();
            let texts: LabelSet = texts.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            prop_assert_eq!(&texts, labels);
        }
        prop_assert_eq!(restored.metrics(), index.metrics());
    }
}

#[test]
fn values_that_come_later_are_found_by_a_remembered_pattern() {
    let mut index = Index::default();
    let one = |value: &str| LabelSet::from([("a".to_string(), value.to_string())]);
    let matcher = [Matcher::new("a", MatchOp::Re, ".*x").unwrap()];
    index.add(&canonical(&one("1x")));
    index.mark_active(0, 0);
    assert_eq!(index.select(&matcher, i64::MIN, i64::MAX), [0]);
    index.add(&canonical(&one("2x")));
    index.add(&canonical(&one("2y")));
    assert_eq!(index.select(&matcher, i64::MIN, i64::MAX), [0, 1]);
}

#[test]
fn expired_series_are_not_listed() {
    let mut index = Index::default();
    let one = |value: &str| LabelSet::from([("__name__".to_string(), "m".to_string()), (value.to_string(), value.to_string())]);
    for (series, (value, day)) in [("old", 1), ("young", 2), ("both", 1)].into_iter().enumerate() {
        index.add(&canonical(&one(value)));
        index.mark_active(day, series as u32);
    }
    index.mark_active(2, 2);
    assert!(index.forget_days_before(2) && !index.forget_days_before(2));
    let ever = (0, 100 * DAY_MS);
    assert_eq!(texts(&index.label_names(&[], ever.0, ever.1)), ["__name__", "both", "young"]);
    assert_eq!(index.select(&[Matcher::equal("__name__", "m")], ever.0, ever.1), [1, 2]);
    assert!(index.label_values("old", &[], ever.0, ever.1, usize::MAX).is_empty());
    assert_eq!((index.count(&[], ever.0, ever.1), index.count(&[], i64::MIN, i64::MAX)), (2, 2));
}

#[test]
fn values_are_the_same_by_way_of_few_series_and_of_all_values() {
    let mut index = Index::default();
    for series in 0..400u32 {
        let labels = [("__name__", format!("m{}", series % 4)), ("pod", format!("p{}", series % 200))];
        index.add(&canonical(&labels.into_iter().map(|(name, value)| (name.to_string(), value)).collect()));
        index.mark_active(0, series);
    }
    // 100 series for 200 values: by way of the series. 400 series: by way of the values.
    let few = index.label_values("pod", &[Matcher::equal("__name__", "m1")], 0, 0, usize::MAX);
    let naive: std::collections::BTreeSet<String> =
        (0..400).filter(|series| series % 4 == 1).map(|series| format!("p{}", series % 200)).collect();
    assert_eq!(texts(&few), naive.into_iter().collect::<Vec<_>>());
    assert_eq!(index.label_values("pod", &[Matcher::new("__name__", MatchOp::Re, "m.*").unwrap()], 0, 0, usize::MAX).len(), 200);
    assert_eq!(index.label_values("pod", &[Matcher::equal("__name__", "m1")], 0, 0, 3), few[..3]);
}

/// Prints how long listings take over a million series: 1000 metrics, 100 000 pods, 50 jobs.
/// `cargo test --release -p tern-storage a_million_series -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_million_series_are_listed_in_no_time() {
    let mut index = Index::default();
    for series in 0..1_000_000u32 {
        let labels =
            [("__name__", format!("m{}", series % 1000)), ("job", format!("j{}", series % 50)), ("pod", format!("p{}", series / 10))];
        index.add(&canonical(&labels.into_iter().map(|(name, value)| (name.to_string(), value)).collect()));
        index.mark_active(i64::from(series % 3), series);
    }
    let everything = (0, 3 * DAY_MS);
    let one_day = (0, DAY_MS - 1);
    let metric = [Matcher::equal("__name__", "m7")];
    let job = [Matcher::equal("job", "j7")];
    let pattern = [Matcher::new("__name__", MatchOp::Re, "m1.*").unwrap()];
    let no_matcher: [Matcher; 0] = [];
    let questions: [(&str, &[Matcher], (i64, i64)); 5] = [
        ("all", &no_matcher, everything),
        ("one day", &no_matcher, one_day),
        ("1000 series", &metric, everything),
        ("20 000 series", &job, everything),
        ("m1.*", &pattern, one_day),
    ];
    for (what, matchers, (start, end)) in questions {
        let begin = std::time::Instant::now();
        let names = index.label_names(matchers, start, end).len();
        let took_names = begin.elapsed();
        let begin = std::time::Instant::now();
        let pods = index.label_values("pod", matchers, start, end, usize::MAX).len();
        let took_pods = begin.elapsed();
        let begin = std::time::Instant::now();
        let first = index.label_values("__name__", matchers, start, end, 10).len();
        println!("{what}: {names} names {took_names:?}, {pods} pods {took_pods:?}, {first} first metrics {:?}", begin.elapsed());
    }
}
