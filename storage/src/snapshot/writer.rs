//! The receiving end.
//!
//! Everything is written under a fresh generation, which nothing refers to until `finish` points the
//! shard at it in one durable step. A crash before that leaves the old content (or none) and some
//! garbage, which the next opening of the shard removes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{KIND_CHUNKS, KIND_END, KIND_RECORD, KIND_SERIES, RECORD_ACTIVE, RECORD_BESIDE, RECORD_TOMBSTONES, Totals, open_frame};
use crate::catalog::{CatalogWriter, Record};
use crate::chunk::{ChunkView, TimesPlace, TimesView};
use crate::core::Core;
use crate::fault::{Result, StorageError};
use crate::histogram;
use crate::keys::{ChunkKind, Owner, RunEntry, RunKey, bucket_start, day_of_bucket};
use crate::labels;
use crate::series_set::SeriesSet;
use crate::state::{ShardState, encode_seal, remove_content};
use crate::varint::Cursor;

/// A snapshot being received. Dropped before `finish`, it leaves nothing behind.
pub(crate) struct SnapshotWriter {
    core: Arc<Core>,
    owner: Owner,
    totals: Totals,
    times_max: Vec<i64>,
    /// By the chunks that came.
    active: HashMap<i64, SeriesSet>,
    /// By kind and key.
    records: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    run: Option<RunEntries>,
    /// Finished files of one family.
    files: (String, Vec<PathBuf>),
    is_complete: bool,
    is_installed: bool,
}

/// The run whose entries are coming in, those in memory that no file holds yet.
struct RunEntries {
    key: RunKey,
    bytes: Vec<u8>,
    /// Where each entry's key and value end in `bytes`.
    ends: Vec<(usize, usize)>,
    last_key: Vec<u8>,
    /// The last timestamp of each shared block.
    times_last: HashMap<u32, i64>,
}

impl SnapshotWriter {
    pub fn new(core: Arc<Core>, owner: Owner) -> Self {
        Self {
            core,
            owner,
            totals: Totals::default(),
            times_max: Vec::new(),
            active: HashMap::new(),
            records: BTreeMap::new(),
            run: None,
            files: Default::default(),
            is_complete: false,
            is_installed: false,
        }
    }

    /// Takes the next frame, in the order in which they were sent.
    ///
    /// Errors: `Corrupt` or `Format` when the frame is not what was sent; start the transfer over.
    pub fn push(&mut self, frame: &[u8]) -> Result<()> {
        let (kind, mut body, checksum) = open_frame(frame)?;
        if self.is_complete {
            return Err(StorageError::corrupt("snapshot", "a frame behind the last"));
        }
        match kind {
            KIND_SERIES => self.take_series(&mut body)?,
            KIND_CHUNKS => self.take_chunks(&mut body)?,
            KIND_RECORD => self.take_record(&mut body)?,
            KIND_END => self.take_end(&mut body)?,
            other => return Err(StorageError::corrupt("snapshot", format!("frame of kind {other}"))),
        }
        self.totals.add_frame(checksum);
        Ok(())
    }

    /// Makes the content durable and loads it: everything but pointing the shard at it.
    pub fn complete(&mut self) -> Result<ShardState> {
        if !self.is_complete {
            return Err(StorageError::corrupt("snapshot", "the last frame is missing"));
        }
        self.close_run()?;
        self.ingest()?;
        let mut writer = CatalogWriter::new(&self.core.rocks, self.owner);
        if self.records.is_empty() {
            // The sender knew no records yet: what has chunks was active.
            for (day, series) in &self.active {
                writer.put_active(*day, series)?;
            }
        }
        for ((kind, key), value) in &self.records {
            put_record(&mut writer, *kind, key, value)?;
        }
        writer.put_times_max(&self.times_max)?;
        writer.put_record(Record::Seal, &encode_seal(0))?;
        writer.finish()?;
        ShardState::load(self.core.clone(), self.owner)
    }

    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// The shard points at the content now.
    pub fn set_installed(&mut self) {
        self.is_installed = true;
    }

    fn take_series(&mut self, body: &mut Cursor<'_>) -> Result<()> {
        let first = body.varint()?;
        if first != self.times_max.len() as u64 {
            return Err(StorageError::corrupt("snapshot", format!("series {first} follows {}", self.times_max.len())));
        }
        let mut writer = CatalogWriter::new(&self.core.rocks, self.owner);
        while !body.is_empty() {
            let metric = body.count(u32::MAX as usize)? as u32;
            let length = body.count(usize::MAX)?;
            let canonical = body.take(length)?;
            labels::validate(canonical)?;
            writer.put_definition(self.times_max.len() as u32, metric, canonical)?;
            self.times_max.push(i64::MIN);
            self.totals.series += 1;
        }
        writer.submit()
    }

    fn take_chunks(&mut self, body: &mut Cursor<'_>) -> Result<()> {
        while !body.is_empty() {
            let length = body.count(usize::MAX)?;
            let mut key = self.owner.prefix().to_vec();
            key.extend_from_slice(body.take(length)?);
            let length = body.count(usize::MAX)?;
            let value = body.take(length)?;
            self.take_entry(key, value)?;
            self.totals.entries += 1;
        }
        Ok(())
    }

    fn take_entry(&mut self, key: Vec<u8>, value: &[u8]) -> Result<()> {
        let run = RunKey::parse(&key)?;
        if self.run.as_ref().is_none_or(|open| open.key != run) {
            self.close_run()?;
            let times_last = HashMap::new();
            self.run = Some(RunEntries { key: run, bytes: Vec::new(), ends: Vec::new(), last_key: Vec::new(), times_last });
        }
        let Some(open) = &mut self.run else {
            return Ok(());
        };
        if key <= open.last_key {
            return Err(StorageError::corrupt("snapshot", "entries out of order"));
        }
        let base_ms = bucket_start(run.bucket);
        match RunEntry::parse(&key)? {
            RunEntry::Times(id) => {
                open.times_last.insert(id, TimesView::parse(value, base_ms)?.last_ms());
            }
            RunEntry::Chunk(kind, place) => {
                let last_ms = match kind {
                    ChunkKind::Histograms => Some(histogram::chunk::last_ms(value, base_ms)?),
                    ChunkKind::Floats => match ChunkView::parse(value, base_ms)?.times() {
                        TimesPlace::Inline { last_ms, .. } => Some(last_ms),
                        TimesPlace::Shared(id) => open.times_last.get(&id).copied(),
                    },
                };
                let known = self.times_max.get_mut(place.series as usize);
                let (Some(last_ms), Some(known)) = (last_ms, known) else {
                    return Err(StorageError::corrupt("snapshot", format!("{place:?} refers to what was not sent")));
                };
                *known = last_ms.max(*known);
                self.active.entry(day_of_bucket(run.bucket)).or_default().insert(place.series);
            }
        }
        open.bytes.extend_from_slice(&key);
        let key_end = open.bytes.len();
        open.bytes.extend_from_slice(value);
        open.ends.push((key_end, open.bytes.len()));
        open.last_key = key;
        if open.bytes.len() >= self.core.options.spill_bytes
            && let Some(mut run) = self.run.take()
        {
            self.write_entries(&mut run)?;
            self.run = Some(run);
        }
        Ok(())
    }

    /// Takes a part of a record.
    fn take_record(&mut self, body: &mut Cursor<'_>) -> Result<()> {
        let kind = body.byte()?;
        let length = body.count(usize::MAX)?;
        let key = body.take(length)?.to_vec();
        self.records.entry((kind, key)).or_default().extend_from_slice(body.rest());
        Ok(())
    }

    fn take_end(&mut self, body: &mut Cursor<'_>) -> Result<()> {
        let sent = Totals::decode(body)?;
        if sent != self.totals {
            return Err(StorageError::corrupt("snapshot", format!("{sent:?} were sent, {:?} came", self.totals)));
        }
        self.is_complete = true;
        Ok(())
    }

    /// Ends the open run. Files are taken in together, family by family.
    fn close_run(&mut self) -> Result<()> {
        let Some(mut run) = self.run.take() else {
            return Ok(());
        };
        if run.ends.is_empty() {
            return Ok(());
        }
        self.write_entries(&mut run)
    }

    /// Writes the entries of a run that are in memory to a file.
    fn write_entries(&mut self, run: &mut RunEntries) -> Result<()> {
        let family = run.key.family();
        if self.files.0 != family {
            self.ingest()?;
            self.files.0 = family;
        }
        let mut file = self.core.rocks.sorted_file(&self.core.files.next())?;
        let mut start = 0;
        for (key_end, end) in run.ends.drain(..) {
            file.put(&run.bytes[start..key_end], &run.bytes[key_end..end])?;
            start = end;
        }
        run.bytes.clear();
        self.files.1.push(file.finish()?);
        Ok(())
    }

    fn ingest(&mut self) -> Result<()> {
        let (family, files) = std::mem::take(&mut self.files);
        if files.is_empty() {
            return Ok(());
        }
        self.core.rocks.create_family(&family)?;
        self.core.rocks.ingest(&family, files)
    }
}

fn put_record(writer: &mut CatalogWriter<'_>, kind: u8, key: &[u8], value: &[u8]) -> Result<()> {
    match kind {
        RECORD_TOMBSTONES => writer.put_record(Record::Tombstones, value),
        RECORD_BESIDE => writer.put_record(Record::Beside, value),
        RECORD_ACTIVE => {
            let day = key.try_into().map(i64::from_be_bytes);
            let day = day.map_err(|_| StorageError::corrupt("snapshot", format!("active series of day {key:02x?}")))?;
            let series = SeriesSet::from_bytes(value);
            writer.put_active(day, &series.ok_or_else(|| StorageError::corrupt("snapshot", format!("active series of day {day}")))?)
        }
        other => Err(StorageError::corrupt("snapshot", format!("record of kind {other}"))),
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.is_installed {
            return;
        }
        if let Err(error) = remove_content(&self.core, self.owner) {
            tracing::warn!(%error, shard = self.owner.shard, "remove unfinished snapshot");
        }
    }
}
