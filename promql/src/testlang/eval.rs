//! `eval instant …`, `eval range …` and the expectations below them.

use regex::Regex;

use super::error::ScriptError;
use super::expectation::{ExpectedAnnotations, ExpectedSeries, ExpectedValue, TextMatch};
use super::load::parse_series;
use super::{Lines, split_word};
use crate::literal::{parse_duration_ms, parse_number, unquote};

/// An evaluation and everything expected of it.
#[derive(Clone, Debug)]
pub struct Eval {
    /// The line of the script, counted from one.
    pub line: usize,
    pub query: String,
    pub time: EvalTime,
    pub value: ExpectedValue,
    /// Whether the series come in the order in which they are written.
    pub ordered: bool,
    /// Some: the evaluation fails with such a message.
    pub failure: Option<TextMatch>,
    pub warnings: ExpectedAnnotations,
    pub infos: ExpectedAnnotations,
}

/// When a query is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTime {
    Instant { at_ms: i64 },
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// What comes after a line of expectations.
#[derive(PartialEq, Eq)]
enum Next {
    /// More expectations.
    Line,
    /// The command is complete.
    Command,
}

pub(super) fn parse_eval(number: usize, line: &str, lines: &mut Lines<'_>) -> Result<Eval, ScriptError> {
    let refuse = |why: String| ScriptError::new(number, format!("error in eval {line:?}: {why}"));
    let mut eval = parse_head(number, line).map_err(refuse)?;
    while let Some((number, line)) = lines.take_of_command() {
        let next = parse_expectation(&mut eval, number, line)
            .map_err(|why| ScriptError::new(number, format!("error in eval {}: {why}", eval.query)));
        if next? == Next::Command {
            break;
        }
    }
    Ok(eval)
}

/// The line `eval[_…] instant at T query` or `eval[_…] range from T to T step D query`.
fn parse_head(number: usize, line: &str) -> Result<Eval, String> {
    let (command, rest) = split_word(line);
    let (kind, rest) = split_word(rest);
    let (time, query) = match kind {
        "instant" => parse_instant(rest)?,
        "range" => parse_range(rest)?,
        _ => return Err("invalid evaluation command: neither instant nor range".to_owned()),
    };
    if query.is_empty() {
        return Err("no query".to_owned());
    }
    let mut eval = Eval {
        line: number,
        query: query.to_owned(),
        time,
        value: ExpectedValue::Series(Vec::new()),
        ordered: false,
        failure: None,
        warnings: ExpectedAnnotations::Whatever,
        infos: ExpectedAnnotations::Whatever,
    };
    match command {
        "eval" => {}
        "eval_ordered" => eval.ordered = true,
        "eval_fail" => eval.failure = Some(TextMatch::Any),
        "eval_warn" => eval.warnings.require(TextMatch::Any)?,
        "eval_info" => eval.infos.require(TextMatch::Any)?,
        _ => return Err(format!("invalid evaluation command {command:?}")),
    }
    Ok(eval)
}

fn parse_instant(text: &str) -> Result<(EvalTime, &str), String> {
    let (at_ms, query) = named_duration(text, "at")?;
    Ok((EvalTime::Instant { at_ms }, query))
}

fn parse_range(text: &str) -> Result<(EvalTime, &str), String> {
    let (start_ms, end_ms, step_ms, query) = parse_times(text)?;
    Ok((EvalTime::Range { start_ms, end_ms, step_ms }, query))
}

/// `from T to T step D` and the rest.
fn parse_times(text: &str) -> Result<(i64, i64, i64, &str), String> {
    let (start_ms, rest) = named_duration(text, "from")?;
    let (end_ms, rest) = named_duration(rest, "to")?;
    let (step_ms, rest) = named_duration(rest, "step")?;
    if end_ms < start_ms {
        return Err("end timestamp is before start timestamp".to_owned());
    }
    Ok((start_ms, end_ms, step_ms, rest))
}

fn named_duration<'a>(text: &'a str, name: &str) -> Result<(i64, &'a str), String> {
    let (word, rest) = split_word(text);
    if word != name {
        return Err(format!("expected {name:?} and a time, got {word:?}"));
    }
    let (duration, rest) = split_word(rest);
    let millis = parse_duration_ms(duration).map_err(|why| format!("invalid {name} definition {duration:?}: {why}"))?;
    Ok((millis, rest))
}

fn parse_expectation(eval: &mut Eval, number: usize, line: &str) -> Result<Next, String> {
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        eval.failure = Some(TextMatch::Exactly(message.trim().to_owned()));
        return Ok(Next::Command);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        eval.failure = Some(TextMatch::Pattern(parse_pattern(pattern)?));
        return Ok(Next::Command);
    }
    let (word, rest) = split_word(line);
    if word == "expect" {
        return parse_expect(eval, rest).map(|()| Next::Line);
    }
    if let Ok(value) = parse_number(line) {
        eval.value = ExpectedValue::Scalar(value);
        return Ok(Next::Command);
    }
    let description = parse_series(number, line).map_err(|error| error.message)?;
    let instant = matches!(eval.time, EvalTime::Instant { .. });
    let series = match &mut eval.value {
        ExpectedValue::RangeVector { series, .. } => series,
        ExpectedValue::Series(_) if instant && description.values.len() > 1 => {
            return Err("expecting multiple values in instant evaluation not allowed".to_owned());
        }
        ExpectedValue::Series(series) => series,
        ExpectedValue::Scalar(_) | ExpectedValue::String(_) => return Err("series beside another value".to_owned()),
    };
    let expected = ExpectedSeries { line: number, labels: description.labels, values: description.values };
    series.retain(|known| known.labels != expected.labels);
    series.push(expected);
    Ok(Next::Line)
}

/// What follows `expect`.
fn parse_expect(eval: &mut Eval, text: &str) -> Result<(), String> {
    let (kind, rest) = split_word(text);
    match kind {
        "ordered" => eval.ordered = true,
        "fail" if matches!(eval.failure, Some(TextMatch::Exactly(_) | TextMatch::Pattern(_))) => {
            return Err("multiple expect fail lines are not allowed".to_owned());
        }
        "fail" => eval.failure = Some(parse_text_match(rest)?),
        "warn" => eval.warnings.require(parse_text_match(rest)?)?,
        "no_warn" => eval.warnings.forbid()?,
        "info" => eval.infos.require(parse_text_match(rest)?)?,
        "no_info" => eval.infos.forbid()?,
        "string" => eval.value = ExpectedValue::String(unquote(rest)?),
        "range" => {
            let times = rest.strip_prefix("vector").ok_or("expected \"range vector\"")?;
            let (start_ms, end_ms, step_ms, _) = parse_times(times.trim_start())?;
            eval.value = ExpectedValue::RangeVector { start_ms, end_ms, step_ms, series: Vec::new() };
        }
        _ => return Err(format!("invalid expect statement {text:?}")),
    }
    Ok(())
}

/// `msg: text`, `regex: pattern`, or nothing.
fn parse_text_match(text: &str) -> Result<TextMatch, String> {
    match text.split_once(':') {
        _ if text.is_empty() => Ok(TextMatch::Any),
        Some(("msg", message)) => Ok(TextMatch::Exactly(message.trim().to_owned())),
        Some(("regex", pattern)) => parse_pattern(pattern).map(TextMatch::Pattern),
        _ => Err(format!("invalid expect statement: neither msg: nor regex: in {text:?}")),
    }
}

fn parse_pattern(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern.trim()).map_err(|error| error.to_string())
}
