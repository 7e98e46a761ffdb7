//! What is refused, where, and with which words: those of Prometheus, to the letter.

use promql::{ParserOptions, parse};

fn assert_refused(options: ParserOptions, cases: &[(&str, &str)]) {
    for (query, why) in cases {
        match parse(query, options) {
            Ok(expr) => panic!("{query:?} is read as {expr}"),
            Err(error) => assert_eq!(error.to_string(), why.replacen(": ", ": parse error: ", 1), "{query:?}"),
        }
    }
}

/// With everything on, so that nothing is refused for a switch.
fn assert_never(cases: &[(&str, &str)]) {
    assert_refused(ParserOptions::experimental(), cases);
}

#[test]
fn characters_and_literals() {
    assert_never(&[
        ("a.b", "1:2: unexpected character: '.'"),
        ("a $ b", "1:3: unexpected character: '$'"),
        ("a ! b", "1:3: unexpected character after '!': ' '"),
        ("a =~ b", "1:3: unexpected character after '=': '~'"),
        ("1.2.3", "1:1: bad number or duration syntax: \"1.2.\""),
        ("5mm", "1:1: bad number or duration syntax: \"5mm\""),
        ("1__0", "1:1: bad number or duration syntax: \"1__\""),
        ("0x1.5", "1:1: bad number or duration syntax: \"0x1.\""),
        ("1e", "1:1: bad number or duration syntax: \"1e\""),
        ("0x", "1:1: error parsing number: strconv.ParseFloat: parsing \"0x\": invalid syntax"),
        ("2e999", "1:1: error parsing number: strconv.ParseFloat: parsing \"2e999\": value out of range"),
        ("5m1h", "1:1: not a valid duration string: \"5m1h\""),
        ("5hs", "1:1: unknown unit \"hs\" in duration \"5hs\""),
        ("400y", "1:1: duration out of range"),
        ("\"abc", "1:1: unterminated quoted string"),
        ("'a\nb'", "1:1: unterminated quoted string"),
        ("`abc", "1:1: unterminated raw string"),
        ("1 + \"\\q\"", "1:5: unknown escape sequence U+0071 'q'"),
        ("\"\\xg\"", "1:1: illegal character U+0067 'g' in escape sequence"),
        ("\"\\400\"", "1:1: escape sequence is an invalid Unicode code point"),
        ("\"\\ud800\"", "1:1: escape sequence is an invalid Unicode code point"),
        ("\"\\", "1:1: escape sequence not terminated"),
        ("\"\u{fffd}\"", "1:1: invalid UTF-8 rune"),
        ("(a", "1:3: unclosed left parenthesis"),
        ("a)", "1:3: unexpected right parenthesis ')'"),
        ("a[5m", "1:5: unclosed left bracket"),
        ("a]", "1:2: unexpected right bracket ']'"),
        ("a[5m[", "1:5: unexpected left bracket '['"),
    ]);
}

#[test]
fn words_out_of_place() {
    assert_never(&[
        ("", "unknown position: no expression found in input"),
        (" # nothing\n", "1:1: no expression found in input"),
        ("a b", "1:3: unexpected identifier \"b\""),
        ("a a:b", "1:3: unexpected metric identifier \"a:b\""),
        ("a 5", "1:3: unexpected number \"5\""),
        ("a 5m", "1:3: unexpected duration \"5m\""),
        ("a 'x'", "1:3: unexpected string \"'x'\""),
        ("a 'a long string'", "1:3: unexpected string \"'a long st\"..."),
        ("1 +", "1:4: unexpected end of input"),
        ("* 1", "1:1: unexpected <op:*>"),
        ("a ==\n == b", "2:2: unexpected <op:==>"),
        ("a = b", "1:3: unexpected \"=\""),
        ("on", "1:1: unexpected <on>"),
        ("a, b", "1:2: unexpected \",\""),
        ("atan2", "1:1: unexpected <op:atan2>"),
        ("a by (b)", "1:3: unexpected <by>"),
        ("a group_left() b", "1:3: unexpected <group_left>"),
        ("a + group_left() b", "1:5: unexpected <group_left>"),
        ("a + bool bool b", "1:10: unexpected <bool>"),
        ("a:b(c)", "1:4: unexpected \"(\""),
        ("sum some by (x)", "1:5: unexpected identifier \"some\""),
        ("a + fill(b) c", "1:10: unexpected identifier \"b\""),
        ("rate(a[5m]", "1:11: unclosed left parenthesis"),
        ("rate(a b)", "1:8: unexpected identifier \"b\""),
        ("rate(,)", "1:6: unexpected \",\""),
    ]);
}

#[test]
fn rules_that_name_themselves() {
    assert_never(&[
        ("sum(a b)", "1:7: unexpected identifier \"b\" in aggregation"),
        ("sum by (x) a", "1:12: unexpected identifier \"a\" in aggregation"),
        ("sum(rate(a b))", "1:12: unexpected identifier \"b\" in aggregation"),
        ("sum by x (a)", "1:8: unexpected identifier \"x\" in grouping opts, expected \"(\""),
        ("sum by (x y) (a)", "1:11: unexpected identifier \"y\" in grouping opts, expected \",\" or \")\""),
        ("sum by (,) (a)", "1:9: unexpected \",\" in grouping opts, expected label"),
        ("sum by (x,,) (a)", "1:11: unexpected \",\" in grouping opts, expected label"),
        ("sum by (without) (a)", "1:9: unexpected <without> in grouping opts, expected label"),
        ("a + on b c", "1:8: unexpected identifier \"b\" in grouping opts, expected \"(\""),
        ("sum by (\"\") (a)", "1:9: invalid label name for grouping: \"\""),
        ("a + on(b) group_left * c", "1:22: unexpected <op:*> in grouping opts, expected \"(\""),
        ("a offset", "1:9: unexpected end of input in offset, expected number, duration, step(), or range()"),
        ("a offset (5m +) b", "1:15: unexpected \")\" in offset, expected number, duration, step(), or range()"),
        ("a @", "1:4: unexpected end of input in @, expected timestamp"),
        ("a @ start", "1:10: unexpected end of input in @, expected timestamp"),
        ("a @ step()", "1:5: unexpected \"step\" in @, expected timestamp"),
        ("a[]", "1:3: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()"),
        ("a[5m *]", "1:7: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()"),
        ("a[5m 6m]", "1:6: unexpected duration \"6m\" in subquery or range, expected \":\" or \"]\""),
        ("a[5m:6m 7m]", "1:9: unexpected duration \"7m\" in subquery selector, expected \"]\""),
        ("a[5m:,]", "1:6: unexpected \",\" in subquery selector, expected number, duration, step(), range(), or \"]\""),
        ("f(a,)", "1:4: trailing commas not allowed in function call args"),
    ]);
}

#[test]
fn braces_and_brackets() {
    assert_never(&[
        ("a{", "1:3: unexpected end of input inside braces"),
        ("a{b", "1:4: unexpected end of input inside braces"),
        ("a{5}", "1:3: unexpected character inside braces: '5'"),
        ("a{b{}}", "1:4: unexpected left brace '{'"),
        ("a{b! \"c\"}", "1:4: unexpected character after '!' inside braces: ' '"),
        ("a{b}", "1:4: unexpected \"}\" in label matching, expected label matching operator"),
        ("a{b=}", "1:5: unexpected \"}\" in label matching, expected string"),
        ("a{b=c}", "1:5: unexpected identifier \"c\" in label matching, expected string"),
        ("a{b=\"c\" d}", "1:9: unexpected identifier \"d\" in label matching, expected \",\" or \"}\""),
        ("a{,}", "1:3: unexpected \",\" in label matching, expected identifier or \"}\""),
        ("a{b=\"c\",,}", "1:9: unexpected \",\" in label matching, expected identifier or \"}\""),
        ("a{b=\"\\xff\"}", "1:5: error unquoting string \"\\\"\\\\xff\\\"\": invalid syntax"),
        ("a{b=~\"(\"}", "1:3: error parsing regexp: missing closing ): `(`"),
        ("a}", "1:2: unexpected character: '}'"),
        ("a[x]", "1:3: unexpected character in duration expression: 'x'"),
        ("a[5m x]", "1:6: unexpected character: 'x', expected ':'"),
        ("a[5m::]", "1:6: unexpected colon ':'"),
        ("a[", "1:3: unexpected end of input in duration expression"),
        ("a[:5m]", "1:4: unexpected colon before duration in duration expression"),
        ("a[0]", "1:3: duration must be greater than 0"),
        ("a[-5m]", "1:3: duration must be greater than 0"),
        ("a[1e10]", "1:3: duration out of range"),
        ("a[5m/0]", "1:5: division by zero"),
        ("a[5m%0]", "1:5: modulo by zero"),
        ("a offset 1e10", "1:10: duration out of range"),
        ("(a)[5m]", "1:4: ranges only allowed for vector selectors"),
        ("a offset 1m [5m]", "1:13: no offset modifiers allowed before range"),
        ("a @ 1 [5m]", "1:7: no @ modifiers allowed before range"),
        ("a offset 1m offset 2m", "1:1: offset may not be set multiple times"),
        ("a @ 1 @ 2", "1:1: @ <timestamp> may not be set multiple times"),
        ("a @ inf", "1:1: timestamp out of bounds for @ modifier: +Inf"),
        ("a @ -1e19", "1:1: timestamp out of bounds for @ modifier: -10000000000000000000.000000"),
        ("(a) offset 1m", "1:1: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery"),
        ("1 @ 1", "1:1: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery"),
        ("a anchored smoothed", "1:1: anchored and smoothed modifiers cannot be used together"),
        ("a[5m:] smoothed", "1:1: smoothed modifier is not supported for subqueries"),
        ("sum(a) anchored", "1:1: anchored modifier not implemented"),
    ]);
}

#[test]
fn types() {
    assert_never(&[
        ("unknown(a)", "1:1: unknown function with name \"unknown\""),
        ("RATE(a[5m])", "1:1: unknown function with name \"RATE\""),
        ("rate(a)", "1:6: expected type range vector in call to function \"rate\", got instant vector"),
        ("abs(1)", "1:5: expected type instant vector in call to function \"abs\", got scalar"),
        ("rate(a[5m], 1)", "1:1: expected 1 argument(s) in call to \"rate\", got 2"),
        ("label_join(a)", "1:1: expected at least 3 argument(s) in call to \"label_join\", got 1"),
        ("round(a, 1, 2)", "1:1: expected at most 2 argument(s) in call to \"round\", got 3"),
        ("info(a, 1)", "1:1: expected type instant vector in call to function \"info\", got scalar"),
        ("info(a, b)", "1:9: expected label selectors only, got vector selector instead"),
        ("info(a, abs({b=\"c\"}))", "1:9: expected label selectors only"),
        ("sum()", "1:1: no arguments for aggregate expression provided"),
        ("sum(a, b)", "1:1: wrong number of arguments for aggregate expression provided, expected 1, got 2"),
        ("topk(a)", "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
        ("sum(1)", "1:5: expected type instant vector in aggregation expression, got scalar"),
        ("topk(a, b)", "1:6: expected type scalar in aggregation parameter, got instant vector"),
        ("count_values(1, b)", "1:14: expected type string in aggregation parameter, got scalar"),
        ("1 == 1", "1:3: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: bool modifier can only be used on comparison operators"),
        ("a + 'b'", "1:5: binary expression must contain only scalar and instant vector types"),
        ("a[5m] + b", "1:1: binary expression must contain only scalar and instant vector types"),
        ("1 and a", "1:1: set operator \"and\" not allowed in binary scalar expression"),
        ("a + on(b) 1", "1:1: vector matching only allowed between instant vectors"),
        ("a + fill(0) 1", "1:1: filling in missing series only allowed between instant vectors"),
        ("a and fill(0) b", "1:1: filling in missing series not allowed for set operators"),
        ("a and on(b) group_left() c", "1:1: no grouping allowed for \"and\" operation"),
        ("a * on(b) group_left(b) c", "1:3: label \"b\" must not occur in ON and GROUP clause at once"),
        ("-'a'", "1:1: unary expression only allowed on expressions of type scalar or instant vector, got \"string\""),
        ("-a[5m]", "1:1: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\""),
        ("1[5m:]", "1:1: subquery is only allowed on instant vector, got scalar instead"),
        ("{}", "1:1: vector selector must contain at least one non-empty matcher"),
        ("{a=~\".*\",b!=\"c\"}", "1:1: vector selector must contain at least one non-empty matcher"),
        ("a{__name__=\"b\"}", "1:1: metric name must not be set twice: \"a\" or \"b\""),
    ]);
}

#[test]
fn parts_of_the_language_that_are_switched_off() {
    assert_refused(
        ParserOptions::default(),
        &[
            ("limitk(1, a)", "1:1: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions"),
            ("mad_over_time(a[5m])", "1:1: function \"mad_over_time\" is not enabled"),
            ("a[5m + 1m]", "1:3: experimental duration expression is not enabled"),
            ("a[(5m)]", "1:4: experimental duration expression is not enabled"),
            ("a offset -step()", "1:10: experimental duration expression is not enabled"),
            ("a offset min_of(1m, 2m)", "1:17: experimental duration expression is not enabled"),
            ("a anchored", "1:1: anchored modifier is experimental and not enabled"),
            ("a[5m] smoothed", "1:1: smoothed modifier is experimental and not enabled"),
            ("a + fill(0) b", "1:1: binop fill modifiers are experimental and not enabled"),
        ],
    );
}

#[test]
fn all_mistakes_of_type_are_listed_in_order() {
    let query = "rate(1) + sum('a')";
    let errors = parse(query, ParserOptions::default()).expect_err("two mistakes");
    let texts: Vec<String> = errors.iter().map(|error| error.text(query)).collect();
    assert_eq!(
        texts,
        [
            "1:6: parse error: expected type range vector in call to function \"rate\", got scalar",
            "1:15: parse error: expected type instant vector in aggregation expression, got string",
        ]
    );
}
