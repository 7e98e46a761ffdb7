//! The streamed answer of remote read: frames `prometheus.ChunkedReadResponse`, each with chunks of one series.
//!
//! A frame is a varint with the message's size, its CRC-32 (Castagnoli) in four bytes, big endian, and the message. A long
//! series goes on in further frames, so that no frame is larger than the receiver may allow.

use promql::labels::Labels;

use super::message::{put_bytes, put_integer, put_labels, put_message, put_unsigned, with_external};
use super::runs::runs;
use crate::query::ordered::StoredSeries;

/// Writes series of one query as frames.
pub struct FrameWriter {
    query_index: i64,
    /// A frame is closed when its chunks have reached this.
    frame_bytes: usize,
    labels: Vec<u8>,
    chunks: Vec<u8>,
    chunk: Vec<u8>,
    message: Vec<u8>,
}

impl FrameWriter {
    pub fn new(query_index: usize, frame_bytes: usize) -> FrameWriter {
        let query_index = query_index as i64;
        FrameWriter { query_index, frame_bytes, labels: Vec::new(), chunks: Vec::new(), chunk: Vec::new(), message: Vec::new() }
    }

    /// Appends the frames of one series to `out`.
    pub fn write(&mut self, series: &StoredSeries, external: &Labels, out: &mut Vec<u8>) {
        self.labels.clear();
        self.chunks.clear();
        put_labels(&mut self.labels, 1, &with_external(&series.labels, external));
        let room = self.frame_bytes.saturating_sub(self.labels.len());
        for run in runs(series) {
            self.chunk.clear();
            run.encode(&mut self.chunk);
            let Some((first, last)) = run.ends() else { continue };
            let before = self.chunks.len();
            put_chunk(&mut self.chunks, first, last, run.encoding(), &self.chunk);
            if self.chunks.len() > room && before > 0 {
                // It did not fit any more: it begins the next frame.
                let rest = self.chunks.split_off(before);
                self.put_frame(out);
                self.chunks = rest;
            }
        }
        self.put_frame(out);
    }

    /// `ChunkedReadResponse { repeated ChunkedSeries chunked_series = 1; int64 query_index = 2; }`,
    /// `ChunkedSeries { repeated Label labels = 1; repeated Chunk chunks = 2; }`
    fn put_frame(&mut self, out: &mut Vec<u8>) {
        self.message.clear();
        let (labels, chunks) = (&self.labels, &self.chunks);
        put_message(&mut self.message, 1, |message| {
            message.extend_from_slice(labels);
            message.extend_from_slice(chunks);
        });
        put_integer(&mut self.message, 2, self.query_index);
        storage::varint::put(out, self.message.len() as u64);
        out.extend_from_slice(&crc32c::crc32c(&self.message).to_be_bytes());
        out.extend_from_slice(&self.message);
        self.chunks.clear();
    }
}

/// `Chunk { int64 min_time_ms = 1; int64 max_time_ms = 2; Encoding type = 3; bytes data = 4; }`
fn put_chunk(out: &mut Vec<u8>, first_ms: i64, last_ms: i64, encoding: u64, data: &[u8]) {
    put_message(out, 2, |out| {
        put_integer(out, 1, first_ms);
        put_integer(out, 2, last_ms);
        put_unsigned(out, 3, encoding);
        put_bytes(out, 4, data);
    });
}
