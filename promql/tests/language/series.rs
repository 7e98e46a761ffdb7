//! Series descriptions, selectors and metrics: the smaller languages.

use promql::ParserOptions;
use promql::histogram::{CounterResetHint, FloatHistogram};
use promql::parser::{SequenceValue, parse_metric, parse_metric_selector, parse_series_description};
use promql::sample::STALE_MARKER_BITS;

/// The labels and the values of a description, in words.
fn described(text: &str) -> String {
    let description = parse_series_description(text, ParserOptions::experimental()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let values: Vec<String> = description.values.iter().map(in_words).collect();
    format!("{} {}", description.labels, values.join(" ")).trim_end().to_owned()
}

fn in_words(value: &SequenceValue) -> String {
    match value {
        SequenceValue::Omitted => "_".to_owned(),
        SequenceValue::Float(value) if value.to_bits() == STALE_MARKER_BITS => "stale".to_owned(),
        SequenceValue::Float(value) => value.to_string(),
        SequenceValue::Histogram { histogram, .. } => histogram.to_string(),
    }
}

fn histogram(text: &str) -> (FloatHistogram, bool) {
    let description =
        parse_series_description(&format!("a {text}"), ParserOptions::experimental()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    match description.values.first() {
        Some(SequenceValue::Histogram { histogram, hint_given }) => ((**histogram).clone(), *hint_given),
        other => panic!("{text:?} is {other:?}"),
    }
}

fn refusal(text: &str) -> String {
    parse_series_description(text, ParserOptions::experimental())
        .map_or_else(|error| error.to_string(), |series| panic!("{text:?} is {series:?}"))
}

#[test]
fn values_are_written_in_short() {
    let cases = [
        ("", "{}"),
        ("a", "{__name__=\"a\"}"),
        ("{}  1", "{} 1"),
        ("a{b='c', \"d.e\"=`f`,} 1 2.5 -3", "{__name__=\"a\", b=\"c\", \"d.e\"=\"f\"} 1 2.5 -3"),
        ("{'a.b', c=\"d\"} 1", "{__name__=\"a.b\", c=\"d\"} 1"),
        ("sum 1", "{__name__=\"sum\"} 1"),
        ("a _ _x2 1x2 1+2x3 5-2x3", "{__name__=\"a\"} _ _ _ 1 1 1 1 3 5 7 5 3 1 -1"),
        ("a -1-1x1 +1+1x1 .5x1 1e3", "{__name__=\"a\"} -1 -2 1 2 0.5 0.5 1000"),
        ("a stale NaN Inf -Inf", "{__name__=\"a\"} stale NaN inf -inf"),
        ("a 0x3", "{__name__=\"a\"} 0 0 0 0"),
        ("a 0.1+0.1x2", "{__name__=\"a\"} 0.1 0.2 0.30000000000000004"),
    ];
    for (text, words) in cases {
        assert_eq!(described(text), words, "{text}");
    }
}

#[test]
fn histograms_have_named_parts() {
    let (full, hint_given) = histogram(
        "{{schema:-1 sum:1.5 count:-4 z_bucket:2 z_bucket_w:0.25 buckets:[1 2 -3] offset:-2 n_buckets:[4.5] n_offset:3 counter_reset_hint:gauge}}",
    );
    assert_eq!((full.schema, full.sum, full.count, full.zero_count, full.zero_threshold), (-1, 1.5, -4.0, 2.0, 0.25));
    assert_eq!((&full.positive_buckets[..], &full.negative_buckets[..]), (&[1.0, 2.0, -3.0][..], &[4.5][..]));
    assert_eq!((full.positive_spans[0].offset, full.positive_spans[0].length), (-2, 3));
    assert_eq!((full.negative_spans[0].offset, full.negative_spans[0].length), (3, 1));
    assert_eq!((full.counter_reset_hint, hint_given), (CounterResetHint::Gauge, true));
    let (empty, hint_given) = histogram("{{ }}");
    assert_eq!((empty.schema, empty.positive_spans.len(), hint_given), (0, 0, false));
    assert!(histogram("{{counter_reset_hint:unknown}}").1, "unknown, but said");
    let (custom, _) = histogram("{{schema:-53 custom_values:[5 10] buckets:[1 NaN Inf]}}");
    assert_eq!((&custom.custom_values[..], custom.positive_buckets[2]), (&[5.0, 10.0][..], f64::INFINITY));
}

#[test]
fn histograms_repeat_and_grow() {
    assert_eq!(described("a {{sum:1 count:2}}x1"), "{__name__=\"a\"} {count:2, sum:1} {count:2, sum:1}");
    assert_eq!(
        described("a {{sum:1 count:2}}+{{sum:2 count:1}}x2 7"),
        "{__name__=\"a\"} {count:2, sum:1} {count:3, sum:3} {count:4, sum:5} 7"
    );
    assert_eq!(described("a {{count:5}}-{{count:2}}x1"), "{__name__=\"a\"} {count:5, sum:0} {count:3, sum:0}");
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("a 1  x", "1:6: unexpected \"x\" in series values"),
        ("a b", "1:3: unexpected identifier \"b\" in series values, expected number or \"stale\""),
        ("a{b=\"c\" d}", "1:9: unexpected identifier \"d\" in label set, expected \",\" or \"}\""),
        ("a{b}", "1:4: unexpected \"}\" in label set, expected \"=\""),
        ("a{b=c}", "1:5: unexpected identifier \"c\" in label set, expected string"),
        ("a 1x1.5", "1:5: invalid repetition in series values: strconv.ParseUint: parsing \"1.5\": invalid syntax"),
        ("a 1+1", "1:6: unexpected end of input in series values"),
        ("a $", "1:3: unexpected character in series sequence: '$'"),
        ("a {{wat:1}}", "1:5: bad histogram descriptor found: \"wat\""),
        ("a {{sum}}", "1:5: missing `:` for histogram descriptor"),
        ("a {{sum:1 sum:2}}", "1:1: duplicate key in histogram"),
        ("a {{sum:1", "1:10: histogram description incomplete unexpected: '\u{fffd}'"),
        ("a {{schema:1}}+{{schema:0}}x1", "1:30: error combining histograms: cannot merge from schema 0 to 1"),
        ("a 1x99999999", "1:13: series has more than 1048576 values"),
    ];
    for (text, why) in cases {
        assert_eq!(refusal(text), why.replacen(": ", ": parse error: ", 1), "{text}");
    }
}

#[test]
fn a_selector_alone_may_select_everything() {
    let options = ParserOptions::default();
    let matchers = |text: &str| {
        parse_metric_selector(text, options)
            .map(|matchers| matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            .map_err(|error| error.to_string())
    };
    assert_eq!(matchers("{}"), Ok(String::new()));
    assert_eq!(matchers("a{b=~\"c.*\"}"), Ok("b=~\"c.*\",__name__=\"a\"".to_owned()));
    assert_eq!(matchers("{\"a b\"}"), Ok("__name__=\"a b\"".to_owned()));
    assert_eq!(matchers("a[5m]"), Err("1:2: parse error: unexpected \"[\"".to_owned()));
    assert_eq!(matchers("a offset 5m"), Err("1:3: parse error: unexpected <offset>".to_owned()));
    assert_eq!(matchers(""), Err("unknown position: parse error: unexpected end of input".to_owned()));
}

#[test]
fn a_metric_is_a_set_of_labels() {
    let metric =
        |text: &str| parse_metric(text, ParserOptions::default()).map(|labels| labels.to_string()).map_err(|error| error.to_string());
    assert_eq!(metric("a{b=\"c\",e=\"\"}"), Ok("{__name__=\"a\", b=\"c\"}".to_owned()));
    assert_eq!(metric("a{b!=\"c\"}"), Err("1:4: parse error: unexpected <op:!=> in label set, expected \"=\"".to_owned()));
}
