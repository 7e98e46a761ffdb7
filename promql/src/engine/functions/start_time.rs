//! What the start times of counters say about resets.

use super::window::Samples;

/// Whether the counter was started anew between the samples at `position - 1` and `position`.
///
/// A start of 0, at or after its own sample, is unknown or invalid. A start exactly at the sample before is a reset in a
/// series of deltas, but also how OpenTelemetry marks "unknown": the start of the sample before tells them apart.
pub fn is_reset<T>(samples: &Samples<'_, T>, position: usize) -> bool {
    if samples.starts.is_empty() {
        return false;
    }
    let (previous_start, start) = (samples.starts[position - 1], samples.starts[position]);
    let (previous_time, time) = (samples.times[position - 1], samples.times[position]);
    restarted(previous_start, previous_time, start, time)
}

/// As [`is_reset`], for two samples given by their start times and times.
pub fn restarted(previous_start: i64, previous_time: i64, start: i64, time: i64) -> bool {
    if start == 0 || start >= time || start < previous_time {
        return false;
    }
    start > previous_time || (previous_start < previous_time && previous_start != 0)
}

/// Whether some sample claims to have started before the sample before it, but not together with it.
pub fn has_overlap<T>(samples: &Samples<'_, T>) -> bool {
    let starts = samples.starts.windows(2);
    starts.zip(samples.times).any(|(pair, previous_time)| pair[1] != 0 && pair[1] < *previous_time && pair[1] != pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_tell_resets() {
        assert!(!restarted(5, 10, 0, 20), "unknown start");
        assert!(!restarted(5, 10, 20, 20), "start at its own sample");
        assert!(!restarted(5, 10, 5, 20), "the same start");
        assert!(restarted(5, 10, 15, 20), "started in between");
        assert!(restarted(5, 10, 10, 20), "a delta");
        assert!(!restarted(10, 10, 10, 20) && !restarted(0, 10, 10, 20), "unknown start of the sample before");
    }
}
