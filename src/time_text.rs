//! Times and durations as people and clients write them: Unix seconds, RFC 3339, Prometheus durations, relative times.

use jiff::Timestamp;

/// Above this a bare number on the native API is milliseconds: as seconds it would lie past the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// `client_golang` sends these for "the beginning" and "the end of time".
const TIME_MIN: &str = "-292273086-05-16T16:47:06Z";
const TIME_MAX: &str = "+292277025-08-18T07:12:54.999999999Z";

/// The earliest and the latest time a query may name, so that sums with ranges and offsets cannot overflow.
pub const EARLIEST_MS: i64 = -(1 << 53);
pub const LATEST_MS: i64 = 1 << 53;

/// A time of the Prometheus API: Unix seconds with a fraction, or RFC 3339. `None` when the text is neither.
pub fn parse_time(text: &str) -> Option<i64> {
    match text {
        TIME_MIN => return Some(EARLIEST_MS),
        TIME_MAX => return Some(LATEST_MS),
        _ => {}
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds_to_ms(seconds);
    }
    let timestamp: Timestamp = text.parse().ok()?;
    Some(timestamp.as_millisecond())
}

/// A time of the native API: also milliseconds (`>= 1e11`), `now`, and relative times such as `-1h` or `now-1h`.
pub fn parse_native_time(text: &str, now_ms: i64) -> Option<i64> {
    let text = text.trim();
    if text == "now" {
        return Some(now_ms);
    }
    let relative = text.strip_prefix("now").unwrap_or(text);
    if let Some(back) = relative.strip_prefix('-').and_then(parse_duration_words) {
        return Some(now_ms.saturating_sub(back));
    }
    if let Some(ahead) = relative.strip_prefix('+').and_then(parse_duration_words) {
        return Some(now_ms.saturating_add(ahead));
    }
    match text.parse::<f64>() {
        Ok(number) if number.abs() >= MILLISECONDS_FROM => in_range(number.round()),
        _ => parse_time(text),
    }
}

/// A duration of the Prometheus API in milliseconds: float seconds or `1h30m`.
pub fn parse_duration(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        // The whole range of Go's int64 nanoseconds, as upstream.
        Ok(seconds) if (seconds * 1e9).abs() < i64::MAX as f64 => Some((seconds * 1000.0).round() as i64),
        Ok(_) => None,
        Err(_) => parse_duration_words(text),
    }
}

/// `1d12h`, `500ms`: units from the largest to the smallest, each at most once.
pub fn parse_duration_words(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] =
        [("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = text;
    let mut total_ms: i64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let at = UNITS.iter().position(|(name, _)| *name == unit)?;
        if at < next_unit {
            return None;
        }
        next_unit = at + 1;
        total_ms = total_ms.checked_add(number.parse::<i64>().ok()?.checked_mul(UNITS[at].1)?)?;
        rest = tail;
    }
    (!text.is_empty() && total_ms <= i64::MAX / 1_000_000).then_some(total_ms)
}

/// RFC 3339 in UTC with milliseconds, for status pages and logs.
pub fn rfc3339(timestamp_ms: i64) -> String {
    Timestamp::from_millisecond(timestamp_ms).map_or_else(|_| timestamp_ms.to_string(), |time| time.to_string())
}

fn seconds_to_ms(seconds: f64) -> Option<i64> {
    in_range((seconds * 1000.0).round())
}

fn in_range(milliseconds: f64) -> Option<i64> {
    // NaN fails both comparisons.
    (milliseconds >= EARLIEST_MS as f64 && milliseconds <= LATEST_MS as f64).then_some(milliseconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_seconds_or_rfc3339() {
        assert_eq!(parse_time("1435781451.781"), Some(1_435_781_451_781));
        assert_eq!(parse_time("1435781451"), Some(1_435_781_451_000));
        assert_eq!(parse_time("2015-07-01T20:10:51.781Z"), Some(1_435_781_451_781));
        assert_eq!(parse_time("2015-07-01T22:10:51.781+02:00"), Some(1_435_781_451_781));
        assert_eq!(parse_time(TIME_MIN), Some(EARLIEST_MS));
        assert_eq!(parse_time(TIME_MAX), Some(LATEST_MS));
        for wrong in ["", "yesterday", "NaN", "Inf", "1e300", "-1h"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn native_times_may_be_milliseconds_or_relative() {
        let now = 1_700_000_000_000;
        assert_eq!(parse_native_time("-1h", now), Some(now - 3_600_000));
        assert_eq!(parse_native_time("now-90s", now), Some(now - 90_000));
        assert_eq!(parse_native_time("now", now), Some(now));
        assert_eq!(parse_native_time("1700000000", now), Some(now));
        assert_eq!(parse_native_time("1700000000000", now), Some(now));
        assert_eq!(parse_native_time("-5", now), Some(-5_000));
        assert_eq!(parse_native_time("soon", now), None);
    }

    #[test]
    fn durations_are_seconds_or_words() {
        assert_eq!(parse_duration("60"), Some(60_000));
        assert_eq!(parse_duration("0.5"), Some(500));
        assert_eq!(parse_duration("1h30m"), Some(5_400_000));
        assert_eq!(parse_duration("1d12h5m3s4ms"), Some(129_903_004));
        for wrong in ["", "m", "30m1h", "1h1h", "5x", "1e300", "99999999999999y", "-5m"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(ms in 0i64..9_000_000_000_000) {
            prop_assert_eq!(parse_duration_words(&promql::time_text::format_duration_ms(ms)), Some(ms));
        }
    }
}
