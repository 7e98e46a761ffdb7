//! Prometheus remote write 2.0: `io.prometheus.write.v2.Request`, walked by hand over the uncompressed bytes.
//!
//! ```text
//! Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5; }
//! TimeSeries { repeated uint32 labels_refs = 1; repeated Sample samples = 2; repeated Histogram histograms = 3;
//!              repeated Exemplar exemplars = 4; Metadata metadata = 5; }
//! Sample     { double value = 1; int64 timestamp = 2; int64 start_timestamp = 3; }
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

use super::columns::{Columns, RefusedSeries, arena_bytes_max};
use super::decode_error::DecodeError;
use super::label_forms::{LabelProblem, SERIES_BYTES_MAX};
use super::protobuf::{Cursor, LENGTH, VARINT, tag};
use super::remote_write_v1::{attachment, parse_sample};

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
    exemplars: usize,
    metadata: usize,
}

fn parse_series(body: &[u8], mut series: Cursor, position: usize, columns: &mut Columns) -> Result<(), DecodeError> {
    let before = Before {
        arena: columns.arena_mark(),
        samples: columns.sample_count(),
        histograms: columns.histograms.len(),
        exemplars: columns.exemplars.len(),
        metadata: columns.metadata.len(),
    };
    let number = columns.series_count() as u32;
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
            HISTOGRAM => columns.histograms.push(attachment(number, &mut series)?),
            EXEMPLAR => columns.exemplars.push(attachment(number, &mut series)?),
            METADATA => {
                let mut metadata = series;
                columns.metadata.push(attachment(number, &mut series)?);
                problem = problem.or(check_metadata(metadata.message()?, columns.symbols.len())?);
            }
            other => series.skip(other)?,
        }
    }
    let has_none = columns.sample_count() == before.samples && columns.histograms.len() == before.histograms;
    let problem = resolve_labels(body, columns)?.or(problem).or_else(|| has_none.then(no_samples));
    match problem {
        None => columns.begin_series_behind(before.arena, before.samples),
        Some(reason) => refuse(columns, &before, position, reason),
    }
    Ok(())
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
    let samples = columns.sample_count() - before.samples;
    let histograms = columns.histograms.len() - before.histograms;
    columns.refuse(RefusedSeries { position, samples, histograms, reason });
    columns.rewind_arena(before.arena);
    columns.timestamps.truncate(before.samples);
    columns.values.truncate(before.samples);
    columns.histograms.truncate(before.histograms);
    columns.exemplars.truncate(before.exemplars);
    columns.metadata.truncate(before.metadata);
}
