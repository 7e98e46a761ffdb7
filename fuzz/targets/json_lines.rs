//! JSON lines of an import.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::json_lines(bytes));
