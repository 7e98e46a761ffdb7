//! Operators between two expressions.

pub mod element;
pub mod scalars;
mod signatures;
mod result_labels;
pub mod matching;
pub mod sets;
