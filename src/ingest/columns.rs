//! The staging area between the protocols and the writer: one request as a struct of arrays.
//!
//! Ingest runs in three passes over a whole request: *parse all* (a decoder fills [`Columns`]), *look up all* (the
//! writer turns each series' key into a shard and a series id), *append all* (timestamps and values go into one batch a
//! shard). Nothing is allocated per sample; a `Columns` is cleared and used again for the next request.
//!
//! A series is staged as its *key*: the bytes of its labels as they stand in the request. The same sender repeats the
//! same bytes every 15 seconds, so the writer hashes the key, finds the series in its cache, and the labels are never
//! looked at; [`Columns::labels`] decodes, sorts and validates them for the few series the cache does not know. Two
//! keys may mean the same series (another label order); that only costs a second cache entry.
//!
//! Invariants:
//! - samples of a series are contiguous; series stand in the order of the request;
//! - `timestamps.len() == values.len()`;
//! - every key range lies inside the body or the arena, as its form says.

use storage::{Exemplar, Histogram, Metadata, MetricType, histogram};

use super::decode_error::DecodeError;
use super::label_forms::{self, LabelProblem};

/// How the bytes of a key encode labels, and where they stand. Two keys mean the same labels only if their forms are
/// equal too, so the form belongs into the cache's hash: see [`Columns::key_seed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyForm {
    /// In the body: a run of protobuf `Label label = 1` records of a remote write 1.0 series.
    Protobuf = 1,
    /// In the body: `name{a="b"}` of the text exposition format, free of escapes.
    Text = 2,
    /// In the arena: length-prefixed names and values in the sender's order.
    Pairs = 3,
}

/// One series of the request. Its samples end where those of the next series begin.
#[derive(Debug, Clone, Copy)]
struct Series {
    key_start: u32,
    key_end: u32,
    first_sample: u32,
    form: KeyForm,
}

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Staged<'a> {
    Float(f64),
    /// The encoded form.
    Histogram(&'a [u8]),
}

/// The encoded form of a sample that is a histogram.
#[derive(Debug, Clone, Copy)]
struct StagedHistogram {
    /// Position among the samples.
    sample: u32,
    /// Where it ends in `histogram_bytes`.
    end: usize,
}

/// Series that were not staged because their references into the symbol table, or their shape, are invalid. The rest of
/// the request stands: remote write 2.0 commits the good series and answers 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSeries {
    /// Position in the request, from 0.
    pub position: usize,
    pub samples: usize,
    pub histograms: usize,
    pub reason: String,
}

/// So many refused series are listed one by one; further ones are counted in the last entry. A hostile request could
/// hold millions.
pub const REFUSED_LISTED_MAX: usize = 64;

/// Exemplars, and as many entries of metadata, that one request may carry; a few bytes of a body can mean one. What comes
/// after is not stored.
pub const SIDE_ENTRIES_MAX: usize = 100_000;

/// Bound of the labels that a request of so many bytes may spell out in the arena: few bytes of references can mean many of
/// labels. Honest requests stay below 16 times their size.
pub fn arena_bytes_max(body_bytes: usize) -> usize {
    (32 * body_bytes).clamp(1 << 20, 64 << 20)
}

/// One metadata message of remote write 2.0; its references are those of the symbol table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataReferences {
    pub metric: u32,
    pub metric_type: MetricType,
    pub help: u32,
    pub unit: u32,
}

/// One parsed request.
#[derive(Debug, Default)]
pub struct Columns {
    series: Vec<Series>,
    arena: Vec<u8>,
    /// Milliseconds since 1970, one for each sample.
    pub timestamps: Vec<i64>,
    /// One for each sample; any bit pattern, the stale marker included. That of a histogram is its marker.
    pub values: Vec<f64>,
    /// Native histograms, in the order of their samples.
    staged: Vec<StagedHistogram>,
    histogram_bytes: Vec<u8>,
    /// With the staged series that each belongs to, in the order of the series.
    pub exemplars: Vec<(u32, Exemplar)>,
    /// Exemplars that cannot be stored: labels too long, twice or no text, or too many in one request.
    pub exemplars_refused: usize,
    pub metadata: Vec<Metadata>,
    pub refused: Vec<RefusedSeries>,
    /// Series of a text format whose keys stand in the arena, and where their lines begin in the body.
    places: Vec<(u32, u32)>,
    /// Scratch of the remote write 2.0 decoder: where each symbol stands in the body, and the references of one series.
    pub(super) symbols: Vec<(u32, u32)>,
    pub(super) references: Vec<u32>,
    /// What that decoder staged last as metadata.
    pub(super) metadata_last: Option<MetadataReferences>,
}

impl Columns {
    #[cfg(test)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the request, keeps the memory.
    pub fn clear(&mut self) {
        self.series.clear();
        self.arena.clear();
        self.timestamps.clear();
        self.values.clear();
        self.staged.clear();
        self.histogram_bytes.clear();
        self.exemplars.clear();
        self.exemplars_refused = 0;
        self.metadata.clear();
        self.refused.clear();
        self.places.clear();
        self.symbols.clear();
        self.references.clear();
        self.metadata_last = None;
    }

    /// Bytes held, so that a pool can drop a `Columns` that one huge request has blown up.
    pub fn capacity_bytes(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + self.places.capacity() * 8
            + self.arena.capacity()
            + (self.timestamps.capacity() + self.values.capacity()) * 8
            + self.exemplars.capacity() * size_of::<(u32, Exemplar)>()
            + self.metadata.capacity() * size_of::<Metadata>()
            + self.staged.capacity() * size_of::<StagedHistogram>()
            + self.histogram_bytes.capacity()
            + self.symbols.capacity() * 8
    }

    /// Bytes of the request that is staged.
    pub fn bytes(&self) -> usize {
        self.series.len() * size_of::<Series>() + self.arena.len() + self.timestamps.len() * 16 + self.histogram_bytes.len()
    }

    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    pub fn sample_count(&self) -> usize {
        self.timestamps.len()
    }

    /// The samples of one series, as a range of `timestamps` and `values`.
    #[inline]
    pub fn samples(&self, series: usize) -> std::ops::Range<usize> {
        let start = self.series[series].first_sample as usize;
        let end = match self.series.get(series + 1) {
            Some(next) => next.first_sample as usize,
            None => self.timestamps.len(),
        };
        start..end
    }

    /// The label bytes of one series. `body` must be the slice that was parsed.
    #[inline]
    pub fn key<'a>(&'a self, body: &'a [u8], series: usize) -> &'a [u8] {
        let entry = &self.series[series];
        let range = entry.key_start as usize..entry.key_end as usize;
        match entry.form {
            KeyForm::Protobuf | KeyForm::Text => &body[range],
            KeyForm::Pairs => &self.arena[range],
        }
    }

    /// What must seed the hash of a key, because equal bytes of different forms are different labels.
    #[inline]
    pub fn key_seed(&self, series: usize) -> u64 {
        self.series[series].form as u64
    }

    /// The labels of one series, appended to `out`, then sorted by name and validated: UTF-8, no empty or duplicate
    /// name, a metric name. Labels with an empty value are kept (the canonical form drops them).
    ///
    /// Asked only for series that the cache does not know: a key that was valid once is valid always.
    /// `out` is cleared first; on an error its content is unspecified.
    pub fn labels<'a>(&'a self, body: &'a [u8], series: usize, out: &mut Vec<(&'a str, &'a str)>) -> Result<(), LabelProblem> {
        out.clear();
        self.pairs(body, series, out)?;
        label_forms::sort_and_validate(out)
    }

    /// As they stand, neither sorted nor checked.
    fn pairs<'a>(&'a self, body: &'a [u8], series: usize, out: &mut Vec<(&'a str, &'a str)>) -> Result<(), LabelProblem> {
        let key = self.key(body, series);
        match self.series[series].form {
            KeyForm::Protobuf => label_forms::protobuf_labels(key, out),
            KeyForm::Text => label_forms::text_labels(key, out),
            KeyForm::Pairs => label_forms::pair_labels(key, out),
        }
    }

    /// Gives every series these labels; labels of the same names that it has give way. Series whose labels cannot be
    /// read stay as they are: they are refused with the reason later. Errors when the labels become too large together.
    pub fn set_labels(&mut self, body: &[u8], labels: &[(String, String)]) -> Result<(), DecodeError> {
        let limit_bytes = arena_bytes_max(body.len()) + self.arena.len();
        let mut key = Vec::new();
        for series in 0..self.series.len() {
            let mut pairs = Vec::new();
            if self.pairs(body, series, &mut pairs).is_err() {
                continue;
            }
            key.clear();
            for (name, value) in pairs.iter().filter(|(name, _)| labels.iter().all(|(given, _)| given != name)) {
                label_forms::push_pair(&mut key, name.as_bytes(), value.as_bytes());
            }
            for (name, value) in labels {
                label_forms::push_pair(&mut key, name.as_bytes(), value.as_bytes());
            }
            let key_start = self.arena.len() as u32;
            self.arena.extend_from_slice(&key);
            if self.arena.len() > limit_bytes {
                return Err(DecodeError::TooLarge { what: "text of all labels together", limit_bytes });
            }
            self.series[series] = Series { key_start, key_end: self.arena.len() as u32, form: KeyForm::Pairs, ..self.series[series] };
        }
        Ok(())
    }

    /// Line of the body, from 1, at which a series of a text format stands; for messages about its labels.
    pub fn line(&self, body: &[u8], series: usize) -> Option<usize> {
        let entry = &self.series[series];
        let place = match entry.form {
            KeyForm::Text => entry.key_start,
            _ => self.places[self.places.binary_search_by_key(&(series as u32), |place| place.0).ok()?].1,
        };
        let before = body.get(..place as usize)?;
        Some(1 + before.iter().filter(|&&byte| byte == b'\n').count())
    }

    /// Opens a series whose key stands in the body. Samples pushed from now on belong to it.
    #[inline]
    pub(super) fn begin_series(&mut self, form: KeyForm, key_start: usize, key_end: usize) {
        debug_assert!(form != KeyForm::Pairs, "pairs live in the arena");
        self.series.push(Series { key_start: key_start as u32, key_end: key_end as u32, first_sample: self.timestamps.len() as u32, form });
    }

    /// Where the next key of the arena begins; pass it to [`Self::begin_series_from_arena`] after pushing the pairs.
    #[inline]
    pub(super) fn arena_mark(&self) -> usize {
        self.arena.len()
    }

    /// Appends one label to the key being built in the arena.
    #[inline]
    pub(super) fn push_pair(&mut self, name: &[u8], value: &[u8]) {
        label_forms::push_pair(&mut self.arena, name, value);
    }

    /// Opens a series whose key is everything pushed to the arena since `mark`.
    #[inline]
    pub(super) fn begin_series_from_arena(&mut self, mark: usize) {
        self.series.push(Series {
            key_start: mark as u32,
            key_end: self.arena.len() as u32,
            first_sample: self.timestamps.len() as u32,
            form: KeyForm::Pairs,
        });
    }

    /// Where the series begun last stands in the body, for messages about it; only of text formats.
    #[inline]
    pub(super) fn remember_place(&mut self, place: usize) {
        self.places.push((self.series.len() as u32 - 1, place as u32));
    }

    /// Appends one half of a label: names and values alternate.
    #[inline]
    pub(super) fn push_text(&mut self, text: &[u8]) {
        label_forms::push_text(&mut self.arena, text);
    }

    /// Appends text that stands behind its length already.
    #[inline]
    pub(super) fn push_prefixed(&mut self, text: &[u8]) {
        self.arena.extend_from_slice(text);
    }

    /// Like [`Self::begin_series_from_arena`], for samples that were pushed before the labels were known.
    #[inline]
    pub(super) fn begin_series_behind(&mut self, mark: usize, first_sample: usize) {
        self.begin_series_from_arena(mark);
        if let Some(last) = self.series.last_mut() {
            last.first_sample = first_sample as u32;
        }
    }

    /// Replaces the key of the series begun last by everything pushed to the arena since `mark`.
    pub(super) fn rekey_from_arena(&mut self, mark: usize) {
        if let Some(last) = self.series.last_mut() {
            last.key_start = mark as u32;
            last.key_end = self.arena.len() as u32;
            last.form = KeyForm::Pairs;
        }
    }

    /// Forgets pairs pushed since `mark`: the series turned out to be invalid.
    pub(super) fn rewind_arena(&mut self, mark: usize) {
        self.arena.truncate(mark);
    }

    /// Lists a series that is not staged, or counts it if too many are listed already.
    pub(super) fn refuse(&mut self, refused: RefusedSeries) {
        match self.refused.get_mut(REFUSED_LISTED_MAX - 1) {
            Some(last) => {
                last.samples += refused.samples;
                last.histograms += refused.histograms;
            }
            None => self.refused.push(refused),
        }
    }

    /// Adds a sample to the series begun last.
    #[inline]
    pub(super) fn push_sample(&mut self, timestamp_ms: i64, value: f64) {
        self.timestamps.push(timestamp_ms);
        self.values.push(histogram::ordinary(value));
    }

    /// Adds a histogram, which is valid, to the series begun last.
    pub(super) fn push_histogram(&mut self, timestamp_ms: i64, histogram: &Histogram) {
        self.timestamps.push(timestamp_ms);
        self.push_histogram_value(histogram);
    }

    /// The same for a protocol that brings times and values one after the other.
    pub(super) fn push_histogram_value(&mut self, histogram: &Histogram) {
        let start = self.histogram_bytes.len();
        histogram.encode(&mut self.histogram_bytes);
        let marker = histogram::marker_of(&self.histogram_bytes[start..]);
        self.staged.push(StagedHistogram { sample: self.values.len() as u32, end: self.histogram_bytes.len() });
        self.values.push(f64::from_bits(marker));
    }

    /// Histograms among all samples.
    pub fn histogram_count(&self) -> usize {
        self.staged.len()
    }

    /// Whether a series has histograms.
    #[inline]
    pub fn has_histograms(&self, samples: &std::ops::Range<usize>) -> bool {
        !self.staged.is_empty() && self.first_histogram(samples.start) < self.first_histogram(samples.end)
    }

    /// Position among the histograms of the first one whose sample is not before this.
    fn first_histogram(&self, sample: usize) -> usize {
        self.staged.partition_point(|staged| (staged.sample as usize) < sample)
    }

    /// Samples of a series that has histograms.
    pub fn mixed(&self, samples: std::ops::Range<usize>) -> impl Iterator<Item = (i64, Staged<'_>)> {
        let mut next = self.first_histogram(samples.start);
        samples.map(move |sample| {
            let value = match self.staged.get(next).filter(|staged| staged.sample as usize == sample) {
                Some(staged) => {
                    let start = if next == 0 { 0 } else { self.staged[next - 1].end };
                    next += 1;
                    Staged::Histogram(&self.histogram_bytes[start..staged.end])
                }
                None => Staged::Float(self.values[sample]),
            };
            (self.timestamps[sample], value)
        })
    }

    /// Takes back the samples from `first` on.
    pub(super) fn rewind_samples(&mut self, first: usize) {
        self.timestamps.truncate(first);
        self.values.truncate(first);
        let kept = self.staged.partition_point(|staged| (staged.sample as usize) < first);
        self.staged.truncate(kept);
        self.histogram_bytes.truncate(self.staged.last().map_or(0, |staged| staged.end));
    }

    /// Appends an exemplar of the series begun last. One that OpenMetrics does not allow is counted and left out.
    pub(super) fn push_exemplar(&mut self, exemplar: &Exemplar) {
        let Some(series) = self.series.len().checked_sub(1) else { return };
        if self.exemplars.len() < SIDE_ENTRIES_MAX && exemplar.is_valid() {
            self.exemplars.push((series as u32, exemplar.clone()));
        } else {
            self.exemplars_refused += 1;
        }
    }

    /// Appends what is said about a metric.
    pub(super) fn push_metadata(&mut self, metadata: Metadata) {
        if self.metadata.len() < SIDE_ENTRIES_MAX && !metadata.metric.is_empty() {
            self.metadata.push(metadata.shortened());
        }
    }
}
