//! Trees as JSON, in the form of Prometheus's `/api/v1/parse_query`, for editors and query builders.

use serde_json::{Value, json};

use crate::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, DurationExpr, DurationKind, Expr, Extension, GroupingMode, MatchingMode, Notation, Span,
    SubqueryExpr, VectorMatching, VectorSelector,
};
use crate::matcher::Matcher;
use crate::number::plain;

/// The JSON of `expr`.
pub fn ast_json(expr: &Expr) -> Value {
    match expr {
        Expr::Number(number) => json!({"type": "numberLiteral", "val": plain(number.value)}),
        Expr::String(string) => json!({"type": "stringLiteral", "val": string.value}),
        Expr::Unary(unary) => json!({"type": "unaryExpr", "op": unary.op.as_str(), "expr": ast_json(&unary.expr)}),
        Expr::Paren(paren) => json!({"type": "parenExpr", "expr": ast_json(&paren.expr)}),
        Expr::Binary(binary) => binary_json(binary),
        Expr::Aggregate(aggregate) => aggregate_json(aggregate),
        Expr::Call(call) => call_json(call),
        Expr::Subquery(subquery) => subquery_json(subquery),
        Expr::Vector(selector) => selector_json("vectorSelector", selector, None),
        Expr::Matrix(matrix) => selector_json("matrixSelector", &matrix.selector, Some(&matrix.range)),
    }
}

fn binary_json(binary: &BinaryExpr) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": ast_json(&binary.left),
        "rhs": ast_json(&binary.right),
        "matching": binary.matching.as_ref().map(matching_json),
        "bool": binary.return_bool,
    })
}

fn matching_json(matching: &VectorMatching) -> Value {
    json!({
        "card": matching.cardinality.as_str(),
        "labels": matching.labels,
        "on": matching.mode == MatchingMode::On,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill.left, "rhs": matching.fill.right},
    })
}

fn aggregate_json(aggregate: &AggregateExpr) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.as_str(),
        "expr": ast_json(&aggregate.expr),
        "param": aggregate.param.as_ref().map(|param| ast_json(param)),
        "grouping": aggregate.grouping.labels,
        "without": aggregate.grouping.mode == GroupingMode::Without,
    })
}

fn call_json(call: &Call) -> Value {
    let signature = call.function.signature();
    let argument_types: Vec<&str> = signature.argument_types.iter().map(|argument| argument.as_str()).collect();
    json!({
        "type": "call",
        "func": {
            "name": signature.name,
            "argTypes": argument_types,
            "variadic": signature.variadic,
            "returnType": signature.return_type.as_str(),
        },
        "args": call.args.iter().map(ast_json).collect::<Vec<Value>>(),
    })
}

fn subquery_json(subquery: &SubqueryExpr) -> Value {
    let step = subquery.step.as_ref().unwrap_or(&Span::ZERO);
    json!({
        "type": "subquery",
        "expr": ast_json(&subquery.expr),
        "range": millis(&subquery.range),
        "rangeExpr": span_expr(&subquery.range),
        "offset": millis(&subquery.offset),
        "offsetExpr": span_expr(&subquery.offset),
        "step": millis(step),
        "stepExpr": span_expr(step),
        "timestamp": timestamp(subquery.at),
        "startOrEnd": start_or_end(subquery.at),
    })
}

fn selector_json(node_type: &str, selector: &VectorSelector, range: Option<&Span>) -> Value {
    let mut node = json!({
        "type": node_type,
        "name": selector.name,
        "offset": millis(&selector.offset),
        "offsetExpr": span_expr(&selector.offset),
        "matchers": selector.matchers.iter().map(matcher_json).collect::<Vec<Value>>(),
        "timestamp": timestamp(selector.at),
        "startOrEnd": start_or_end(selector.at),
        "anchored": selector.extension == Extension::Anchored,
        "smoothed": selector.extension == Extension::Smoothed,
    });
    if let Some(range) = range {
        node["range"] = json!(millis(range));
        node["rangeExpr"] = span_expr(range);
    }
    node
}

fn matcher_json(matcher: &Matcher) -> Value {
    json!({"name": matcher.name, "value": matcher.value, "type": matcher.op.as_str()})
}

/// Zero for a length that is calculated.
fn millis(span: &Span) -> i64 {
    span.millis().unwrap_or(0)
}

fn span_expr(span: &Span) -> Value {
    match span {
        Span::Millis(_) => Value::Null,
        Span::Expr(expr) => duration_json(expr),
    }
}

fn duration_json(expr: &DurationExpr) -> Value {
    let (op, left, right) = match &expr.kind {
        DurationKind::Literal(number) => {
            let duration = number.notation == Notation::Duration;
            return json!({"type": "numberLiteral", "val": plain(number.value), "duration": duration});
        }
        DurationKind::Step => ("step", None, None),
        DurationKind::Range => ("range", None, None),
        DurationKind::MaxOf(left, right) => ("max_of", Some(left), Some(right)),
        DurationKind::MinOf(left, right) => ("min_of", Some(left), Some(right)),
        DurationKind::Plus(operand) => ("+", None, Some(operand)),
        DurationKind::Minus(operand) => ("-", None, Some(operand)),
        DurationKind::Binary(op, left, right) => (op.as_str(), Some(left), Some(right)),
    };
    json!({
        "type": "durationExpr",
        "op": op,
        "lhs": left.map(|left| duration_json(left)),
        "rhs": right.map(|right| duration_json(right)),
        "wrapped": expr.wrapped,
    })
}

fn timestamp(at: Option<AtModifier>) -> Option<i64> {
    match at {
        Some(AtModifier::Timestamp(millis)) => Some(millis),
        _ => None,
    }
}

fn start_or_end(at: Option<AtModifier>) -> Option<&'static str> {
    match at {
        Some(AtModifier::Start) => Some("start"),
        Some(AtModifier::End) => Some("end"),
        _ => None,
    }
}
