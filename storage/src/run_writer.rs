//! Collects the chunks of a run and puts them on disk.
//!
//! Series come in any order (best in that of their numbers, which is how the head lies in memory), each
//! with its samples in the order of time; on disk they are sorted by metric. Irregular timestamps that
//! several series share (a scrape's) are written once for the run.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::chunk::{self, Encoder, Hint};
use crate::fault::Result;
use crate::histogram::{self, chunk::Sample};
use crate::index::MetricId;
use crate::keys::{ChunkKind, ChunkPlace, RunKey, bucket_start};
use crate::labels::SeriesId;
use crate::rocks::Rocks;
use crate::run::{ChunkTable, RecentChunks, Run};

/// Sharing is given up for a run when this many blocks of timestamps are used less than twice on average.
const TIMES_TRIED: usize = 256;

/// A run being collected.
pub(crate) struct RunWriter {
    key: RunKey,
    bytes: Vec<u8>,
    /// Each chunk with its place and where it stands in `bytes`.
    chunks: Vec<(ChunkPlace, Range<usize>)>,
    /// Chunks of histograms, likewise.
    histograms: Vec<(ChunkPlace, Range<usize>)>,
    /// By hash: position in `blocks`.
    times: HashMap<u64, u32>,
    blocks: Vec<Vec<i64>>,
    shared_uses: usize,
    samples: u64,
    /// Files with the chunks that were spilled.
    spilled: Vec<PathBuf>,
}

impl RunWriter {
    /// An empty run.
    pub fn new(key: RunKey) -> Self {
        let (bytes, chunks, blocks, spilled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { key, bytes, chunks, histograms: Vec::new(), times: HashMap::new(), blocks, shared_uses: 0, samples: 0, spilled }
    }

    /// Adds all samples that a series has in this run.
    pub fn push(&mut self, encoder: &mut Encoder, metric: MetricId, series: SeriesId, timestamps: &[i64], values: &[f64], hint: &mut Hint) {
        self.samples += timestamps.len() as u64;
        let chunks = timestamps.chunks(chunk::SAMPLES_MAX).zip(values.chunks(chunk::SAMPLES_MAX));
        for (part, (timestamps, values)) in chunks.enumerate() {
            let start = self.bytes.len();
            self.encode(encoder, timestamps, values, hint);
            let place = ChunkPlace { metric, series, part: part as u16 };
            self.chunks.push((place, start..self.bytes.len()));
        }
    }

    /// Adds all histograms that a series has in this run.
    pub fn push_histograms(&mut self, encoder: &mut Encoder, metric: MetricId, series: SeriesId, samples: &[Sample]) {
        self.samples += samples.len() as u64;
        let start = self.bytes.len();
        histogram::chunk::encode(encoder, bucket_start(self.key.bucket), samples, &mut self.bytes);
        if start < self.bytes.len() {
            self.histograms.push((ChunkPlace { metric, series, part: 0 }, start..self.bytes.len()));
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
        let next = self.blocks.len() as u32;
        let hash = times_hash(timestamps);
        if let Some(&id) = self.times.get(&hash) {
            self.shared_uses += 1;
            return (self.blocks[id as usize] == timestamps).then_some(id);
        }
        if self.blocks.len() >= TIMES_TRIED && self.shared_uses < self.blocks.len() {
            return None;
        }
        self.times.insert(hash, next);
        self.blocks.push(timestamps.to_vec());
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

    /// Writes what was collected to a file when it is much, so that a bucket of any size can be compacted.
    /// Only for a caller whose series come in the order of (metric, series).
    pub fn spill_if_large(&mut self, rocks: &Rocks, files: &SortedFiles, bytes_max: usize) -> Result<()> {
        if self.bytes.len() < bytes_max {
            return Ok(());
        }
        // One file for each kind, so that the ranges of the files of a run do not overlap.
        for (kind, chunks) in [(ChunkKind::Floats, &mut self.chunks), (ChunkKind::Histograms, &mut self.histograms)] {
            if chunks.is_empty() {
                continue;
            }
            let mut file = rocks.sorted_file(&files.next())?;
            for (place, range) in chunks.drain(..) {
                file.put(&self.key.chunk(kind, place), &self.bytes[range])?;
            }
            self.spilled.push(file.finish()?);
        }
        self.bytes.clear();
        Ok(())
    }

    /// Writes the run into one sorted file (and those spilled before), ingests them together, durably, and
    /// answers the run. Its chunks stay in memory unless some were spilled.
    pub fn finish(mut self, rocks: &Rocks, encoder: &mut Encoder, files: &SortedFiles) -> Result<Run> {
        let mut paths = std::mem::take(&mut self.spilled);
        let is_whole = paths.is_empty() && u32::try_from(self.bytes.len()).is_ok();
        if !paths.is_empty() {
            self.spill_if_large(rocks, files, 1)?;
            paths.append(&mut self.spilled);
        }
        self.chunks.sort_unstable_by_key(|chunk| chunk.0);
        self.histograms.sort_unstable_by_key(|chunk| chunk.0);
        if !(self.blocks.is_empty() && self.chunks.is_empty() && self.histograms.is_empty()) {
            paths.push(self.write_file(rocks, encoder, files)?);
        }
        let family = self.key.family();
        rocks.create_family(&family)?;
        rocks.ingest(&family, paths)?;
        if !is_whole {
            return Ok(Run::on_disk(self.key));
        }
        let (floats, histograms) = (table(&self.bytes, self.chunks), table(&self.bytes, self.histograms));
        Ok(Run::recent(self.key, RecentChunks::new(self.key.bucket, floats, histograms, self.blocks)))
    }

    /// Writes shared timestamps and the chunks in memory, which are sorted.
    fn write_file(&self, rocks: &Rocks, encoder: &mut Encoder, files: &SortedFiles) -> Result<PathBuf> {
        let mut file = rocks.sorted_file(&files.next())?;
        let mut block = Vec::new();
        for (id, timestamps) in self.blocks.iter().enumerate() {
            block.clear();
            encoder.encode_times(bucket_start(self.key.bucket), timestamps, &mut block);
            file.put(&self.key.times(id as u32), &block)?;
        }
        for (kind, chunks) in [(ChunkKind::Floats, &self.chunks), (ChunkKind::Histograms, &self.histograms)] {
            for (place, range) in chunks {
                file.put(&self.key.chunk(kind, *place), &self.bytes[range.clone()])?;
            }
        }
        file.finish()
    }
}

/// Sorted chunks as they stay in memory.
fn table(bytes: &[u8], chunks: Vec<(ChunkPlace, Range<usize>)>) -> ChunkTable {
    let mut sorted = Vec::with_capacity(chunks.iter().map(|(_, range)| range.len()).sum());
    let mut ends = Vec::with_capacity(chunks.len());
    for (place, range) in chunks {
        sorted.extend_from_slice(&bytes[range]);
        ends.push((place.series, sorted.len() as u32));
    }
    ChunkTable::new(sorted, ends)
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
