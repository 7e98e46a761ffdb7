//! Times, durations, selectors and numbers of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::parameters(bytes));
