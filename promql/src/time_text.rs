//! Durations and times as Prometheus prints them, because clients and tests compare these texts.

use std::fmt::Write;

/// Milliseconds per unit, the greatest first. Years and weeks stand only where nothing is left over.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// A duration as Prometheus prints it: `1h30m`, `0s`, `-5m`. A duration of whole weeks or years uses these units.
pub fn format_duration_ms(millis: i64) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    if millis < 0 {
        text.push('-');
    }
    let mut rest = millis.unsigned_abs();
    for (unit, unit_ms, only_exact) in UNITS {
        if only_exact && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        let count = rest / unit_ms;
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{count}{unit}");
            rest %= unit_ms;
        }
    }
    text
}

/// A Unix time in milliseconds as `2006-01-02T15:04:05Z`, the milliseconds cut off.
pub fn format_rfc3339_ms(unix_ms: i64) -> String {
    // Go divides towards zero here.
    let seconds = unix_ms / 1000;
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day in the proleptic Gregorian calendar of a day counted from 1970-01-01.
///
/// Counts from 0000-03-01, so that the leap day is the last of its year: Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms".
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(0), u32::try_from(day).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_prometheus() {
        let cases = [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1s500ms"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
            (7 * 86_400_000, "1w"),
            (8 * 86_400_000, "8d"),
            (365 * 86_400_000, "1y"),
            (366 * 86_400_000, "366d"),
            (372 * 86_400_000, "372d"),
            (-300_000, "-5m"),
        ];
        for (millis, text) in cases {
            assert_eq!(format_duration_ms(millis), text);
        }
    }

    #[test]
    fn times_print_in_utc() {
        assert_eq!(format_rfc3339_ms(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_rfc3339_ms(951_782_400_999), "2000-02-29T00:00:00Z");
        assert_eq!(format_rfc3339_ms(-86_400_000), "1969-12-31T00:00:00Z");
    }
}
