//! The one thread of a node that writes the Raft log.
//!
//! Everything that must survive a crash (entries, votes, purge marks, applied markers) of every group goes through one
//! queue. The thread takes what is there, writes it as one batch, fsyncs once, and then tells each caller in the order of
//! the queue. What arrives during the fsync is the next batch: that is the group commit, and it needs no timer.
//!
//! One queue also gives the order that Raft relies on: a marker or a vote is durable only after every entry that was
//! handed in before it.
//!
//! A failed write or fsync is never tried again (the kernel may have dropped the pages): the process ends, and the next
//! start reads what really is on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use openraft::storage::IOFlushed;
use storage::{LogBatch, LogDb, SeededBug};
use tokio::sync::{mpsc, oneshot};

use crate::record::Record;
use crate::runtime::{self, DiskWork, Host};
use crate::types::{GroupId, TypeConfig};

/// Whom to tell when a request is durable.
pub enum Completion {
    /// Raft's own callback for appended entries.
    Raft(IOFlushed<TypeConfig>),
    /// Somebody awaits it.
    Waiter(oneshot::Sender<()>),
    /// Nobody: the write needs no fsync of its own.
    None,
}

/// One thing to write. Requests of a group take effect in the order they were handed in.
pub enum Request {
    /// Store the records of consecutive entries. `written` becomes `sequence` when they can be read from the database.
    Append { group: GroupId, records: Vec<Record>, written: Arc<AtomicU64>, sequence: u64, completion: Completion },
    /// Remove the entries from this index on: another leader contradicted them.
    Truncate { group: GroupId, from: u64 },
    /// Remove the entries up to and including this index: a durable image contains them.
    Purge { group: GroupId, upto: u64 },
    /// Remove everything of a group that left this node, except one fact. Both in one batch.
    Drop { group: GroupId, kept: Option<(&'static str, Bytes)> },
    /// Set a small value of the group.
    Meta { group: GroupId, key: &'static str, value: Bytes, completion: Completion },
    /// Nothing to write: completes when everything before it is durable.
    Barrier { completion: Completion },
}

/// What happens when the disk fails: the process aborts; tests look on instead.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Handle of the writer thread; cheap to clone. With the last handle the thread ends too, and lets go of the database,
/// before that handle is gone: a process that leaves must not run destructors beside it.
#[derive(Clone)]
pub struct LogWriter {
    thread: Arc<WriterThread>,
}

struct WriterThread {
    /// None only while it is dropped: without it the thread comes to its end.
    queue: Option<mpsc::UnboundedSender<Request>>,
    handle: Option<thread::JoinHandle<()>>,
    db: Arc<LogDb>,
}

impl LogWriter {
    /// Starts the thread (in a simulation, a task in its place). A batch is closed at `batch_bytes_max`.
    pub fn start(db: Arc<LogDb>, batch_bytes_max: usize, on_fatal: OnFatal) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::unbounded_channel();
        let worker = Worker { db: Arc::clone(&db), requests, batch_bytes_max };
        if let Some(host) = runtime::host() {
            runtime::spawn(worker.run_as_task(host, on_fatal));
            return Ok(Self { thread: Arc::new(WriterThread { queue: Some(queue), handle: None, db }) });
        }
        let handle = thread::Builder::new().name("log-writer".into()).spawn(move || {
            // A panic must not leave a process behind whose writes are never answered.
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run())) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => on_fatal(&error.to_string()),
                Err(_) => on_fatal("the log writer panicked"),
            }
        })?;
        Ok(Self { thread: Arc::new(WriterThread { queue: Some(queue), handle: Some(handle), db }) })
    }

    /// The process cannot go on without its log.
    pub fn abort_on_fatal() -> OnFatal {
        Arc::new(|reason| {
            tracing::error!(reason, "cannot write the Raft log; the process ends");
            runtime::end_process(reason);
        })
    }

    /// The database that is written; reading it needs no queue.
    pub fn db(&self) -> &Arc<LogDb> {
        &self.thread.db
    }

    /// Hands in one request. The thread outlives every handle unless the disk failed, and then the process ends.
    pub fn submit(&self, request: Request) {
        let sent = self.thread.queue.as_ref().map(|queue| queue.send(request));
        if !matches!(sent, Some(Ok(()))) {
            tracing::error!("the log writer has stopped");
        }
    }

    /// Sets a value and returns when it, and all that was submitted before, is durable.
    pub async fn put_meta(&self, group: GroupId, key: &'static str, value: Bytes) -> std::io::Result<()> {
        let (completion, done) = oneshot::channel();
        self.submit(Request::Meta { group, key, value, completion: Completion::Waiter(completion) });
        done.await.map_err(|_| stopped())
    }

    /// Returns when all that was submitted before is durable.
    pub async fn barrier(&self) -> std::io::Result<()> {
        let (completion, done) = oneshot::channel();
        self.submit(Request::Barrier { completion: Completion::Waiter(completion) });
        done.await.map_err(|_| stopped())
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.queue = None;
        let Some(handle) = self.handle.take() else { return };
        // A completion may hold the last handle, and then it is the thread itself that drops it.
        if handle.thread().id() != thread::current().id() && handle.join().is_err() {
            tracing::error!("the log writer panicked");
        }
    }
}

fn stopped() -> std::io::Error {
    std::io::Error::other("the log writer has stopped")
}

/// The thread's own state.
struct Worker {
    db: Arc<LogDb>,
    requests: mpsc::UnboundedReceiver<Request>,
    batch_bytes_max: usize,
}

/// Requests that share one fsync.
#[derive(Default)]
struct Round {
    batch: LogBatch,
    bytes: usize,
    readable: Vec<(Arc<AtomicU64>, u64)>,
    completions: Vec<Completion>,
    must_sync: bool,
}

impl Worker {
    fn run(mut self) -> Result<(), storage::StorageError> {
        while let Some(first) = self.requests.blocking_recv() {
            let mut round = self.gather(first);
            self.write(&mut round)?;
            self.sync(round)?;
        }
        Ok(())
    }

    /// The same with simulated time, which passes while the disk syncs.
    async fn run_as_task(mut self, host: Arc<dyn Host>, on_fatal: OnFatal) {
        while let Some(first) = self.requests.recv().await {
            let mut round = self.gather(first);
            let written = self.write(&mut round);
            if round.must_sync {
                tokio::time::sleep(host.disk_delay(DiskWork::SyncLog)).await;
            }
            if let Err(error) = written.and_then(|()| self.sync(round)) {
                return on_fatal(&error.to_string());
            }
        }
    }

    /// What has queued up, as one round.
    fn gather(&mut self, first: Request) -> Round {
        let mut round = Round::default();
        round.add(first);
        while round.bytes < self.batch_bytes_max
            && let Ok(next) = self.requests.try_recv()
        {
            round.add(next);
        }
        round
    }

    fn write(&self, round: &mut Round) -> Result<(), storage::StorageError> {
        self.db.write(std::mem::take(&mut round.batch))?;
        for (written, sequence) in round.readable.drain(..) {
            written.store(sequence, Ordering::Release);
        }
        if SeededBug::AckBeforeSync.is_on() {
            round.completions.drain(..).for_each(Completion::complete);
        }
        Ok(())
    }

    fn sync(&self, round: Round) -> Result<(), storage::StorageError> {
        if round.must_sync {
            self.db.sync()?;
        }
        for completion in round.completions {
            completion.complete();
        }
        Ok(())
    }
}

impl Round {
    fn add(&mut self, request: Request) {
        match request {
            Request::Append { group, records, written, sequence, completion } => {
                for record in records {
                    self.bytes += record.callers.len() + record.payload.len();
                    self.batch.put_entry(group, record.index, record.term, &record.parts());
                }
                self.readable.push((written, sequence));
                self.complete(completion);
            }
            Request::Truncate { group, from } => self.batch.truncate_entries(group, from),
            Request::Purge { group, upto } => self.batch.purge_entries(group, upto),
            Request::Drop { group, kept } => {
                self.batch.drop_group(group);
                if let Some((key, value)) = kept {
                    self.batch.put_meta(group, key, &value);
                }
            }
            Request::Meta { group, key, value, completion } => {
                self.bytes += value.len();
                self.batch.put_meta(group, key, &value);
                self.complete(completion);
            }
            Request::Barrier { completion } => self.complete(completion),
        }
    }

    fn complete(&mut self, completion: Completion) {
        if !matches!(completion, Completion::None) {
            self.must_sync = true;
            self.completions.push(completion);
        }
    }
}

impl Completion {
    fn complete(self) {
        match self {
            Self::Raft(callback) => callback.io_completed(Ok(())),
            Self::Waiter(waiter) => {
                let _ = waiter.send(());
            }
            Self::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::LogOptions;

    use super::*;

    #[test]
    fn with_the_last_handle_the_thread_has_written_all_and_let_go_of_the_database() {
        let directory = tempfile::TempDir::new().unwrap();
        let db = Arc::new(LogDb::open(directory.path(), LogOptions::default()).unwrap());
        for round in 0..20_u64 {
            let writer = LogWriter::start(Arc::clone(&db), 1 << 20, Arc::new(|reason: &str| panic!("{reason}"))).unwrap();
            let value = Bytes::copy_from_slice(&round.to_be_bytes());
            writer.submit(Request::Meta { group: 1, key: "round", value: value.clone(), completion: Completion::None });
            drop(writer);
            assert_eq!(Arc::strong_count(&db), 1, "round {round}");
            assert_eq!(db.get_meta(1, "round").unwrap(), Some(value));
        }
    }
}
