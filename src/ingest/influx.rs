//! InfluxDB's line protocol.
//!
//! ```text
//! # comment
//! cpu,host=a,region=eu\ west usage=0.5,cores=8i,up=t,version="1.2" 1700000000000000000
//! ```
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>
//!
//! As in VictoriaMetrics, each field becomes a series: measurement, separator and field are the metric's name, tags are labels, and
//! the database of the request is the label `db` unless a tag has that name. Booleans are 1 and 0. Texts cannot be samples and are
//! passed over. A line without a timestamp is of now; without a `precision` its unit is told by its size.

use std::borrow::Cow;

use super::columns::{Columns, arena_bytes_max};
use super::decode_error::DecodeError;
use super::label_forms::{self, LABELS_MAX, LabelProblem, METRIC_NAME, SERIES_BYTES_MAX};

const DB_LABEL: &str = "db";

/// The unit of a request's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds from 1e17 on, microseconds from 1e14, milliseconds from 1e11, else seconds: right for years from 1973 on.
    BySize,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
}

impl Precision {
    /// Reads `precision=`; none if there is no such unit.
    pub fn parse(text: &str) -> Option<Precision> {
        Some(match text {
            "" => Precision::BySize,
            "n" | "ns" => Precision::Nanoseconds,
            "u" | "us" | "µ" | "µs" => Precision::Microseconds,
            "ms" => Precision::Milliseconds,
            "s" => Precision::Seconds,
            "m" => Precision::Minutes,
            "h" => Precision::Hours,
            _ => return None,
        })
    }

    /// None if the time is beyond what milliseconds can say.
    fn milliseconds(self, timestamp: i64) -> Option<i64> {
        match self {
            Precision::BySize if timestamp >= 100_000_000_000_000_000 => Precision::Nanoseconds.milliseconds(timestamp),
            Precision::BySize if timestamp >= 100_000_000_000_000 => Precision::Microseconds.milliseconds(timestamp),
            Precision::BySize if timestamp >= 100_000_000_000 => Some(timestamp),
            Precision::BySize | Precision::Seconds => timestamp.checked_mul(1000),
            Precision::Nanoseconds => Some(timestamp.div_euclid(1_000_000)),
            Precision::Microseconds => Some(timestamp.div_euclid(1000)),
            Precision::Milliseconds => Some(timestamp),
            Precision::Minutes => timestamp.checked_mul(60_000),
            Precision::Hours => timestamp.checked_mul(3_600_000),
        }
    }
}

/// What the request says beside its lines.
#[derive(Clone, Copy, Debug)]
pub struct Options<'o> {
    pub precision: Precision,
    /// Empty: none.
    pub database: &'o str,
    pub separator: &'o str,
    pub now_ms: i64,
}

/// Stages all lines. After an error nothing that was staged may be used.
pub fn decode(body: &[u8], options: Options, columns: &mut Columns) -> Result<(), DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "line protocol", limit_bytes: u32::MAX as usize });
    }
    let text = std::str::from_utf8(body).map_err(|error| text_error(body, error.valid_up_to(), "invalid UTF-8"))?;
    let arena_max = arena_bytes_max(body.len());
    let mut reader = Reader { text, at: 0, line: Line::default() };
    loop {
        reader.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let start = reader.at;
        match reader.peek() {
            None => return Ok(()),
            Some(b'#') => reader.skip_while(|byte| byte != b'\n'),
            Some(_) => {
                reader.line(options).map_err(|problem| text_error(body, start, &problem.to_string()))?;
                reader.line.stage(start, arena_max, columns)?;
            }
        }
    }
}

#[cold]
fn text_error(body: &[u8], at: usize, reason: &str) -> DecodeError {
    let line = 1 + body[..at].iter().filter(|&&byte| byte == b'\n').count();
    DecodeError::Text { line, reason: reason.to_string() }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("expected '=' after a tag's name")]
    NoTagEquals,
    #[error("a tag has no name")]
    NoTagName,
    #[error("expected a blank and fields after the tags")]
    NoFields,
    #[error("expected '=' after a field's name")]
    NoFieldEquals,
    #[error("a field has no name")]
    NoFieldName,
    #[error("unterminated quoted text")]
    Unterminated,
    #[error("the value of field {0:?} is not a number, true, false or quoted text")]
    BadValue(String),
    #[error("expected ',' or a blank after a field's value")]
    NoComma,
    #[error("the timestamp is not a whole number")]
    BadTimestamp,
    #[error("the timestamp is out of range")]
    TimestampRange,
    #[error("unexpected text after the timestamp")]
    Trailing,
    #[error("{0}")]
    Labels(LabelProblem),
}

/// One line, its labels in the form that a key in the arena has. Cleared and used again.
#[derive(Default)]
struct Line {
    /// Measurement and separator.
    prefix: String,
    /// Tags, and the database if no tag stands for it.
    tags: Vec<u8>,
    /// The names of the fields one after the other, and where each ends; with their values.
    names: String,
    fields: Vec<(usize, f64)>,
    timestamp_ms: i64,
}

impl Line {
    fn clear(&mut self) {
        self.prefix.clear();
        self.tags.clear();
        self.names.clear();
        self.fields.clear();
    }

    /// A series for each field. `start` is where the line begins in the body.
    fn stage(&mut self, start: usize, arena_max: usize, columns: &mut Columns) -> Result<(), DecodeError> {
        let mut name_start = 0;
        for &(name_end, value) in &self.fields {
            if columns.arena_mark() > arena_max {
                return Err(DecodeError::TooLarge { what: "the labels of the request, spelled out,", limit_bytes: arena_max });
            }
            let mark = columns.arena_mark();
            let prefix_end = self.prefix.len();
            self.prefix.push_str(&self.names[name_start..name_end]);
            columns.push_pair(METRIC_NAME.as_bytes(), self.prefix.as_bytes());
            self.prefix.truncate(prefix_end);
            columns.push_prefixed(&self.tags);
            columns.begin_series_from_arena(mark);
            columns.remember_place(start);
            columns.push_sample(self.timestamp_ms, value);
            name_start = name_end;
        }
        self.clear();
        Ok(())
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: Line,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_while(&mut self, skips: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skips) {
            self.at += 1;
        }
    }

    /// The cursor stands at the measurement; afterwards behind the line.
    fn line(&mut self, options: Options) -> Result<(), Problem> {
        let measurement = self.word(|byte| matches!(byte, b',' | b' '));
        self.line.prefix.push_str(&measurement);
        if !measurement.is_empty() {
            self.line.prefix.push_str(options.separator);
        }
        self.tags(options.database)?;
        if self.peek() != Some(b' ') {
            return Err(Problem::NoFields);
        }
        self.skip_while(|byte| byte == b' ');
        self.fields()?;
        self.line.timestamp_ms = self.timestamp(options)?;
        Ok(())
    }

    fn tags(&mut self, database: &str) -> Result<(), Problem> {
        let mut has_database = database.is_empty();
        let mut count = 0;
        while self.peek() == Some(b',') {
            self.at += 1;
            let name = self.word(|byte| matches!(byte, b'=' | b',' | b' '));
            if self.peek() != Some(b'=') {
                return Err(Problem::NoTagEquals);
            }
            if name.is_empty() {
                return Err(Problem::NoTagName);
            }
            self.at += 1;
            let value = self.word(|byte| matches!(byte, b',' | b' '));
            if value.is_empty() {
                continue;
            }
            has_database |= name == DB_LABEL;
            self.push_tag(&name, &value);
            count += 1;
            if count >= LABELS_MAX {
                return Err(Problem::Labels(LabelProblem::TooManyLabels));
            }
            if self.line.tags.len() > SERIES_BYTES_MAX {
                return Err(Problem::Labels(LabelProblem::SeriesTooLong));
            }
        }
        if !has_database {
            self.push_tag(DB_LABEL, database);
        }
        Ok(())
    }

    fn push_tag(&mut self, name: &str, value: &str) {
        label_forms::push_pair(&mut self.line.tags, name.as_bytes(), value.as_bytes());
    }

    fn fields(&mut self) -> Result<(), Problem> {
        loop {
            let name = self.word(|byte| matches!(byte, b'=' | b',' | b' '));
            if self.peek() != Some(b'=') {
                return Err(Problem::NoFieldEquals);
            }
            if name.is_empty() {
                return Err(Problem::NoFieldName);
            }
            self.at += 1;
            if let Some(value) = self.value(&name)? {
                if self.line.prefix.len() + name.len() > SERIES_BYTES_MAX {
                    return Err(Problem::Labels(LabelProblem::SeriesTooLong));
                }
                self.line.names.push_str(&name);
                self.line.fields.push((self.line.names.len(), value));
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                None | Some(b' ' | b'\n' | b'\r') => return Ok(()),
                Some(_) => return Err(Problem::NoComma),
            }
        }
    }

    /// A field's value; none if it is a text.
    fn value(&mut self, field: &str) -> Result<Option<f64>, Problem> {
        if self.peek() == Some(b'"') {
            return self.skip_quoted().map(|()| None);
        }
        let start = self.at;
        self.skip_while(|byte| !matches!(byte, b',' | b' ' | b'\n' | b'\r'));
        let word = &self.text[start..self.at];
        number(word).map(Some).ok_or_else(|| Problem::BadValue(field.chars().take(64).collect()))
    }

    /// Quoted texts may hold line breaks.
    fn skip_quoted(&mut self) -> Result<(), Problem> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(Problem::Unterminated),
            }
        }
        self.at = at + 1;
        Ok(())
    }

    fn timestamp(&mut self, options: Options) -> Result<i64, Problem> {
        self.skip_while(|byte| byte == b' ');
        let start = self.at;
        self.skip_while(|byte| !matches!(byte, b' ' | b'\n' | b'\r'));
        let word = &self.text[start..self.at];
        self.skip_while(|byte| matches!(byte, b' ' | b'\r'));
        if !matches!(self.peek(), None | Some(b'\n')) {
            return Err(Problem::Trailing);
        }
        if word.is_empty() {
            return Ok(options.now_ms);
        }
        let timestamp = word.parse().map_err(|_| Problem::BadTimestamp)?;
        options.precision.milliseconds(timestamp).ok_or(Problem::TimestampRange)
    }

    /// Up to an unescaped byte that `ends` it, or the end of the line; without its escapes.
    #[inline]
    fn word(&mut self, ends: impl Fn(u8) -> bool) -> Cow<'a, str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        while let Some(&byte) = bytes.get(self.at) {
            if byte == b'\\' {
                escaped = true;
                // What follows does not end the word, unless it ends the line.
                self.at += 1 + usize::from(bytes.get(self.at + 1).is_some_and(|&next| is_escapable(next)));
            } else if byte == b'\n' || ends(byte) {
                break;
            } else {
                self.at += 1;
            }
        }
        let raw = &self.text[start..self.at];
        if escaped { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) }
    }
}

fn is_escapable(byte: u8) -> bool {
    matches!(byte, b',' | b'=' | b' ' | b'\\')
}

/// A backslash before any other character stands for itself.
fn unescaped(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut characters = raw.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = characters.next_if(|&next| character == '\\' && u8::try_from(next).is_ok_and(is_escapable));
        plain.push(escaped.unwrap_or(character));
    }
    plain
}

/// `0.5`, `8i`, `8u`, `t`, `FALSE`. Not `NaN`, not `Inf`: the protocol has none.
fn number(word: &str) -> Option<f64> {
    match word {
        "t" | "T" | "true" | "True" | "TRUE" => return Some(1.0),
        "f" | "F" | "false" | "False" | "FALSE" => return Some(0.0),
        _ => {}
    }
    if let Some(integer) = word.strip_suffix('i') {
        return integer.parse::<i64>().ok().map(|number| number as f64);
    }
    if let Some(integer) = word.strip_suffix('u') {
        return integer.parse::<u64>().ok().map(|number| number as f64);
    }
    let is_numeric = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    word.parse().ok().filter(|number: &f64| is_numeric && number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_123;

    fn staged_with(text: &str, precision: &str, database: &str) -> Result<Vec<String>, String> {
        let mut columns = Columns::new();
        let precision = Precision::parse(precision).unwrap();
        let options = Options { precision, database, separator: "_", now_ms: NOW };
        decode(text.as_bytes(), options, &mut columns).map_err(|error| error.to_string())?;
        let of_series = |series| {
            let mut labels = Vec::new();
            if let Err(problem) = columns.labels(text.as_bytes(), series, &mut labels) {
                return format!("line {}: {problem}", columns.line(text.as_bytes(), series).unwrap_or(0));
            }
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let at = columns.samples(series).start;
            format!("{} {} @{}", labels.join("|"), columns.values[at], columns.timestamps[at])
        };
        Ok((0..columns.series_count()).map(of_series).collect())
    }

    fn staged(text: &str) -> Result<Vec<String>, String> {
        staged_with(text, "", "")
    }

    #[test]
    fn reads_what_telegraf_writes() {
        let text =
            "# from telegraf\n\ncpu,host=a,cpu=cpu0 usage_idle=99.5,usage_user=0.25 1700000000000000000\r\nmem,host=a free=12i,ok=true\n";
        assert_eq!(
            staged(text).unwrap(),
            [
                "__name__=cpu_usage_idle|cpu=cpu0|host=a 99.5 @1700000000000",
                "__name__=cpu_usage_user|cpu=cpu0|host=a 0.25 @1700000000000",
                "__name__=mem_free|host=a 12 @1700000000123",
                "__name__=mem_ok|host=a 1 @1700000000123",
            ]
        );
    }

    #[test]
    fn every_kind_of_value() {
        for (value, expected) in [
            ("1", Some("1")),
            ("-1.5e3", Some("-1500")),
            ("+.5", Some("0.5")),
            ("7i", Some("7")),
            ("-7i", Some("-7")),
            ("18446744073709551615u", Some("18446744073709552000")),
            ("t", Some("1")),
            ("FALSE", Some("0")),
            ("NaN", None),
            ("inf", None),
            ("1e999", None),
            ("-1u", None),
            ("1.5i", None),
            ("9223372036854775808i", None),
            ("", None),
            ("tru", None),
        ] {
            let got = staged(&format!("m f={value} 1"));
            match expected {
                Some(number) => assert_eq!(got.unwrap(), [format!("__name__=m_f {number} @1000")], "{value}"),
                None => {
                    assert_eq!(got.unwrap_err(), "line 1: the value of field \"f\" is not a number, true, false or quoted text", "{value}")
                }
            }
        }
    }

    #[test]
    fn texts_are_passed_over_whatever_they_hold() {
        let text = "m,t=1 a=\"x, y=1 \\\" \\\\\",b=2,c=\"two\nlines\" 5\nn only=\"text\" 5\n\nm d=3 5";
        assert_eq!(staged(text).unwrap(), ["__name__=m_b|t=1 2 @5000", "__name__=m_d 3 @5000"]);
        assert_eq!(staged("a b=1\nm c=\"two\nlines\" x").unwrap_err(), "line 2: the timestamp is not a whole number");
    }

    #[test]
    fn escapes_and_odd_names() {
        let text = r"my\ app\,one,tag\ a\==x\,y\=z\ w,back=C:\dir\\,e=é na\=me=1 5";
        assert_eq!(staged(text).unwrap(), [r"__name__=my app,one_na=me|back=C:\dir\|e=é|tag a==x,y=z w 1 @5000"]);
        assert_eq!(staged(",host=a field=1 5").unwrap(), ["__name__=field|host=a 1 @5000"]);
        assert_eq!(staged("m,empty=,a=b f=1 5").unwrap(), ["__name__=m_f|a=b 1 @5000"]);
        assert_eq!(staged("m  f=1   5  ").unwrap(), ["__name__=m_f 1 @5000"]);
    }

    #[test]
    fn the_database_is_a_label_unless_a_tag_is() {
        assert_eq!(staged_with("m f=1 5", "s", "telegraf").unwrap(), ["__name__=m_f|db=telegraf 1 @5000"]);
        assert_eq!(staged_with("m,db=own f=1 5", "s", "telegraf").unwrap(), ["__name__=m_f|db=own 1 @5000"]);
    }

    #[test]
    fn timestamps_have_the_precision_of_the_request_or_of_their_size() {
        for (precision, timestamp, expected) in [
            ("", "1700000000", 1_700_000_000_000i64),
            ("", "1700000000001", 1_700_000_000_001),
            ("", "1700000000001999", 1_700_000_000_001),
            ("", "1700000000001999999", 1_700_000_000_001),
            ("ns", "1700000000001", 1_700_000),
            ("u", "1700000000001999", 1_700_000_000_001),
            ("ms", "17", 17),
            ("s", "17", 17_000),
            ("m", "17", 1_020_000),
            ("h", "-1", -3_600_000),
        ] {
            let got = staged_with(&format!("m f=1 {timestamp}"), precision, "").unwrap();
            assert_eq!(got, [format!("__name__=m_f 1 @{expected}")], "{precision} {timestamp}");
        }
        assert_eq!(Precision::parse("day"), None);
        assert_eq!(staged_with("m f=1 9223372036854775807", "s", "").unwrap_err(), "line 1: the timestamp is out of range");
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("m f=1\nm", "line 2: expected a blank and fields after the tags"),
            ("m,a f=1", "line 1: expected '=' after a tag's name"),
            ("m,=a f=1", "line 1: a tag has no name"),
            ("m f", "line 1: expected '=' after a field's name"),
            ("m =1", "line 1: a field has no name"),
            ("m ", "line 1: expected '=' after a field's name"),
            ("\n\nm f=\"x", "line 3: unterminated quoted text"),
            ("m f=\"x\"y", "line 1: expected ',' or a blank after a field's value"),
            ("m f=1 1.5", "line 1: the timestamp is not a whole number"),
            ("m f=1 1 2", "line 1: unexpected text after the timestamp"),
            ("m f=1,", "line 1: expected '=' after a field's name"),
        ] {
            assert_eq!(staged(text).unwrap_err(), expected, "{text:?}");
        }
        assert_eq!(staged("m f=1\nm,a=1,a=2 f=1").unwrap()[1], "line 2: duplicate label name \"a\"");
        let mut columns = Columns::new();
        let options = Options { precision: Precision::BySize, database: "", separator: "_", now_ms: NOW };
        let error = decode(b"m f=1\nm,a=\xff f=1", options, &mut columns).unwrap_err();
        assert_eq!(error.to_string(), "line 2: invalid UTF-8");
    }

    /// Few bytes of fields, each with all tags of its line.
    #[test]
    fn what_is_spelled_out_is_bounded() {
        let tag = "x".repeat(60_000);
        let fields: Vec<String> = (0..20_000).map(|number| format!("{number}=1")).collect();
        let text = format!("m,t={tag} {}\n", fields.join(","));
        let mut columns = Columns::new();
        let options = Options { precision: Precision::BySize, database: "", separator: "_", now_ms: NOW };
        let error = decode(text.as_bytes(), options, &mut columns).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    }

    fn escape(text: &str) -> String {
        text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ")
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            measurement in "[a-zé,= \\\\]{1,6}",
            tags in prop::collection::btree_map("[a-z,= \\\\]{1,4}", "[a-zé,= \\\\\"]{1,6}", 0..4),
            field in "[a-z,= \\\\]{1,4}",
            value in -1e12f64..1e12,
            timestamp in 0i64..2_000_000_000,
        ) {
            let pairs: Vec<_> = tags.iter().map(|(name, value)| format!(",{}={}", escape(name), escape(value))).collect();
            // A comment's sign cannot be escaped; nor may a line begin with a blank, which is escaped.
            let text = format!("{}{} {}={value:?} {timestamp}", escape(&measurement), pairs.concat(), escape(&field));
            let mut expected = vec![format!("__name__={measurement}_{field}")];
            expected.extend(tags.iter().map(|(name, value)| format!("{name}={value}")));
            let mut sorted: Vec<(&str, String)> = vec![("__name__", expected[0].clone())];
            sorted.extend(tags.keys().map(String::as_str).zip(expected[1..].iter().cloned()));
            sorted.sort();
            let labels: Vec<String> = sorted.into_iter().map(|(_, label)| label).collect();
            prop_assert_eq!(staged_with(&text, "s", "").unwrap(), [format!("{} {value} @{}", labels.join("|"), timestamp * 1000)]);
        }

        #[test]
        fn any_text_is_no_panic(text in "[a,=\\\\ \n\r\"0i#é]{0,40}") {
            let _ = staged(&text);
        }

        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            let options = Options { precision: Precision::BySize, database: "", separator: "_", now_ms: NOW };
            let _ = decode(&bytes, options, &mut Columns::new());
        }
    }
}
