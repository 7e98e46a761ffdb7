//! OpenTelemetry metrics as JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::otlp_json(bytes));
