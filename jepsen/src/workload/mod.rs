//! Loads that record what they do, each for one checker.
//!
//! | | load | judged by |
//! |---|---|---|
//! | W1, W2 | [`streams`]: batches of samples over all shards, late, out of order, sent twice | sample set: lost, phantom, wrong, duplicate, unstable |
//! | W3 | [`sessions`] | read your writes, monotonic reads, by level |
//! | W4 | [`register`]: versions and compare-and-set | linearizability |
//! | W5 | counts in [`streams`] | bounds from what is known and what was attempted |
//! | W6 | alerts: its place; it comes with the alert manager | |
//! | W9 | [`prune`]: deletions among writes | nothing lost, nothing risen |
//!
//! W7 (membership), W8 (snapshots), W10 (power) and W11 (upgrade) are these loads under the nemeses of the same names.

mod values;
pub mod sample_set;
pub mod field;
pub mod streams;
pub mod sessions;
pub mod register;
pub mod prune;
