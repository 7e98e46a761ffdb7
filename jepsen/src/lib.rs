//! The outside view of a Tern cluster: start it, load it, break it, judge it.
//!
//! Nothing here links the server. Every judgement is made through the doors that users have (HTTP and the process table), so a bug
//! that hides inside the server cannot hide from this crate as well. The integration tests and the benchmarks stand on it.
//!
//! One run reads: [`cluster`] starts processes ([`process`]) on ports that nobody else takes ([`ports`]); [`workload`] writes batches and reads
//! them back through [`client`], which speaks remote write through the encoder in [`remote_write`]; every call becomes a line of
//! [`history`]; [`checker`] reads the lines and says which acknowledged sample is missing, if any.
//!
//! It deliberately has no model of Raft, shards or disks: promises are judged, not mechanisms.

pub mod wait;
pub mod history;
pub mod checker;
pub mod remote_write;
pub mod remote_read;
pub mod client;
pub mod ports;
pub mod process;
pub mod peers;
pub mod cluster;
pub mod workload;
