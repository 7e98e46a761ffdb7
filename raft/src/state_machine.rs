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
use storage::Applied;
use tokio::sync::watch;

use crate::log_writer::LogWriter;
use crate::machine::{DurableImage, ImageLock, ImageState, Machine};
use crate::meta::MetaState;
use crate::snapshot::{Snapshot, SnapshotBuilder, SnapshotData, Source, blocking, read_meta_image, write_marker, write_meta_image};
use crate::types::{Answer, Entry, EntryPayload, GroupId, LogId, SnapshotMeta, StoredMembership, TypeConfig};

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
    ) -> Self {
        let marker = durable.marker();
        applied_index.send_replace(marker.last_log_id.map(|id| id.index()));
        Self { group, machine, applied: marker.last_log_id, membership: marker.last_membership, durable, applied_index, writer, image_lock }
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
                        EntryPayload::Normal(payload) => meta.apply(&payload.0)?,
                        EntryPayload::Blank | EntryPayload::Membership(_) => Answer::Nothing,
                    };
                    respond(responder, answer);
                }
                meta.publish();
            }
            Machine::Shard(machine) => {
                let shard = Arc::clone(&machine.shard);
                let apply = move |run: Run| {
                    for (entry, responder) in run.entries {
                        let answer = match &entry.payload {
                            EntryPayload::Normal(payload) => {
                                let Applied { parts, .. } = shard.apply(entry.log_id.index(), &payload.0)?;
                                Answer::Parts(parts)
                            }
                            EntryPayload::Blank | EntryPayload::Membership(_) => Answer::Nothing,
                        };
                        respond(responder, answer);
                    }
                    Ok(())
                };
                match run.bytes <= INLINE_BYTES_MAX {
                    true => apply(run).map_err(|error: storage::StorageError| io::Error::other(error))?,
                    false => blocking(move || apply(run)).await?,
                }
            }
        }
        self.applied = Some(last);
        self.applied_index.send_replace(Some(last.index()));
        Ok(())
    }

    fn marker(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() }
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
            meta: self.marker(),
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
        match (&mut self.machine, data) {
            (Machine::Shard(machine), SnapshotData::ReceivedShard { import, incarnation }) => {
                machine.shard = blocking(move || import.finish()).await?;
                machine.incarnation = incarnation;
                write_marker(&self.writer, self.group, meta).await?;
            }
            (Machine::Meta(machine), SnapshotData::Meta(image)) => {
                // Decoded first: an image that this build cannot read must not replace the one that it can.
                let state = MetaState::decode(&image).map_err(io::Error::other)?;
                write_meta_image(&self.writer, self.group, meta, &image).await?;
                machine.state = state;
                machine.publish();
            }
            // Raft installs the current snapshot at start when it is newer than what was applied: it never is.
            (Machine::Shard(_), SnapshotData::LocalShard { .. }) => {}
            _ => return Err(io::Error::other("the snapshot is of another kind than the group")),
        }
        self.durable.advance(meta.clone());
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.applied_index.send_replace(self.applied.map(|id| id.index()));
        Ok(())
    }
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
            self.bytes += payload.0.len();
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
        let (meta, snapshot) = match &self.machine {
            Machine::Shard(machine) => {
                let (shard, incarnation) = (Arc::clone(&machine.shard), machine.incarnation);
                (self.durable.marker(), SnapshotData::LocalShard { shard, incarnation })
            }
            Machine::Meta(_) => match read_meta_image(&self.writer, self.group)? {
                (meta, Some(image)) => (meta, SnapshotData::Meta(image)),
                (_, None) => return Ok(None),
            },
        };
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        Ok(Some(Snapshot { meta, snapshot }))
    }
}
