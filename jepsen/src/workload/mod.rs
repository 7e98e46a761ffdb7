//! Loads that record what they do, each for one checker.

pub mod sample_set;
