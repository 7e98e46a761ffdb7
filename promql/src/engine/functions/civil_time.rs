//! The parts of a date, in UTC.

use crate::function_signatures::Function;
use crate::time_text::civil_from_days;

const SECONDS_PER_DAY: i64 = 86_400;

/// What a date function says about a Unix time in seconds. None: it is no date function.
pub fn part_of(function: Function, unix_seconds: i64) -> Option<f64> {
    let days = unix_seconds.div_euclid(SECONDS_PER_DAY);
    let seconds = unix_seconds.rem_euclid(SECONDS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    Some(match function {
        Function::DaysInMonth => days_in_month(year, month),
        Function::DayOfMonth => f64::from(day),
        // The epoch was a Thursday; Sunday is 0.
        Function::DayOfWeek => (days + 4).rem_euclid(7) as f64,
        Function::DayOfYear => f64::from(day) + (1..month).map(|earlier| days_in_month(year, earlier)).sum::<f64>(),
        Function::Hour => (seconds / 3600) as f64,
        Function::Minute => (seconds / 60 % 60) as f64,
        Function::Month => f64::from(month),
        Function::Year => year as f64,
        _ => return None,
    })
}

fn days_in_month(year: i64, month: u32) -> f64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29.0,
        2 => 28.0,
        4 | 6 | 9 | 11 => 30.0,
        _ => 31.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_taken_apart() {
        // 2024-02-29T23:59:59Z, a Thursday.
        let time = 1_709_251_199;
        for (function, expected) in [
            (Function::Year, 2024.0),
            (Function::Month, 2.0),
            (Function::DayOfMonth, 29.0),
            (Function::DaysInMonth, 29.0),
            (Function::DayOfYear, 60.0),
            (Function::DayOfWeek, 4.0),
            (Function::Hour, 23.0),
            (Function::Minute, 59.0),
        ] {
            assert_eq!(part_of(function, time), Some(expected), "{function}");
        }
        assert_eq!(part_of(Function::Year, -1), Some(1969.0));
    }
}
