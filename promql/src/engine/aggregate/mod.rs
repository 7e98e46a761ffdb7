//! Aggregation over the series of a vector.

mod grouping;
mod histogram_total;
mod accumulator;
pub mod partial;
pub mod groups;
pub mod selection;
pub mod count_values;
mod ratio_sampling;
