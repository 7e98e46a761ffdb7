//! The payload of a Raft entry, as replicas apply it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tern::fuzzing::batch(bytes));
