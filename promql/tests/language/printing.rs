//! How queries are printed.

use crate::read;

#[test]
fn queries_print_in_one_normal_form() {
    let cases = [
        ("sum(a) by ()", "sum(a)"),
        ("sum by(b,c)(a)", "sum by (b, c) (a)"),
        ("sum(a)without(b)", "sum without (b) (a)"),
        ("sum without()(a)", "sum without () (a)"),
        ("topk by(\"b.c\")(5,a)", "topk by (\"b.c\") (5, a)"),
        ("a+on()b", "a + on () b"),
        ("a+ignoring()b", "a + b"),
        ("a==bool ignoring(x)group_right b", "a == bool ignoring (x) group_right () b"),
        ("a*on(x,y)group_left(z)b", "a * on (x, y) group_left (z) b"),
        ("a+fill(1)b", "a + fill (1) b"),
        ("a+fill_right(1e6)fill_left(-2)b", "a + fill_left (-2) fill_right (1e+06) b"),
        ("a{z=\"1\",b!=\"2\",c=~\"3\",d!~\"4\"}", "a{b!=\"2\",c=~\"3\",d!~\"4\",z=\"1\"}"),
        ("a{b='\"'}", "a{b=\"\\\"\"}"),
        ("{__name__=\"a\"}", "{__name__=\"a\"}"),
        ("{'a.b',c='d'}", "{__name__=\"a.b\",c=\"d\"}"),
        ("a[300]", "a[5m]"),
        ("a[1h:]", "a[1h:]"),
        ("a[1w:1d]@1.5 offset 1h", "a[1w:1d] @ 1.500 offset 1h"),
        ("a offset 1h @ end()", "a @ end() offset 1h"),
        ("a[1m]offset -90s@start()", "a[1m] @ start() offset -1m30s"),
        ("a smoothed @ 1", "a @ 1.000 smoothed"),
        ("a[5m]@ 1 anchored", "a[5m] anchored @ 1.000"),
        ("a[(5m+1)*2]", "a[(5m + 1) * 2]"),
        ("a[5m:-(-1m)]", "a[5m:-(-1m)]"),
        ("a offset max_of(step(),range()/2)", "a offset max_of(step(), range() / 2)"),
        ("a[min_of(1m,5m)^2]", "a[min_of(1m, 5m) ^ 2]"),
        ("0x10", "16"),
        ("1e30", "1000000000000000000000000000000"),
        ("-inf", "-Inf"),
        ("NAN", "NaN"),
        ("90s", "1m30s"),
        ("-90s", "-1m30s"),
        ("- a", "-a"),
        ("(  a  )", "(a)"),
        ("'a\\'b\"c'", "\"a'b\\\"c\""),
        ("time( )", "time()"),
        ("clamp(a,1,2)", "clamp(a, 1, 2)"),
        ("a and b or c unless d", "a and b or c unless d"),
        ("a</1>/2", "a </ 1 >/ 2"),
        ("info(a,{})", "info(a, {})"),
        ("a # comment\n+ # more\nb", "a + b"),
    ];
    for (query, printed) in cases {
        assert_eq!(read(query).to_string(), printed, "{query}");
        assert_eq!(read(printed).to_string(), printed, "{query}, a second time");
    }
}
