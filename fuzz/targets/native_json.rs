//! The JSON of `/ingest/metrics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::native_json(bytes));
