//! `/api/v1/features`: what this server can do, by Prometheus' categories and names, so that clients ask for nothing that is
//! not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use promql::ParserOptions;
use promql::function_signatures::{Function, Maturity};
use promql::operator::{AggregateOp, BinaryOp};
use serde_json::json;

use super::App;
use super::envelope::small;
use crate::config::Features;

type Category = BTreeMap<String, bool>;

/// `GET /api/v1/features`
pub async fn features(State(app): State<Arc<App>>) -> Response {
    let parser = app.queries.parser();
    small(&json!({
        "api": api(&app),
        "prometheus": category(&[("agent_mode", false), ("server_mode", true), ("auto_reload_config", false)]),
        "promql": language(parser, app.settings.features),
        "promql_functions": functions(parser),
        "promql_operators": operators(parser),
        "tsdb": category(&[("exemplar_storage", true), ("native_histograms", true), ("st_storage", false)]),
    }))
}

fn category(entries: &[(&str, bool)]) -> Category {
    entries.iter().map(|(name, is_there)| ((*name).to_string(), *is_there)).collect()
}

fn api(app: &App) -> Category {
    category(&[
        ("admin", app.settings.web.enable_admin_api),
        ("exclude_alerts", true),
        ("label_values_match", true),
        ("lifecycle", app.settings.web.lifecycle),
        ("otlp_write_receiver", true),
        ("query_stats", true),
        ("query_warnings", true),
        ("remote_write_receiver", true),
        ("search", app.settings.features.search),
        ("search_fuzz_alg_jarowinkler", true),
        ("search_fuzz_alg_subsequence", true),
        ("time_range_labels", true),
        ("time_range_series", true),
    ])
}

fn language(parser: ParserOptions, features: Features) -> Category {
    const KEYWORDS: [&str; 10] = ["bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "start", "end", "without"];
    let mut category = category(&[
        ("at_modifier", true),
        ("delayed_name_removal", features.delayed_name_removal),
        ("duration_expr", parser.duration_expressions),
        ("negative_offset", true),
        ("per_query_lookback_delta", true),
        ("per_step_stats", true),
        ("subqueries", true),
        ("type_and_unit_labels", false),
        ("anchored", parser.extended_range_selectors),
        ("smoothed", parser.extended_range_selectors),
        ("fill", parser.fill_modifiers),
        ("fill_left", parser.fill_modifiers),
        ("fill_right", parser.fill_modifiers),
    ]);
    category.extend(KEYWORDS.map(|keyword| (keyword.to_string(), true)));
    category
}

fn functions(parser: ParserOptions) -> Category {
    let is_there = |maturity| maturity == Maturity::Stable || parser.experimental_functions;
    Function::all().map(|function| (function.signature().name.to_string(), is_there(function.signature().maturity))).collect()
}

fn operators(parser: ParserOptions) -> Category {
    let mut operators: Category = BinaryOp::ALL.iter().map(|op| (op.as_str().to_string(), true)).collect();
    operators.extend(AggregateOp::ALL.iter().map(|op| (op.as_str().to_string(), !op.is_experimental() || parser.experimental_functions)));
    operators
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experimental_parts_are_there_when_switched_on() {
        let (plain, all) = (ParserOptions::default(), ParserOptions::experimental());
        assert_eq!((functions(plain)["rate"], functions(plain)["info"], functions(all)["info"]), (true, false, true));
        assert_eq!((operators(plain)["sum"], operators(plain)["limitk"], operators(all)["limitk"]), (true, false, true));
        assert!(operators(plain)[">="] && operators(plain)["unless"]);
        assert!(!language(plain, Features::default())["fill"] && language(all, Features::default())["duration_expr"]);
        assert!(functions(plain).len() > 70);
    }
}
