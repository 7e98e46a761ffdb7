//! The text exposition format and OpenMetrics.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::exposition(bytes));
