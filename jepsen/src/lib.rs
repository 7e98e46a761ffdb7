//! The outside view of a Tern cluster: start it, load it, break it, judge it.
//!
//! Nothing here links the server. Every judgement is made through the doors that users have (HTTP and the process table), so a bug
//! that hides inside the server cannot hide from this crate as well. The integration tests and the benchmarks stand on it.
//!
//! One run reads: [`run`] claims a name ([`leftovers`]) and builds a [`network`] of namespaces and [`disk`]s of its own; [`cluster`] starts processes
//! ([`process`]) there; each [`workload`] writes and reads through [`client`], which speaks remote write through the encoder in [`remote_write`]; every
//! call becomes a line of [`history`]; [`nemesis`] hurts the cluster meanwhile; [`checker`] reads the lines and says which promise was broken, if any;
//! [`ledger`] keeps a line of the run. [`failover`] measures how long writes stop. Tests use the same parts with a cluster on loopback, at [`ports`] that nobody else takes.
//!
//! It deliberately has no model of Raft, shards or disks: promises are judged, not mechanisms.

pub mod wait;
pub mod shell;
pub mod history;
pub mod checker;
pub mod remote_write;
mod wire;
pub mod histogram_chunk;
pub mod remote_read;
pub mod client;
pub mod ports;
pub mod process;
pub mod certificates;
pub mod peers;
pub mod network;
pub mod leftovers;
pub mod disk;
pub mod cluster;
pub mod workload;
pub mod nemesis;
pub mod ledger;
pub mod run;
pub mod failover;
