//! Writing floats as Prometheus (that is, Go) writes them.

/// Shortest digits that read back the same, with an exponent below 1e-4 and from 1e6 on (Go's `%g`).
pub fn general(value: f64) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Shortest digits that read back the same, never with an exponent (Go's `'f', -1`).
pub fn plain(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// As [`general`], but whole numbers end in `.0` (OpenMetrics).
pub fn open_metrics(value: f64) -> String {
    let text = general(value);
    if !value.is_finite() || text.contains(['e', '.']) { text } else { format!("{text}.0") }
}

/// That many significant digits, trailing zeros dropped (Go's `%.<precision>g`).
pub fn general_with_precision(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    if value == 0.0 {
        return format!("{value}");
    }
    let precision = precision.max(1);
    let rounded = format!("{value:.*e}", precision - 1);
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let last_plain = i32::try_from(precision).unwrap_or(i32::MAX) - 1;
    if (-4..=last_plain).contains(&exponent) {
        let decimals = usize::try_from(last_plain - exponent).unwrap_or(0);
        return without_trailing_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_trailing_zeros(digits), exponent.abs())
}

fn without_trailing_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_go() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.5, "0.5"),
            (100_000.0, "100000"),
            (1_234_567.0, "1.234567e+06"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(general(value), text);
        }
        assert_eq!(plain(1e22), "10000000000000000000000");
    }

    #[test]
    fn significant_digits_are_cut() {
        let two = |value| general_with_precision(value, 2);
        assert_eq!([0.0, 1.0, 0.123, 12.5, 123.0, 9.99].map(two), ["0", "1", "0.12", "12", "1.2e+02", "10"]);
        assert_eq!([1e-5, 0.000_123, f64::INFINITY].map(two), ["1e-05", "0.00012", "+Inf"]);
    }
}
