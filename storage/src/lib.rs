//! Tern's disk: what one node keeps, and how it finds it again.
//!
//! Plain synchronous Rust: no network, no Raft, no async runtime. The modules are listed from the
//! bottom up; a module uses only modules listed above it.

pub mod seeded_bug;
pub mod error;
pub mod fault;
mod durable_file;
pub mod varint;
pub mod bits;
pub mod decimal;
pub mod labels;
pub mod chunk;
pub mod histogram;
pub mod exemplar;
pub mod rollup;
mod series_set;
mod series_map;
pub mod index;
pub mod batch;
mod tombstones;
mod exemplar_ring;
mod metric_metadata;
mod beside;
mod head;
mod memory_disk;
mod rocks;
mod high_water;
mod damage;
pub mod log_db;
pub mod keys;
mod run;
mod run_writer;
mod catalog;
mod core;
mod state;
mod reader;
mod delete;
mod apply;
mod seal;
mod compact;
mod snapshot;
mod shard;
mod engine;

pub use apply::{Applied, PartOutcome};
pub use batch::Deletion;
pub use core::EngineOptions;
pub use durable_file::{sync_directory_of, write_durably};
pub use engine::{Engine, EngineStats, SnapshotImport};
pub use error::Error;
pub use exemplar::{Exemplar, Metadata, MetricType};
pub use fault::{Result, StorageError};
pub use head::HeadExtent;
pub use high_water::Mark;
pub use histogram::Histogram;
pub use index::{MatchOp, Matcher, SeriesLabels};
pub use labels::{HashKey, SeriesHash, SeriesId, ShardId};
pub use log_db::{LogBatch, LogDb, LogEntry, LogOptions, ShortenedLog};
pub use memory_disk::{MemoryDisk, Syncs};
pub use reader::Reader;
pub use run::RunInfo;
pub use seal::{Frozen, Sealed};
pub use seeded_bug::SeededBug;
pub use series_map::UNKNOWN_SERIES;
pub use shard::{Shard, ShardStats};
pub use snapshot::SnapshotReader;
