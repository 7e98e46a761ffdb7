//! openraft's own conformance tests, on the real log in RocksDB and the meta group's state machine.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use storage::{LogDb, LogOptions};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::log_store::LogStore;
use crate::log_writer::LogWriter;
use crate::machine::{DurableImage, ImageLock, Machine, MetaMachine};
use crate::settings::Settings;
use crate::state_machine::StateMachine;
use crate::types::{META_GROUP, TypeConfig};

struct Builder {
    settings: Settings,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = TempDir::new().unwrap();
        let db = Arc::new(LogDb::open(directory.path(), LogOptions::default()).unwrap());
        let fatal = Arc::new(|reason: &str| panic!("{reason}"));
        let writer = LogWriter::start(db, self.settings.log_batch_bytes_max, fatal).unwrap();
        let log = LogStore::open(META_GROUP, writer.clone(), &self.settings).unwrap();
        let machine = Machine::Meta(Box::new(MetaMachine::open(None, watch::Sender::default()).unwrap()));
        let machine = StateMachine::new(
            META_GROUP,
            machine,
            Arc::new(DurableImage::default()),
            watch::Sender::default(),
            writer,
            ImageLock::default(),
        )
        .unwrap();
        Ok((directory, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_with_a_warm_cache() {
    Suite::test_all(Builder { settings: Settings::default() }).await.unwrap();
}

/// Everything leaves memory as soon as it may, and reads are as small as they can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_without_a_cache() {
    let settings = Settings { log_cache_bytes_max: 0, ..Settings::default() };
    Suite::test_all(Builder { settings }).await.unwrap();
}
