//! The meta group's state: who is a member, which shard lives where, and a small versioned key-value store.
//!
//! Group 0 spans all nodes and replicates one [`MetaState`] by applying [`MetaCommand`]s from its log. Everything in
//! this folder is a pure function of values: no clock, no randomness, no network, no openraft, ordered maps only. So
//! every replica computes the same bytes from the same log, and every rule here can be tested by a loop.
//!
//! How a change of the cluster is made (a join, a removal, a replacement, a replica moved for balance):
//!
//! 1. An administrator's wish becomes a command: [`MetaCommand::Admit`], [`MetaCommand::Drain`],
//!    [`MetaCommand::SetReplicationFactor`]. `apply` records the wish; nothing has moved yet.
//! 2. The leader of group 0 looks at what the groups really are ([`observed::Observed`]) and asks [`plan::next_actions`].
//!    The answer is either a command to propose (open a move of one group, record that a stage is over) or a deed for a
//!    group's leader (add a learner, change the voters, hand over leadership).
//! 3. It carries them out and asks again, until there is nothing left to do.
//!
//! The log holds every stage ([`placement::MoveStage`]); the deeds are idempotent. When the leader of group 0 dies
//! anywhere in between, the next one asks the same question and goes on from there.
//!
//! What this room does not do: it does not talk to openraft and holds no timers (`crate` does both), and it does not
//! split shards: their number is fixed when the cluster is founded.
//!
//! Modules stand bottom-up: each imports only those above it.

pub mod ids;
pub mod kv;
pub mod member;
pub mod placement;
pub mod initial;
pub mod command;
pub mod state;
pub mod encoding;
pub mod apply;
pub mod shard_map;
pub mod observed;
pub mod balance;
pub mod target;
pub mod plan;
pub mod progress;
#[cfg(test)]
mod simulation;

pub use command::{MetaAnswer, MetaCommand, NewMember};
pub use encoding::EncodingError;
pub use ids::{GroupId, META_GROUP, NodeId, ShardId, group_of, shard_of_group};
pub use member::{Member, MemberState};
pub use placement::{Move, MoveStage, Placement};
pub use shard_map::ShardMap;
pub use state::MetaState;
