//! Judges of recorded histories. Each file is one promise.

pub mod sample_set;
