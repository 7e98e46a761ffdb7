//! Commands of the meta group.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::meta_commands(bytes));
