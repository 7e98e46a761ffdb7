//! OpenTelemetry metrics (OTLP, `ExportMetricsServiceRequest`) as Prometheus series, translated as Prometheus 3.14 does it.
//!
//! A request walks: JSON becomes protobuf ([`json`], by the table in [`schema`]) → [`translate`] walks resources, scopes, metrics
//! and points over the bytes, without building the messages → each point's labels ([`labels`], [`names`], [`any_value`]) and
//! values go into the columns.
//!
//! What differs from Prometheus, which refuses a whole request with 500 for one metric that it cannot translate: points that
//! cannot be stored are left out and counted, the others stand, and the answer says so (OTLP's partial success).
//!
//! Modules stand bottom-up: each imports only those above it.

mod schema;
pub mod json;
mod any_value;
mod names;
mod fault;
mod labels;
mod points;
mod metric;
mod exemplars;
mod native;
pub mod translate;
#[cfg(test)]
mod tests;
