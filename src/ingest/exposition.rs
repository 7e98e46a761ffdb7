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
//! `# EOF` must end the text. Names may be any UTF-8 when they are quoted. Of comments `exposition_families` takes what they say
//! about metrics. The parser is as lenient about blanks as Prometheus is and as strict about everything else; nothing is
//! allocated for a sample without an exemplar.

use storage::Exemplar;

use super::columns::{Columns, KeyForm};
use super::decode_error::DecodeError;
use super::exposition_families::Families;
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
    let mut families = Families::default();
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
        match line_cursor.peek() {
            None => {}
            Some(b'#') => families.comment(content, columns),
            Some(_) => line_cursor.sample(start, format, now_ms, columns).map_err(refuse)?,
        }
        start += line.len() + 1;
    }
    families.finish(columns);
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
    #[error("expected '{{' and the labels of an exemplar after '#'")]
    NoExemplar,
    #[error("an exemplar has no metric name")]
    NamedExemplar,
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
            columns.remember_place(offset);
        } else {
            columns.begin_series(KeyForm::Text, offset + key_start, offset + key_end);
        }
        let value = self.value()?;
        let timestamp_ms = self.timestamp(format)?.unwrap_or(now_ms);
        columns.push_sample(timestamp_ms, value);
        match self.peek() {
            None => Ok(()),
            Some(b'#') if format == Format::OpenMetrics => self.exemplar(timestamp_ms, columns),
            Some(_) => Err(Problem::Trailing),
        }
    }

    /// `# {trace_id="a"} 0.5 1700000000.123`, which belongs to the sample before it; without a time of its own it has the sample's.
    #[cold]
    fn exemplar(&mut self, sample_ms: i64, columns: &mut Columns) -> Result<(), Problem> {
        self.at += 1;
        self.skip_blanks();
        if self.peek() != Some(b'{') {
            return Err(Problem::NoExemplar);
        }
        self.at += 1;
        let mut exemplar = Exemplar { timestamp_ms: sample_ms, value: 0.0, labels: Vec::new() };
        let mut found = Found::default();
        let (mut plain_name, mut plain_value) = (String::new(), String::new());
        self.labels(&mut found, |line, name, value| {
            let name = match name {
                Some(name) => line.unescaped(name, &mut plain_name),
                None => "",
            };
            exemplar.push_label(name, line.unescaped(value, &mut plain_value));
        })?;
        if found.named {
            return Err(Problem::NamedExemplar);
        }
        exemplar.sort_labels();
        exemplar.value = self.value()?;
        exemplar.timestamp_ms = self.timestamp(Format::OpenMetrics)?.unwrap_or(sample_ms);
        if self.peek().is_some() {
            return Err(Problem::Trailing);
        }
        columns.push_exemplar(&exemplar);
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

    /// Milliseconds, or in OpenMetrics seconds with a fraction. The cursor ends behind the blanks behind it.
    fn timestamp(&mut self, format: Format) -> Result<Option<i64>, Problem> {
        self.skip_blanks();
        if matches!(self.peek(), None | Some(b'#')) {
            return Ok(None);
        }
        let word = self.word();
        self.skip_blanks();
        if format == Format::Prometheus {
            return word.parse().map(Some).map_err(|_| Problem::BadTimestamp);
        }
        let seconds: f64 = word.parse().map_err(|_| Problem::BadTimestamp)?;
        let timestamp_ms = (seconds * 1000.0).round();
        // NaN fails the comparison.
        if timestamp_ms.abs() < 9e18 { Ok(Some(timestamp_ms as i64)) } else { Err(Problem::TimestampRange) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_123;

    /// Every sample as a line that a person can compare.
    fn staged(format: Format, text: &str) -> Result<Vec<String>, String> {
        let mut columns = Columns::new();
        decode_as(format, text.as_bytes(), NOW, &mut columns).map_err(|error| error.to_string())?;
        let of_series = |series| {
            let mut labels = Vec::new();
            if let Err(problem) = columns.labels(text.as_bytes(), series, &mut labels) {
                return problem.to_string();
            }
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let at = columns.samples(series).start;
            format!("{} {} @{}", labels.join("|"), columns.values[at], columns.timestamps[at] - NOW)
        };
        Ok((0..columns.series_count()).map(of_series).collect())
    }

    fn prometheus(text: &str) -> Vec<String> {
        staged(Format::Prometheus, text).unwrap()
    }

    #[test]
    fn reads_what_exporters_write() {
        let text = "# HELP up whether\n# TYPE up gauge\nup 1\n\n up{job=\"a\",instance=\"b:1\",} 2.5 1700000000124\r\nrpc:rate5m\t{ }\t+Inf\nx{a=\"\"} -17e-1";
        assert_eq!(
            prometheus(text),
            ["__name__=up 1 @0", "__name__=up|instance=b:1|job=a 2.5 @1", "__name__=rpc:rate5m inf @0", "__name__=x|a= -1.7 @0"]
        );
    }

    #[test]
    fn reads_quoted_names_and_escapes() {
        let text = r#"{"http.requests",method="post", "a b" = "}{,\\"} 3
up{path="C:\\dir\"\n"} 4
{"na\"me",x="é"} NaN"#;
        assert_eq!(
            prometheus(text),
            ["__name__=http.requests|a b=}{,\\|method=post 3 @0", "__name__=up|path=C:\\dir\"\n 4 @0", "__name__=na\"me|x=é NaN @0"]
        );
    }

    #[test]
    fn a_nan_is_never_a_stale_marker() {
        let mut columns = Columns::new();
        decode(b"a NaN\nb -nan\n", NOW, &mut columns).unwrap();
        assert!(columns.values.iter().all(|value| value.to_bits() == NORMAL_NAN));
    }

    #[test]
    fn openmetrics_has_seconds_exemplars_and_an_end() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 5 1700000000.125 # {trace_id=\"t\"} 0.5 1.2\nb 1 # {} 1\n# EOF\n";
        assert_eq!(staged(Format::OpenMetrics, text).unwrap(), ["__name__=a_total|x=1 5 @2", "__name__=b 1 @0"]);
        let (mut columns, exemplar) =
            (Columns::new(), |timestamp_ms, value, labels: Vec<(String, String)>| Exemplar { timestamp_ms, value, labels });
        decode_openmetrics(text.as_bytes(), NOW, &mut columns).unwrap();
        let of_first = exemplar(1_200, 0.5, vec![("trace_id".into(), "t".into())]);
        assert_eq!(columns.exemplars, [(0, of_first), (1, exemplar(NOW, 1.0, vec![]))]);
        assert_eq!((columns.metadata[0].metric.as_str(), columns.metadata[0].metric_type), ("a", storage::MetricType::Counter));
        let without_end = staged(Format::OpenMetrics, "a 1\n").unwrap_err();
        assert_eq!(without_end, "line 2: the text does not end with # EOF");
        assert_eq!(staged(Format::OpenMetrics, "# EOF\na 1\n").unwrap_err(), "line 2: text after # EOF");
    }

    #[test]
    fn exemplars_are_read_as_strictly_as_samples() {
        let exemplars = |text: &str| {
            let mut columns = Columns::new();
            let text = format!("a 1 # {text}\n# EOF");
            decode_openmetrics(text.as_bytes(), NOW, &mut columns).map_err(|error| error.to_string())?;
            Ok::<_, String>((
                columns.exemplars.into_iter().map(|(_, exemplar)| exemplar.labels).collect::<Vec<_>>(),
                columns.exemplars_refused,
            ))
        };
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>();
        assert_eq!(exemplars(r#"{b="\\x",a="y",empty=""} 1"#), Ok((vec![labels(&[("a", "y"), ("b", "\\x")])], 0)));
        let too_long = format!("{{a=\"{}\"}} 1", "x".repeat(128));
        for stored_without_it in [too_long.as_str(), r#"{a="1",a="2"} 1"#] {
            assert_eq!(exemplars(stored_without_it), Ok((vec![], 1)), "{stored_without_it}");
        }
        for (wrong, expected) in [
            ("", "expected '{' and the labels of an exemplar after '#'"),
            ("{a=\"b\"}", "expected a value"),
            ("{a=\"b\"} x", "the value is not a number"),
            ("{a=\"b\"} 1 x", "the timestamp is not a number"),
            ("{a=\"b\"} 1 2 3", "unexpected text after the sample"),
            ("{\"a\"} 1", "an exemplar has no metric name"),
            ("{a} 1", "expected '=' after the label name"),
        ] {
            assert_eq!(exemplars(wrong), Err(format!("line 1: {expected}")), "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("a 1\n{} 2", "line 2: expected a metric name"),
            ("1a 2", "line 1: expected a metric name"),
            ("a", "line 1: expected a value"),
            ("a-b 1", "line 1: expected a blank before the value"),
            ("a x", "line 1: the value is not a number"),
            ("a 1 2.5", "line 1: the timestamp is not a number"),
            ("a 1 2 3", "line 1: unexpected text after the sample"),
            ("\n\na{b} 1", "line 3: expected '=' after the label name"),
            ("a{b=c} 1", "line 1: expected a quoted label value"),
            ("a{b=\"c} 1", "line 1: unterminated quoted text"),
            ("a{b=\"\\x\"} 1", "line 1: unknown escape in quoted text; only \\\\, \\\" and \\n are known"),
            ("a{b=\"c\" d=\"e\"} 1", "line 1: expected ',' or '}' after a label"),
            ("a{,b=\"c\"} 1", "line 1: expected a label name"),
            ("a{\"b\"} 1", "line 1: the metric name is given twice"),
        ];
        for (text, expected) in cases {
            assert_eq!(staged(Format::Prometheus, text).unwrap_err(), expected, "{text:?}");
        }
        assert_eq!(prometheus("a{b=\"1\",b=\"2\"} 1"), ["duplicate label name \"b\""]);
        let mut columns = Columns::new();
        let error = decode(b"a 1\nb{c=\"\xff\"} 1\n", NOW, &mut columns).unwrap_err();
        assert_eq!(error.to_string(), "line 2: invalid UTF-8");
        decode(b"\na{b=\"1\",b=\"2\"} 1", NOW, &mut columns).unwrap();
        assert_eq!(columns.line(b"\na{b=\"1\",b=\"2\"} 1", 0), Some(2));
    }

    fn quote(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            name in "[a-zé\"\\\\\n .]{1,6}",
            labels in prop::collection::btree_map("[a-z\"\\\\\n .{}=,#]{1,4}", "[a-z\"\\\\\n .{}=,#é]{0,6}", 0..4),
            value: f64,
            timestamp_ms: i64,
        ) {
            let pairs: Vec<_> = labels.iter().map(|(name, value)| format!(",\"{}\"=\"{}\"", quote(name), quote(value))).collect();
            let text = format!("{{\"{}\"{}}} {value:?} {timestamp_ms}\n", quote(&name), pairs.concat());
            let mut columns = Columns::new();
            decode(text.as_bytes(), NOW, &mut columns).unwrap();
            let mut read = Vec::new();
            columns.labels(text.as_bytes(), 0, &mut read).unwrap();
            let mut expected: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            expected.push((METRIC_NAME, &name));
            expected.sort();
            prop_assert_eq!(read, expected);
            prop_assert_eq!(columns.timestamps[0], timestamp_ms);
            prop_assert!(columns.values[0].to_bits() == value.to_bits() || value.is_nan());
        }

        #[test]
        fn any_text_is_no_panic(text in "[a{}=\",\\\\ \n0#é:]{0,40}", format in prop::sample::select(vec![Format::Prometheus, Format::OpenMetrics])) {
            let _ = staged(format, &text);
        }

        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes, NOW, &mut Columns::new());
        }
    }
}
