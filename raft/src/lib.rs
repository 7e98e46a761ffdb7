//! Tern's agreement: many Raft groups on one node. The only crate that knows openraft.
//!
//! A write, from the gateway: [`Node::write`] → `core` finds the leader (this node, or another one through `forward`) →
//! `proposer` joins what waits into one entry → Raft → `log_store` → `log_writer`, one fsync for all groups → a majority
//! has it → `state_machine` applies it to the shard and answers.
//! A read: [`Node::barrier`] → `barrier` shares one round among all who wait → `confirmation` asks the peers who leads → the
//! caller reads [`Node::replica`].
//!
//! Beside that, `replicas` keeps the open groups what the meta group (`meta`) says, `controller` changes the cluster while
//! this node leads the meta group, and `sealing` moves memory to disk and purges the log.
//!
//! What this crate does not do: it never looks into a batch, keeps no samples, and knows no HTTP.
//!
//! Modules stand bottom-up: each imports only those above it.

pub mod meta;
pub mod settings;
pub mod runtime;
pub mod types;
mod space;
pub mod error;
mod caller;
mod convert;
mod callers;
#[doc(hidden)]
pub mod record;
mod log_writer;
mod log_store;
mod machine;
mod snapshot;
mod state_machine;
mod link;
mod dial;
mod peers;
mod transfer;
mod network;
mod group;
mod proposer;
mod forward;
mod barrier;
mod confirmation;
mod identity;
mod core;
mod status;
mod sealing;
mod pressure;
mod members;
mod founding;
pub mod replacement;
mod heal;
mod replicas;
mod controller;
mod service;
mod incoming;
mod gate;
mod node;
#[cfg(test)]
mod suite;

pub use dial::Seldom;
pub use error::{NodeError, ReadError, WriteError};
pub use identity::node_id;
pub use meta::{MetaAnswer, MetaCommand, MetaState, ShardMap};
pub use node::{Membership, Node, NodeConfig};
pub use peers::PeerChannel;
pub use settings::Settings;
pub use space::Space;
pub use types::{EntryAt, GroupId, LogLine, META_GROUP, NodeId, ShardId, Written, group_of, shard_of};
