//! As much of OpenAPI's JSON schemas as Prometheus' description and Tern's own use.

use anyhow::Context;
use serde_json::{Map, Value};

/// A description of an API: paths, methods, answers.
pub struct Description {
    root: Value,
}

impl Description {
    pub fn read(yaml: &str) -> anyhow::Result<Description> {
        Ok(Description { root: serde_yaml_ng::from_str(yaml).context("read the description")? })
    }

    /// Every path with every of its methods.
    pub fn operations(&self) -> Vec<(String, String)> {
        let paths = self.root["paths"].as_object().into_iter().flatten();
        let methods = |(path, methods): (&String, &Value)| {
            let names = methods.as_object().map(|methods| methods.keys().cloned().collect::<Vec<_>>());
            names.unwrap_or_default().into_iter().map(|method| (path.clone(), method)).collect::<Vec<_>>()
        };
        paths.flat_map(methods).collect()
    }

    /// The schema of an answer's body: that of the status, else of all others.
    pub fn response(&self, path: &str, method: &str, status: u16) -> anyhow::Result<&Value> {
        let responses = &self.root["paths"][path][method]["responses"];
        let response = self.resolve(responses.get(status.to_string()).unwrap_or(&responses["default"]));
        let schema = response["content"]["application/json"].get("schema");
        schema.with_context(|| format!("no answer {status} of {method} {path} is described"))
    }

    /// Where a value is not as the schema says; empty when it is.
    pub fn findings(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut findings = Vec::new();
        self.check(schema, value, "body", &mut findings);
        findings
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, findings: &mut Vec<String>) {
        let Some(rules) = self.resolve(schema).as_object() else { return };
        if let Some(kind) = rules.get("type").and_then(Value::as_str)
            && !is_of_type(kind, value)
        {
            findings.push(format!("{at} is no {kind}: {value:.100}"));
            return;
        }
        if let Some(allowed) = rules.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            findings.push(format!("{at} is none of {allowed:?}: {value:.100}"));
        }
        if rules.get("format").is_some_and(|format| format == "date-time")
            && value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_err())
        {
            findings.push(format!("{at} is no time: {value}"));
        }
        self.check_object(rules, value, at, findings);
        self.check_list(rules, value, at, findings);
        self.check_alternatives(rules, value, at, findings);
    }

    fn check_object(&self, rules: &Map<String, Value>, value: &Value, at: &str, findings: &mut Vec<String>) {
        let Some(object) = value.as_object() else { return };
        let properties = rules.get("properties").and_then(Value::as_object);
        for required in rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(required) {
                findings.push(format!("{at} lacks {required}"));
            }
        }
        for (name, inner) in object {
            let at = format!("{at}.{name}");
            match (properties.and_then(|properties| properties.get(name)), rules.get("additionalProperties")) {
                (Some(schema), _) => self.check(schema, inner, &at, findings),
                (None, Some(Value::Bool(false))) => findings.push(format!("{at} is not described")),
                (None, Some(schema @ Value::Object(_))) => self.check(schema, inner, &at, findings),
                _ => {}
            }
        }
    }

    fn check_list(&self, rules: &Map<String, Value>, value: &Value, at: &str, findings: &mut Vec<String>) {
        let Some(list) = value.as_array() else { return };
        let bound = |name: &str| rules.get(name).and_then(Value::as_u64).map(|bound| bound as usize);
        if bound("minItems").is_some_and(|least| list.len() < least) || bound("maxItems").is_some_and(|most| list.len() > most) {
            findings.push(format!("{at} has {} items", list.len()));
        }
        let Some(items) = rules.get("items") else { return };
        for (number, item) in list.iter().enumerate() {
            self.check(items, item, &format!("{at}[{number}]"), findings);
        }
    }

    fn check_alternatives(&self, rules: &Map<String, Value>, value: &Value, at: &str, findings: &mut Vec<String>) {
        let fitting = |alternatives: &Vec<Value>| alternatives.iter().filter(|schema| self.findings(schema, value).is_empty()).count();
        if let Some(alternatives) = rules.get("anyOf").and_then(Value::as_array)
            && fitting(alternatives) == 0
        {
            let reasons: Vec<String> = alternatives.iter().flat_map(|schema| self.findings(schema, value).into_iter().take(1)).collect();
            findings.push(format!("{at} is none of the alternatives: {}", reasons.join("; ")));
        }
        if let Some(alternatives) = rules.get("oneOf").and_then(Value::as_array)
            && fitting(alternatives) != 1
        {
            findings.push(format!("{at} is not exactly one of the alternatives: {value:.100}"));
        }
    }

    /// Follows `$ref: '#/components/schemas/Name'`, or that of a response.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.root.pointer(pointer).unwrap_or(&Value::Null),
            None => schema,
        }
    }
}

fn is_of_type(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn findings(schema: Value, value: Value) -> usize {
        let description = Description { root: json!({"components": {"schemas": {"Text": {"type": "string"}}}}) };
        description.findings(&schema, &value).len()
    }

    #[test]
    fn each_rule_can_be_broken() {
        let object = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/components/schemas/Text"}},
        });
        assert_eq!(findings(object.clone(), json!({"a": 1, "b": "x"})), 0);
        for wrong in [json!({}), json!({"a": 1.5}), json!({"a": 1, "b": 2}), json!({"a": 1, "c": 2}), json!([])] {
            assert_eq!(findings(object.clone(), wrong.clone()), 1, "{wrong}");
        }
        let pair = json!({"type": "array", "minItems": 2, "maxItems": 2, "items": {"oneOf": [{"type": "number"}, {"type": "string"}]}});
        assert_eq!(findings(pair.clone(), json!([1, "x"])), 0);
        assert_eq!((findings(pair.clone(), json!([1])), findings(pair, json!([1, null]))), (1, 1));
        let any = json!({"anyOf": [{"type": "object"}, {"type": "array"}]});
        assert_eq!((findings(any.clone(), json!([])), findings(any, json!(1))), (0, 1));
        assert_eq!(findings(json!({"enum": ["a"]}), json!("b")), 1);
        let time = json!({"type": "string", "format": "date-time"});
        assert_eq!((findings(time.clone(), json!("2026-11-26T10:00:00.5Z")), findings(time, json!("noon"))), (0, 1));
        assert_eq!(findings(json!({"type": "object", "additionalProperties": {"type": "string"}}), json!({"a": 1})), 1);
    }
}
