//! Prometheus remote write 1.0: `prometheus.WriteRequest`, walked by hand over the uncompressed bytes.
//!
//! ```text
//! WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3; }
//! TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2;
//!                repeated Exemplar exemplars = 3; repeated Histogram histograms = 4; }
//! Label        { string name = 1; string value = 2; }
//! Sample       { double value = 1; int64 timestamp = 2; }
//! Exemplar     { repeated Label labels = 1; double value = 2; int64 timestamp = 3; }
//! MetricMetadata { MetricType type = 1; string metric_family_name = 2; string help = 4; string unit = 5; }
//! ```
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/>
//!
//! All encoders write a series' labels in one run at its beginning: that run is the series' key and is only stepped
//! over. Labels anywhere else are legal protobuf, so they are gathered into the arena, slowly.

use storage::{Exemplar, Metadata, MetricType};

use super::columns::{Columns, KeyForm};
use super::decode_error::DecodeError;
use super::label_forms::protobuf_label;
use super::protobuf::{Cursor, FIXED64, LENGTH, VARINT, tag};
use super::remote_write_histogram;

const SERIES: u32 = tag(1, LENGTH);
const METADATA: u32 = tag(3, LENGTH);

const LABEL: u32 = tag(1, LENGTH);
const SAMPLE: u32 = tag(2, LENGTH);
const EXEMPLAR: u32 = tag(3, LENGTH);
const HISTOGRAM: u32 = tag(4, LENGTH);

const VALUE: u32 = tag(1, FIXED64);
const TIMESTAMP: u32 = tag(2, VARINT);

pub(super) const EXEMPLAR_VALUE: u32 = tag(2, FIXED64);
pub(super) const EXEMPLAR_TIMESTAMP: u32 = tag(3, VARINT);

pub(super) const METRIC_TYPE: u32 = tag(1, VARINT);
const METRIC_NAME: u32 = tag(2, LENGTH);
const HELP: u32 = tag(4, LENGTH);
const UNIT: u32 = tag(5, LENGTH);

/// Stages a whole request. After an error nothing that was staged may be used.
pub fn decode(body: &[u8], columns: &mut Columns) -> Result<(), DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "remote write request", limit_bytes: u32::MAX as usize });
    }
    let mut request = Cursor::new(body);
    while !request.is_empty() {
        match request.tag()? {
            SERIES => parse_series(request.message()?, columns)?,
            METADATA => {
                if let Some(metadata) = parse_metadata(request.message()?)? {
                    columns.push_metadata(metadata);
                }
            }
            other => request.skip(other)?,
        }
    }
    Ok(())
}

#[inline]
fn parse_series(mut series: Cursor, columns: &mut Columns) -> Result<(), DecodeError> {
    let whole = series;
    let key_start = series.at();
    while series.peek() == Some(LABEL as u8) {
        series.step();
        series.bytes()?;
    }
    columns.begin_series(KeyForm::Protobuf, key_start, series.at());
    let mut scattered = false;
    while !series.is_empty() {
        match series.tag()? {
            SAMPLE => {
                let (timestamp_ms, value) = parse_sample(series.message()?)?;
                columns.push_sample(timestamp_ms, value);
            }
            LABEL => {
                series.bytes()?;
                scattered = true;
            }
            EXEMPLAR => match parse_exemplar(series.message()?)? {
                Some(exemplar) => columns.push_exemplar(&exemplar),
                None => columns.exemplars_refused += 1,
            },
            HISTOGRAM => match remote_write_histogram::parse(series.message()?)? {
                Ok((timestamp_ms, histogram)) => columns.push_histogram(timestamp_ms, &histogram),
                Err(reason) => return Err(DecodeError::Histogram { series: columns.series_count() - 1, reason }),
            },
            other => series.skip(other)?,
        }
    }
    if scattered { gather_labels(whole, columns) } else { Ok(()) }
}

/// Fields that are absent are zero; the last of a repeated field counts. Remote write 2.0 has the same two fields.
#[inline(always)]
pub(super) fn parse_sample(mut sample: Cursor) -> Result<(i64, f64), DecodeError> {
    let (mut timestamp_ms, mut value) = (0, 0.0);
    while !sample.is_empty() {
        match sample.tag()? {
            VALUE => value = f64::from_bits(sample.fixed64()?),
            TIMESTAMP => timestamp_ms = sample.varint()? as i64,
            other => sample.skip(other)?,
        }
    }
    Ok((timestamp_ms, value))
}

/// All labels of a series, wherever they stand in it, as its key.
#[cold]
fn gather_labels(mut series: Cursor, columns: &mut Columns) -> Result<(), DecodeError> {
    let mark = columns.arena_mark();
    while !series.is_empty() {
        match series.tag()? {
            LABEL => {
                let (name, value) = protobuf_label(series.message()?)?;
                columns.push_pair(name, value);
            }
            other => series.skip(other)?,
        }
    }
    columns.rekey_from_arena(mark);
    Ok(())
}

/// None when a label is no text.
fn parse_exemplar(mut message: Cursor) -> Result<Option<Exemplar>, DecodeError> {
    let mut exemplar = Exemplar { timestamp_ms: 0, value: 0.0, labels: Vec::new() };
    let mut is_text = true;
    while !message.is_empty() {
        match message.tag()? {
            LABEL => {
                let (name, value) = protobuf_label(message.message()?)?;
                match (std::str::from_utf8(name), std::str::from_utf8(value)) {
                    (Ok(name), Ok(value)) => exemplar.push_label(name, value),
                    _ => is_text = false,
                }
            }
            EXEMPLAR_VALUE => exemplar.value = f64::from_bits(message.fixed64()?),
            EXEMPLAR_TIMESTAMP => exemplar.timestamp_ms = message.varint()? as i64,
            other => message.skip(other)?,
        }
    }
    exemplar.sort_labels();
    Ok(is_text.then_some(exemplar))
}

/// None when a field is no text.
fn parse_metadata(mut message: Cursor) -> Result<Option<Metadata>, DecodeError> {
    let (mut metric_type, mut metric, mut help, mut unit) = (MetricType::Unknown, &[][..], &[][..], &[][..]);
    while !message.is_empty() {
        match message.tag()? {
            METRIC_TYPE => metric_type = MetricType::from_number(message.varint()?),
            METRIC_NAME => metric = message.bytes()?,
            HELP => help = message.bytes()?,
            UNIT => unit = message.bytes()?,
            other => message.skip(other)?,
        }
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (Some(metric), Some(help), Some(unit)) = (text(metric), text(help), text(unit)) else { return Ok(None) };
    Ok(Some(Metadata { metric: metric.into(), metric_type, help: help.into(), unit: unit.into() }))
}
