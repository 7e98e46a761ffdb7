//! `load 5m` and the series below it.

use super::command::{ClassicHistograms, Load, LoadedSample, LoadedSeries};
use super::error::ScriptError;
use super::{Lines, parser_options, split_word};
use crate::labels::Labels;
use crate::literal::parse_duration_ms;
use crate::parser::{SequenceValue, SeriesDescription, parse_series_description};
use crate::sample::SampleValue;

/// The most values that one line of start timestamps may stand for.
const START_VALUES_MAX: usize = 1 << 20;

/// A line `metric@st …`: how far before their samples counters started, in milliseconds.
struct StartLine {
    line: usize,
    labels: Labels,
    offsets_ms: Vec<Option<i64>>,
}

pub(super) fn parse_load(number: usize, line: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let (word, interval) = split_word(line);
    let classic_histograms = match word {
        "load" => ClassicHistograms::AsTheyAre,
        "load_with_nhcb" => ClassicHistograms::AlsoAsNative,
        _ => return Err(ScriptError::new(number, "invalid load command. (load[_with_nhcb] <step:duration>)")),
    };
    let interval_ms =
        parse_duration_ms(interval).map_err(|why| ScriptError::new(number, format!("invalid step definition {interval:?}: {why}")))?;
    let mut load = Load { interval_ms, classic_histograms, series: Vec::new() };
    let mut pending: Option<StartLine> = None;
    while let Some((number, line)) = lines.take_of_command() {
        let (metric, _) = split_word(line);
        if let Some(metric) = metric.strip_suffix("@st") {
            refuse_pending(pending.as_ref())?;
            pending = Some(parse_start_line(number, metric, line)?);
            continue;
        }
        let description = parse_series(number, line)?;
        let starts = pending.take().map(|starts| check_starts(starts, &description)).transpose()?;
        set_series(&mut load, description, starts.as_deref());
    }
    refuse_pending(pending.as_ref())?;
    Ok(load)
}

fn refuse_pending(pending: Option<&StartLine>) -> Result<(), ScriptError> {
    let refusal = |starts: &StartLine| ScriptError::new(starts.line, "@st line has no following sample line");
    pending.map_or(Ok(()), |starts| Err(refusal(starts)))
}

pub(super) fn parse_series(number: usize, line: &str) -> Result<SeriesDescription, ScriptError> {
    parse_series_description(line, parser_options()).map_err(|error| ScriptError::new(number, error.to_string()))
}

fn check_starts(starts: StartLine, description: &SeriesDescription) -> Result<Vec<Option<i64>>, ScriptError> {
    let refuse = |message: String| Err(ScriptError::new(starts.line, message));
    if starts.labels != description.labels {
        return refuse("@st metric does not match the following sample line metric".to_owned());
    }
    let (offsets, values) = (starts.offsets_ms.len(), description.values.len());
    if offsets != values {
        return refuse(format!("@st line has {offsets} values but sample line has {values}"));
    }
    Ok(starts.offsets_ms)
}

/// A series described twice has the samples of the later line.
fn set_series(load: &mut Load, description: SeriesDescription, starts: Option<&[Option<i64>]>) {
    let mut samples = Vec::with_capacity(description.values.len());
    let mut time_ms = 0;
    for (index, value) in description.values.into_iter().enumerate() {
        let start_ms = starts.and_then(|starts| starts[index]).map_or(0, |offset_ms| time_ms + offset_ms);
        let value = match value {
            SequenceValue::Omitted => None,
            SequenceValue::Float(value) => Some(SampleValue::Float(value)),
            SequenceValue::Histogram { histogram, .. } => Some(SampleValue::Histogram(histogram)),
        };
        samples.extend(value.map(|value| LoadedSample { time_ms, start_ms, value }));
        time_ms += load.interval_ms;
    }
    let series = LoadedSeries { labels: description.labels, samples };
    match load.series.iter_mut().find(|known| known.labels == series.labels) {
        Some(known) => *known = series,
        None => load.series.push(series),
    }
}

fn parse_start_line(number: usize, metric: &str, line: &str) -> Result<StartLine, ScriptError> {
    let labels = parse_series(number, metric)?.labels;
    let mut offsets_ms = Vec::new();
    for item in line.split_whitespace().skip(1) {
        push_start_item(&mut offsets_ms, item)
            .map_err(|why| ScriptError::new(number, format!("invalid @st sequence: invalid ST item {item:?}: {why}")))?;
    }
    Ok(StartLine { line: number, labels, offsets_ms })
}

/// `_`, `_x3`, `-1m`, `-1mx3`, `-1m+10sx3`: a repetition counts what follows the first value, except for gaps.
fn push_start_item(offsets_ms: &mut Vec<Option<i64>>, item: &str) -> Result<(), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = if rest.is_empty() { 1 } else { repetition(rest)? };
        return push_repeated(offsets_ms, count, || None);
    }
    let (mut offset_ms, rest) = duration_prefix(item)?;
    let (step_ms, rest) = match rest.as_bytes().first() {
        None => return push_repeated(offsets_ms, 1, || Some(offset_ms)),
        Some(b'x') => (0, rest),
        Some(b'+' | b'-') => duration_prefix(rest)?,
        Some(_) => return Err(format!("unexpected text {rest:?} after duration")),
    };
    let count = repetition(rest)?.saturating_add(1);
    push_repeated(offsets_ms, count, || {
        let current = offset_ms;
        offset_ms += step_ms;
        Some(current)
    })
}

fn push_repeated(offsets_ms: &mut Vec<Option<i64>>, count: usize, next: impl FnMut() -> Option<i64>) -> Result<(), String> {
    if count > START_VALUES_MAX - offsets_ms.len().min(START_VALUES_MAX) {
        return Err(format!("more than {START_VALUES_MAX} values"));
    }
    offsets_ms.extend(std::iter::repeat_with(next).take(count));
    Ok(())
}

fn repetition(text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix('x').ok_or("expected 'x<count>'")?;
    digits.parse().map_err(|_| "invalid repeat count".to_owned())
}

/// A signed duration of one unit at the start of `text`, and the rest.
fn duration_prefix(text: &str) -> Result<(i64, &str), String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(format!("expected digits in duration {text:?}"));
    }
    let unit = unsigned[digits..].bytes().take_while(|byte| byte.is_ascii_alphabetic() && *byte != b'x').count();
    let (duration, rest) = unsigned.split_at(digits + unit);
    let millis = parse_duration_ms(duration)?;
    Ok((if negative { -millis } else { millis }, rest))
}
