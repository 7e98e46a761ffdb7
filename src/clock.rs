//! The system clock. No other file of the server asks for the time of day, so that "what time does Tern think it is"
//! has one answer and one place to look. Durations are measured with `std::time::Instant`, which never jumps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; the unit of every sample timestamp.
pub fn now_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_is_after_the_year_2020() {
        assert!(super::now_ms() > 1_577_836_800_000);
    }
}
