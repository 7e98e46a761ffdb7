//! Trees as text over several lines, in the layout of `promtool promql format` and `/api/v1/format_query`.
//!
//! A node that fits in [`LINE_BYTES_MAX`] stays on one line; a longer one puts its parts on lines of their own, two
//! spaces further in. Every level measures its nodes anew, which the bounds of the parser keep cheap.

use crate::ast::{AggregateExpr, BinaryExpr, Call, Expr, ParenExpr, UnaryExpr};
use crate::printer::{Aggregation, Operator, SubquerySuffix};

/// A node whose one-line form is longer than this is split.
pub const LINE_BYTES_MAX: usize = 100;

/// The layout of `expr`; it reads back as `expr`.
pub fn pretty(expr: &Expr) -> String {
    pretty_within(expr, LINE_BYTES_MAX)
}

/// The layout for lines of another length. It is a wish: what cannot be split is longer.
pub fn pretty_within(expr: &Expr, line_bytes_max: usize) -> String {
    Layout { line_bytes_max }.of(expr, 0)
}

struct Layout {
    line_bytes_max: usize,
}

impl Layout {
    /// The layout at a depth, the indentation of the first line included.
    fn of(&self, expr: &Expr, level: usize) -> String {
        let line = expr.to_string();
        if line.len() <= self.line_bytes_max {
            return match expr {
                // Prometheus forgets the indentation here, and formatted files depend on it.
                Expr::Subquery(_) => line,
                Expr::Unary(unary) => self.signed(unary, level),
                _ => indent(level) + &line,
            };
        }
        match expr {
            Expr::Aggregate(aggregate) => self.aggregation(aggregate, level),
            Expr::Binary(binary) => self.operation(binary, level),
            Expr::Call(call) => self.function_call(call, level),
            Expr::Paren(paren) => self.parenthesised(paren, level),
            Expr::Subquery(subquery) => self.of(&subquery.expr, level) + &SubquerySuffix(subquery).to_string(),
            Expr::Unary(unary) => self.signed(unary, level),
            Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => indent(level) + &line,
        }
    }

    fn aggregation(&self, aggregate: &AggregateExpr, level: usize) -> String {
        let head = Aggregation(aggregate);
        let param = aggregate.param.as_ref().map_or(String::new(), |param| self.of(param, level + 1) + ",\n");
        let (indent, expr) = (indent(level), self.of(&aggregate.expr, level + 1));
        format!("{indent}{head}(\n{param}{expr}\n{indent})")
    }

    fn operation(&self, binary: &BinaryExpr, level: usize) -> String {
        let (left, right) = (self.of(&binary.left, level + 1), self.of(&binary.right, level + 1));
        format!("{left}\n{}{}\n{right}", indent(level), Operator(binary))
    }

    fn function_call(&self, call: &Call, level: usize) -> String {
        let arguments: Vec<String> = call.args.iter().map(|argument| self.of(argument, level + 1)).collect();
        let indent = indent(level);
        format!("{indent}{}(\n{}\n{indent})", call.function, arguments.join(",\n"))
    }

    fn parenthesised(&self, paren: &ParenExpr, level: usize) -> String {
        let indent = indent(level);
        format!("{indent}(\n{}\n{indent})", self.of(&paren.expr, level + 1))
    }

    /// The sign comes between the indentation and the text of its operand.
    fn signed(&self, unary: &UnaryExpr, level: usize) -> String {
        format!("{}{}{}", indent(level), unary.op, self.of(&unary.expr, level).trim())
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ParserOptions, parse};

    /// Lines this short split nearly everything.
    fn narrow(query: &str) -> String {
        let expr = parse(query, ParserOptions::experimental()).unwrap_or_else(|error| panic!("{query}: {error}"));
        pretty_within(&expr, 10)
    }

    #[test]
    fn what_fits_stays_on_its_line() {
        for query in ["sum(x)", "a + b", "(1 + 2)", "-12.5", "a[5m]"] {
            assert_eq!(narrow(query), query);
        }
    }

    #[test]
    fn selectors_and_literals_are_never_split() {
        for query in ["requests_total{job=\"a\"} @ end() offset 5m", "requests_total[5m] @ 1.000", "\"a long literal\"", "-requests_total"]
        {
            assert_eq!(narrow(query), query);
        }
    }

    #[test]
    fn aggregations_and_calls_put_their_arguments_on_lines() {
        assert_eq!(narrow("sum by(dc)(requests)"), "sum by (dc) (\n  requests\n)");
        assert_eq!(narrow("topk without(dc)(3,requests)"), "topk without (dc) (\n  3,\n  requests\n)");
        assert_eq!(narrow("clamp(requests,1,2)"), "clamp(\n  requests,\n  1,\n  2\n)");
        assert_eq!(narrow("((requests))"), "(\n  (requests)\n)");
    }

    #[test]
    fn an_operator_stands_alone_between_its_sides() {
        assert_eq!(narrow("requests + errors_1 * 2"), "  requests\n+\n    errors_1\n  *\n    2");
        assert_eq!(narrow("a_long==bool on(x)group_left(y)b_long"), "  a_long\n== bool on (x) group_left (y)\n  b_long");
        assert_eq!(narrow("-(requests+errors)"), "-(\n    requests\n  +\n    errors\n)");
    }

    #[test]
    fn a_subquery_keeps_its_brackets_behind_its_expression() {
        assert_eq!(
            narrow("max_over_time(rate(requests[5m])[1h:1m] offset 1d)"),
            "max_over_time(\n  rate(\n    requests[5m]\n  )[1h:1m] offset 1d\n)"
        );
        assert_eq!(narrow("min_over_time(abc[1h:])"), "min_over_time(\nabc[1h:]\n)", "a short one loses its indentation, as in Prometheus");
    }

    #[test]
    fn the_usual_width_is_a_hundred_bytes() {
        let query = "sum by (dc) (rate(requests_total{code=~\"5..\"}[5m])) / sum by (dc) (rate(requests_total[5m]))";
        let expr = parse(query, ParserOptions::default()).expect("valid query");
        assert_eq!((query.len(), pretty(&expr).as_str()), (92, query));
        let longer = parse(&format!("{query} > 0.12345"), ParserOptions::default()).expect("valid query");
        assert_eq!(pretty(&longer), format!("  {query}\n>\n  0.12345"));
    }
}
