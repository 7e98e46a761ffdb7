//! The engine against plain models of itself.

mod random;
mod naive;
mod differential;
mod threads;
mod shards;
mod pushdown;
mod stats;
mod memory;
