//! `/api/v1/openapi.yaml`: what is answered below `/api/v1`, for programs. The description is written by hand; the tests below hold it
//! against the table of routes, and `tests/openapi.rs` against real answers.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::params::Params;
use crate::version;

const PATHS: &str = include_str!("openapi/paths.yaml");
/// Paths that only OpenAPI 3.2 has words for: streams.
const STREAM_PATHS: &str = include_str!("openapi/live.yaml");
const COMPONENTS: &str = include_str!("openapi/components.yaml");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    V3_1,
    V3_2,
}

/// `GET /api/v1/openapi.yaml?openapi_version=`: 3.1, which more tools read, unless 3.2 is asked for.
pub async fn openapi(params: Params) -> Response {
    let edition = match params.get("openapi_version") {
        Some("3.2" | "3.2.0") => Edition::V3_2,
        _ => Edition::V3_1,
    };
    let head = [(header::CONTENT_TYPE, "application/yaml; charset=utf-8"), (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate")];
    (StatusCode::OK, head, description(edition)).into_response()
}

fn description(edition: Edition) -> String {
    let paths = PATHS.replacen("version: 0.0.0", &format!("version: {}", version::TERN), 1);
    match edition {
        Edition::V3_1 => format!("{paths}{COMPONENTS}"),
        Edition::V3_2 => format!("{}{STREAM_PATHS}{COMPONENTS}", paths.replacen("openapi: 3.1.0", "openapi: 3.2.0", 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const PREFIX: &str = "/api/v1";

    fn read(edition: Edition) -> Value {
        serde_yaml_ng::from_str(&description(edition)).expect("YAML")
    }

    /// `get /labels` and so on.
    fn described(edition: Edition) -> BTreeSet<String> {
        let document = read(edition);
        let paths = document["paths"].as_object().expect("paths").iter();
        let operations = paths.flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| format!("{method} {path}"))
        });
        operations.collect()
    }

    /// The same out of the source of the table, for a router does not tell what it has.
    fn routed() -> BTreeSet<String> {
        let table = include_str!("routes.rs");
        let mut operations = BTreeSet::new();
        for route in table.split(".route(").skip(1) {
            let (_, route) = route.split_once('"').expect("a path");
            let (path, handlers) = route.split_once('"').expect("a path");
            let Some(path) = path.strip_prefix(PREFIX) else { continue };
            let path = path.replace("{*", "{");
            for method in ["get", "post", "put", "delete"] {
                if [" ", "."].iter().any(|before| handlers.contains(&format!("{before}{method}("))) {
                    operations.insert(format!("{method} {path}"));
                }
            }
        }
        assert!(operations.len() > 50, "the table is not written as this test reads it: {operations:?}");
        operations
    }

    #[test]
    fn what_is_described_is_routed_and_the_other_way_round() {
        let (described, routed) = (described(Edition::V3_2), routed());
        let missing: Vec<_> = routed.difference(&described).collect();
        let invented: Vec<_> = described.difference(&routed).collect();
        assert!(missing.is_empty() && invented.is_empty(), "not described: {missing:?}; not routed: {invented:?}");
    }

    #[test]
    fn the_older_edition_lacks_only_the_stream() {
        let lacking: Vec<String> = described(Edition::V3_2).difference(&described(Edition::V3_1)).cloned().collect();
        assert_eq!(lacking, ["get /notifications/live"]);
        for (edition, version) in [(Edition::V3_1, "3.1.0"), (Edition::V3_2, "3.2.0")] {
            let document = read(edition);
            assert_eq!((&document["openapi"], &document["info"]["version"]), (&version.into(), &version::TERN.into()));
        }
    }

    /// Everything that is referred to is there, and nothing is there for nobody.
    #[test]
    fn references_lead_somewhere() {
        let document = read(Edition::V3_2);
        let mut referred = BTreeSet::new();
        collect_references(&document, &mut referred);
        let components = document["components"].as_object().expect("components").iter();
        let there: BTreeSet<String> = components
            .flat_map(|(kind, named)| named.as_object().expect("names").keys().map(move |name| format!("#/components/{kind}/{name}")))
            .collect();
        assert_eq!(referred, there);
    }

    #[test]
    fn names_of_operations_are_given_once() {
        let document = read(Edition::V3_2);
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for operation in item.as_object().expect("methods").values() {
                let name = operation["operationId"].as_str().expect(path);
                assert!(names.insert(name.to_string()), "{name} twice");
                let in_path = operation["parameters"].as_array().into_iter().flatten().filter(|parameter| is_in_path(&document, parameter));
                assert_eq!(in_path.count(), path.matches('{').count(), "parameters in {path}");
            }
        }
    }

    fn is_in_path(document: &Value, parameter: &Value) -> bool {
        let pointer = parameter["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        let parameter = pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(parameter);
        parameter["in"] == "path"
    }

    fn collect_references(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_string));
                fields.values().for_each(|value| collect_references(value, into));
            }
            Value::Array(items) => items.iter().for_each(|value| collect_references(value, into)),
            _ => {}
        }
    }
}
