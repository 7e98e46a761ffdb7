//! Queries from templates: each `<word>` stands for every variant of that word in turn.

/// Words and what stands for them.
const WORDS: [(&str, &[&str]); 16] = [
    ("span", &["1s", "15s", "1m", "5m", "15m", "1h"]),
    ("offset", &["1m", "5m", "10m"]),
    ("quantile", &["-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "1", "1.5"]),
    ("aggregate", &["sum", "avg", "max", "min", "count", "stddev", "stdvar", "group"]),
    ("pick", &["topk", "bottomk"]),
    ("over_time", &["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present"]),
    ("arithmetic", &["+", "-", "*", "/", "%", "^", "atan2"]),
    ("compare", &["==", "!=", "<", ">", "<=", ">="]),
    ("set", &["and", "or", "unless"]),
    ("math", &["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round", "sgn"]),
    ("angle", &["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad"]),
    ("rate", &["rate", "increase", "delta"]),
    ("instant_rate", &["irate", "idelta"]),
    ("clamp", &["clamp_min", "clamp_max"]),
    ("date", &["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"]),
    ("sort", &["sort", "sort_desc"]),
];

#[rustfmt::skip]
const TEMPLATES: &[&str] = &[
    // Literals and scalars.
    "7", "0.25", ".5", "2.5e-3", "0x1F", "Inf", "-Inf", "NaN", "\"text\"", "-2 ^ 2", "2 ^ 3 ^ 2", "1 + 2 * 3 % 4 - 5 / 8", "pi()", "time()",
    "time() <arithmetic> 3", "5 <compare> bool time()", "time() <arithmetic> time()", "scalar(demo_num_cpus)", "scalar(app_limit{zone=\"a\"})", "vector(0.5)", "vector(time())",
    // Selectors.
    "demo_memory_usage_bytes", "{__name__=\"demo_num_cpus\"}", "demo_memory_usage_bytes{type=\"used\"}", "demo_memory_usage_bytes{type!=\"used\"}",
    "demo_memory_usage_bytes{instance=~\".*:1000[01]\"}", "demo_memory_usage_bytes{instance!~\".*2\", type=~\"free|used\"}", "{type=\"free\"}", "{__name__=~\"demo_(num|disk).*\"}",
    "demo_memory_usage_bytes{instance=~\"demo\"}", "demo_memory_usage_bytes{absent_label=\"\"}", "demo_memory_usage_bytes{absent_label!=\"\"}", "no_such_metric", "demo_intermittent_metric",
    "app_flapping", "app_sparse", "app_build_info", "app_temperature_celsius", "app_extreme", "app_wide", "app_text", "app_text{text=~\".+\"}", "app_text{text=\"\"}",
    "app_text{text=\"C:\\\\temp\"}", "app_text{text=~\"a\\\\.b.*\"}", "app_text{text=~\"日.*\"}", "{__name__=~\"app_.*\", zone!=\"\"}",
    "demo_memory_usage_bytes offset <offset>", "demo_memory_usage_bytes offset -<offset>", "demo_num_cpus @ <at>", "app_level @ start()", "app_level @ end() offset <offset>",
    "demo_memory_usage_bytes{type=\"free\"}[<span>]", "{}", "{__name__=~\".*\"}", "demo_num_cpus{", "sum(demo_num_cpus", "demo_num_cpus offset", "sum by (demo_num_cpus)",
    // Aggregations.
    "<aggregate>(demo_memory_usage_bytes)", "<aggregate>(no_such_metric)", "<aggregate> by () (demo_memory_usage_bytes)", "<aggregate> by (instance) (demo_memory_usage_bytes)",
    "<aggregate> by (type, instance) (demo_memory_usage_bytes)", "<aggregate> by (no_such_label) (demo_memory_usage_bytes)", "<aggregate> without () (demo_memory_usage_bytes)",
    "<aggregate> without (type) (demo_memory_usage_bytes)", "<aggregate> without (type, job, instance) (demo_memory_usage_bytes)", "<aggregate> by (__name__) ({job=\"demo\", method=\"\"})",
    "<aggregate> by (room) (app_temperature_celsius)", "<aggregate>(app_flapping)", "<aggregate> by (zone) (app_level)",
    "<pick>(3, demo_memory_usage_bytes)", "<pick> by (instance) (2, demo_memory_usage_bytes)", "<pick> without (instance) (1, demo_memory_usage_bytes)", "<pick>(0, demo_num_cpus)", "<pick>(-1, demo_num_cpus)", "<pick>(99, demo_num_cpus)",
    "quantile(<quantile>, demo_memory_usage_bytes)", "quantile by (zone) (<quantile>, app_level)", "count_values(\"v\", app_level)", "count_values by (zone) (\"v\", app_level)", "count_values(\"v\", demo_api_request_duration_seconds_bucket)",
    "max(avg by (type) (demo_memory_usage_bytes))", "count_values(\"not a name\", app_level offset \"x\")", "sum(count by (zone, rack) (app_level))",
    // Operators.
    "demo_memory_usage_bytes <arithmetic> 2.5", "0.75 <arithmetic> demo_memory_usage_bytes", "demo_memory_usage_bytes <compare> 2e9", "2e9 <compare> demo_memory_usage_bytes",
    "demo_memory_usage_bytes <compare> bool 2e9", "2e9 <compare> bool demo_memory_usage_bytes", "demo_num_cpus + (1 <compare> bool 2)", "1 <compare> 2",
    "time() <arithmetic> demo_num_cpus", "demo_num_cpus <compare> time()", "app_level <arithmetic> app_level", "app_level <compare> app_level", "app_level <set> app_level",
    "demo_memory_usage_bytes <arithmetic> on (instance, job, type) demo_memory_usage_bytes", "demo_memory_usage_bytes <compare> bool on (instance, job, type) demo_memory_usage_bytes",
    "app_level <arithmetic> on (zone) group_left app_limit", "app_limit <arithmetic> on (zone) group_right (unit) app_level", "app_level <arithmetic> on (zone) group_left (unit) app_limit",
    "app_level <compare> ignoring (rack, unit) group_left app_limit", "app_level <arithmetic> on (zone) app_limit", "app_limit <arithmetic> on (zone) app_level",
    "app_level <set> on (zone) app_limit", "app_limit <set> ignoring (rack, unit) app_level", "demo_num_cpus <arithmetic> on (instance) group_left (version) app_build_info",
    "sum by (instance, type) (demo_memory_usage_bytes) / on (instance, type) group_left (job) demo_memory_usage_bytes", "demo_memory_usage_bytes / on (instance, job) group_left demo_num_cpus",
    "demo_memory_usage_bytes / on (instance, job, type, __name__) demo_memory_usage_bytes", "demo_memory_usage_bytes <set> demo_memory_usage_bytes{type=\"free\"}",
    "-app_level", "+app_level", "--app_level", "-(app_level - 3)", "demo_num_cpus * Inf", "demo_num_cpus * NaN", "app_temperature_celsius <arithmetic> 0", "app_temperature_celsius <compare> app_temperature_celsius",
    "app_level and \"text\"", "1 and app_level", "\"a\" + \"b\"", "app_level == bool app_level == 1",
    // Functions of instants.
    "<math>(demo_memory_usage_bytes)", "<math>(-demo_memory_usage_bytes)", "<math>(app_level / 4)", "<math>(app_temperature_celsius)", "<angle>(app_level / 8)", "<angle>(app_temperature_celsius)",
    "<clamp>(demo_memory_usage_bytes, 2e9)", "clamp(app_level, -2, 3)", "clamp(app_level, 3, -2)", "clamp(app_level, NaN, 3)", "round(app_level, 3)", "round(app_level, 0.5)", "round(app_level / 4, -1)",
    "absent(demo_num_cpus)", "absent(no_such_metric)", "absent(no_such_metric{a=\"b\", c=~\"d\", e!=\"f\"})", "absent(sum(no_such_metric{a=\"b\"}))", "absent(app_flapping{kind=\"marked\"})",
    "timestamp(demo_num_cpus)", "timestamp(demo_num_cpus * 1)", "timestamp(timestamp(demo_num_cpus))", "timestamp(demo_num_cpus offset 1m)", "timestamp(demo_num_cpus @ <at> offset 10m)", "timestamp(app_sparse)",
    "<date>()", "<date>(demo_batch_last_success_timestamp_seconds)", "<date>(demo_batch_last_success_timestamp_seconds offset <offset>)", "<date>(vector(951782400))",
    "<sort>(demo_memory_usage_bytes)", "<sort>(app_temperature_celsius)", "<sort>(-demo_cpu_usage_seconds_total)",
    "label_replace(demo_num_cpus, \"port\", \"p-$1\", \"instance\", \".*:(.*)\")", "label_replace(demo_num_cpus, \"port\", \"${1}0\", \"instance\", \"none:(.*)\")", "label_replace(demo_num_cpus, \"job\", \"\", \"instance\", \".*\")",
    "label_replace(demo_num_cpus, \"x\", \"$name\", \"instance\", \"(?P<name>[a-z]+).*\")", "label_replace(demo_num_cpus, \"x\", \"v-$1\", \"nowhere\", \"(.*)\")", "label_replace(demo_num_cpus, \"x\", \"$1\", \"job\", \"(.*\")",
    "label_replace(demo_num_cpus, \"instance\", \"same\", \"instance\", \".*\")", "label_replace(demo_num_cpus, \"__name__\", \"renamed\", \"job\", \".*\")",
    "label_join(demo_num_cpus, \"all\", \"/\", \"job\", \"instance\")", "label_join(demo_num_cpus, \"all\", \"/\")", "label_join(demo_num_cpus, \"job\", \"-\", \"instance\", \"job\", \"nowhere\")", "label_join(demo_num_cpus, \"instance\", \"-\", \"job\")",
    "histogram_quantile(<quantile>, demo_api_request_duration_seconds_bucket)", "histogram_quantile(<quantile>, rate(demo_api_request_duration_seconds_bucket[1m]))",
    "histogram_quantile(<quantile>, sum by (le, method) (rate(demo_api_request_duration_seconds_bucket[2m])))", "histogram_quantile(0.9, demo_num_cpus)", "histogram_quantile(0.9, {__name__=~\"demo_api_request_duration_seconds_.+\"})",
    "no_such_function(demo_num_cpus)", "abs(1)", "abs(demo_num_cpus, 2)", "rate(demo_num_cpus)", "sum(1)", "vector(demo_num_cpus)", "label_join(demo_num_cpus)", "clamp(app_level, 1)",
    // Functions of ranges.
    "<over_time>_over_time(demo_memory_usage_bytes[<span>])", "<over_time>_over_time(app_temperature_celsius[2m])", "<over_time>_over_time(app_flapping[2m])", "<over_time>_over_time(app_sparse[<span>])",
    "<over_time>_over_time(no_such_metric{a=\"b\"}[5m])", "<over_time>_over_time(demo_num_cpus[2m] offset <offset>)", "<over_time>_over_time(app_level[3m] @ <at>)",
    "quantile_over_time(<quantile>, demo_memory_usage_bytes[<span>])", "quantile_over_time(<quantile>, app_temperature_celsius[3m])",
    "<rate>(demo_cpu_usage_seconds_total[<span>])", "<rate>(app_jobs_total[<span>])", "<rate>(no_such_metric[5m])", "<rate>(app_level[5m])", "<instant_rate>(demo_cpu_usage_seconds_total[<span>])", "<instant_rate>(app_jobs_total[<span>])", "<instant_rate>(app_flapping[5m])",
    "resets(app_jobs_total[<span>])", "resets(app_level[<span>])", "changes(demo_batch_last_success_timestamp_seconds[<span>])", "changes(app_temperature_celsius[<span>])",
    "deriv(demo_disk_usage_bytes[<span>])", "deriv(app_jobs_total[5m])", "predict_linear(demo_disk_usage_bytes[<span>], 600)", "predict_linear(demo_disk_usage_bytes[<span>], -60)", "predict_linear(demo_disk_usage_bytes[5m] @ <at>, 60)", "holt_winters(demo_disk_usage_bytes[5m], 0.5, 0.25)",
    "sum by (mode) (rate(demo_cpu_usage_seconds_total[1m]))", "sum(rate(app_jobs_total[2m])) by (queue)", "avg without (pod) (increase(app_jobs_total[10m] offset <offset>))",
    // Subqueries.
    "max_over_time((time() - max(demo_batch_last_success_timestamp_seconds) < 150)[5m:10s] offset 5m)", "avg_over_time(rate(demo_cpu_usage_seconds_total[1m])[2m:10s])", "<over_time>_over_time(app_level[5m:20s])",
    "<over_time>_over_time(app_flapping[10m:])", "<rate>(demo_cpu_usage_seconds_total[5m:15s])", "<over_time>_over_time(app_level[5m:30s] offset <offset>)", "sum_over_time(count_over_time(app_level[299s:10s])[10m:30s])",
    "max_over_time(sum(app_level)[3m:10s] @ <at>)", "quantile_over_time(0.5, (app_level > 0)[4m:7s])", "app_level[2m:25s]", "(app_level > bool 2)[1m:9s]", "changes(app_level[5m:1m])",
    "min_over_time(rate(app_jobs_total[1m])[10m:1m] @ end())", "min_over_time(rate(app_jobs_total[1m])[10m:1m] @ start() offset <offset>)", "deriv(sum(demo_disk_usage_bytes)[5m:10s])", "absent_over_time(no_such_metric[5m:])",
];

/// Every query of every template. `at` is what stands for `<at>`, a time for `@`.
pub fn queries(at: &str) -> Vec<String> {
    let at_words = [at];
    let words: Vec<(&str, &[&str])> = WORDS.into_iter().chain([("at", &at_words[..])]).collect();
    TEMPLATES.iter().flat_map(|template| expand((*template).to_owned(), &words)).collect()
}

fn expand(template: String, words: &[(&str, &[&str])]) -> Vec<String> {
    let found = words.iter().find(|(word, _)| template.contains(&format!("<{word}>")));
    let Some((word, variants)) = found else { return vec![template] };
    variants.iter().flat_map(|variant| expand(template.replace(&format!("<{word}>"), variant), words)).collect()
}

#[test]
fn every_variant_of_every_word_is_there_once() {
    let queries = queries("17.1");
    for expected in
        ["max(demo_memory_usage_bytes)", "app_level @ end() offset 10m", "demo_num_cpus @ 17.1", "stdvar_over_time(app_sparse[15m])"]
    {
        assert_eq!(queries.iter().filter(|query| *query == expected).count(), 1, "{expected}");
    }
    assert!(queries.len() > 500 && !queries.iter().any(|query| query.contains("<span>")), "{}", queries.len());
}
