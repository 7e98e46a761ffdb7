//! The Raft log of one group, kept in the database that all groups of the node share.
//!
//! Writes go through [`LogWriter`]. Until the writer has put an entry into the database it is read from the *tail*, the
//! recent entries in memory; the tail also serves followers and `apply`, so the database is read only by those that lag.
//!
//! Invariants:
//! - the log is the contiguous range `(purged, last]`; nothing outside it is ever returned, whatever the database holds;
//! - the tail is a contiguous suffix of the log (possibly empty);
//! - an entry leaves the tail only after the writer made it readable (`sequence <= written`).

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use prost::Message;
use storage::SeededBug;
use tokio::sync::oneshot;

use crate::convert;
use crate::log_writer::{Completion, LogWriter, Request};
use crate::record::{self, Record};
use crate::settings::Settings;
use crate::types::{Entry, EntryPayload, GroupId, LogId, LogLine, TypeConfig, Vote};

const KEY_VOTE: &str = "vote";
const KEY_COMMITTED: &str = "committed";
const KEY_PURGED: &str = "purged";

/// Handle of one group's log; clones share it.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    group: GroupId,
    writer: LogWriter,
    /// Sequence of the last append that can be read from the database.
    written: Arc<AtomicU64>,
    read_bytes_max: u64,
    cache_bytes_max: usize,
    state: Mutex<State>,
}

struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// Index of the first entry, when there is one.
    first: u64,
    tail: VecDeque<Recent>,
    tail_bytes: usize,
    sequence: u64,
    /// Bytes appended since this handle was opened.
    appended_bytes: u64,
}

struct Recent {
    entry: Entry,
    bytes: usize,
    sequence: u64,
}

impl LogStore {
    /// Opens the log of a group; an unknown group has an empty one.
    pub fn open(group: GroupId, writer: LogWriter, settings: &Settings) -> io::Result<Self> {
        let db = Arc::clone(writer.db());
        let read = |key| db.get_meta(group, key).map_err(io::Error::other);
        let purged = read(KEY_PURGED)?.map(decode_log_id).transpose()?;
        let last = match db.last_entry(group).map_err(io::Error::other)? {
            Some(entry) if purged.is_none_or(|purged: LogId| entry.index > purged.index()) => {
                Some(record::decode_log_id(entry.index, &entry.payload)?)
            }
            _ => purged,
        };
        let first = match db.first_entry(group).map_err(io::Error::other)? {
            Some(entry) => entry.index,
            None => purged.map_or(0, |purged| purged.index() + 1),
        };
        let state = State {
            vote: read(KEY_VOTE)?.map(decode_vote).transpose()?,
            committed: read(KEY_COMMITTED)?.map(decode_log_id).transpose()?,
            purged,
            last,
            first,
            tail: VecDeque::new(),
            tail_bytes: 0,
            sequence: 0,
            appended_bytes: 0,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                group,
                writer,
                written: Arc::new(AtomicU64::new(0)),
                read_bytes_max: settings.append_bytes_max,
                cache_bytes_max: settings.log_cache_bytes_max,
                state: Mutex::new(state),
            }),
        })
    }

    /// Bytes appended since the log was opened: how much a restart would have to replay, told by differences.
    pub fn appended_bytes(&self) -> u64 {
        self.shared.state.lock().appended_bytes
    }

    /// Forgets the log but not the vote: a node that comes back to the group must not vote twice in a term. Durable on
    /// return; the handle is of no use afterwards.
    pub async fn wipe(&self) -> io::Result<()> {
        let vote = self.shared.state.lock().vote;
        let kept = vote.map(|vote| (KEY_VOTE, Bytes::from(convert::vote_to_proto(&vote).encode_to_vec())));
        self.shared.writer.submit(Request::Drop { group: self.shared.group, kept });
        self.shared.writer.barrier().await
    }

    /// What the disk holds of these entries, or of the first of them: for judges that compare logs.
    pub fn listing(&self, range: Range<u64>) -> io::Result<Vec<LogLine>> {
        let bytes_max = usize::try_from(self.shared.read_bytes_max).unwrap_or(usize::MAX);
        let stored = self.shared.writer.db().read_entries(self.shared.group, range, bytes_max).map_err(io::Error::other)?;
        let line = |entry: storage::LogEntry| {
            let term = record::decode_log_id(entry.index, &entry.payload)?.committed_leader_id().term;
            Ok(LogLine { index: entry.index, term, hash: crc32c::crc32c(&entry.payload) })
        };
        stored.into_iter().map(line).collect()
    }

    /// Whether everything that was appended so far has been handed to the disk.
    pub fn is_written(&self) -> bool {
        self.shared.state.lock().sequence == self.shared.written.load(Ordering::Acquire)
    }

    /// Index of the last entry.
    pub fn last_index(&self) -> Option<u64> {
        self.shared.state.lock().last.map(|last| last.index())
    }

    /// Index up to which the log was purged.
    pub fn purged_index(&self) -> Option<u64> {
        self.shared.state.lock().purged.map(|purged| purged.index())
    }

    /// Whether an entry under this id's index is another one. Of entries that are not there nothing is known.
    pub fn contradicts(&self, id: &LogId) -> io::Result<bool> {
        let entries = self.read(id.index(), id.index() + 1, u64::MAX)?;
        Ok(entries.first().is_some_and(|entry| entry.log_id.index() == id.index() && entry.log_id != *id))
    }

    /// Whether this node never took part in the group: it neither voted nor holds a log.
    pub fn is_pristine(&self) -> bool {
        let state = self.shared.state.lock();
        state.vote.is_none() && state.last.is_none()
    }

    /// Entries of `[start, end)` that the log holds, at most `bytes_max` of them but at least one.
    fn read(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let shared = &*self.shared;
        let (start, from_database, recent) = {
            let state = shared.state.lock();
            let start = start.max(state.first);
            let end = end.min(state.last.map_or(0, |last| last.index() + 1));
            if start >= end {
                return Ok(Vec::new());
            }
            let tail_start = state.tail.front().map_or(end, |recent| recent.entry.log_id.index());
            let tail_start = tail_start.clamp(start, end);
            let from_database = start..tail_start;
            let recent: Vec<Entry> = match from_database.is_empty() {
                true => state.recent(start, end, bytes_max),
                // The database part alone may fill the answer: the rest comes with the next read, unless all is wanted.
                false if bytes_max < u64::MAX => Vec::new(),
                false => state.recent(tail_start, end, bytes_max),
            };
            (start, from_database, recent)
        };
        if from_database.is_empty() {
            return Ok(recent);
        }
        let db = shared.writer.db();
        let bytes_max_memory = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let stored = db.read_entries(shared.group, from_database.clone(), bytes_max_memory).map_err(io::Error::other)?;
        let mut entries = Vec::with_capacity(stored.len() + recent.len());
        for entry in stored {
            entries.push(record::decode(entry.index, entry.payload)?);
        }
        if bytes_max == u64::MAX && entries.len() as u64 != from_database.end - from_database.start || entries.is_empty() {
            return self.hole_or_purged(start + entries.len() as u64);
        }
        entries.extend(recent);
        Ok(entries)
    }

    /// An entry is missing: fine when the log was purged or cut meanwhile, damage otherwise.
    fn hole_or_purged(&self, index: u64) -> io::Result<Vec<Entry>> {
        let state = self.shared.state.lock();
        let purged = state.purged.is_some_and(|purged| index <= purged.index());
        let cut = state.last.is_none_or(|last| index > last.index());
        match purged || cut {
            true => Ok(Vec::new()),
            false => Err(hole(self.shared.group, index)),
        }
    }

    fn submit_meta(&self, key: &'static str, value: Vec<u8>, completion: Completion) {
        let group = self.shared.group;
        self.shared.writer.submit(Request::Meta { group, key, value: Bytes::from(value), completion });
    }
}

impl State {
    /// Clones of the tail's entries in `[start, end)`.
    fn recent(&self, start: u64, end: u64, bytes_max: u64) -> Vec<Entry> {
        let Some(front) = self.tail.front().map(|recent| recent.entry.log_id.index()) else { return Vec::new() };
        let mut bytes = 0;
        let count = end.saturating_sub(start);
        let wanted = self.tail.iter().skip((start - front) as usize).take(count as usize);
        wanted
            .enumerate()
            .take_while(|(position, recent)| {
                bytes += recent.bytes as u64;
                *position == 0 || bytes <= bytes_max
            })
            .map(|(_, recent)| recent.entry.clone())
            .collect()
    }

    /// Forgets the oldest entries that the database holds, down to the budget.
    fn trim(&mut self, written: u64, bytes_max: usize) {
        while self.tail_bytes > bytes_max
            && let Some(oldest) = self.tail.front()
            && oldest.sequence <= written
        {
            self.tail_bytes -= oldest.bytes;
            self.tail.pop_front();
        }
    }

    fn drop_tail_after(&mut self, last: Option<u64>) {
        while let Some(newest) = self.tail.back()
            && last.is_none_or(|last| newest.entry.log_id.index() > last)
        {
            self.tail_bytes -= newest.bytes;
            self.tail.pop_back();
        }
    }

    fn drop_tail_through(&mut self, index: u64) {
        while let Some(oldest) = self.tail.front()
            && oldest.entry.log_id.index() <= index
        {
            self.tail_bytes -= oldest.bytes;
            self.tail.pop_front();
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(&mut self, range: RB) -> io::Result<Vec<Entry>> {
        let (start, end) = bounds(&range);
        self.read(start, end, u64::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared.state.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, self.shared.read_bytes_max)
    }

    /// Reads on demand in pieces, so that `apply` of a long range never holds all of it in memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl futures::Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.clone();
        Box::pin(async_stream::try_stream! {
            let mut next = start;
            while next < end {
                let entries = log.read(next, end, log.shared.read_bytes_max)?;
                if entries.is_empty() {
                    break;
                }
                for entry in entries {
                    next = entry.log_id.index() + 1;
                    yield entry;
                }
            }
        })
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.shared.state.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (completion, done) = oneshot::channel();
        self.shared.state.lock().vote = Some(*vote);
        if SeededBug::VoteNotSynced.is_on() {
            self.submit_meta(KEY_VOTE, convert::vote_to_proto(vote).encode_to_vec(), Completion::None);
            return Ok(());
        }
        self.submit_meta(KEY_VOTE, convert::vote_to_proto(vote).encode_to_vec(), Completion::Waiter(completion));
        done.await.map_err(|_| io::Error::other("the log writer has stopped"))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.state.lock().committed = committed;
        if let Some(committed) = committed {
            self.submit_meta(KEY_COMMITTED, convert::log_id_to_proto(&committed).encode_to_vec(), Completion::None);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.state.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let shared = &*self.shared;
        let appended: Vec<(Record, Entry)> = entries.into_iter().map(|entry| (record::encode(&entry), entry)).collect();
        let mut state = shared.state.lock();
        state.sequence += 1;
        let sequence = state.sequence;
        let mut records = Vec::with_capacity(appended.len());
        if state.last == state.purged
            && let Some((first, _)) = appended.first()
        {
            state.first = first.index;
        }
        for (record, entry) in appended {
            let bytes = memory_bytes(&entry);
            records.push(record);
            state.last = Some(entry.log_id);
            state.appended_bytes += bytes as u64;
            state.tail_bytes += bytes;
            state.tail.push_back(Recent { entry, bytes, sequence });
        }
        state.trim(shared.written.load(Ordering::Acquire), shared.cache_bytes_max);
        // Under the lock, so that the queue has the order of the tail.
        shared.writer.submit(Request::Append {
            group: shared.group,
            records,
            written: Arc::clone(&shared.written),
            sequence,
            completion: Completion::Raft(callback),
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        let start = last.map_or(0, |last| last.index() + 1);
        let end = state.last.map_or(0, |last| last.index() + 1);
        state.drop_tail_after(last.map(|last| last.index()));
        if start < end {
            state.last = last;
            shared.writer.submit(Request::Truncate { group: shared.group, from: start });
        }
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let shared = &*self.shared;
        let mut state = shared.state.lock();
        if state.purged.is_some_and(|purged| purged >= upto) {
            return Ok(());
        }
        state.purged = Some(upto);
        state.last = state.last.max(Some(upto));
        state.first = upto.index() + 1;
        state.drop_tail_through(upto.index());
        // The mark goes first; both are in the same batch or in this order.
        self.submit_meta(KEY_PURGED, convert::log_id_to_proto(&upto).encode_to_vec(), Completion::None);
        shared.writer.submit(Request::Purge { group: shared.group, upto: upto.index() });
        Ok(())
    }
}

/// What an entry costs in memory, roughly.
fn memory_bytes(entry: &Entry) -> usize {
    const FIXED_BYTES: usize = 128;
    match &entry.payload {
        EntryPayload::Normal(payload) => FIXED_BYTES + payload.bytes(),
        EntryPayload::Blank | EntryPayload::Membership(_) => FIXED_BYTES,
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn decode_log_id(bytes: Bytes) -> io::Result<LogId> {
    let message = proto::raft::LogId::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(convert::log_id_from_proto(message))
}

fn decode_vote(bytes: Bytes) -> io::Result<Vote> {
    let message = proto::raft::Vote::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    convert::vote_from_proto(Some(message)).map_err(io::Error::other)
}

fn hole(group: GroupId, index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("entry {index} of group {group} is missing from the log"))
}
