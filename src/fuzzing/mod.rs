//! The door for fuzz targets (`fuzz/targets`, run by `make fuzz`): every decoder of bytes from outside, as a function of bytes
//! alone. What these functions assert is what a target proves: nothing panics, nothing takes memory out of proportion, and
//! what was read survives being written and read again.
//!
//! An input that once broke something stays in `fuzz/seeds/<target>/`; a test sends all of them through these doors. Not for
//! other use: everything here ends the process when a promise is broken.

mod bodies;
mod disk;
mod raft_log;
mod texts;

pub use bodies::{
    csv, decompression, exposition, influx, json_lines, native_json, otlp_json, otlp_protobuf, remote_write_v1, remote_write_v2,
};
pub use disk::{batch, chunk, histogram, snapshot};
pub use raft_log::{log_record, meta_commands};
pub use texts::{configuration, parameters, remote_read_request};

/// A target's name and what it calls.
pub type Door = (&'static str, fn(&[u8]));

/// The targets that take bytes and nothing else, by the names of their folders of seeds.
pub const DOORS: [Door; 18] = [
    ("remote_write_v1", remote_write_v1),
    ("remote_write_v2", remote_write_v2),
    ("exposition", exposition),
    ("influx", influx),
    ("otlp_protobuf", otlp_protobuf),
    ("otlp_json", otlp_json),
    ("native_json", native_json),
    ("json_lines", json_lines),
    ("csv", csv),
    ("decompression", decompression),
    ("parameters", parameters),
    ("remote_read_request", remote_read_request),
    ("configuration", configuration),
    ("chunk", chunk),
    ("histogram", histogram),
    ("batch", batch),
    ("log_record", log_record),
    ("meta_commands", meta_commands),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;

    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths = entries.map(|entry| entry.expect("listed").path());
        let read = |path: std::path::PathBuf| (path.display().to_string(), std::fs::read(&path).expect("readable"));
        paths.map(read).collect()
    }

    #[test]
    fn every_seed_and_every_input_that_once_broke_something_passes() {
        for (target, door) in DOORS {
            let seeds = seeds(target);
            assert!(seeds.len() >= 2, "{target} has {} seeds", seeds.len());
            for (path, bytes) in seeds {
                println!("{path}");
                door(&bytes);
            }
        }
    }

    #[test]
    fn every_seed_of_snapshots_passes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let engine = storage::Engine::open(folder.path(), storage::EngineOptions::default()).expect("opens");
        for (path, bytes) in seeds("snapshot") {
            println!("{path}");
            snapshot(&engine, &bytes);
        }
        drop(Arc::clone(&engine));
    }
}
