//! One shard's part of a request as one batch, or as several when it is large: a log entry should not be much larger than a
//! megabyte, and a write must fit into the bytes that may be in flight.

use bytes::Bytes;
use storage::batch::{BatchBuilder, ConflictPolicy};
use storage::labels::{SeriesId, ShardId};
use storage::{Exemplar, Metadata};

use super::columns::Staged;

/// A larger part of a request becomes several batches, so that no log entry is much larger than a megabyte.
const BATCH_SAMPLES_MAX: usize = 256 * 1024;

/// The same for label sets of new series, in bytes.
const BATCH_LABEL_BYTES_MAX: usize = 2 << 20;

/// The same for exemplars and metadata, in bytes.
const BATCH_BESIDE_BYTES_MAX: usize = 1 << 20;

/// The same for histograms, in bytes.
const BATCH_HISTOGRAM_BYTES_MAX: usize = 1 << 20;

/// One shard's part, encoded.
pub struct ShardBatch {
    pub shard: ShardId,
    pub samples: u64,
    /// How many of the samples are histograms.
    pub histograms: u64,
    pub payload: Bytes,
}

/// Collects one shard's batches.
pub struct ShardEncoder {
    shard: ShardId,
    builder: BatchBuilder,
    label_bytes: usize,
    histograms: u64,
    done: Vec<ShardBatch>,
}

impl ShardEncoder {
    pub fn new(shard: ShardId, policy: ConflictPolicy) -> ShardEncoder {
        ShardEncoder { shard, builder: BatchBuilder::new(policy), label_bytes: 0, histograms: 0, done: Vec::new() }
    }

    /// Samples of a series whose id is known.
    pub fn push_known<'a>(&mut self, series: SeriesId, samples: impl Iterator<Item = (&'a i64, &'a f64)>) {
        for (&t, &v) in samples {
            self.builder.push(series, t, v);
            if self.builder.len() >= BATCH_SAMPLES_MAX {
                self.flush();
            }
        }
    }

    /// Samples of a series that the shard learns with this batch.
    pub fn push_new<'a>(&mut self, labels: &[u8], samples: impl Iterator<Item = (&'a i64, &'a f64)>) {
        let mut defined = None;
        for (&t, &v) in samples {
            let series = *defined.get_or_insert_with(|| {
                self.label_bytes += labels.len();
                self.builder.define(labels)
            });
            self.builder.push_defined(series, t, v);
            if self.builder.len() >= BATCH_SAMPLES_MAX {
                self.flush();
                defined = None;
            }
        }
        if self.label_bytes >= BATCH_LABEL_BYTES_MAX {
            self.flush();
        }
    }

    /// Samples, histograms among them, of a series whose id is known.
    pub fn push_known_mixed<'a>(&mut self, series: SeriesId, samples: impl Iterator<Item = (i64, Staged<'a>)>) {
        for (timestamp_ms, value) in samples {
            match value {
                Staged::Float(value) => self.builder.push(series, timestamp_ms, value),
                Staged::Histogram(encoded) => {
                    self.histograms += 1;
                    self.builder.push_histogram(series, timestamp_ms, encoded);
                }
            }
            self.flush_if_full();
        }
    }

    /// Samples, histograms among them, of a series that the shard learns with this batch.
    pub fn push_new_mixed<'a>(&mut self, labels: &[u8], samples: impl Iterator<Item = (i64, Staged<'a>)>) {
        let mut defined = None;
        for (timestamp_ms, value) in samples {
            let series = *defined.get_or_insert_with(|| {
                self.label_bytes += labels.len();
                self.builder.define(labels)
            });
            match value {
                Staged::Float(value) => self.builder.push_defined(series, timestamp_ms, value),
                Staged::Histogram(encoded) => {
                    self.histograms += 1;
                    self.builder.push_defined_histogram(series, timestamp_ms, encoded);
                }
            }
            if self.flush_if_full() {
                defined = None;
            }
        }
    }

    fn flush_if_full(&mut self) -> bool {
        let is_full = self.builder.len() >= BATCH_SAMPLES_MAX
            || self.builder.histogram_bytes() >= BATCH_HISTOGRAM_BYTES_MAX
            || self.label_bytes >= BATCH_LABEL_BYTES_MAX;
        if is_full {
            self.flush();
        }
        is_full
    }

    /// Exemplars of a series whose id is known.
    pub fn push_known_exemplars<'a>(&mut self, series: SeriesId, exemplars: impl Iterator<Item = &'a Exemplar>) {
        for exemplar in exemplars {
            self.builder.push_exemplar(series, exemplar);
            self.flush_if_much_is_beside();
        }
    }

    /// Exemplars of a series that the shard has learnt with the samples before, in this batch or an earlier one.
    pub fn push_new_exemplars<'a>(&mut self, labels: &[u8], exemplars: impl Iterator<Item = &'a Exemplar>) {
        let mut defined = None;
        for exemplar in exemplars {
            let series = *defined.get_or_insert_with(|| self.builder.define(labels));
            self.builder.push_defined_exemplar(series, exemplar);
            if self.flush_if_much_is_beside() {
                defined = None;
            }
        }
    }

    /// What is said about a metric.
    pub fn push_metadata(&mut self, metadata: &Metadata) {
        self.builder.push_metadata(metadata);
        self.flush_if_much_is_beside();
    }

    fn flush_if_much_is_beside(&mut self) -> bool {
        let is_much = self.builder.beside_bytes() >= BATCH_BESIDE_BYTES_MAX;
        if is_much {
            self.flush();
        }
        is_much
    }

    fn flush(&mut self) {
        if !self.builder.is_empty() {
            let payload = Bytes::from(self.builder.encode());
            self.done.push(ShardBatch {
                shard: self.shard,
                samples: self.builder.len() as u64,
                histograms: std::mem::take(&mut self.histograms),
                payload,
            });
            self.builder.clear();
            self.label_bytes = 0;
        }
    }

    pub fn finish(mut self) -> Vec<ShardBatch> {
        self.flush();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_label_bytes_make_several_batches_and_lose_nothing() {
        let mut encoder = ShardEncoder::new(3, ConflictPolicy::Reject);
        let value = "v".repeat(10_000);
        for number in 0..1_000 {
            let mut canonical = Vec::new();
            let name = format!("metric_{number}");
            storage::labels::canonicalize(&mut vec![("__name__", name.as_str()), ("long", value.as_str())], &mut canonical).expect("valid");
            encoder.push_new(&canonical, [(&1_000, &1.0), (&2_000, &2.0)].into_iter());
        }
        let batches = encoder.finish();
        assert_eq!(batches.iter().map(|batch| batch.samples).sum::<u64>(), 2_000);
        assert!((4..=6).contains(&batches.len()), "{} batches", batches.len());
        assert!(batches.iter().all(|batch| batch.shard == 3 && batch.payload.len() < 2 * BATCH_LABEL_BYTES_MAX));
    }

    #[test]
    fn a_long_series_is_defined_again_in_its_next_batch() {
        let samples = BATCH_SAMPLES_MAX + 1;
        let timestamps: Vec<i64> = (0..samples as i64).collect();
        let mut canonical = Vec::new();
        storage::labels::canonicalize(&mut vec![("__name__", "long")], &mut canonical).expect("valid");
        let mut encoder = ShardEncoder::new(0, ConflictPolicy::Reject);
        encoder.push_new(&canonical, timestamps.iter().zip(std::iter::repeat(&1.0)));
        let batches = encoder.finish();
        let definitions = |batch: &ShardBatch| storage::batch::BatchReader::parse(&batch.payload).expect("good").definitions().len();
        assert_eq!(
            batches.iter().map(|batch| (batch.samples, definitions(batch))).collect::<Vec<_>>(),
            [(BATCH_SAMPLES_MAX as u64, 1), (1, 1)]
        );
    }
}
