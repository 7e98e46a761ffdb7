//! Random expressions from a seed.
//!
//! Two kinds: *exact* ones, which both engines compute to the same bit because no step of them depends on the order of adding or on a
//! mathematical library; and all others. What jumps (comparing, rounding, choosing, formatting) is only applied to exact ones: a last bit that
//! differs must not become another answer. Where addition could cancel, the operands are exact as well.
//!
//! Subqueries inside of subqueries are evaluated at multiples of ten seconds, so their ranges are none: no evaluation lies on a boundary.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Metrics without repeated values, so that the choice of `topk` is not arbitrary.
const DISTINCT: [&str; 3] = ["demo_memory_usage_bytes", "demo_cpu_usage_seconds_total", "demo_disk_usage_bytes"];
const GAUGES: [&str; 8] = [
    "app_level",
    "app_limit",
    "demo_memory_usage_bytes",
    "demo_num_cpus",
    "app_flapping",
    "app_sparse",
    "demo_intermittent_metric",
    "app_wide",
];
const COUNTERS: [&str; 4] =
    ["demo_cpu_usage_seconds_total", "app_jobs_total", "demo_api_request_duration_seconds_count", "demo_api_request_duration_seconds_sum"];
const MATCHERS: [&str; 16] = [
    "zone=\"a\"",
    "zone!=\"a\"",
    "zone=~\"a|b\"",
    "rack!~\"[13]\"",
    "type=\"free\"",
    "type=~\".*e.*\"",
    "type!~\"free|used\"",
    "instance=~\".*:1000[12]\"",
    "mode!=\"idle\"",
    "mode=~\"(?i:IDLE|user)\"",
    "pod=~\"[a-b]\"",
    "kind=\"marked\"",
    "method!=\"POST\"",
    "nowhere=\"\"",
    "nowhere=~\".+\"",
    "job=\"demo\"",
];
const LABELS: [&str; 8] = ["zone", "rack", "instance", "type", "mode", "job", "pod", "nowhere"];
const NUMBERS: [&str; 10] = ["0", "1", "2", "-1", "0.5", "3", "-2.25", "1e9", "Inf", "NaN"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", ">", "<=", ">="];
const SPANS: [&str; 6] = ["20s", "1m", "90s", "5m", "12m", "3s"];
const OFFSETS: [&str; 5] = ["10s", "1m", "5m", "-2m", "10m"];

pub struct Expressions {
    random: StdRng,
    /// A time for `@`.
    at: String,
}

impl Expressions {
    pub fn new(seed: u64, at: &str) -> Expressions {
        Expressions { random: StdRng::seed_from_u64(seed), at: at.to_owned() }
    }

    /// One query of any kind.
    pub fn query(&mut self) -> String {
        match self.below(12) {
            0 => self.scalar(3),
            1 => self.absence(),
            2 => self.sorted(),
            3..6 => self.exact(3),
            _ => self.any(3),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.random.random_range(0..count)
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn yes_once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn matchers(&mut self) -> String {
        let count = [0, 0, 0, 1, 1, 2][self.below(6)];
        let matchers: Vec<&str> = (0..count).map(|_| self.pick(&MATCHERS)).collect();
        if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(", ")) }
    }

    /// `offset` and `@`, mostly none.
    fn shift(&mut self) -> String {
        match self.below(10) {
            0 => format!(" offset {}", self.pick(&OFFSETS)),
            1 => format!(" @ {}", self.at),
            2 => format!(" @ {} offset {}", self.pick(&["start()", "end()"]), self.pick(&OFFSETS)),
            _ => String::new(),
        }
    }

    fn gauge(&mut self) -> String {
        format!("{}{}{}", self.pick(&GAUGES), self.matchers(), self.shift())
    }

    fn gauge_range(&mut self) -> String {
        format!("{}{}[{}]{}", self.pick(&GAUGES), self.matchers(), self.pick(&SPANS), self.shift())
    }

    fn counter_range(&mut self) -> String {
        format!("{}{}[{}]{}", self.pick(&COUNTERS), self.matchers(), self.pick(&SPANS), self.shift())
    }

    fn subquery(&mut self, inner: String) -> String {
        let (span, step) = (self.pick(&["59s", "119s", "299s", "601s"]), self.pick(&["10s", "20s", "30s", "1m", ""]));
        format!("({inner})[{span}:{step}]{}", self.shift())
    }

    /// A range whose samples are the same in both to the bit.
    fn exact_range(&mut self, depth: usize) -> String {
        match depth {
            0 => self.gauge_range(),
            _ if self.yes_once_in(3) => {
                let inner = self.exact(depth - 1);
                self.subquery(inner)
            }
            _ => self.gauge_range(),
        }
    }

    fn grouping(&mut self) -> String {
        let mode = self.pick(&["by", "without"]);
        let labels: Vec<&str> = (0..self.below(4)).map(|_| self.pick(&LABELS)).collect();
        if self.yes_once_in(4) { String::new() } else { format!(" {mode} ({})", labels.join(", ")) }
    }

    /// An instant vector with the same bits in both.
    fn exact(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.gauge();
        }
        let depth = depth - 1;
        match self.below(15) {
            0 | 1 => self.gauge(),
            2 => format!("{}{} ({})", self.pick(&["max", "min", "count", "group"]), self.grouping(), self.exact(depth)),
            3 => format!("sum{} ({})", self.grouping(), self.gauge()),
            4 => {
                let function = self.pick(&["max", "min", "count", "last", "present"]);
                format!("{function}_over_time({})", self.exact_range(depth))
            }
            5 => format!("{}({})", self.pick(&["changes", "resets", "idelta"]), self.exact_range(depth)),
            6 => {
                let operator = self.pick(&["+", "-", "*", "/", "%"]);
                self.matched(operator, depth)
            }
            7 => {
                let bool = self.pick(&["", " bool"]);
                let operator = format!("{}{bool}", self.pick(&COMPARISONS));
                self.matched(&operator, depth)
            }
            8 => self.set(depth),
            9 => format!("{}({})", self.pick(&["abs", "ceil", "floor", "round", "sgn", "-", "sqrt"]), self.exact(depth)),
            10 => self.clamped(depth),
            11 => self.relabeled(depth),
            // Without `offset`: see the rule about it.
            12 => format!("timestamp({}{})", self.pick(&GAUGES), self.matchers()),
            13 => format!("({} {} {})", self.exact(depth), self.pick(&["+", "-", "*", "/", "%"]), self.scalar(1)),
            _ => self.chosen(),
        }
    }

    fn clamped(&mut self, depth: usize) -> String {
        match self.below(3) {
            0 => format!("clamp({}, {}, {})", self.exact(depth), self.scalar(0), self.scalar(0)),
            1 => format!("clamp_min({}, {})", self.exact(depth), self.scalar(1)),
            _ => format!("round({}, {})", self.exact(depth), self.pick(&["1", "0.5", "10", "-4"])),
        }
    }

    fn relabeled(&mut self, depth: usize) -> String {
        let inner = self.exact(depth);
        let (from, to) = (self.pick(&LABELS), self.pick(&LABELS));
        match self.below(3) {
            0 => format!("label_replace({inner}, \"{to}\", \"$1-x\", \"{from}\", \"(.).*\")"),
            1 => format!("label_replace({inner}, \"copy\", \"$0\", \"{from}\", \"[a-z]+\")"),
            _ => format!("label_join({inner}, \"joined\", \"-\", \"{from}\", \"{to}\")"),
        }
    }

    /// `topk` and its like; only over what has no equal values.
    fn chosen(&mut self) -> String {
        let selector = format!("{}{}", self.pick(&DISTINCT), self.matchers());
        match self.below(3) {
            0 => format!("{}{} ({}, {selector})", self.pick(&["topk", "bottomk"]), self.grouping(), self.pick(&["1", "2", "5"])),
            // The label sorts last: Prometheus 2.42 loses one of three grouping labels that sorts after it.
            1 => format!("count_values{} (\"zz\", {})", self.grouping(), self.gauge()),
            _ => format!("{}{} (2, {selector})", self.pick(&["topk", "bottomk"]), self.grouping()),
        }
    }

    /// A binary operation between exact vectors, with a matching that mostly fits.
    fn matched(&mut self, operator: &str, depth: usize) -> String {
        let shared = self.pick(&LABELS);
        match self.below(7) {
            0 => format!("(app_level{} {operator} on (zone) group_left app_limit)", self.shift()),
            1 => format!("(app_limit {operator} on (zone) group_right (unit) app_level{})", self.shift()),
            2 => {
                let (one, other) = (self.exact(depth), self.exact(depth));
                format!("(max by ({shared}) ({one}) {operator} min by ({shared}) ({other}))")
            }
            3 => format!("({} {operator} on ({shared}) group_left min by ({shared}) ({}))", self.exact(depth), self.exact(depth)),
            4 => format!("({} {operator} {} {})", self.exact(depth), self.pick(&["ignoring (rack, unit)", "on (zone)"]), self.exact(depth)),
            // Mostly refused: several series of each side match.
            5 => format!("(app_level{} {operator} on ({shared}) app_level{})", self.matchers(), self.matchers()),
            _ => {
                let same = self.exact(depth);
                format!("({same} {operator} {same})")
            }
        }
    }

    fn set(&mut self, depth: usize) -> String {
        let matching = self.pick(&["", "on (zone) ", "ignoring (type, rack) ", "on (instance, job) ", "on () "]);
        format!("({} {} {matching}{})", self.exact(depth), self.pick(&["and", "or", "unless"]), self.exact(depth))
    }

    /// An instant vector whose last bits may differ.
    fn any(&mut self, depth: usize) -> String {
        if depth == 0 {
            return format!("{}({})", self.pick(&["rate", "increase", "irate"]), self.counter_range());
        }
        let depth = depth - 1;
        match self.below(12) {
            0 => format!("{}({})", self.pick(&["rate", "increase", "irate"]), self.counter_range()),
            1 => format!("{}({})", self.pick(&["delta", "deriv"]), self.exact_range(depth)),
            // Not with `@`: see the rule about it.
            2 => format!("predict_linear({}[{}], {})", self.pick(&GAUGES), self.pick(&SPANS), self.pick(&["60", "-300", "0"])),
            3 => format!("{}{} ({})", self.pick(&["sum", "avg", "max", "min", "count"]), self.grouping(), self.positive(depth)),
            4 => format!("{}{} ({})", self.pick(&["avg", "stddev", "stdvar"]), self.grouping(), self.gauge()),
            5 => format!("{}_over_time({})", self.pick(&["avg", "stddev", "stdvar", "sum"]), self.exact_range(depth)),
            6 => format!("quantile{} ({}, {})", self.grouping(), self.pick(&["0.1", "0.5", "0.99", "2"]), self.exact(depth)),
            7 => format!("quantile_over_time({}, {})", self.pick(&["0", "0.25", "0.9", "-1"]), self.exact_range(depth)),
            8 => {
                let grouping = self.pick(&["le", "le, instance", "le, method, path", "instance"]);
                let rate = format!("rate(demo_api_request_duration_seconds_bucket{}[{}])", self.matchers(), self.pick(&["1m", "5m"]));
                format!("histogram_quantile({}, sum by ({grouping}) ({rate}))", self.pick(&["0.1", "0.5", "0.9", "0.999"]))
            }
            9 => format!("{}({})", self.pick(&["exp", "ln", "log2", "log10", "sin", "cos", "atan", "tanh", "asinh", "deg"]), self.small()),
            10 => {
                let inner = self.positive(depth);
                format!("{}_over_time({})", self.pick(&["avg", "max", "sum", "last"]), self.subquery(inner))
            }
            _ => format!("({} {} {})", self.positive(depth), self.pick(&["*", "/", "+"]), self.scalar(0).replace('-', "")),
        }
    }

    /// Never negative, so that sums do not cancel.
    fn positive(&mut self, depth: usize) -> String {
        match self.below(3) {
            0 => format!("abs({})", self.any(depth.saturating_sub(1))),
            1 => format!("sum{} (rate({}))", self.grouping(), self.counter_range()),
            _ => format!("{}({})", self.pick(&["rate", "increase"]), self.counter_range()),
        }
    }

    /// Near zero, where trigonometric and other functions have no large derivatives.
    fn small(&mut self) -> String {
        format!("{}{}{}", self.pick(&["app_level", "app_limit", "demo_num_cpus"]), self.matchers(), self.pick(&["", " / 16", " * 0.25"]))
    }

    fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.pick(&NUMBERS).to_owned();
        }
        let depth = depth - 1;
        match self.below(7) {
            0 | 1 => self.pick(&NUMBERS).to_owned(),
            2 => "time()".to_owned(),
            3 => format!("scalar(max({}))", self.gauge()),
            4 => format!("scalar({})", self.gauge()),
            5 => format!("({} {} bool {})", self.scalar(depth), self.pick(&COMPARISONS), self.scalar(depth)),
            _ => format!("({} {} {})", self.scalar(depth), self.pick(&["+", "-", "*", "/", "%"]), self.scalar(depth)),
        }
    }

    fn absence(&mut self) -> String {
        match self.below(2) {
            0 => format!("absent({})", self.gauge()),
            _ => format!("absent_over_time({})", self.gauge_range()),
        }
    }

    fn sorted(&mut self) -> String {
        format!("{}({})", self.pick(&["sort", "sort_desc"]), self.exact(2))
    }
}

#[test]
fn a_seed_gives_the_same_queries_again() {
    let some = |seed| -> Vec<String> {
        let mut expressions = Expressions::new(seed, "17.1");
        (0..50).map(|_| expressions.query()).collect()
    };
    assert_eq!(some(1), some(1));
    assert_ne!(some(1), some(2));
}
