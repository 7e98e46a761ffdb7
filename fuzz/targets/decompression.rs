//! Compressed bodies: at once, and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::decompression(bytes));
