//! Ingest: bytes of many protocols become one kind of columns, and the columns become Raft entries.
//!
//! A request walks: `compression` → one decoder (one protocol = one file) → [`columns`] → the
//! writer. Decoders are plain functions of bytes; they know no clock, no network and no storage.
//!
//! Modules stand bottom-up: each imports only those above it.

pub mod decode_error;
pub mod protobuf;
pub mod label_forms;
pub mod columns;
pub mod budget;
pub mod compression;
pub mod unpacker;
pub mod line_blocks;
pub mod remote_write_histogram;
pub mod remote_write_v1;
pub mod remote_write_v2;
pub mod exposition_families;
pub mod exposition;
pub mod native_json;
pub mod influx;
pub mod json_lines;
pub mod csv_time;
pub mod csv;
pub mod import_labels;
pub mod otlp;
#[cfg(test)]
mod remote_write_tests;
pub mod series_cache;
pub mod metadata_told;
pub mod shard_encoder;
pub mod router;
pub mod writer;
