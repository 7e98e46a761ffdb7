//! The language of Prometheus's query tests: load samples, evaluate a query, compare with what is expected.
//!
//! ```text
//! load 5m
//!   requests{job="a"} 0+10x10
//!
//! eval instant at 50m rate(requests[10m])
//!   expect no_warn
//!   {job="a"} 0.03333
//! ```
//!
//! A command ends at an empty line. [`parse_script`] reads a whole script; queries in it are left as text, because some
//! are expected to be refused. Running a script is for someone who has an engine.

mod error;
mod command;
mod expectation;
mod load;
mod eval;

pub use command::{ClassicHistograms, Command, CommandKind, Load, LoadedSample, LoadedSeries};
pub use error::ScriptError;
pub use eval::{Eval, EvalTime};
pub use expectation::{ExpectedAnnotations, ExpectedSeries, ExpectedValue, TextMatch};

use crate::parser::ParserOptions;

/// Everything in the language is on in tests.
pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions::experimental()
}

/// The lines of a script, comments made empty, and which one is next.
struct Lines<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let lines = text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line });
        Self { lines: lines.collect(), next: 0 }
    }

    /// The next line with its number, counted from one.
    fn take(&mut self) -> Option<(usize, &'a str)> {
        let line = self.lines.get(self.next)?;
        self.next += 1;
        Some((self.next, line))
    }

    /// The next line of the same command: an empty one ends it.
    fn take_of_command(&mut self) -> Option<(usize, &'a str)> {
        self.lines.get(self.next).filter(|line| !line.is_empty())?;
        self.take()
    }
}

/// Reads a script.
pub fn parse_script(text: &str) -> Result<Vec<Command>, ScriptError> {
    let mut lines = Lines::new(text);
    let mut commands = Vec::new();
    while let Some((number, line)) = lines.take() {
        if line.is_empty() {
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        let kind = if word == "clear" {
            CommandKind::Clear
        } else if word.starts_with("load") {
            CommandKind::Load(load::parse_load(number, line, &mut lines)?)
        } else if word.starts_with("eval") {
            CommandKind::Eval(Box::new(eval::parse_eval(number, line, &mut lines)?))
        } else {
            return Err(ScriptError::new(number, format!("invalid command {line:?}")));
        };
        commands.push(Command { line: number, kind });
    }
    Ok(commands)
}

/// The first word and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::SequenceValue;

    #[test]
    fn commands_end_at_empty_lines_and_comments_are_nothing() {
        let script = "clear\n# a comment\nload 1m\n  a 1 2\n  b{c=\"d\"} _ 3\n\neval instant at 1m a\n  a 2\n";
        let commands = parse_script(script).expect("valid script");
        let lines: Vec<usize> = commands.iter().map(|command| command.line).collect();
        assert_eq!(lines, [1, 3, 7]);
        let CommandKind::Load(load) = &commands[1].kind else { panic!("no load: {commands:?}") };
        let times: Vec<i64> = load.series[1].samples.iter().map(|sample| sample.time_ms).collect();
        assert_eq!((load.interval_ms, load.series.len(), times), (60_000, 2, vec![60_000]));
    }

    #[test]
    fn start_timestamps_belong_to_the_next_line() {
        let script = "load 1m\n  a@st _ -30s -1mx1 0s-10sx1\n  a 1+1x5\n";
        let commands = parse_script(script).expect("valid script");
        let CommandKind::Load(load) = &commands[0].kind else { panic!("no load: {commands:?}") };
        let starts: Vec<i64> = load.series[0].samples.iter().map(|sample| sample.start_ms).collect();
        assert_eq!(starts, [0, 30_000, 60_000, 120_000, 240_000, 290_000]);
        for bad in ["a@st -1m\n", "a@st -1m\n  b 1\n", "a@st -1m\n  a 1 2\n", "a@st 1q\n  a 1\n"] {
            assert!(parse_script(&format!("load 1m\n  {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn expectations_are_read() {
        let script = "eval range from 0 to 10m step 5m sum(a) by (b)\n  expect warn msg: careful\n  expect no_info\n  {b=\"1\"} 1 _ 3\n\n\
            eval_fail instant at 5m a\n  expected_fail_message bad\n\n\
            eval instant at 5m \"x\"\n  expect string \"a b\"\n\n\
            eval instant at 5m a[5m]\n  expect range vector from 10s to 1m step 10s\n  a 1 2\n\n\
            eval instant at 5m 1\n  1\n";
        let commands = parse_script(script).expect("valid script");
        let evals: Vec<&Eval> = commands
            .iter()
            .filter_map(|command| match &command.kind {
                CommandKind::Eval(eval) => Some(&**eval),
                _ => None,
            })
            .collect();
        assert_eq!(evals[0].query, "sum(a) by (b)");
        assert_eq!(evals[0].time, EvalTime::Range { start_ms: 0, end_ms: 600_000, step_ms: 300_000 });
        assert!(evals[0].warnings.judge(&["careful".to_owned()]).is_ok());
        assert!(evals[0].warnings.judge(&["else".to_owned()]).is_err());
        assert!(evals[0].infos.judge(&["any".to_owned()]).is_err());
        let ExpectedValue::Series(series) = &evals[0].value else { panic!("no series: {:?}", evals[0]) };
        assert!(matches!(series[0].values[1], SequenceValue::Omitted));
        assert!(evals[1].failure.as_ref().is_some_and(|failure| failure.matches("bad")));
        assert!(matches!(&evals[2].value, ExpectedValue::String(text) if text == "a b"));
        assert!(matches!(evals[3].value, ExpectedValue::RangeVector { start_ms: 10_000, end_ms: 60_000, .. }));
        assert!(matches!(evals[4].value, ExpectedValue::Scalar(1.0)));
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = parse_script("clear\nload 1m\n  a{ 1\n").expect_err("bad series");
        assert_eq!(error.to_string(), "line 3: 1:4: parse error: unexpected character inside braces: '1'");
        for (script, line) in [("what", 1), ("\nload x", 2), ("eval instant a", 1), ("load 1m\n  a 1 y", 2)] {
            assert_eq!(parse_script(script).expect_err(script).line, line, "{script}");
        }
    }
}
