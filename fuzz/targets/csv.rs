//! CSV rows of an import, behind a line that describes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::csv(bytes));
