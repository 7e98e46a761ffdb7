//! Remote write 1.0, plain or as snappy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::remote_write_v1(bytes));
