//! The plain answer of remote read: one message `prometheus.ReadResponse` with every sample, in snappy's block format.
//!
//! Both the message and snappy begin with sizes that are known only at the end. But a snappy stream is a row of blocks of at
//! most 64 KiB that do not refer to each other. So blocks are made while series come in, only these are kept, and the sizes
//! are put before them at the end. Memory is that of the compressed answer, and bounded.

use bytes::Bytes;
use promql::labels::Labels;
use storage::varint;

use super::histogram_message::put_histogram;
use super::message::{put_double, put_integer, put_labels, put_length, put_message, with_external};
use crate::query::ordered::StoredSeries;

/// A snappy block refers back only inside itself.
const BLOCK_BYTES: usize = 64 << 10;

/// The answer is refused, not cut. The texts tell what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerTooLarge {
    /// In Prometheus' words.
    #[error("exceeded sample limit ({0})")]
    Samples(usize),
    #[error("the answer exceeds {0} bytes (bulk_read.answer_bytes); ask for streamed chunks or a shorter range")]
    Bytes(usize),
}

/// How large an answer may become.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    pub samples: usize,
    /// Compressed.
    pub bytes: usize,
}

/// The answer while it grows.
pub struct SamplesAnswer {
    limits: AnswerLimits,
    samples: usize,
    packed_bytes: usize,
    encoder: snap::raw::Encoder,
    /// One for each query so far.
    results: Vec<QueryResult>,
}

/// `QueryResult { repeated TimeSeries timeseries = 1; }`
#[derive(Default)]
struct QueryResult {
    /// Not compressed yet.
    plain: Vec<u8>,
    /// Size of the message before compression.
    message_bytes: u64,
    blocks: Vec<Bytes>,
}

impl SamplesAnswer {
    pub fn new(limits: AnswerLimits) -> SamplesAnswer {
        SamplesAnswer { limits, samples: 0, packed_bytes: 0, encoder: snap::raw::Encoder::new(), results: Vec::new() }
    }

    /// Ends one query's result and begins the next.
    pub fn begin_query(&mut self) -> Result<(), AnswerTooLarge> {
        self.pack(true)?;
        self.results.push(QueryResult::default());
        Ok(())
    }

    /// Adds a series to the query begun last.
    pub fn add(&mut self, series: &StoredSeries, external: &Labels) -> Result<(), AnswerTooLarge> {
        self.samples += series.timestamps.len() + series.histograms.len();
        if self.samples > self.limits.samples {
            return Err(AnswerTooLarge::Samples(self.limits.samples));
        }
        let Some(result) = self.results.last_mut() else { return Ok(()) };
        put_message(&mut result.plain, 1, |out| put_series(out, series, external));
        self.pack(false)
    }

    /// The whole answer in pieces.
    pub fn finish(mut self) -> Result<Vec<Bytes>, AnswerTooLarge> {
        self.pack(true)?;
        let heads: Vec<Vec<u8>> = self.results.iter().map(QueryResult::head).collect();
        let plain_bytes: u64 = self.results.iter().zip(&heads).map(|(result, head)| head.len() as u64 + result.message_bytes).sum();
        let mut pieces = vec![];
        let mut start = Vec::new();
        varint::put(&mut start, plain_bytes);
        pieces.push(Bytes::from(start));
        for (result, head) in self.results.into_iter().zip(heads) {
            pieces.push(pack_block(&mut self.encoder, &head));
            pieces.extend(result.blocks);
        }
        Ok(pieces)
    }

    /// Compresses what fills blocks; with `all` the rest too.
    fn pack(&mut self, all: bool) -> Result<(), AnswerTooLarge> {
        let Some(result) = self.results.last_mut() else { return Ok(()) };
        let whole = if all { result.plain.len() } else { result.plain.len() / BLOCK_BYTES * BLOCK_BYTES };
        for plain in result.plain[..whole].chunks(BLOCK_BYTES) {
            let block = pack_block(&mut self.encoder, plain);
            self.packed_bytes += block.len();
            if self.packed_bytes > self.limits.bytes {
                return Err(AnswerTooLarge::Bytes(self.limits.bytes));
            }
            result.blocks.push(block);
        }
        result.plain.drain(..whole);
        result.message_bytes += whole as u64;
        Ok(())
    }
}

impl QueryResult {
    /// `ReadResponse { repeated QueryResult results = 1; }`: what stands before this result.
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        put_length(&mut head, 1, self.message_bytes);
        head
    }
}

/// `TimeSeries { repeated Label labels = 1; repeated Sample samples = 2; repeated Histogram histograms = 4; }`,
/// `Sample { double value = 1; int64 timestamp = 2; }`
fn put_series(out: &mut Vec<u8>, series: &StoredSeries, external: &Labels) {
    put_labels(out, 1, &with_external(&series.labels, external));
    for (&timestamp, &value) in series.timestamps.iter().zip(&series.values) {
        put_message(out, 2, |out| {
            put_double(out, 1, value);
            put_integer(out, 2, timestamp);
        });
    }
    for (timestamp, histogram) in &series.histograms {
        put_message(out, 4, |out| put_histogram(out, *timestamp, histogram));
    }
}

/// The elements of one block, without the size that snappy puts before a whole stream.
fn pack_block(encoder: &mut snap::raw::Encoder, plain: &[u8]) -> Bytes {
    // Cannot fail: only inputs of 4 GiB and more do.
    let packed = encoder.compress_vec(plain).unwrap_or_default();
    let size_bytes = packed.iter().position(|&byte| byte < 0x80).map_or(0, |last| last + 1);
    Bytes::from(packed).slice(size_bytes..)
}
