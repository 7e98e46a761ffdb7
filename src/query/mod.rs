//! Reading: PromQL and labels over all shards of the cluster.
//!
//! A query walks: `runner` (parse, place, freshness) → `promql`'s engine → (trait `Source`) `source` → for each shard `local` or
//! `remote` → storage. `peer_service` is the other end of `remote`,
//! where `evaluate` runs pieces of other nodes' queries.
//!
//! Modules stand bottom-up: each imports only those above it.

pub mod failure;
pub mod search;
pub mod conditions;
pub mod convert;
mod histograms;
pub mod local;
pub mod ordered;
pub mod remote;
pub mod replicas;
pub mod source;
pub mod session;
pub mod times;
pub mod history;
pub mod name_use;
pub mod active;
pub mod runner;
pub mod metadata;
pub mod beside;
pub mod whole_series;
pub mod top_series;
pub mod evaluate;
pub mod peer_service;
