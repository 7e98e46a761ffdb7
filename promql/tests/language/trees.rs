//! What a query means: precedence, what a modifier belongs to, values of literals, positions.

use promql::ast::{AtModifier, Expr, Extension, GroupingMode, MatchingMode, Span};
use promql::value_type::ValueType;
use promql::{ParserOptions, parse};

use crate::read;

/// The tree with every operation in brackets.
fn shape(query: &str) -> String {
    bracketed(&read(query))
}

fn bracketed(expr: &Expr) -> String {
    match expr {
        Expr::Binary(binary) => format!("[{} {} {}]", bracketed(&binary.left), binary.op, bracketed(&binary.right)),
        Expr::Unary(unary) => format!("[{}{}]", unary.op, bracketed(&unary.expr)),
        Expr::Paren(paren) => format!("({})", bracketed(&paren.expr)),
        other => other.to_string(),
    }
}

#[test]
fn operators_bind_by_precedence() {
    let cases = [
        ("a or b and c", "[a or [b and c]]"),
        ("a unless b or c", "[[a unless b] or c]"),
        ("a and b == c", "[a and [b == c]]"),
        ("a == b + c", "[a == [b + c]]"),
        ("a + b * c - d", "[[a + [b * c]] - d]"),
        ("a - b - c", "[[a - b] - c]"),
        ("a / b % c atan2 d", "[[[a / b] % c] atan2 d]"),
        ("a ^ b ^ c", "[a ^ [b ^ c]]"),
        ("a * b ^ c * d", "[[a * [b ^ c]] * d]"),
        ("a < b </ c >/ d", "[[[a < b] </ c] >/ d]"),
        ("-a ^ b", "[-[a ^ b]]"),
        ("-a * b", "[[-a] * b]"),
        ("a ^ -b * c", "[[a ^ [-b]] * c]"),
        ("a ^ -b ^ c", "[a ^ [-[b ^ c]]]"),
        ("- + a", "[-[+a]]"),
        ("-1 ^ 2", "[-[1 ^ 2]]"),
        ("(a or b) and c", "[([a or b]) and c]"),
        ("A OR b AND c", "[A or [b and c]]"),
    ];
    for (query, tree) in cases {
        assert_eq!(shape(query), tree, "{query}");
    }
}

#[test]
fn modifiers_belong_to_the_operand_before_them() {
    let cases = [
        ("a + b offset 5m", "[a + b offset 5m]"),
        ("a offset 5m + b", "[a offset 5m + b]"),
        ("-a @ 5", "[-a @ 5.000]"),
        ("rate(a[5m] offset -1h) ^ 2", "[rate(a[5m] offset -1h) ^ 2]"),
        ("a offset 5m ^ 2", "[a offset 5m ^ 2]"),
        ("a offset -2 ^ 2", "[a offset -2s ^ 2]"),
        ("a offset step() * 2", "[a offset step() * 2]"),
        ("a offset (5m) * 2", "a offset (5m) * 2"),
        ("a offset -(5m) * 2", "[a offset -(5m) * 2]"),
        ("a offset --5m * 2", "a offset 5m * 2"),
    ];
    for (query, tree) in cases {
        assert_eq!(shape(query), tree, "{query}");
    }
}

#[test]
fn numbers_have_many_forms() {
    let cases = [
        ("1", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("123.4567", 123.4567),
        ("5e-3", 0.005),
        ("5E3", 5000.0),
        ("1_000_000", 1e6),
        ("0x8f", 143.0),
        ("0X_8F", 143.0),
        ("0755", 493.0),
        ("09", 9.0),
        ("Inf", f64::INFINITY),
        ("+inf", f64::INFINITY),
        ("-INF", f64::NEG_INFINITY),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("-1s500ms", -1.5),
        ("--1", 1.0),
        ("1y", 31_536_000.0),
    ];
    for (query, value) in cases {
        match read(query) {
            Expr::Number(number) => assert_eq!(number.value.to_bits(), f64::to_bits(value), "{query}"),
            other => panic!("{query} is {other:?}"),
        }
    }
    assert!(matches!(read("nan"), Expr::Number(number) if number.value.is_nan()));
}

#[test]
fn strings_resolve_their_escapes() {
    let cases = [
        (r#""a\tb""#, "a\tb"),
        (r"'it\'s'", "it's"),
        (r"`a\tb`", r"a\tb"),
        ("`a\nb`", "a\nb"),
        (r#""\u65e5\U00008a9e\x41\101""#, "日語AA"),
        ("\"#no comment\" # comment", "#no comment"),
    ];
    for (query, text) in cases {
        assert!(matches!(read(query), Expr::String(string) if string.value == text), "{query}");
    }
}

#[test]
fn words_with_a_meaning_can_be_names() {
    for name in [
        "sum",
        "by",
        "without",
        "offset",
        "and",
        "or",
        "unless",
        "start",
        "end",
        "step",
        "range",
        "fill",
        "fill_left",
        "fill_right",
        "anchored",
        "smoothed",
        "topk",
        "count_values",
        "limitk",
        "max_of",
        "min_of",
    ] {
        assert!(matches!(read(name), Expr::Vector(selector) if *selector.name == *name), "{name}");
        assert_eq!(shape(&format!("{name} + {name}{{{name}=\"1\"}}")), format!("[{name} + {name}{{{name}=\"1\"}}]"), "{name}");
    }
    let labels = "by, on, ignoring, bool, group_left, group_right, offset, sum, and, atan2, start, end, step, fill";
    let Expr::Aggregate(aggregate) = read(&format!("sum by ({labels}) (x)")) else { panic!("no aggregation") };
    assert_eq!(aggregate.grouping.labels.join(", "), labels);
    assert_eq!(shape("fill + fill(1) fill"), "[fill + fill]");
}

#[test]
fn names_beyond_the_classic_form_stand_in_quotes() {
    let Expr::Vector(selector) = read(r#"{"my.metric", "a label"="x", b!~"y|z",}"#) else { panic!("no selector") };
    let matchers: Vec<String> = selector.matchers.iter().map(ToString::to_string).collect();
    assert_eq!((&*selector.name, matchers.join(" ")), ("", r#"__name__="my.metric" "a label"="x" b!~"y|z""#.to_owned()));
    let Expr::Aggregate(aggregate) = read(r#"sum without ("a.b", c,) (x)"#) else { panic!("no aggregation") };
    assert_eq!((aggregate.grouping.mode, aggregate.grouping.labels.join("|")), (GroupingMode::Without, "a.b|c".to_owned()));
}

#[test]
fn selectors_keep_what_was_said() {
    let Expr::Matrix(matrix) = read("a:b{c=\"d\"}[5m] smoothed @ end() offset -1.5") else { panic!("no range") };
    let selector = &matrix.selector;
    assert_eq!((&*selector.name, selector.matchers.len(), &matrix.range), ("a:b", 2, &Span::Millis(300_000)));
    assert_eq!((selector.at, &selector.offset), (Some(AtModifier::End), &Span::Millis(-1_500)));
    assert_eq!(selector.extension, Extension::Smoothed);
    let Expr::Subquery(subquery) = read("a[1h:] @ 1.25 offset 1d") else { panic!("no subquery") };
    assert_eq!((subquery.at, subquery.step), (Some(AtModifier::Timestamp(1250)), None));
    assert_eq!(subquery.offset, Span::Millis(86_400_000));
    let Expr::Subquery(subquery) = read("a[10:0.5]") else { panic!("no subquery") };
    assert_eq!((subquery.range, subquery.step), (Span::Millis(10_000), Some(Span::Millis(500))));
}

#[test]
fn matching_stands_only_between_vectors() {
    let Expr::Binary(binary) = read("a * on(b, c) group_left(d) e") else { panic!("no operation") };
    let matching = binary.matching.expect("two vectors");
    assert_eq!((matching.mode, matching.cardinality.as_str()), (MatchingMode::On, "many-to-one"));
    assert_eq!((matching.labels.join("|"), matching.include.join("|")), ("b|c".to_owned(), "d".to_owned()));
    assert!(matches!(read("a * 2"), Expr::Binary(binary) if binary.matching.is_none()));
    assert!(
        matches!(read("a and b"), Expr::Binary(binary) if binary.matching.as_ref().is_some_and(|matching| matching.cardinality.as_str() == "many-to-many"))
    );
    let Expr::Binary(binary) = read("a + bool_metric") else { panic!("no operation") };
    assert!(!binary.return_bool);
    let Expr::Binary(binary) = read("a == bool ignoring(x) fill_right(-2) fill_left(5m) b") else { panic!("no operation") };
    let fill = binary.matching.expect("two vectors").fill;
    assert_eq!((binary.return_bool, fill.left, fill.right), (true, Some(300.0), Some(-2.0)));
}

#[test]
fn types_are_known() {
    let cases = [
        ("1 + 2", ValueType::Scalar),
        ("1 + a", ValueType::Vector),
        ("-time()", ValueType::Scalar),
        ("(a[5m])", ValueType::Matrix),
        ("a[5m:]", ValueType::Matrix),
        ("'x'", ValueType::String),
        ("sum(a)", ValueType::Vector),
        ("scalar(a)", ValueType::Scalar),
    ];
    for (query, value_type) in cases {
        assert_eq!(read(query).value_type(), value_type, "{query}");
    }
}

/// The part of the query that each expression was read from, parents first.
fn texts(query: &str) -> Vec<String> {
    let expr = read(query);
    let mut texts = Vec::new();
    expr.walk(&mut |node| texts.push(query[node.position().start..node.position().end].to_owned()));
    texts
}

#[test]
fn every_expression_knows_its_place() {
    let query = " sum(rate(a{b=\"c\"}[5m] offset 1h)) by (x) + on() (- b @ 5 ) ";
    assert_eq!(
        texts(query),
        [
            "sum(rate(a{b=\"c\"}[5m] offset 1h)) by (x) + on() (- b @ 5 )",
            "sum(rate(a{b=\"c\"}[5m] offset 1h)) by (x)",
            "rate(a{b=\"c\"}[5m] offset 1h)",
            "a{b=\"c\"}[5m] offset 1h",
            "(- b @ 5 )",
            "- b @ 5",
            "b @ 5",
        ]
    );
    assert_eq!(texts("quantile_over_time(-1, a[1h:5m] @ end ( ))")[1..], ["-1", "a[1h:5m] @ end ( )", "a"]);
    assert_eq!(texts("topk(-1, a)")[1..], ["a", "-1"], "the expression comes before the parameter, as in Prometheus");
}

#[test]
fn switches_open_parts_of_the_language() {
    let plain = ParserOptions::default();
    for query in ["limitk(1, a)", "info(a)", "a[5m+1m]", "a offset step()", "a[5m] anchored", "a + fill(0) b"] {
        assert!(parse(query, plain).is_err() && parse(query, ParserOptions::experimental()).is_ok(), "{query}");
    }
    assert!(parse("a offset -(5m)", plain).is_ok(), "as in Prometheus, these parentheses are free");
}

#[test]
fn limits_hold() {
    let limited = |query: &str, options: ParserOptions| parse(query, options).map(|_| ()).map_err(|error| error.to_string());
    let options = ParserOptions { depth_max: 10, nodes_max: 50, text_bytes_max: 300, ..ParserOptions::default() };
    let too_deep = "expression is nested deeper than 10 levels";
    assert_eq!(limited(&"(".repeat(20), options), Err(format!("1:11: parse error: {too_deep}")));
    assert_eq!(limited(&["1"; 11].join("+"), options), Err(format!("1:1: parse error: {too_deep}")));
    assert_eq!(limited(&["1"; 10].join("+"), options), Ok(()));
    assert_eq!(limited(&format!("a{}", "[1:1]".repeat(12)), options), Err(format!("1:1: parse error: {too_deep}")));
    let wide = format!("label_join({})", ["a"; 60].join(","));
    assert_eq!(limited(&wide, options), Err("1:112: parse error: query has more than 50 expressions".to_owned()));
    assert_eq!(limited(&" ".repeat(301), options), Err("1:1: parse error: query is longer than 300 bytes".to_owned()));
    let durations = format!("a[{}]", ["1"; 30].join("+"));
    let options = ParserOptions { duration_expressions: true, ..options };
    assert_eq!(limited(&durations, options), Err(format!("1:3: parse error: {too_deep}")));
}
