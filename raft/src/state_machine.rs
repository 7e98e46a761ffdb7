//! Raft's view of a replica: apply committed entries in order, seal, install.
//!
//! Invariants:
//! - `applied` starts at the durable image and only this task moves it;
//! - purged <= snapshot <= durable image <= applied; the snapshot *is* the durable image;
//! - every responder is answered, or the task returns an error and Raft stops the group.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use storage::Shard;
use tokio::sync::watch;

use crate::callers::CallerMemory;
use crate::log_writer::LogWriter;
use crate::machine::{DurableImage, ImageLock, ImageState, Machine};
use crate::meta::MetaState;
use crate::snapshot::{Image, Snapshot, SnapshotBuilder, SnapshotData, Source, blocking, read_meta_image, write_marker, write_meta_image};
use crate::types::{Answer, Entry, EntryPayload, GroupId, LogId, Marker, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries handed to the disk thread at once.
const RUN_ENTRIES_MAX: usize = 256;
/// Their payload bytes.
const RUN_BYTES_MAX: usize = 4 << 20;
/// A run below this is applied on the spot; a larger one would hold up the heartbeats of other groups.
const INLINE_BYTES_MAX: usize = 8 << 10;

/// The state machine of one group.
pub struct StateMachine {
    group: GroupId,
    machine: Machine,
    applied: Option<LogId>,
    membership: StoredMembership,
    durable: Arc<DurableImage>,
    applied_index: watch::Sender<Option<u64>>,
    writer: LogWriter,
    image_lock: ImageLock,
    callers: CallerMemory,
}

/// Committed entries that are applied together.
#[derive(Default)]
struct Run {
    entries: Vec<(Entry, Option<ApplyResponder<TypeConfig>>)>,
    bytes: usize,
}

impl StateMachine {
    /// Starts from the durable image; Raft then replays the log after it.
    pub fn new(
        group: GroupId,
        machine: Machine,
        durable: Arc<DurableImage>,
        applied_index: watch::Sender<Option<u64>>,
        writer: LogWriter,
        image_lock: ImageLock,
    ) -> io::Result<Self> {
        let Marker { meta, callers, .. } = durable.marker();
        let callers = CallerMemory::decode(callers)?;
        let (applied, membership) = (meta.last_log_id, meta.last_membership);
        applied_index.send_replace(applied.map(|id| id.index()));
        Ok(Self { group, machine, applied, membership, durable, applied_index, writer, image_lock, callers })
    }

    async fn apply_run(&mut self, run: Run) -> io::Result<()> {
        let Some((last, _)) = run.entries.last() else { return Ok(()) };
        let last = last.log_id;
        for (entry, _) in &run.entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
        }
        match &mut self.machine {
            Machine::Meta(meta) => {
                for (entry, responder) in run.entries {
                    let answer = match &entry.payload {
                        EntryPayload::Normal(payload) => {
                            let answer = self.callers.apply_command(entry.log_id.index(), payload, |command| meta.apply(command))?;
                            Answer::Parts(vec![answer])
                        }
                        EntryPayload::Blank | EntryPayload::Membership(_) => Answer::Nothing,
                    };
                    respond(responder, answer);
                }
                meta.publish();
            }
            Machine::Shard(machine) => {
                let shard = Arc::clone(&machine.shard);
                let mut callers = std::mem::take(&mut self.callers);
                let is_small = run.bytes <= INLINE_BYTES_MAX;
                let apply = move || apply_to_shard(&shard, &mut callers, run).map(|()| callers);
                // After an error the memory is gone with it: Raft stops the group.
                self.callers = match is_small {
                    true => apply().map_err(io::Error::other)?,
                    false => blocking(apply).await?,
                };
            }
        }
        self.applied = Some(last);
        self.applied_index.send_replace(Some(last.index()));
        Ok(())
    }

    fn marker(&self) -> Marker {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Marker { meta, callers: self.callers.encode(), image: 0 }
    }

    /// Freezes what was applied so far; a closed group has nothing to seal, and building fails.
    async fn freeze(&mut self) -> SnapshotBuilder {
        let lock = Arc::clone(&self.image_lock).lock_owned().await;
        let source = match &mut self.machine {
            _ if *lock == ImageState::Closed => None,
            Machine::Meta(meta) => Some(Source::Meta { image: meta.state.encode().into() }),
            Machine::Shard(machine) => {
                Some(Source::Shard { shard: Arc::clone(&machine.shard), frozen: machine.shard.freeze(), incarnation: machine.incarnation })
            }
        };
        SnapshotBuilder {
            group: self.group,
            marker: self.marker(),
            source,
            durable: Arc::clone(&self.durable),
            writer: self.writer.clone(),
            _lock: lock,
        }
    }

    async fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let lock = Arc::clone(&self.image_lock).lock_owned().await;
        if *lock == ImageState::Closed {
            return Err(io::Error::other("the group is closed"));
        }
        // Decoded first: an image that this build cannot read must not replace the one that it can.
        let callers = CallerMemory::decode(data.callers.clone())?;
        let mut marker = Marker { meta: meta.clone(), callers: data.callers, image: 0 };
        match (&mut self.machine, data.image) {
            (Machine::Shard(machine), Image::ReceivedShard { import, incarnation }) => {
                machine.shard = blocking(move || import.finish()).await?;
                machine.incarnation = incarnation;
                marker.image = machine.shard.stamp();
                write_marker(&self.writer, self.group, &marker).await?;
            }
            (Machine::Meta(machine), Image::Meta(image)) => {
                let state = MetaState::decode(&image).map_err(io::Error::other)?;
                write_meta_image(&self.writer, self.group, &marker, &image).await?;
                machine.state = state;
                machine.publish();
            }
            // Raft installs the current snapshot at start when it is newer than what was applied: it never is.
            (Machine::Shard(_), Image::LocalShard { .. }) => {}
            _ => return Err(io::Error::other("the snapshot is of another kind than the group")),
        }
        self.durable.advance(marker);
        self.callers = callers;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.applied_index.send_replace(self.applied.map(|id| id.index()));
        Ok(())
    }
}

/// Applies a run in order and answers each entry's proposer.
fn apply_to_shard(shard: &Shard, callers: &mut CallerMemory, run: Run) -> Result<(), storage::StorageError> {
    for (entry, responder) in run.entries {
        let index = entry.log_id.index();
        let answer = match &entry.payload {
            EntryPayload::Normal(payload) => {
                let parts = callers.apply_batches(index, payload, |body| shard.apply(index, body).map(|applied| applied.parts))?;
                Answer::Parts(parts)
            }
            EntryPayload::Blank | EntryPayload::Membership(_) => Answer::Nothing,
        };
        respond(responder, answer);
    }
    Ok(())
}

fn respond(responder: Option<ApplyResponder<TypeConfig>>, answer: Answer) {
    if let Some(responder) = responder {
        responder.send(answer);
    }
}

impl Run {
    fn is_full(&self) -> bool {
        self.entries.len() >= RUN_ENTRIES_MAX || self.bytes >= RUN_BYTES_MAX
    }

    fn add(&mut self, (entry, responder): EntryResponder<TypeConfig>) {
        if let EntryPayload::Normal(payload) = &entry.payload {
            self.bytes += payload.bytes();
        }
        self.entries.push((entry, responder));
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + openraft::OptionalSend,
    {
        let mut run = Run::default();
        while let Some(item) = entries.next().await {
            run.add(item?);
            if run.is_full() {
                self.apply_run(std::mem::take(&mut run)).await?;
            }
        }
        self.apply_run(run).await
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.freeze().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.freeze().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        tracing::info!(group = self.group, upto = ?meta.last_log_id, "install snapshot");
        self.install(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        // The meta group's commands cannot be applied twice, so its marker is the one inside the image.
        let (marker, image) = match &self.machine {
            Machine::Shard(machine) => {
                let (shard, incarnation) = (Arc::clone(&machine.shard), machine.incarnation);
                (self.durable.marker(), Image::LocalShard { shard, incarnation })
            }
            Machine::Meta(_) => match read_meta_image(&self.writer, self.group)? {
                (marker, Some(image)) => (marker, Image::Meta(image)),
                (_, None) => return Ok(None),
            },
        };
        let Marker { meta, callers, .. } = marker;
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        Ok(Some(Snapshot { meta, snapshot: SnapshotData { image, callers } }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::RaftSnapshotBuilder;
    use openraft::entry::RaftEntry;
    use storage::batch::{self, BatchBuilder, ConflictPolicy, Deletion};
    use storage::{Engine, EngineOptions, HashKey, LogDb, LogOptions, MatchOp, Matcher, labels};
    use tempfile::TempDir;

    use super::*;
    use crate::caller::{self, Caller};
    use crate::machine::ShardMachine;
    use crate::snapshot::read_marker;
    use crate::types::{LeaderId, Payload, group_of};

    const TIME: i64 = 1_700_000_000_000;

    /// A replica of shard 0 on a disk.
    struct Replica {
        _directory: TempDir,
        engine: Arc<Engine>,
        writer: LogWriter,
    }

    impl Replica {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let engine = Engine::open(&directory.path().join("state"), EngineOptions::default()).unwrap();
            engine.set_hash_key(HashKey([7; 16])).unwrap();
            let db = Arc::new(LogDb::open(&directory.path().join("log"), LogOptions::default()).unwrap());
            let writer = LogWriter::start(db, 1 << 20, Arc::new(|reason: &str| panic!("{reason}"))).unwrap();
            Self { _directory: directory, engine, writer }
        }

        /// The state machine as a start finds it: from the marker on.
        fn open(&self) -> StateMachine {
            let machine = Machine::Shard(ShardMachine::open(&self.engine, 0, 1).unwrap());
            let durable = Arc::new(DurableImage::new(read_marker(&self.writer, group_of(0)).unwrap()));
            StateMachine::new(group_of(0), machine, durable, watch::Sender::default(), self.writer.clone(), ImageLock::default()).unwrap()
        }

        fn value(&self) -> Option<f64> {
            let shard = self.engine.shard(0).unwrap();
            let all = Matcher::new("__name__", MatchOp::Eq, "x").unwrap();
            let series = shard.select(&[all], TIME, TIME).unwrap();
            let (mut times, mut values) = (Vec::new(), Vec::new());
            let mut reader = shard.reader();
            series.first().and_then(|series| {
                reader.read(*series, TIME, TIME, &mut times, &mut values).unwrap();
                values.first().copied()
            })
        }
    }

    fn canonical() -> Vec<u8> {
        let mut canonical = Vec::new();
        labels::canonicalize(&mut vec![("__name__", "x")], &mut canonical).unwrap();
        canonical
    }

    fn write(value: f64) -> Bytes {
        let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
        builder.push_new(&canonical(), TIME, value);
        Bytes::from(builder.encode())
    }

    fn delete() -> Bytes {
        let mut builder = BatchBuilder::new(ConflictPolicy::LastWriteWins);
        let matchers = vec![Matcher::new("__name__", MatchOp::Eq, "x").unwrap()];
        builder.push_deletion(&Deletion { matchers, start_ms: TIME, end_ms: TIME });
        Bytes::from(builder.encode())
    }

    fn entry(index: u64, sequence: u64, batch: Bytes) -> Entry {
        let callers = caller::encode(&[Some(Caller { node: 1, start: 1, sequence })]);
        let payload = Payload { callers, body: batch::join(&[batch]) };
        Entry::new(LogId::new(LeaderId { term: 1, node_id: 1 }, index), EntryPayload::Normal(payload))
    }

    async fn apply(machine: &mut StateMachine, entries: Vec<Entry>) {
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        machine.apply(futures::stream::iter(entries)).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_repeated_batch_undoes_nothing_before_and_after_a_restart() {
        let replica = Replica::new();
        let mut machine = replica.open();
        apply(&mut machine, vec![entry(1, 1, write(1.0)), entry(2, 2, write(2.0)), entry(3, 1, write(1.0))]).await;
        assert_eq!(replica.value(), Some(2.0), "the repeated write is the older one");
        apply(&mut machine, vec![entry(4, 3, delete()), entry(5, 4, write(5.0)), entry(6, 3, delete())]).await;
        assert_eq!(replica.value(), Some(5.0), "the repeated deletion is the older one");

        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        drop(machine);
        let mut machine = replica.open();
        assert_eq!(machine.applied_state().await.unwrap().0.map(|id| id.index()), Some(6));
        apply(&mut machine, vec![entry(7, 3, delete()), entry(8, 1, write(1.0))]).await;
        assert_eq!(replica.value(), Some(5.0), "what was applied is known from the marker");
    }
}
