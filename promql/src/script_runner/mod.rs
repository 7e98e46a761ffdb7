//! Running test scripts (see `testlang`) against the engine.
//!
//! The rules are those of Prometheus' own `promqltest`: an engine with every part of the language on; an instant query is run
//! again with `@ <its time>` written into its selectors, at several other times, where it must give the same; and as a range
//! query around its time, where the middle step must give the same.

mod storage;
mod pinned;
mod compare;

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use crate::engine::{Engine, EngineOptions, QueryError, QueryOptions, QueryOutput};
use crate::memory_source::MemorySource;
use crate::parser::{ParserOptions, parse};
use crate::sample::SampleValue;
use crate::testlang::{CommandKind, Eval, EvalTime, ExpectedValue, ScriptError, TextMatch, parse_script};
use crate::value::{Sample, Series, Value};

const MINUTE_MS: i64 = 60_000;

/// What came of a script.
#[derive(Debug, Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<Failure>,
}

impl Report {
    pub fn total(&self) -> usize {
        self.passed + self.failures.len()
    }
}

/// An evaluation that did not give what the script expects.
#[derive(Debug)]
pub struct Failure {
    /// Counted from one.
    pub line: usize,
    pub query: String,
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}: {}", self.line, self.query, self.reason)
    }
}

/// The engine that scripts are written for.
pub fn script_engine() -> Engine {
    Engine::new(EngineOptions {
        samples_max: 10_000,
        timeout: Duration::from_secs(100),
        subquery_step_ms: MINUTE_MS,
        delayed_name_removal: true,
        start_timestamps: true,
        ..EngineOptions::default()
    })
}

/// Runs a script. An error means that the script itself cannot be read.
pub fn run_script(text: &str) -> Result<Report, ScriptError> {
    run_script_in_parts(text, 1)
}

/// Runs a script whose series are in several parts, as on several shards.
pub fn run_script_in_parts(text: &str, parts: usize) -> Result<Report, ScriptError> {
    let mut runner = Runner { engine: script_engine(), source: MemorySource::new().with_partitions(parts) };
    let mut report = Report::default();
    for command in parse_script(text)? {
        let outcome = match command.kind {
            CommandKind::Clear => {
                runner.source.clear();
                continue;
            }
            CommandKind::Load(load) => match storage::load(&mut runner.source, &load) {
                Ok(()) => continue,
                Err(reason) => Err((command.line, "load".to_owned(), reason)),
            },
            CommandKind::Eval(eval) => runner.evaluate(&eval).map_err(|reason| (eval.line, eval.query.clone(), reason)),
        };
        match outcome {
            Ok(()) => report.passed += 1,
            Err((line, query, reason)) => report.failures.push(Failure { line, query, reason }),
        }
    }
    Ok(report)
}

struct Runner {
    engine: Engine,
    source: MemorySource,
}

/// When a query is run.
#[derive(Clone, Copy)]
enum At {
    Instant(i64),
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// Errs with why an evaluation is not as expected.
type Judgement = Result<(), String>;

impl Runner {
    fn evaluate(&self, eval: &Eval) -> Judgement {
        match eval.time {
            EvalTime::Range { start_ms, end_ms, step_ms } => {
                let at = At::Range { start_ms, end_ms, step_ms };
                let Some(output) = self.run_expecting(eval, &eval.query, at)? else { return Ok(()) };
                compare::value(eval, &output.value, (start_ms, end_ms, step_ms))
            }
            EvalTime::Instant { at_ms } => {
                self.evaluate_instant(eval, &eval.query, at_ms)?;
                let rerun = |(query, time_ms): (String, i64)| {
                    let outcome = self.evaluate_instant(eval, &query, time_ms);
                    outcome.map_err(|reason| format!("as {query} at {time_ms} ms: {reason}"))
                };
                pinned::reruns(&eval.query, at_ms).into_iter().try_for_each(rerun)
            }
        }
    }

    fn evaluate_instant(&self, eval: &Eval, query: &str, at_ms: i64) -> Judgement {
        let Some(output) = self.run_expecting(eval, query, At::Instant(at_ms))? else { return Ok(()) };
        let expected_times = match eval.value {
            ExpectedValue::RangeVector { start_ms, end_ms, step_ms, .. } => (start_ms, end_ms, step_ms),
            _ => (at_ms, at_ms, 1),
        };
        compare::value(eval, &output.value, expected_times)?;
        let no_range_form = matches!(eval.value, ExpectedValue::RangeVector { .. } | ExpectedValue::String(_));
        if no_range_form || asks_for_run(query) {
            return Ok(());
        }
        self.evaluate_as_range(eval, query, at_ms, &output.value).map_err(|reason| format!("in range mode: {reason}"))
    }

    /// The same as a range query: its middle step must be the instant's value.
    fn evaluate_as_range(&self, eval: &Eval, query: &str, at_ms: i64, instant: &Value) -> Judgement {
        let at = At::Range { start_ms: at_ms - MINUTE_MS, end_ms: at_ms + MINUTE_MS, step_ms: MINUTE_MS };
        let output = self.run(query, at).map_err(|error| error.to_string())?;
        let Value::Matrix(matrix) = output.value else { return Err("no matrix".to_owned()) };
        if eval.ordered {
            return Ok(());
        }
        if matrix.windows(2).any(|pair| pair[0].labels > pair[1].labels) {
            return Err("the matrix is not sorted".to_owned());
        }
        let samples: Vec<Sample> = matrix.iter().filter_map(|series| sample_at(series, at_ms)).collect();
        let value = match (instant, samples.first().and_then(|sample| sample.value.float())) {
            (Value::Scalar { .. }, Some(value)) => Value::Scalar { time_ms: at_ms, value },
            _ => Value::Vector(samples),
        };
        compare::value(eval, &value, (at_ms, at_ms, 1))
    }

    /// Runs a query and judges everything but its value. None: it failed, as it should.
    fn run_expecting(&self, eval: &Eval, query: &str, at: At) -> Result<Option<QueryOutput>, String> {
        let output = match (self.run(query, at), &eval.failure) {
            (Ok(output), None) => output,
            (Ok(_), Some(_)) => return Err("expected an error but got none".to_owned()),
            (Err(error), None) => return Err(format!("failed: {error}")),
            (Err(error), Some(expected)) => return judge_failure(&error, expected).map(|()| None),
        };
        eval.warnings.judge(&output.annotations.warnings(query, 0))?;
        eval.infos.judge(&output.annotations.infos(query, 0))?;
        Ok(Some(output))
    }

    fn run(&self, query: &str, at: At) -> Result<QueryOutput, String> {
        let expr = parse(query, ParserOptions::experimental()).map_err(|errors| errors.to_string())?;
        let options = QueryOptions::default();
        let outcome: Result<QueryOutput, QueryError> = match at {
            At::Instant(time_ms) => self.engine.instant(&self.source, &expr, time_ms, &options),
            At::Range { start_ms, end_ms, step_ms } => self.engine.range(&self.source, &expr, start_ms, end_ms, step_ms, &options),
        };
        outcome.map_err(|error| error.to_string())
    }
}

fn judge_failure(error: &str, expected: &TextMatch) -> Judgement {
    if expected.matches(error) { Ok(()) } else { Err(format!("expected an error like {expected:?}, got {error:?}")) }
}

/// Whether a query contains functions whose value depends on how it is run.
fn asks_for_run(query: &str) -> bool {
    static FUNCTIONS: LazyLock<Option<regex::Regex>> = LazyLock::new(|| regex::Regex::new(r"(start|end|range|step)\(\)").ok());
    FUNCTIONS.as_ref().is_some_and(|functions| functions.is_match(query))
}

fn sample_at(series: &Series, time_ms: i64) -> Option<Sample> {
    let float = series.floats.iter().find(|(time, _)| *time == time_ms).map(|(_, value)| SampleValue::Float(*value));
    let histogram = series.histograms.iter().find(|(time, _)| *time == time_ms);
    let value = float.or_else(|| histogram.map(|(_, histogram)| SampleValue::Histogram(histogram.clone())))?;
    Some(Sample { labels: series.labels.clone(), time_ms, value })
}
