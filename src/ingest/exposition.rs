//! The text exposition formats: Prometheus 0.0.4 and, where it differs, OpenMetrics 1.0.
//!
//! ```text
//! # TYPE http_requests_total counter
//! http_requests_total{method="post",code="200"} 1027 1395066363000
//! {"http.requests.total",method="post"} 3
//! ```
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! Differences of OpenMetrics that matter here: timestamps are seconds, a sample may be followed by an exemplar, and
//! `# EOF` must end the text. Names may be any UTF-8 when they are quoted. Comments (`# HELP`, `# TYPE`, `# UNIT`) are
//! stepped over. The parser is as lenient about blanks as Prometheus is and as strict about everything else; nothing is
//! allocated for a sample.

use super::columns::{Columns, KeyForm};
use super::decode_error::DecodeError;
use super::label_forms::METRIC_NAME;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Prometheus,
    OpenMetrics,
}

/// Go's and Prometheus's "normal" NaN; any other payload could be taken for a stale marker.
pub const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Stages all samples of a Prometheus text; those without a timestamp get `now_ms`. After an error nothing that was staged
/// may be used.
pub fn decode(body: &[u8], now_ms: i64, columns: &mut Columns) -> Result<(), DecodeError> {
    decode_as(Format::Prometheus, body, now_ms, columns)
}

/// The same for an OpenMetrics text.
pub fn decode_openmetrics(body: &[u8], now_ms: i64, columns: &mut Columns) -> Result<(), DecodeError> {
    decode_as(Format::OpenMetrics, body, now_ms, columns)
}

fn decode_as(format: Format, body: &[u8], now_ms: i64, columns: &mut Columns) -> Result<(), DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "text exposition", limit_bytes: u32::MAX as usize });
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let line = 1 + body[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            return Err(DecodeError::Text { line, reason: "invalid UTF-8".to_string() });
        }
    };
    let mut ended = false;
    let mut start = 0;
    for (number, line) in text.split('\n').enumerate() {
        let refuse = |reason: Problem| DecodeError::Text { line: number + 1, reason: reason.to_string() };
        let content = line.strip_suffix('\r').unwrap_or(line);
        if ended && !content.is_empty() {
            return Err(refuse(Problem::AfterEof));
        }
        ended |= format == Format::OpenMetrics && content == "# EOF";
        let mut line_cursor = Line { text: content, at: 0 };
        line_cursor.skip_blanks();
        if !matches!(line_cursor.peek(), None | Some(b'#')) {
            line_cursor.sample(start, format, now_ms, columns).map_err(refuse)?;
        }
        start += line.len() + 1;
    }
    if format == Format::OpenMetrics && !ended {
        let line = 1 + body.iter().filter(|&&byte| byte == b'\n').count();
        return Err(DecodeError::Text { line, reason: "the text does not end with # EOF".to_string() });
    }
    Ok(())
}

/// What is wrong with a line, without allocating until it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("text after # EOF")]
    AfterEof,
    #[error("expected a metric name")]
    NoName,
    #[error("the metric name is given twice")]
    TwoNames,
    #[error("expected a label name")]
    NoLabelName,
    #[error("expected '=' after the label name")]
    NoEquals,
    #[error("expected a quoted label value")]
    NoQuote,
    #[error("unterminated quoted text")]
    Unterminated,
    #[error("unknown escape in quoted text; only \\\\, \\\" and \\n are known")]
    UnknownEscape,
    #[error("expected ',' or '}}' after a label")]
    NoComma,
    #[error("expected a blank before the value")]
    NoBlank,
    #[error("expected a value")]
    NoValue,
    #[error("the value is not a number")]
    BadValue,
    #[error("the timestamp is not a number")]
    BadTimestamp,
    #[error("the timestamp is out of range")]
    TimestampRange,
    #[error("unexpected text after the sample")]
    Trailing,
}

/// A quoted or bare text of a line, as a range; `escaped` if backslashes stand in it.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
    escaped: bool,
}

/// A cursor over one line.
struct Line<'a> {
    text: &'a str,
    at: usize,
}

/// What the walk over the labels found.
#[derive(Default)]
struct Found {
    named: bool,
    escaped: bool,
}

impl<'a> Line<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// One sample line; `offset` is where the line begins in the body.
    fn sample(&mut self, offset: usize, format: Format, now_ms: i64, columns: &mut Columns) -> Result<(), Problem> {
        let key_start = self.at;
        let named = self.bare_name(is_metric_name_byte).is_some();
        let mut found = Found { named, escaped: false };
        let mut key_end = self.at;
        self.skip_blanks();
        if self.peek() == Some(b'{') {
            self.at += 1;
            self.labels(&mut found, |_, _, _| {})?;
            key_end = self.at;
        } else if found.named && self.at == key_end && self.at < self.text.len() {
            return Err(Problem::NoBlank);
        }
        if !found.named {
            return Err(Problem::NoName);
        }
        if found.escaped {
            self.stage_escaped(key_start, columns)?;
        } else {
            columns.begin_series(KeyForm::Text, offset + key_start, offset + key_end);
        }
        let value = self.value()?;
        let timestamp_ms = self.timestamp(format)?.unwrap_or(now_ms);
        self.end(format)?;
        columns.push_sample(timestamp_ms, value);
        Ok(())
    }

    /// Walks `a="b",…}` behind the opening brace and shows each label's name (`None`: the metric name) and value.
    fn labels(&mut self, found: &mut Found, mut show: impl FnMut(&Self, Option<Token>, Token)) -> Result<(), Problem> {
        loop {
            self.skip_blanks();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(());
            }
            let quoted = self.peek() == Some(b'"');
            let name = if quoted { self.quoted()? } else { self.bare_name(is_label_name_byte).ok_or(Problem::NoLabelName)? };
            found.escaped |= name.escaped;
            self.skip_blanks();
            if quoted && matches!(self.peek(), Some(b',' | b'}')) {
                if found.named {
                    return Err(Problem::TwoNames);
                }
                found.named = true;
                show(self, None, name);
            } else {
                let value = self.label_value()?;
                found.escaped |= value.escaped;
                show(self, Some(name), value);
            }
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(Problem::NoComma),
            }
        }
    }

    #[inline]
    fn label_value(&mut self) -> Result<Token, Problem> {
        if self.peek() != Some(b'=') {
            return Err(Problem::NoEquals);
        }
        self.at += 1;
        self.skip_blanks();
        if self.peek() != Some(b'"') {
            return Err(Problem::NoQuote);
        }
        self.quoted()
    }

    /// A name of the classic character set; digits may not begin it.
    #[inline]
    fn bare_name(&mut self, is_name_byte: impl Fn(u8) -> bool) -> Option<Token> {
        let start = self.at;
        if self.peek()?.is_ascii_digit() {
            return None;
        }
        while self.peek().is_some_and(&is_name_byte) {
            self.at += 1;
        }
        (self.at > start).then_some(Token { start, end: self.at, escaped: false })
    }

    /// A text in double quotes; the cursor stands at the first.
    #[inline]
    fn quoted(&mut self) -> Result<Token, Problem> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut at = start;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    if !matches!(bytes.get(at + 1), Some(b'\\' | b'"' | b'n')) {
                        return Err(Problem::UnknownEscape);
                    }
                    at += 2;
                }
                Some(_) => at += 1,
                None => return Err(Problem::Unterminated),
            }
        }
        self.at = at + 1;
        Ok(Token { start, end: at, escaped })
    }

    /// Walks the labels once more and stages them without their escapes. The cursor ends where it was.
    #[cold]
    fn stage_escaped(&mut self, key_start: usize, columns: &mut Columns) -> Result<(), Problem> {
        let mark = columns.arena_mark();
        self.at = key_start;
        if let Some(name) = self.bare_name(is_metric_name_byte) {
            columns.push_pair(METRIC_NAME.as_bytes(), &self.text.as_bytes()[name.start..name.end]);
        }
        self.skip_blanks();
        self.at += 1;
        let mut plain = String::new();
        self.labels(&mut Found::default(), |line, name, value| {
            let names = name.map(|name| line.unescaped(name, &mut plain).to_string());
            columns.push_text(names.as_deref().unwrap_or(METRIC_NAME).as_bytes());
            columns.push_text(line.unescaped(value, &mut plain).as_bytes());
        })?;
        columns.begin_series_from_arena(mark);
        Ok(())
    }

    fn unescaped<'p>(&self, token: Token, plain: &'p mut String) -> &'p str {
        plain.clear();
        let mut characters = self.text[token.start..token.end].chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => plain.extend(characters.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped })),
                other => plain.push(other),
            }
        }
        plain
    }

    /// The next run of characters that are not blank.
    #[inline]
    fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let start = self.at;
        while !matches!(self.peek(), None | Some(b' ' | b'\t')) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn value(&mut self) -> Result<f64, Problem> {
        let word = self.word();
        if word.is_empty() {
            return Err(Problem::NoValue);
        }
        let value: f64 = word.parse().map_err(|_| Problem::BadValue)?;
        Ok(if value.is_nan() { f64::from_bits(NORMAL_NAN) } else { value })
    }

    /// Milliseconds, or in OpenMetrics seconds with a fraction.
    fn timestamp(&mut self, format: Format) -> Result<Option<i64>, Problem> {
        self.skip_blanks();
        if matches!(self.peek(), None | Some(b'#')) {
            return Ok(None);
        }
        let word = self.word();
        if format == Format::Prometheus {
            return word.parse().map(Some).map_err(|_| Problem::BadTimestamp);
        }
        let seconds: f64 = word.parse().map_err(|_| Problem::BadTimestamp)?;
        let timestamp_ms = (seconds * 1000.0).round();
        // NaN fails the comparison.
        if timestamp_ms.abs() < 9e18 { Ok(Some(timestamp_ms as i64)) } else { Err(Problem::TimestampRange) }
    }

    /// The end of the line, or in OpenMetrics an exemplar, which is not looked at.
    fn end(&mut self, format: Format) -> Result<(), Problem> {
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(b'#') if format == Format::OpenMetrics => Ok(()),
            Some(_) => Err(Problem::Trailing),
        }
    }
}

#[inline(always)]
fn is_label_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[inline(always)]
fn is_metric_name_byte(byte: u8) -> bool {
    is_label_name_byte(byte) || byte == b':'
}
