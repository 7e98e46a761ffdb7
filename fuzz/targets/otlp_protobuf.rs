//! OpenTelemetry metrics as protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::otlp_protobuf(bytes));
