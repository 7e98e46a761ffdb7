//! Requests of remote read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::remote_read_request(bytes));
