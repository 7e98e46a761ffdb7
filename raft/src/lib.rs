//! (being built)

pub mod meta;
