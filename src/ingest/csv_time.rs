//! Times in CSV columns: Unix seconds, milliseconds or nanoseconds, RFC 3339, or a layout as Go writes it, by the example of
//! "Mon Jan 2 15:04:05 2006" (`custom:2006-01-02 15:04:05.999`). Without an offset in the layout a time is UTC.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::number::push_integer;

/// How a column holds times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeForm {
    Seconds,
    Milliseconds,
    Nanoseconds,
    Rfc3339,
    /// For `strtime`; `ends_in_zone`: the layout's last word is `Z07:00`, a `Z` or an offset.
    Custom {
        pattern: String,
        ends_in_zone: bool,
    },
}

/// Words of Go's layouts and what `strtime` calls them; longer ones before those that they begin with.
const WORDS: [(&str, &str); 22] = [
    ("2006", "%Y"),
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    (".000000000", "%.9f"),
    (".000000", "%.6f"),
    (".000", "%.3f"),
    (".999999999", "%.f"),
    (".999999", "%.f"),
    (".999", "%.f"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("PM", "%p"),
];
const ZONE: &str = "Z07:00";

impl TimeForm {
    /// `unix_s`, `unix_ms`, `unix_ns`, `rfc3339`, `custom:LAYOUT`.
    pub fn parse(text: &str) -> Option<TimeForm> {
        match text {
            "unix_s" => Some(TimeForm::Seconds),
            "unix_ms" => Some(TimeForm::Milliseconds),
            "unix_ns" => Some(TimeForm::Nanoseconds),
            "rfc3339" => Some(TimeForm::Rfc3339),
            _ => text.strip_prefix("custom:").filter(|layout| !layout.is_empty()).map(custom),
        }
    }

    /// Milliseconds; `None` when the text is no such time.
    pub fn read(&self, text: &str) -> Option<i64> {
        match self {
            TimeForm::Seconds => read_seconds(text),
            TimeForm::Milliseconds => text.parse().ok(),
            TimeForm::Nanoseconds => text.parse::<i64>().ok().map(|nanoseconds| nanoseconds.div_euclid(1_000_000)),
            TimeForm::Rfc3339 => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
            TimeForm::Custom { pattern, ends_in_zone } => read_custom(text, pattern, *ends_in_zone),
        }
    }

    pub fn write(&self, timestamp_ms: i64, out: &mut Vec<u8>) {
        let timestamp = Timestamp::from_millisecond(timestamp_ms).unwrap_or_default();
        match self {
            TimeForm::Seconds => push_integer(out, timestamp_ms.div_euclid(1000)),
            TimeForm::Milliseconds => push_integer(out, timestamp_ms),
            TimeForm::Nanoseconds => push_integer(out, timestamp_ms.saturating_mul(1_000_000)),
            TimeForm::Rfc3339 => out.extend_from_slice(timestamp.to_string().as_bytes()),
            TimeForm::Custom { pattern, ends_in_zone } => {
                let zoned = timestamp.to_zoned(TimeZone::UTC);
                let pattern = if *ends_in_zone { pattern.trim_end_matches("%:z") } else { pattern };
                // A pattern is made of words known above, so it is always sound.
                out.extend_from_slice(strtime::format(pattern, &zoned).unwrap_or_default().as_bytes());
                out.extend_from_slice(if *ends_in_zone { b"Z" } else { b"" });
            }
        }
    }
}

/// Whole seconds, or with a fraction.
fn read_seconds(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1000);
    }
    let milliseconds = (text.parse::<f64>().ok()? * 1000.0).round();
    (milliseconds.abs() < 9e15).then_some(milliseconds as i64)
}

fn read_custom(text: &str, pattern: &str, ends_in_zone: bool) -> Option<i64> {
    let numeric = text.strip_suffix('Z').filter(|_| ends_in_zone).map(|before| format!("{before}+00:00"));
    let broken_down = strtime::parse(pattern, numeric.as_deref().unwrap_or(text)).ok()?;
    if broken_down.offset().is_some() {
        return broken_down.to_timestamp().ok().map(Timestamp::as_millisecond);
    }
    let civil = broken_down.to_datetime().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

fn custom(layout: &str) -> TimeForm {
    let ends_in_zone = layout.ends_with(ZONE);
    let mut rest = layout;
    let mut pattern = String::new();
    while let Some(first) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix(ZONE) {
            pattern.push_str("%:z");
            rest = tail;
        } else if let Some((word, name)) = WORDS.iter().find(|(word, _)| rest.starts_with(word)) {
            pattern.push_str(name);
            rest = &rest[word.len()..];
        } else {
            pattern.push_str(if first == '%' { "%%" } else { &rest[..first.len_utf8()] });
            rest = &rest[first.len_utf8()..];
        }
    }
    TimeForm::Custom { pattern, ends_in_zone }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_700_000_000_125;

    fn read(form: &str, text: &str) -> Option<i64> {
        TimeForm::parse(form).expect(form).read(text)
    }

    fn written(form: &str, timestamp_ms: i64) -> String {
        let mut out = Vec::new();
        TimeForm::parse(form).expect(form).write(timestamp_ms, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_form_reads_what_it_writes() {
        let cases = [
            ("unix_s", "1700000000", MS - 125),
            ("unix_ms", "1700000000125", MS),
            ("unix_ns", "1700000000125000000", MS),
            ("rfc3339", "2023-11-14T22:13:20.125Z", MS),
            ("custom:2006-01-02 15:04:05", "2023-11-14 22:13:20", MS - 125),
            ("custom:2006-01-02T15:04:05.000Z07:00", "2023-11-14T22:13:20.125Z", MS),
            ("custom:02 Jan 06 03:04:05.999 PM", "14 Nov 23 10:13:20.125 PM", MS),
            ("custom:Monday 2006/01/02 15:04 -0700", "Tuesday 2023/11/14 22:13 +0000", MS - 20_125),
        ];
        for (form, text, timestamp_ms) in cases {
            assert_eq!(written(form, timestamp_ms), text, "{form}");
            assert_eq!(read(form, text), Some(timestamp_ms), "{form}");
        }
    }

    #[test]
    fn other_texts_are_read_or_refused() {
        assert_eq!(read("unix_s", "1700000000.125"), Some(MS));
        assert_eq!(read("rfc3339", "2023-11-14T23:13:20.125+01:00"), Some(MS));
        assert_eq!(read("custom:2006-01-02T15:04:05Z07:00", "2023-11-14T23:13:20+01:00"), Some(MS - 125));
        for (form, text) in
            [("unix_s", "soon"), ("unix_s", "1e300"), ("unix_ms", "1.5"), ("rfc3339", "2023-11-14"), ("custom:2006-01-02", "14.11.2023")]
        {
            assert_eq!(read(form, text), None, "{form} {text}");
        }
        for wrong in ["", "unix", "custom:"] {
            assert_eq!(TimeForm::parse(wrong), None, "{wrong}");
        }
    }
}
