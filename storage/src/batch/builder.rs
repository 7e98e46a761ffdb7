//! Collects samples and encodes them once. Meant to be kept and reused: nothing is allocated per sample.

use super::beside::{self, Deletion, ExemplarTarget};
use super::{
    CHECKSUM_BYTES, Columns, ConflictPolicy, NEW_SERIES_MAX, SAMPLES_MAX, SECTION_DEFINITIONS, SECTION_DELETIONS, SECTION_EXEMPLARS,
    SECTION_KNOWN_HISTOGRAMS, SECTION_KNOWN_SAMPLES, SECTION_METADATA, SECTION_NEW_HISTOGRAMS, SECTION_NEW_SAMPLES, TARGET_STEP,
    TIMESTAMP_STEP, VERSION, numbers, runs,
};
use crate::exemplar::{Exemplar, Metadata};
use crate::histogram;
use crate::labels::SeriesId;
use crate::varint;

/// A series defined in the batch being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSeries(u32);

/// See the module's story. The order of samples of one series is kept, so that "last write wins" also
/// holds within a batch, except that samples of new series come before those of known ones.
pub struct BatchBuilder {
    policy: ConflictPolicy,
    definitions: Vec<u8>,
    defined: u32,
    new: Columns,
    pub(super) known: Columns,
    /// Payloads of new and of known series, as their sections hold them.
    new_histograms: Vec<u8>,
    known_histograms: Vec<u8>,
    exemplars: Records,
    metadata: Records,
    deletions: Records,
    numbers: numbers::Encoder,
    scratch: Vec<u8>,
    section: Vec<u8>,
}

/// Encoded records and their number.
#[derive(Default)]
struct Records {
    count: u64,
    bytes: Vec<u8>,
}

impl Records {
    fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }
}

impl BatchBuilder {
    /// An empty batch under `policy`.
    pub fn new(policy: ConflictPolicy) -> Self {
        Self {
            policy,
            definitions: Vec::new(),
            defined: 0,
            new: Columns::default(),
            known: Columns::default(),
            new_histograms: Vec::new(),
            known_histograms: Vec::new(),
            exemplars: Records::default(),
            metadata: Records::default(),
            deletions: Records::default(),
            numbers: numbers::Encoder::default(),
            scratch: Vec::new(),
            section: Vec::new(),
        }
    }

    /// Starts the next batch in the same memory.
    pub fn clear(&mut self) {
        self.definitions.clear();
        self.defined = 0;
        self.new.clear();
        self.known.clear();
        self.new_histograms.clear();
        self.known_histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.deletions.clear();
    }

    /// Starts the next batch in the same memory, under another policy.
    pub fn restart(&mut self, policy: ConflictPolicy) {
        self.clear();
        self.policy = policy;
    }

    /// Adds a sample of a series whose number is known.
    #[inline]
    pub fn push(&mut self, series: SeriesId, timestamp_ms: i64, value: f64) {
        self.known.push(series, timestamp_ms, value);
    }

    /// Adds a histogram, in its encoded form, of a series whose number is known.
    pub fn push_histogram(&mut self, series: SeriesId, timestamp_ms: i64, encoded: &[u8]) {
        self.known.push(series, timestamp_ms, f64::from_bits(histogram::marker_of(encoded)));
        put_payload(&mut self.known_histograms, encoded);
    }

    /// Adds a histogram, in its encoded form, of a series defined in this batch.
    pub fn push_defined_histogram(&mut self, series: NewSeries, timestamp_ms: i64, encoded: &[u8]) {
        self.new.push(series.0, timestamp_ms, f64::from_bits(histogram::marker_of(encoded)));
        put_payload(&mut self.new_histograms, encoded);
    }

    /// Bytes of the histograms added.
    pub fn histogram_bytes(&self) -> usize {
        self.new_histograms.len() + self.known_histograms.len()
    }

    /// Defines a new series by its canonical label bytes. Should two batches define the same series, it is
    /// created once; apply resolves definitions by label bytes.
    pub fn define(&mut self, canonical_labels: &[u8]) -> NewSeries {
        varint::put(&mut self.definitions, canonical_labels.len() as u64);
        self.definitions.extend_from_slice(canonical_labels);
        self.defined += 1;
        NewSeries(self.defined - 1)
    }

    /// Adds a sample of a series defined in this batch.
    #[inline]
    pub fn push_defined(&mut self, series: NewSeries, timestamp_ms: i64, value: f64) {
        self.new.push(series.0, timestamp_ms, value);
    }

    /// Defines a new series and adds a sample of it.
    pub fn push_new(&mut self, canonical_labels: &[u8], timestamp_ms: i64, value: f64) -> NewSeries {
        let series = self.define(canonical_labels);
        self.push_defined(series, timestamp_ms, value);
        series
    }

    /// Adds an exemplar of a series whose number is known. It must be valid.
    pub fn push_exemplar(&mut self, series: SeriesId, exemplar: &Exemplar) {
        self.exemplars.count += 1;
        beside::put_exemplar(&mut self.exemplars.bytes, ExemplarTarget::Known(series), exemplar);
    }

    /// Adds an exemplar of a series defined in this batch. It must be valid.
    pub fn push_defined_exemplar(&mut self, series: NewSeries, exemplar: &Exemplar) {
        self.exemplars.count += 1;
        beside::put_exemplar(&mut self.exemplars.bytes, ExemplarTarget::Defined(series.0), exemplar);
    }

    /// Adds what is said about a metric.
    pub fn push_metadata(&mut self, metadata: &Metadata) {
        self.metadata.count += 1;
        beside::put_metadata(&mut self.metadata.bytes, metadata);
    }

    /// Adds a deletion. It takes away what the log holds before this batch, and the samples in the batch.
    pub fn push_deletion(&mut self, deletion: &Deletion) {
        self.deletions.count += 1;
        beside::put_deletion(&mut self.deletions.bytes, deletion);
    }

    /// Bytes of what is not samples or definitions.
    pub fn beside_bytes(&self) -> usize {
        self.exemplars.bytes.len() + self.metadata.bytes.len() + self.deletions.bytes.len()
    }

    /// Samples added.
    pub fn len(&self) -> usize {
        self.new.len() + self.known.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.defined == 0 && self.beside_bytes() == 0
    }

    /// Whether the batch must be sent before more is added.
    pub fn is_full(&self) -> bool {
        self.len() >= SAMPLES_MAX || self.defined as usize >= NEW_SERIES_MAX
    }

    /// The encoded batch. The builder keeps its content; call [`Self::clear`] next.
    ///
    /// # Panics
    /// When more was added than a batch may hold; see [`Self::is_full`].
    pub fn encode(&mut self) -> Vec<u8> {
        assert!(self.len() <= SAMPLES_MAX, "{} samples in a batch, at most {SAMPLES_MAX}", self.len());
        assert!(self.defined as usize <= NEW_SERIES_MAX, "{} new series in a batch", self.defined);
        let mut out = Vec::with_capacity(64 + self.definitions.len() + self.histogram_bytes() + self.len() * 4);
        out.extend_from_slice(&[0; CHECKSUM_BYTES]);
        out.extend_from_slice(&[VERSION, self.policy.to_byte()]);
        if self.defined > 0 {
            self.section.clear();
            varint::put(&mut self.section, u64::from(self.defined));
            self.section.extend_from_slice(&self.definitions);
            put_section(&mut out, SECTION_DEFINITIONS, &self.section);
        }
        for (tag, columns) in [(SECTION_NEW_SAMPLES, &self.new), (SECTION_KNOWN_SAMPLES, &self.known)] {
            if !columns.is_empty() {
                self.section.clear();
                put_columns(columns, &mut self.numbers, &mut self.scratch, &mut self.section);
                put_section(&mut out, tag, &self.section);
            }
        }
        for (tag, payloads) in [(SECTION_NEW_HISTOGRAMS, &self.new_histograms), (SECTION_KNOWN_HISTOGRAMS, &self.known_histograms)] {
            if !payloads.is_empty() {
                put_section(&mut out, tag, payloads);
            }
        }
        let beside = [(SECTION_EXEMPLARS, &self.exemplars), (SECTION_METADATA, &self.metadata), (SECTION_DELETIONS, &self.deletions)];
        for (tag, records) in beside.into_iter().filter(|(_, records)| records.count > 0) {
            self.section.clear();
            varint::put(&mut self.section, records.count);
            self.section.extend_from_slice(&records.bytes);
            put_section(&mut out, tag, &self.section);
        }
        let checksum = crc32c::crc32c(&out[CHECKSUM_BYTES..]);
        out[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

fn put_payload(payloads: &mut Vec<u8>, encoded: &[u8]) {
    varint::put(payloads, encoded.len() as u64);
    payloads.extend_from_slice(encoded);
}

fn put_section(out: &mut Vec<u8>, tag: u64, body: &[u8]) {
    varint::put(out, tag);
    varint::put(out, body.len() as u64);
    out.extend_from_slice(body);
}

fn put_columns(columns: &Columns, numbers: &mut numbers::Encoder, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    varint::put(out, columns.len() as u64);
    scratch.clear();
    runs::encode(&columns.targets, TARGET_STEP, scratch);
    varint::put(out, scratch.len() as u64);
    out.extend_from_slice(scratch);
    scratch.clear();
    runs::encode(&columns.timestamps, TIMESTAMP_STEP, scratch);
    varint::put(out, scratch.len() as u64);
    out.extend_from_slice(scratch);
    numbers.encode(&columns.values, out);
}
