//! Whole requests, in JSON as people write them, and what they are translated to. Every one is also checked in the protobuf that
//! prost makes of the same messages, so that neither the table of the JSON form nor the walk can be wrong alone.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use storage::histogram::is_marker;

use super::json::to_protobuf;
use super::translate::decode;
use crate::config::{Layers, Manual, OtlpSettings, PromotedAttributes, Settings, TranslationStrategy};
use crate::ingest::columns::Columns;

const LOOKBACK: Duration = Duration::from_secs(300);
const SECOND: u64 = 1_000_000_000;

fn settings() -> OtlpSettings {
    Settings::read(&Layers::defaults(Manual::read())).expect("defaults").otlp
}

/// Every sample as a line: labels, value, time in milliseconds; then refusals.
fn shown(columns: &Columns) -> Vec<String> {
    let mut lines = Vec::new();
    for series in 0..columns.series_count() {
        let mut labels = Vec::new();
        if let Err(problem) = columns.labels(&[], series, &mut labels) {
            lines.push(problem.to_string());
            continue;
        }
        let name = labels.iter().find(|label| label.0 == "__name__").map_or("", |label| label.1);
        let others = labels.iter().filter(|label| label.0 != "__name__" && !label.1.is_empty());
        let others: Vec<String> = others.map(|(name, value)| format!("{name}={value}")).collect();
        for at in columns.samples(series) {
            let value = columns.values[at];
            let value = match value.to_bits() {
                super::native::STALE_NAN => "stale".to_string(),
                bits if is_marker(bits) => "histogram".to_string(),
                _ => value.to_string(),
            };
            lines.push(format!("{name}{{{}}} {value} @{}", others.join(","), columns.timestamps[at]));
        }
    }
    lines.extend(columns.refused.iter().map(|refused| format!("refused {}: {}", refused.samples, refused.reason)));
    lines
}

fn translated(settings: &OtlpSettings, request: &Value) -> Columns {
    let mut columns = Columns::new();
    let wire = to_protobuf(request.to_string().as_bytes()).expect("JSON of OTLP");
    decode(&wire, settings, LOOKBACK, &mut columns).expect("OTLP");
    columns
}

fn lines(settings: &OtlpSettings, request: &Value) -> Vec<String> {
    shown(&translated(settings, request))
}

/// Attributes from an object of texts.
fn attributes(pairs: &Value) -> Value {
    let pairs = pairs.as_object().expect("object");
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

fn request(resource: &Value, metrics: &Value) -> Value {
    let scope = json!({"name": "lib", "version": "1", "attributes": attributes(&json!({"a.b": "c"}))});
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{"scope": scope, "schemaUrl": "http://schema", "metrics": metrics}],
    }]})
}

fn gauge(name: &str, points: &Value) -> Value {
    json!({"name": name, "gauge": {"dataPoints": points}})
}

fn at(seconds: u64) -> String {
    (seconds * SECOND).to_string()
}

#[test]
fn numbers_of_gauges_and_sums() {
    let metrics = json!([
        {"name": "queue.size", "unit": "{items}", "gauge": {"dataPoints": [
            {"timeUnixNano": at(1), "asInt": "-3", "attributes": attributes(&json!({"queue.name": "a"}))},
            {"timeUnixNano": "2000999999", "asDouble": 0.5},
            {"timeUnixNano": at(3)},
            {"timeUnixNano": at(4), "asDouble": 7, "flags": 1},
        ]}},
        {"name": "http.requests", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
            {"timeUnixNano": at(1), "asInt": 5},
        ]}},
        {"name": "open", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [
            {"timeUnixNano": at(1), "asInt": 6},
        ]}},
    ]);
    let expected = [
        "queue_size{queue_name=a} -3 @1000",
        "queue_size{} 0.5 @2000",
        "queue_size{} 0 @3000",
        "queue_size{} stale @4000",
        "http_requests_total{} 5 @1000",
        "open{} 6 @1000",
    ];
    assert_eq!(lines(&settings(), &request(&json!({}), &metrics)), expected);
}

#[test]
fn explicit_histograms_are_cumulative_buckets() {
    let point = json!({"timeUnixNano": at(1), "count": "10", "sum": 4.5, "bucketCounts": ["1", "2", "7"], "explicitBounds": [0.1, 1e-7],
        "attributes": attributes(&json!({"le": "own", "x": "y"}))});
    let without_sum = json!({"timeUnixNano": at(2), "count": 3, "flags": 1});
    let histogram = json!({"aggregationTemporality": 2, "dataPoints": [point, without_sum]});
    let metrics = json!([{"name": "latency", "unit": "s", "histogram": histogram}]);
    let expected = [
        "latency_seconds_sum{le=own,x=y} 4.5 @1000",
        "latency_seconds_count{le=own,x=y} 10 @1000",
        "latency_seconds_bucket{le=0.1,x=y} 1 @1000",
        "latency_seconds_bucket{le=0.0000001,x=y} 3 @1000",
        "latency_seconds_bucket{le=+Inf,x=y} 10 @1000",
        "latency_seconds_count{} stale @2000",
        "latency_seconds_bucket{le=+Inf} stale @2000",
    ];
    assert_eq!(lines(&settings(), &request(&json!({}), &metrics)), expected);
    let native = OtlpSettings { convert_histograms_to_nhcb: true, ..settings() };
    let order = "histogram custom bounds must be in strictly increasing order";
    let refused = format!("refused 1: custom buckets: previous bound is 0.1 and current is 0.0000001: {order}");
    let expected = ["latency_seconds{} histogram @2000", &refused];
    assert_eq!(lines(&native, &request(&json!({}), &metrics)), expected);
}

#[test]
fn exponential_histograms_and_summaries() {
    let metrics = json!([
        {"name": "size", "unit": "By", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": at(1), "count": 6, "sum": 3, "scale": 10, "zeroCount": 1,
             "positive": {"offset": -1, "bucketCounts": ["1", "2"]}, "negative": {"bucketCounts": [2]}},
            {"timeUnixNano": at(2), "scale": -5},
        ]}},
        {"name": "rpc", "unit": "ms", "summary": {"dataPoints": [
            {"timeUnixNano": at(1), "count": 2, "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1}, {"quantile": 1, "value": 2.5}]},
        ]}},
    ]);
    let expected = [
        "size_bytes{} histogram @1000",
        "rpc_milliseconds_sum{} 3 @1000",
        "rpc_milliseconds_count{} 2 @1000",
        "rpc_milliseconds{quantile=0.5} 1 @1000",
        "rpc_milliseconds{quantile=1} 2.5 @1000",
        "refused 1: cannot convert exponential to native histogram. Scale must be >= -4, was -5",
    ];
    assert_eq!(lines(&settings(), &request(&json!({}), &metrics)), expected);
}

#[test]
fn a_resource_is_job_instance_and_target_info() {
    let resource = json!({"service.name": "shop", "service.namespace": "eu", "service.instance.id": "i-1", "host.name": "h"});
    let metrics = json!([gauge("up", &json!([{"timeUnixNano": at(1000), "asInt": 1}, {"timeUnixNano": at(1200), "asInt": 1}]))]);
    let expected = [
        "up{instance=i-1,job=eu/shop} 1 @1000000",
        "up{instance=i-1,job=eu/shop} 1 @1200000",
        "target_info{host_name=h,instance=i-1,job=eu/shop} 1 @1000000",
        "target_info{host_name=h,instance=i-1,job=eu/shop} 1 @1150000",
        "target_info{host_name=h,instance=i-1,job=eu/shop} 1 @1200000",
    ];
    assert_eq!(lines(&settings(), &request(&resource, &metrics)), expected);
    let keep = OtlpSettings { keep_identifying_resource_attributes: true, ..settings() };
    let got = lines(&keep, &request(&resource, &metrics));
    let identity = "service_instance_id=i-1,service_name=shop,service_namespace=eu";
    assert_eq!(got[2], format!("target_info{{host_name=h,instance=i-1,job=eu/shop,{identity}}} 1 @1000000"));
    // Nothing beside the identity, no identity, or no points: no target_info.
    for (resource, metrics) in [
        (json!({"service.name": "shop", "service.instance.id": "i-1"}), metrics.clone()),
        (json!({"host.name": "h"}), metrics.clone()),
        (resource, json!([gauge("up", &json!([]))])),
    ] {
        assert!(!lines(&settings(), &request(&resource, &metrics)).iter().any(|line| line.starts_with("target_info")), "{resource}");
    }
}

#[test]
fn what_is_promoted_does_not_replace_what_a_point_has() {
    let resource = json!({"service.name": "shop", "host.name": "h", "k8s.pod": "p"});
    let point = json!([{"timeUnixNano": at(1), "asInt": 1, "attributes": attributes(&json!({"host.name": "own", "job": "mine"}))}]);
    let request = request(&resource, &json!([gauge("m", &point)]));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<BTreeSet<_>>();
    let first = |promoted| lines(&OtlpSettings { promoted, ..settings() }, &request)[0].clone();
    assert_eq!(first(PromotedAttributes::Only(names(&["host.name", "k8s.pod", "absent"]))), "m{host_name=own,job=shop,k8s_pod=p} 1 @1000");
    let all = PromotedAttributes::AllExcept(names(&["k8s.pod"]));
    assert_eq!(first(all), "m{host_name=own,job=shop,service_name=shop} 1 @1000");
}

#[test]
fn a_scope_becomes_labels_when_it_shall() {
    let settings = OtlpSettings { promote_scope_metadata: true, ..settings() };
    let metrics = json!([gauge("m", &json!([{"timeUnixNano": at(1), "asInt": 1}]))]);
    let resource = json!({"service.name": "s", "x": "y"});
    let scope = "otel_scope_a_b=c,otel_scope_name=lib,otel_scope_schema_url=http://schema,otel_scope_version=1";
    let expected = [format!("m{{job=s,{scope}}} 1 @1000"), "target_info{job=s,x=y} 1 @1000".to_string()];
    assert_eq!(lines(&settings, &request(&resource, &metrics)), expected);
    let nameless = json!({"resourceMetrics": [{"scopeMetrics": [{"scope": {"version": "1"}, "metrics": metrics}]}]});
    assert_eq!(lines(&settings, &nameless), ["m{} 1 @1000"]);
}

#[test]
fn names_follow_the_strategy() {
    let labels = attributes(&json!({"a.b": "1", "a_b": "2", "_c": "3", "__name__": "4", "5d": "5"}));
    let point = json!([{"timeUnixNano": at(1), "asInt": 1, "attributes": labels}]);
    let request = request(&json!({}), &json!([{"name": "my.metric", "unit": "s", "gauge": {"dataPoints": point}}]));
    for (strategy, expected) in [
        (TranslationStrategy::UnderscoreEscapingWithSuffixes, "my_metric_seconds{a_b=1;2,key_5d=5,key_c=3} 1 @1000"),
        (TranslationStrategy::UnderscoreEscapingWithoutSuffixes, "my_metric{a_b=1;2,key_5d=5,key_c=3} 1 @1000"),
        (TranslationStrategy::NoUtf8EscapingWithSuffixes, "my.metric_seconds{5d=5,_c=3,a.b=1,a_b=2} 1 @1000"),
        (TranslationStrategy::NoTranslation, "my.metric{5d=5,_c=3,a.b=1,a_b=2} 1 @1000"),
    ] {
        assert_eq!(lines(&OtlpSettings { strategy, ..settings() }, &request), [expected]);
    }
}

#[test]
fn what_cannot_be_translated_is_left_out_and_the_rest_stands() {
    let point = json!({"timeUnixNano": at(1), "asInt": 1});
    let metrics = json!([
        {"name": "delta", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point, point]}},
        {"name": "unspecified", "histogram": {"dataPoints": [{"timeUnixNano": at(1)}]}},
        {"name": "empty"},
        {"name": "@@", "gauge": {"dataPoints": [point]}},
        {"name": "labels", "gauge": {"dataPoints": [
            {"timeUnixNano": at(1), "attributes": [{"key": ""}]},
            {"timeUnixNano": at(1), "attributes": attributes(&(0..257).map(|at| (at.to_string(), json!(""))).collect::<serde_json::Map<_, _>>().into())},
            point,
        ]}},
    ]);
    let request = request(&json!({}), &metrics);
    let expected = [
        "labels{} 1 @1000",
        "refused 2: invalid temporality and type combination for metric \"delta\"",
        "refused 1: invalid temporality and type combination for metric \"unspecified\"",
        "refused 0: could not get aggregation temporality for empty as it has unsupported metric type Empty",
        "refused 1: normalization for metric \"@@\" resulted in empty name",
        "refused 1: label name is empty",
        "refused 1: more than 256 labels",
    ];
    assert_eq!(lines(&settings(), &request), expected);
    let accepting = OtlpSettings { accept_delta: true, ..settings() };
    assert_eq!(lines(&accepting, &request)[..2], ["delta_total{} 1 @1000", "delta_total{} 1 @1000"]);
}

#[test]
fn a_resource_that_cannot_be_labelled_takes_its_points_with_it() {
    let many: serde_json::Map<String, Value> = (0..257).map(|at| (at.to_string(), json!("x"))).collect();
    let point = json!([{"timeUnixNano": at(1), "asInt": 1}]);
    let bad = request(&many.into(), &json!([gauge("a", &point), gauge("b", &point)]));
    let good = request(&json!({}), &json!([gauge("c", &point)]));
    let both = json!({"resourceMetrics": [bad["resourceMetrics"][0], good["resourceMetrics"][0]]});
    let expected = ["c{} 1 @1000", "refused 1: more than 256 labels", "refused 1: more than 256 labels"];
    assert_eq!(lines(&settings(), &both), expected);
}

#[test]
fn exemplars_go_to_the_series_that_counts_them() {
    let exemplar = |value: f64, trace: &str| {
        json!({"timeUnixNano": at(9), "asDouble": value, "traceId": trace, "spanId": "0000000000000000",
            "filteredAttributes": attributes(&json!({"user": "u"}))})
    };
    let exemplars = json!([exemplar(0.05, "01"), exemplar(0.5, "02"), exemplar(7.0, "03"), {"timeUnixNano": at(9)}]);
    let point = json!({"timeUnixNano": at(1), "count": 3, "bucketCounts": [1, 1, 1], "explicitBounds": [0.1, 1], "exemplars": exemplars});
    let long = json!({"asInt": 4, "filteredAttributes": attributes(&json!({"user": "u".repeat(200)}))});
    let metrics = json!([
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}},
        {"name": "c", "sum": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": at(1), "asInt": 1, "exemplars": [long]}]}},
        {"name": "g", "gauge": {"dataPoints": [{"timeUnixNano": at(1), "asInt": 1, "exemplars": [exemplar(1.0, "04")]}]}},
    ]);
    let columns = translated(&settings(), &request(&json!({}), &metrics));
    let got: Vec<String> = columns
        .exemplars
        .iter()
        .map(|(series, exemplar)| {
            let mut labels = Vec::new();
            columns.labels(&[], *series as usize, &mut labels).expect("labels");
            let own: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let labels: Vec<_> = exemplar.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} | {} {} @{}", own.join(","), labels.join(","), exemplar.value, exemplar.timestamp_ms)
        })
        .collect();
    let expected = [
        "__name__=h_bucket,le=0.1 | trace_id=01,user=u 0.05 @9000",
        "__name__=h_bucket,le=1 | trace_id=02,user=u 0.5 @9000",
        "__name__=h_bucket,le=+Inf | trace_id=03,user=u 7 @9000",
        "__name__=c |  4 @1000",
    ];
    assert_eq!(got, expected);
}

#[test]
fn metadata_say_type_help_and_unit() {
    let point = json!({"timeUnixNano": at(1), "asInt": 1});
    let sum =
        |temporality: u32, monotonic: bool| json!({"aggregationTemporality": temporality, "isMonotonic": monotonic, "dataPoints": [point]});
    let metrics = json!([
        {"name": "a", "unit": "By/s", "description": "Help.", "sum": sum(2, true)},
        {"name": "b", "sum": sum(2, false)},
        {"name": "c", "sum": sum(1, true)},
        {"name": "d", "summary": {"dataPoints": [{"timeUnixNano": at(1)}]}},
        {"name": "e", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": at(1)}]}},
        {"name": "none", "gauge": {}},
    ]);
    let accepting = OtlpSettings { accept_delta: true, ..settings() };
    let columns = translated(&accepting, &request(&json!({"service.name": "s", "x": "y"}), &metrics));
    let got: Vec<String> = columns
        .metadata
        .iter()
        .map(|metadata| format!("{} {} {:?} {:?}", metadata.metric, metadata.metric_type.as_str(), metadata.help, metadata.unit))
        .collect();
    let expected = [
        "a_bytes_per_second_total counter \"Help.\" \"bytes_per_second\"",
        "b gauge \"\" \"\"",
        "c_total unknown \"\" \"\"",
        "d summary \"\" \"\"",
        "e histogram \"\" \"\"",
        "target_info gauge \"Target metadata\" \"\"",
    ];
    assert_eq!(got, expected);
}

/// Two points of one resource, the first in 1970: the time between them would be eleven million samples.
#[test]
fn target_info_is_bounded() {
    let resource = json!({"service.name": "s", "x": "y"});
    let points = json!([{"timeUnixNano": at(0), "asInt": 1}, {"timeUnixNano": at(1_700_000_000), "asInt": 1}]);
    let columns = translated(&settings(), &request(&resource, &json!([gauge("m", &points)])));
    assert_eq!(columns.sample_count(), 2 + (1 << 16) + 1);
}

/// Few bytes of points, each with all labels of their resource.
#[test]
fn what_is_spelled_out_is_bounded() {
    let resource: serde_json::Map<String, Value> = (0..200).map(|at| (format!("key{at}"), json!("v".repeat(200)))).collect();
    let points: Value = (0..20_000).map(|_| json!({"asInt": 1})).collect();
    let all = OtlpSettings { promoted: PromotedAttributes::AllExcept(BTreeSet::new()), ..settings() };
    let wire = to_protobuf(request(&resource.into(), &json!([gauge("m", &points)])).to_string().as_bytes()).expect("JSON");
    let mut columns = Columns::new();
    let error = decode(&wire, &all, LOOKBACK, &mut columns).unwrap_err();
    assert!(error.to_string().contains("spelled out"), "{error}");
    assert!(columns.capacity_bytes() < 128 << 20, "{} bytes", columns.capacity_bytes());
}

/// The same messages as prost knows them: an encoder written by others.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(message, repeated, tag = "1")]
        pub resources: Vec<ResourceMetrics>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ResourceMetrics {
        #[prost(message, repeated, tag = "2")]
        pub scopes: Vec<ScopeMetrics>,
        #[prost(message, optional, tag = "1")]
        pub resource: Option<Resource>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(message, optional, tag = "2")]
        pub value: Option<AnyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct AnyValue {
        #[prost(string, optional, tag = "1")]
        pub text: Option<String>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ScopeMetrics {
        #[prost(message, repeated, tag = "2")]
        pub metrics: Vec<Metric>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Metric {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "5")]
        pub gauge: Option<Gauge>,
        #[prost(message, optional, tag = "9")]
        pub histogram: Option<Histogram>,
        #[prost(message, optional, tag = "10")]
        pub exponential: Option<Exponential>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Gauge {
        #[prost(message, repeated, tag = "1")]
        pub points: Vec<NumberPoint>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NumberPoint {
        #[prost(fixed64, tag = "3")]
        pub time: u64,
        #[prost(double, optional, tag = "4")]
        pub double: Option<f64>,
        #[prost(sfixed64, optional, tag = "6")]
        pub int: Option<i64>,
        #[prost(message, repeated, tag = "7")]
        pub attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Histogram {
        #[prost(message, repeated, tag = "1")]
        pub points: Vec<HistogramPoint>,
        #[prost(int32, tag = "2")]
        pub temporality: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct HistogramPoint {
        #[prost(fixed64, tag = "3")]
        pub time: u64,
        #[prost(fixed64, tag = "4")]
        pub count: u64,
        #[prost(double, optional, tag = "5")]
        pub sum: Option<f64>,
        #[prost(fixed64, repeated, tag = "6")]
        pub counts: Vec<u64>,
        #[prost(double, repeated, tag = "7")]
        pub bounds: Vec<f64>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Exponential {
        #[prost(message, repeated, tag = "1")]
        pub points: Vec<ExponentialPoint>,
        #[prost(int32, tag = "2")]
        pub temporality: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ExponentialPoint {
        #[prost(fixed64, tag = "3")]
        pub time: u64,
        #[prost(fixed64, tag = "4")]
        pub count: u64,
        #[prost(sint32, tag = "6")]
        pub scale: i32,
        #[prost(message, optional, tag = "8")]
        pub positive: Option<Buckets>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Buckets {
        #[prost(sint32, tag = "1")]
        pub offset: i32,
        #[prost(uint64, repeated, tag = "2")]
        pub counts: Vec<u64>,
    }
}

fn pair(key: &str, text: &str) -> wire::KeyValue {
    wire::KeyValue { key: key.to_string(), value: Some(wire::AnyValue { text: Some(text.to_string()) }) }
}

fn example() -> wire::Request {
    let number = |time: u64, double, int| wire::NumberPoint { time: time * SECOND, double, int, attributes: vec![pair("k", "v")] };
    let gauge = wire::Gauge { points: vec![number(1, Some(0.5), None), number(2, None, Some(-7))] };
    let classic = wire::HistogramPoint { time: SECOND, count: 3, sum: Some(2.0), counts: vec![1, 2], bounds: vec![5.0] };
    let exponential =
        wire::ExponentialPoint { time: SECOND, count: 301, scale: -2, positive: Some(wire::Buckets { offset: -3, counts: vec![1, 300] }) };
    let metric = |name: &str| wire::Metric { name: name.to_string(), ..wire::Metric::default() };
    let metrics = vec![
        wire::Metric { gauge: Some(gauge), ..metric("g") },
        wire::Metric { histogram: Some(wire::Histogram { points: vec![classic], temporality: 2 }), ..metric("h") },
        wire::Metric { exponential: Some(wire::Exponential { points: vec![exponential], temporality: 2 }), ..metric("e") },
    ];
    let resource = wire::Resource { attributes: vec![pair("service.name", "s"), pair("host", "h")] };
    wire::Request { resources: vec![wire::ResourceMetrics { resource: Some(resource), scopes: vec![wire::ScopeMetrics { metrics }] }] }
}

#[test]
fn protobuf_and_json_say_the_same() {
    let text = |key: &str, text: &str| json!({"key": key, "value": {"stringValue": text}});
    let json = json!({"resourceMetrics": [{
        "scopeMetrics": [{"metrics": [
            {"name": "g", "gauge": {"dataPoints": [
                {"timeUnixNano": at(1), "asDouble": 0.5, "attributes": [text("k", "v")]},
                {"timeUnixNano": at(2), "asInt": -7, "attributes": [text("k", "v")]},
            ]}},
            {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": at(1), "count": 3, "sum": 2, "bucketCounts": [1, 2], "explicitBounds": [5]},
            ]}},
            {"name": "e", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": at(1), "count": 301, "scale": -2, "positive": {"offset": -3, "bucketCounts": [1, 300]}},
            ]}},
        ]}],
        "resource": {"attributes": [text("service.name", "s"), text("host", "h")]},
    }]});
    let mut columns = Columns::new();
    decode(&example().encode_to_vec(), &settings(), LOOKBACK, &mut columns).expect("OTLP");
    let got = shown(&columns);
    assert_eq!(got, lines(&settings(), &json));
    assert_eq!(
        got,
        [
            "g{job=s,k=v} 0.5 @1000",
            "g{job=s,k=v} -7 @2000",
            "h_sum{job=s} 2 @1000",
            "h_count{job=s} 3 @1000",
            "h_bucket{job=s,le=5} 1 @1000",
            "h_bucket{job=s,le=+Inf} 3 @1000",
            "e{job=s} histogram @1000",
            "target_info{host=h,job=s} 1 @1000",
            "target_info{host=h,job=s} 1 @2000",
        ]
    );
}

proptest! {
    #[test]
    fn damaged_bytes_are_no_panic_and_bounded(
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..6),
        cut: Option<prop::sample::Index>,
    ) {
        let mut body = example().encode_to_vec();
        for (at, byte) in &changes {
            let at = at.index(body.len());
            body[at] = *byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let mut columns = Columns::new();
        let _ = decode(&body, &settings(), LOOKBACK, &mut columns);
        prop_assert!(columns.capacity_bytes() < 16 << 20);
        shown(&columns);
    }

    #[test]
    fn any_bytes_are_no_panic(body: Vec<u8>) {
        let _ = decode(&body, &settings(), LOOKBACK, &mut Columns::new());
    }
}
