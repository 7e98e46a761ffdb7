//! One node's data: chunks, index, RocksDB. Plain synchronous Rust; no network, no Raft.

pub mod error;
pub mod varint;
pub mod decimal;
pub mod labels;
pub mod batch;

pub use error::{Error, Result};
