//! Tern's wire: the messages and services of `proto/*.proto`, generated; no logic.
//!
//! Every `bytes` field is a [`bytes::Bytes`], so that a payload is neither copied nor looked into on its way.

/// Raft between nodes, and the operator's commands (`raft.proto`).
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod raft {
    tonic::include_proto!("tern.raft.v1");
}

/// Reading shards of other nodes (`query.proto`).
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod query {
    tonic::include_proto!("tern.query.v1");
}
