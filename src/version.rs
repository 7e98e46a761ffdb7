//! Version texts.

/// Tern's own version.
pub const TERN: &str = env!("CARGO_PKG_VERSION");

/// The Prometheus API level that clients such as Grafana switch features on.
pub const PROMETHEUS_API: &str = "3.14.0";
