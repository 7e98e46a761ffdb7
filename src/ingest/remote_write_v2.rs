//! Prometheus remote write 2.0: `io.prometheus.write.v2.Request`, walked by hand over the uncompressed bytes.
//!
//! ```text
//! Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5; }
//! TimeSeries { repeated uint32 labels_refs = 1; repeated Sample samples = 2; repeated Histogram histograms = 3;
//!              repeated Exemplar exemplars = 4; Metadata metadata = 5; }
//! Sample     { double value = 1; int64 timestamp = 2; int64 start_timestamp = 3; }
//! Exemplar   { repeated uint32 labels_refs = 1; double value = 2; int64 timestamp = 3; }
//! Metadata   { MetricType type = 1; uint32 help_ref = 3; uint32 unit_ref = 4; }
//! ```
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>
//!
//! The symbol table is found first, in a pass that steps over the series. On the wire a symbol already stands behind its
//! length, which is how a key in the arena wants it, so resolving a reference is one copy. References differ from request
//! to request for the same series; the resolved key does not.
//!
//! A series whose references or shape are wrong is refused alone, as Prometheus 3 does; its labels themselves (metric
//! name, UTF-8, duplicates) are judged by [`Columns::labels`]. Bytes that are no protobuf refuse the whole request.

use storage::exemplar::LABEL_CHARS_MAX;
use storage::{Exemplar, Metadata, MetricType};

use super::columns::{Columns, MetadataReferences, RefusedSeries, arena_bytes_max};
use super::decode_error::DecodeError;
use super::label_forms::{LabelProblem, METRIC_NAME, SERIES_BYTES_MAX};
use super::protobuf::{Cursor, LENGTH, VARINT, tag};
use super::remote_write_histogram;
use super::remote_write_v1::{EXEMPLAR_TIMESTAMP, EXEMPLAR_VALUE, METRIC_TYPE, parse_sample};

const SYMBOL: u32 = tag(4, LENGTH);
const SERIES: u32 = tag(5, LENGTH);

const REFERENCES: u32 = tag(1, LENGTH);
const REFERENCE: u32 = tag(1, VARINT);
const SAMPLE: u32 = tag(2, LENGTH);
const HISTOGRAM: u32 = tag(3, LENGTH);
const EXEMPLAR: u32 = tag(4, LENGTH);
const METADATA: u32 = tag(5, LENGTH);

/// A text stands behind its length, a varint of at most so many bytes.
const LENGTH_BYTES_MAX: usize = 5;

const HELP: u32 = tag(3, VARINT);
const UNIT: u32 = tag(4, VARINT);

/// UTF-8 takes at most so many bytes a character.
const CHAR_BYTES_MAX: usize = 4;

/// Stages a whole request; series that are refused alone are listed in `columns.refused`. After an error nothing that was
/// staged may be used.
pub fn decode(body: &[u8], columns: &mut Columns) -> Result<(), DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "remote write request", limit_bytes: u32::MAX as usize });
    }
    find_symbols(body, columns)?;
    let mut request = Cursor::new(body);
    let mut position = 0;
    while !request.is_empty() {
        match request.tag()? {
            SERIES => {
                parse_series(body, request.message()?, position, columns)?;
                position += 1;
            }
            other => request.skip(other)?,
        }
    }
    Ok(())
}

/// Where every symbol stands, its length included.
fn find_symbols(body: &[u8], columns: &mut Columns) -> Result<(), DecodeError> {
    columns.symbols.clear();
    let mut request = Cursor::new(body);
    while !request.is_empty() {
        match request.tag()? {
            SYMBOL => {
                let start = request.at() as u32;
                request.bytes()?;
                columns.symbols.push((start, request.at() as u32));
            }
            other => request.skip(other)?,
        }
    }
    Ok(())
}

/// How much of the columns stood before a series, so that it can be taken back.
struct Before {
    arena: usize,
    samples: usize,
    histograms: usize,
}

/// What stands beside a series' samples; looked at when the series is known to be good.
#[derive(Default)]
struct Beside<'a> {
    exemplars: Vec<Cursor<'a>>,
    metadata: Option<Cursor<'a>>,
}

fn parse_series(body: &[u8], mut series: Cursor, position: usize, columns: &mut Columns) -> Result<(), DecodeError> {
    let before = Before { arena: columns.arena_mark(), samples: columns.sample_count(), histograms: columns.histogram_count() };
    let mut beside = Beside::default();
    let mut problem = None;
    columns.references.clear();
    while !series.is_empty() {
        match series.tag()? {
            REFERENCES => parse_references(series.message()?, columns)?,
            REFERENCE => {
                let reference = reference(&mut series)?;
                columns.references.push(reference);
            }
            SAMPLE => {
                let (timestamp_ms, value) = parse_sample(series.message()?)?;
                columns.push_sample(timestamp_ms, value);
            }
            HISTOGRAM => match remote_write_histogram::parse(series.message()?)? {
                Ok((timestamp_ms, histogram)) => columns.push_histogram(timestamp_ms, &histogram),
                Err(reason) => problem = problem.or(Some(reason)),
            },
            EXEMPLAR => beside.exemplars.push(series.message()?),
            METADATA => {
                let metadata = series.message()?;
                beside.metadata = Some(metadata);
                problem = problem.or(check_metadata(metadata, columns.symbols.len())?);
            }
            other => series.skip(other)?,
        }
    }
    let has_none = columns.sample_count() == before.samples;
    let problem = resolve_labels(body, columns)?.or(problem).or_else(|| has_none.then(no_samples));
    match problem {
        None => columns.begin_series_behind(before.arena, before.samples),
        Some(reason) => {
            refuse(columns, &before, position, reason);
            return Ok(());
        }
    }
    for exemplar in beside.exemplars {
        match parse_exemplar(body, exemplar, columns)? {
            Some(exemplar) => columns.push_exemplar(&exemplar),
            None => columns.exemplars_refused += 1,
        }
    }
    beside.metadata.map_or(Ok(()), |metadata| stage_metadata(body, metadata, columns))
}

/// The text that a reference means; none when there is no such symbol, or when it is no text.
fn symbol<'a>(body: &'a [u8], columns: &Columns, reference: u32) -> Option<&'a str> {
    let &(start, end) = columns.symbols.get(reference as usize)?;
    let text = Cursor::new(&body[start as usize..end as usize]).bytes().ok()?;
    std::str::from_utf8(text).ok()
}

/// None when a reference is wrong or the labels are longer than allowed.
fn parse_exemplar(body: &[u8], mut message: Cursor, columns: &Columns) -> Result<Option<Exemplar>, DecodeError> {
    let mut exemplar = Exemplar { timestamp_ms: 0, value: 0.0, labels: Vec::new() };
    let mut references = Vec::new();
    while !message.is_empty() {
        match message.tag()? {
            REFERENCES => {
                let mut packed = message.message()?;
                while !packed.is_empty() {
                    references.push(reference(&mut packed)?);
                }
            }
            REFERENCE => references.push(reference(&mut message)?),
            EXEMPLAR_VALUE => exemplar.value = f64::from_bits(message.fixed64()?),
            EXEMPLAR_TIMESTAMP => exemplar.timestamp_ms = message.varint()? as i64,
            other => message.skip(other)?,
        }
    }
    if !references.len().is_multiple_of(2) {
        return Ok(None);
    }
    let mut bytes = 0;
    for pair in references.chunks(2) {
        let (Some(name), Some(value)) = (symbol(body, columns, pair[0]), symbol(body, columns, pair[1])) else { return Ok(None) };
        // A few references can mean much text: it is refused before it is copied.
        bytes += if value.is_empty() { 0 } else { name.len() + value.len() };
        if bytes > LABEL_CHARS_MAX * CHAR_BYTES_MAX {
            return Ok(None);
        }
        exemplar.push_label(name, value);
    }
    exemplar.sort_labels();
    Ok(Some(exemplar))
}

/// Every series of a metric brings the same metadata; neighbours' are staged once.
fn stage_metadata(body: &[u8], mut message: Cursor, columns: &mut Columns) -> Result<(), DecodeError> {
    let pairs = columns.references.chunks(2);
    let named = pairs.filter(|pair| symbol(body, columns, pair[0]) == Some(METRIC_NAME)).map(|pair| pair[1]).next();
    let Some(metric) = named else { return Ok(()) };
    let mut found = MetadataReferences { metric, ..MetadataReferences::default() };
    while !message.is_empty() {
        match message.tag()? {
            METRIC_TYPE => found.metric_type = MetricType::from_number(message.varint()?),
            HELP => found.help = reference(&mut message)?,
            UNIT => found.unit = reference(&mut message)?,
            other => message.skip(other)?,
        }
    }
    if columns.metadata_last.replace(found) == Some(found) {
        return Ok(());
    }
    let text = |reference| symbol(body, columns, reference).unwrap_or_default();
    let says_nothing = found.metric_type == MetricType::Unknown && text(found.help).is_empty() && text(found.unit).is_empty();
    if !says_nothing {
        let metric = family(text(metric), found.metric_type);
        let metadata = Metadata {
            metric: metric.into(),
            metric_type: found.metric_type,
            help: text(found.help).into(),
            unit: text(found.unit).into(),
        };
        if columns.metadata.last() != Some(&metadata) {
            columns.push_metadata(metadata);
        }
    }
    Ok(())
}

/// The metric that a series with this name belongs to: `latency` for `latency_bucket`.
fn family(name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram => &["_bucket", "_sum", "_count"],
        MetricType::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
        MetricType::Summary => &["_sum", "_count"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|family| !family.is_empty()).unwrap_or(name)
}

fn no_samples() -> String {
    "a series must contain at least one sample or histogram".to_string()
}

fn parse_references(mut packed: Cursor, columns: &mut Columns) -> Result<(), DecodeError> {
    while !packed.is_empty() {
        let reference = reference(&mut packed)?;
        columns.references.push(reference);
    }
    Ok(())
}

/// A reference that does not fit 32 bits is beyond every symbol table.
#[inline]
fn reference(cursor: &mut Cursor) -> Result<u32, DecodeError> {
    Ok(u32::try_from(cursor.varint()?).unwrap_or(u32::MAX))
}

/// Copies the labels that the references mean into the arena. Answers what is wrong with them.
fn resolve_labels(body: &[u8], columns: &mut Columns) -> Result<Option<String>, DecodeError> {
    let count = columns.references.len();
    if !count.is_multiple_of(2) {
        return Ok(Some(format!("the number of label references must be even, got {count}")));
    }
    let arena_max = arena_bytes_max(body.len());
    let series_max = columns.arena_mark() + SERIES_BYTES_MAX + count * LENGTH_BYTES_MAX;
    for position in 0..count {
        let reference = columns.references[position];
        let Some(&(start, end)) = columns.symbols.get(reference as usize) else {
            let symbols = columns.symbols.len();
            return Ok(Some(format!("label reference {reference} is outside of the symbol table of {symbols}")));
        };
        let end_of_label = columns.arena_mark() + (end - start) as usize;
        if end_of_label > series_max {
            return Ok(Some(LabelProblem::SeriesTooLong.to_string()));
        }
        if end_of_label > arena_max {
            return Err(DecodeError::TooLarge { what: "the labels of the request, spelled out,", limit_bytes: arena_max });
        }
        columns.push_prefixed(&body[start as usize..end as usize]);
    }
    Ok(None)
}

fn check_metadata(mut metadata: Cursor, symbols: usize) -> Result<Option<String>, DecodeError> {
    let mut problem = None;
    while !metadata.is_empty() {
        match metadata.tag()? {
            HELP | UNIT => {
                let reference = reference(&mut metadata)?;
                if reference as usize >= symbols {
                    problem = Some(format!("metadata reference {reference} is outside of the symbol table of {symbols}"));
                }
            }
            other => metadata.skip(other)?,
        }
    }
    Ok(problem)
}

/// Takes back everything a series has staged.
#[cold]
fn refuse(columns: &mut Columns, before: &Before, position: usize, reason: String) {
    let histograms = columns.histogram_count() - before.histograms;
    let samples = columns.sample_count() - before.samples - histograms;
    columns.refuse(RefusedSeries { position, samples, histograms, reason });
    columns.rewind_arena(before.arena);
    columns.rewind_samples(before.samples);
}
