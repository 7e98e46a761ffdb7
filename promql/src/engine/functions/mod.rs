//! The functions of the language, by family. They know columns and windows, nothing of plans and sources.

pub mod window;
mod start_time;
mod extrapolation;
pub mod windows;
mod rate;
mod histogram_rate;
mod boundary;
mod extended_rate;
mod instant_delta;
mod order_statistics;
mod over_time;
mod histogram_over_time;
mod trend;
mod changes;
mod sliding;
pub mod range_call;
mod civil_time;
pub mod elementwise;
mod classic_histogram;
pub mod histogram_calls;
pub mod label_calls;
mod natural_order;
pub mod sorting;
pub mod absent;
pub mod info;

pub use boundary::{Monotonicity, interpolate, interpolate_histograms, monotonicity_of};
pub use extended_rate::extended_samples;
pub use histogram_over_time::{HistogramMean, HistogramSum, Seen};
pub use order_statistics::quantile_of;
pub use over_time::Mean;
