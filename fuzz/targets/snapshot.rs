//! Snapshots of a shard on their way into another replica.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use storage::{Engine, EngineOptions};
use tempfile::TempDir;

/// In memory: the disk would take most of the time. The folder stays behind when the process is ended.
static ENGINE: LazyLock<(TempDir, Arc<Engine>)> = LazyLock::new(|| {
    let folder = tempfile::Builder::new().prefix("tern-fuzz").tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let engine = Engine::open(folder.path(), EngineOptions::default()).expect("opens");
    (folder, engine)
});

fuzz_target!(|bytes: &[u8]| tern::fuzzing::snapshot(&ENGINE.1, bytes));
