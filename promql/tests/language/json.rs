//! Trees as JSON.

use promql::ast_json;
use serde_json::json;

use crate::read;

#[test]
fn every_kind_of_node_has_its_form() {
    let selector = json!({
        "type": "vectorSelector", "name": "a", "offset": -1000, "offsetExpr": null, "timestamp": 1500, "startOrEnd": null,
        "anchored": false, "smoothed": false,
        "matchers": [{"name": "b", "type": "!~", "value": "c"}, {"name": "__name__", "type": "=", "value": "a"}],
    });
    assert_eq!(ast_json(&read("a{b!~\"c\"} @ 1.5 offset -1s")), selector);
    assert_eq!(
        ast_json(&read("quantile without(x) (0.5, -(a == bool 1))")),
        json!({
            "type": "aggregation", "op": "quantile", "grouping": ["x"], "without": true,
            "param": {"type": "numberLiteral", "val": "0.5"},
            "expr": {"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": {
                "type": "binaryExpr", "op": "==", "bool": true, "matching": null,
                "lhs": ast_json(&read("a")), "rhs": {"type": "numberLiteral", "val": "1"},
            }}},
        })
    );
    assert_eq!(
        ast_json(&read("a * on(x) group_left(y) fill_left(2) b"))["matching"],
        json!({"card": "many-to-one", "labels": ["x"], "on": true, "include": ["y"], "fillValues": {"lhs": 2.0, "rhs": null}})
    );
    assert_eq!(
        ast_json(&read("round(a, 5)"))["func"],
        json!({"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"})
    );
    assert_eq!(ast_json(&read("'x'")), json!({"type": "stringLiteral", "val": "x"}));
}

#[test]
fn ranges_and_calculated_durations() {
    let matrix = ast_json(&read("a[5m] smoothed @ end()"));
    assert_eq!((&matrix["type"], &matrix["range"], &matrix["rangeExpr"]), (&json!("matrixSelector"), &json!(300_000), &json!(null)));
    assert_eq!((&matrix["startOrEnd"], &matrix["smoothed"], &matrix["timestamp"]), (&json!("end"), &json!(true), &json!(null)));
    let subquery = ast_json(&read("a[step() + (1m):30s] offset -range()"));
    assert_eq!((&subquery["range"], &subquery["step"], &subquery["offset"]), (&json!(0), &json!(30_000), &json!(0)));
    let call = |name: &str| json!({"type": "durationExpr", "op": name, "lhs": null, "rhs": null, "wrapped": false});
    let minute = json!({"type": "numberLiteral", "val": "60", "duration": true});
    assert_eq!(
        subquery["rangeExpr"],
        json!({
            "type": "durationExpr", "op": "+", "wrapped": false, "lhs": call("step"),
            "rhs": {"type": "durationExpr", "op": "+", "wrapped": true, "lhs": null, "rhs": minute},
        })
    );
    assert_eq!(subquery["offsetExpr"], json!({"type": "durationExpr", "op": "-", "wrapped": false, "lhs": null, "rhs": call("range")}));
}
