//! Collects the chunks of a run and puts them on disk.
//!
//! Series come in the order of their keys (metric, series), with their samples in the order of time. Irregular timestamps
//! that several series share (a scrape's) are written once for the run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::{self, Encoder, Hint};
use crate::fault::Result;
use crate::index::MetricId;
use crate::keys::{ChunkPlace, RunKey, bucket_start};
use crate::labels::SeriesId;
use crate::rocks::Rocks;
use crate::run::{RecentChunks, Run};

/// Sharing is given up for a run when this many blocks of timestamps are used less than twice on average.
const TIMES_TRIED: usize = 256;

/// A run being collected.
pub(crate) struct RunWriter {
    key: RunKey,
    bytes: Vec<u8>,
    places: Vec<(ChunkPlace, u32)>,
    times: HashMap<u64, (u32, Arc<Vec<i64>>)>,
    shared_uses: usize,
    samples: u64,
}

impl RunWriter {
    /// An empty run.
    pub fn new(key: RunKey) -> Self {
        Self { key, bytes: Vec::new(), places: Vec::new(), times: HashMap::new(), shared_uses: 0, samples: 0 }
    }

    /// Adds all samples that a series has in this run. Series come in the order of (metric, series).
    pub fn push(&mut self, encoder: &mut Encoder, metric: MetricId, series: SeriesId, timestamps: &[i64], values: &[f64], hint: &mut Hint) {
        self.samples += timestamps.len() as u64;
        let chunks = timestamps.chunks(chunk::SAMPLES_MAX).zip(values.chunks(chunk::SAMPLES_MAX));
        for (part, (timestamps, values)) in chunks.enumerate() {
            self.encode(encoder, timestamps, values, hint);
            let place = ChunkPlace { metric, series, part: part as u16 };
            self.places.push((place, self.bytes.len() as u32));
        }
    }

    fn encode(&mut self, encoder: &mut Encoder, timestamps: &[i64], values: &[f64], hint: &mut Hint) {
        match self.shared_times(timestamps) {
            Some(id) => encoder.encode_shared(id, values, hint, &mut self.bytes),
            None => encoder.encode(bucket_start(self.key.bucket), timestamps, values, hint, &mut self.bytes),
        }
    }

    /// The number of a shared block with these timestamps, unless they are better kept in the chunk.
    fn shared_times(&mut self, timestamps: &[i64]) -> Option<u32> {
        if chunk::is_regular(timestamps) {
            return None;
        }
        let next = self.times.len() as u32;
        let hash = times_hash(timestamps);
        if let Some((id, known)) = self.times.get(&hash) {
            self.shared_uses += 1;
            return (known.as_slice() == timestamps).then_some(*id);
        }
        if self.times.len() >= TIMES_TRIED && self.shared_uses < self.times.len() {
            return None;
        }
        self.times.insert(hash, (next, Arc::new(timestamps.to_vec())));
        Some(next)
    }

    /// Samples collected.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Bytes of chunks collected.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the run into one sorted file, ingests it (durable then) and answers it, its chunks in memory.
    pub fn finish(self, rocks: &Rocks, encoder: &mut Encoder, files: &SortedFiles) -> Result<Run> {
        let family = self.key.family();
        let mut file = rocks.sorted_file(&files.next())?;
        let mut times: Vec<(u32, Arc<Vec<i64>>)> = self.times.into_values().collect();
        times.sort_unstable_by_key(|(id, _)| *id);
        let mut block = Vec::new();
        for (id, timestamps) in &times {
            block.clear();
            encoder.encode_times(bucket_start(self.key.bucket), timestamps, &mut block);
            file.put(&self.key.times(*id), &block)?;
        }
        let mut start = 0;
        for (place, end) in &self.places {
            file.put(&self.key.chunk(*place), &self.bytes[start..*end as usize])?;
            start = *end as usize;
        }
        let path = file.finish()?;
        rocks.create_family(&family)?;
        rocks.ingest(&family, vec![path])?;
        let chunks = self.places.iter().map(|(place, end)| (place.series, *end)).collect();
        Ok(Run::recent(self.key, RecentChunks::new(self.bytes, chunks), times.into_iter().collect()))
    }
}

fn times_hash(timestamps: &[i64]) -> u64 {
    let mut hash = timestamps.len() as u64;
    let mut bytes = [0; 512];
    for part in timestamps.chunks(bytes.len() / 8) {
        for (slot, time) in bytes.chunks_exact_mut(8).zip(part) {
            slot.copy_from_slice(&time.to_le_bytes());
        }
        hash = hash.rotate_left(5) ^ xxh3_64(&bytes[..part.len() * 8]);
    }
    hash
}

/// Names for sorted files before they are ingested.
pub(crate) struct SortedFiles {
    directory: PathBuf,
    next: AtomicU64,
}

impl SortedFiles {
    /// Files in this directory, which holds nothing else.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, next: AtomicU64::new(1) }
    }

    /// A name not used before.
    pub fn next(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{number}.sst"))
    }
}
