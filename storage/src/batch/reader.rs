//! Opens an encoded batch: checksum first, then sections, then columns in tight loops.

use super::beside::{self, Deletion, ExemplarTarget};
use super::{
    CHECKSUM_BYTES, Columns, ConflictPolicy, NEW_SERIES_MAX, SAMPLES_MAX, SECTION_DEFINITIONS, SECTION_DELETIONS, SECTION_EXEMPLARS,
    SECTION_KNOWN_HISTOGRAMS, SECTION_KNOWN_SAMPLES, SECTION_METADATA, SECTION_NEW_HISTOGRAMS, SECTION_NEW_SAMPLES, TARGET_STEP,
    TIMESTAMP_STEP, VERSION, numbers, runs,
};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exemplar::{Exemplar, Metadata};
use crate::histogram::{self, Histogram};
use crate::labels;
use crate::varint::Cursor;

/// A batch whose checksum and frame are right. How apply uses it: [`Self::definitions`] → numbers of the new
/// series; [`Self::decode_into`]; replace the first [`Self::new_samples`] targets by those numbers; append all.
pub struct BatchReader<'a> {
    policy: ConflictPolicy,
    definitions: Vec<&'a [u8]>,
    new: ColumnsBody<'a>,
    known: ColumnsBody<'a>,
    new_histograms: &'a [u8],
    known_histograms: &'a [u8],
    exemplars: Vec<(ExemplarTarget, Exemplar)>,
    metadata: Vec<Metadata>,
    deletions: Vec<Deletion>,
}

#[derive(Clone, Copy, Default)]
struct ColumnsBody<'a> {
    count: usize,
    body: &'a [u8],
}

impl<'a> BatchReader<'a> {
    /// Checks everything but the inside of columns. Never panics, and allocates only in proportion to
    /// `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes, Columns::FORMAT);
        let checksum = u32::from_le_bytes(cursor.array::<CHECKSUM_BYTES>()?);
        if crc32c::crc32c(cursor.rest()) != checksum {
            return Err(cursor.corrupt("checksum differs"));
        }
        match cursor.byte()? {
            VERSION => {}
            version => return Err(Error::Unsupported { what: "batch version", found: u64::from(version) }),
        }
        let policy = ConflictPolicy::from_byte(cursor.byte()?).ok_or_else(|| cursor.corrupt("unknown conflict policy"))?;
        let empty = ColumnsBody::default();
        let mut reader = Self {
            policy,
            definitions: Vec::new(),
            new: empty,
            known: empty,
            new_histograms: &[],
            known_histograms: &[],
            exemplars: Vec::new(),
            metadata: Vec::new(),
            deletions: Vec::new(),
        };
        let mut last_tag = 0;
        while !cursor.is_empty() {
            let tag = cursor.varint()?;
            if tag <= last_tag {
                return Err(cursor.corrupt("sections out of order"));
            }
            last_tag = tag;
            let length = cursor.count(usize::MAX)?;
            reader.open_section(tag, cursor.take(length)?)?;
        }
        Ok(reader)
    }

    fn open_section(&mut self, tag: u64, body: &'a [u8]) -> Result<()> {
        let mut cursor = Cursor::new(body, Columns::FORMAT);
        match tag {
            SECTION_DEFINITIONS => self.definitions = read_definitions(&mut cursor)?,
            SECTION_NEW_SAMPLES | SECTION_KNOWN_SAMPLES => {
                let count = cursor.count(SAMPLES_MAX)?;
                // Every value has half a byte at least, so a small batch cannot claim many samples.
                if count.div_ceil(2) > cursor.rest().len() {
                    return Err(cursor.corrupt("more samples than bytes for them"));
                }
                let columns = ColumnsBody { count, body: cursor.rest() };
                *if tag == SECTION_NEW_SAMPLES { &mut self.new } else { &mut self.known } = columns;
            }
            SECTION_NEW_HISTOGRAMS => self.new_histograms = body,
            SECTION_KNOWN_HISTOGRAMS => self.known_histograms = body,
            SECTION_EXEMPLARS => self.exemplars = beside::read_exemplars(body, self.definitions.len())?,
            SECTION_METADATA => self.metadata = beside::read_metadata(body)?,
            SECTION_DELETIONS => self.deletions = beside::read_deletions(body)?,
            other => return Err(Error::Unsupported { what: "batch section", found: other }),
        }
        Ok(())
    }

    /// What to do with conflicting samples.
    pub fn policy(&self) -> ConflictPolicy {
        self.policy
    }

    /// Canonical label bytes of the new series, each already validated.
    pub fn definitions(&self) -> &[&'a [u8]] {
        &self.definitions
    }

    /// Exemplars with their series; positions are checked, numbers are whatever the sender wrote.
    pub fn exemplars(&self) -> &[(ExemplarTarget, Exemplar)] {
        &self.exemplars
    }

    /// What is said about metrics.
    pub fn metadata(&self) -> &[Metadata] {
        &self.metadata
    }

    /// Deletions, to be done after everything else.
    pub fn deletions(&self) -> &[Deletion] {
        &self.deletions
    }

    /// Samples in the batch.
    pub fn len(&self) -> usize {
        self.new.count + self.known.count
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the samples, from the first on, have a definition's position as their target.
    pub fn new_samples(&self) -> usize {
        self.new.count
    }

    /// Replaces the content of `columns` by all samples, those of new series first. Targets of these are
    /// checked to be positions of definitions; other targets are whatever the sender wrote.
    /// On an error the content is unspecified.
    pub fn decode_into(&self, columns: &mut Columns) -> Result<()> {
        columns.clear();
        decode_columns(self.new, columns)?;
        if columns.targets.iter().any(|&target| target as usize >= self.definitions.len()) {
            return Err(Error::Corrupt { what: Columns::FORMAT, detail: "a sample of a series that is not defined" });
        }
        let known = columns.len();
        decode_columns(self.known, columns)?;
        let (new_values, known_values) = columns.values.split_at(known);
        take_histograms(self.new_histograms, new_values, &mut columns.histograms)?;
        take_histograms(self.known_histograms, known_values, &mut columns.histograms)
    }
}

fn read_definitions<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<&'a [u8]>> {
    let count = cursor.count(NEW_SERIES_MAX.min(cursor.rest().len()))?;
    let mut definitions = Vec::with_capacity(count);
    for _ in 0..count {
        let length = cursor.count(usize::MAX)?;
        let definition = cursor.take(length)?;
        labels::validate(definition)?;
        definitions.push(definition);
    }
    if cursor.is_empty() { Ok(definitions) } else { Err(cursor.corrupt("definitions have bytes left over")) }
}

/// Reads the payloads of the markers among `values`: as many as there are, each with its own hash, each a histogram that may be stored.
fn take_histograms(payloads: &[u8], values: &[f64], into: &mut Vec<Arc<[u8]>>) -> Result<()> {
    // One pass without branches over what are usually floats only.
    let markers = values.iter().fold(0usize, |sum, value| sum + usize::from(histogram::is_marker(value.to_bits())));
    let mut cursor = Cursor::new(payloads, Columns::FORMAT);
    if markers > 0 {
        into.reserve(markers.min(payloads.len()));
        for marker in values.iter().map(|value| value.to_bits()).filter(|&bits| histogram::is_marker(bits)) {
            let length = cursor.count(usize::MAX)?;
            let payload = cursor.take(length)?;
            if histogram::marker_of(payload) != marker {
                return Err(cursor.corrupt("a histogram that its marker does not name"));
            }
            if Histogram::decode(payload)?.validate().is_err() {
                return Err(cursor.corrupt("a histogram that is not valid"));
            }
            into.push(payload.into());
        }
    }
    if cursor.is_empty() { Ok(()) } else { Err(cursor.corrupt("histograms left over")) }
}

fn decode_columns(columns: ColumnsBody<'_>, into: &mut Columns) -> Result<()> {
    if columns.count == 0 {
        return Ok(());
    }
    let mut cursor = Cursor::new(columns.body, Columns::FORMAT);
    let length = cursor.count(usize::MAX)?;
    runs::decode(cursor.take(length)?, columns.count, TARGET_STEP, &mut into.targets)?;
    let length = cursor.count(usize::MAX)?;
    runs::decode(cursor.take(length)?, columns.count, TIMESTAMP_STEP, &mut into.timestamps)?;
    numbers::decode(&mut cursor, columns.count, &mut into.values)?;
    if cursor.is_empty() { Ok(()) } else { Err(cursor.corrupt("columns have bytes left over")) }
}
