//! Writing the evaluation time into a query, so that it gives the same at any time.

use crate::ast::{AtModifier, Expr};
use crate::engine::plan::depends_on_evaluation_time;
use crate::parser::{ParserOptions, parse};

/// The query with `@ at_ms` on every selector that has none, and the times at which to run it. Nothing when the query
/// depends on the evaluation time in other ways (or cannot be read).
pub fn reruns(query: &str, at_ms: i64) -> Vec<(String, i64)> {
    let Ok(mut expr) = parse(query, ParserOptions::experimental()) else { return Vec::new() };
    if depends_on_time(&expr) {
        return Vec::new();
    }
    pin(&mut expr, at_ms);
    let query = expr.to_string();
    let times: &[i64] = if at_ms == 0 { &[-1000, 0, 1000] } else { &[-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms] };
    times.iter().map(|time_ms| (query.clone(), *time_ms)).collect()
}

fn depends_on_time(expr: &Expr) -> bool {
    let own = matches!(expr, Expr::Call(call) if depends_on_evaluation_time(call.function));
    let children = match expr {
        // What is inside a subquery with a time of its own does not matter.
        Expr::Subquery(subquery) if subquery.at.is_some() => Vec::new(),
        other => other.children(),
    };
    own || children.into_iter().any(depends_on_time)
}

fn pin(expr: &mut Expr, at_ms: i64) {
    let at = Some(AtModifier::Timestamp(at_ms));
    match expr {
        Expr::Vector(selector) => selector.at = selector.at.or(at),
        Expr::Matrix(matrix) => matrix.selector.at = matrix.selector.at.or(at),
        // A pinned subquery pins everything inside it.
        Expr::Subquery(subquery) => subquery.at = subquery.at.or(at),
        other => other.children_mut().into_iter().for_each(|child| pin(child, at_ms)),
    }
}
