//! Histograms and chunks of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::histogram(bytes));
