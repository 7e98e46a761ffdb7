//! Numbers as Prometheus writes them in JSON: Go's `strconv.FormatFloat(v, 'f', -1, 64)`, and `'e'` for very small and
//! very large values. Both Go and Rust print the shortest digits that read back to the same bits, so only the layout
//! differs: Go's exponent has a sign and at least two digits.

use std::io::Write;

/// Appends a sample value: `1.5`, `1e-07`, `1e+21`, `NaN`, `+Inf`, `-Inf`.
pub fn push_value(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if is_small_integer(value) {
        push_integer(out, value as i64);
    } else {
        let magnitude = value.abs();
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            push_exponent(out, value);
        } else {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{value}");
        }
    }
}

/// Appends `value` in Go's `'e'` layout with the shortest digits: `1e+00`, `-2.5e-07`.
pub fn push_exponent(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return push_value(out, value);
    }
    let start = out.len();
    let _ = write!(out, "{value:e}");
    let Some(mark) = out[start..].iter().position(|&byte| byte == b'e') else { return };
    let digits = out.split_off(start + mark + 1);
    let (sign, digits) = match digits.strip_prefix(b"-") {
        Some(rest) => (b'-', rest),
        None => (b'+', &digits[..]),
    };
    out.push(sign);
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
}

/// Appends a timestamp in seconds: milliseconds appear only when there are any (`1435781451`, `1435781451.781`).
pub fn push_timestamp(out: &mut Vec<u8>, timestamp_ms: i64) {
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    let magnitude = timestamp_ms.unsigned_abs();
    push_unsigned(out, magnitude / 1000);
    let milliseconds = magnitude % 1000;
    if milliseconds != 0 {
        let digit = |power: u64| b'0' + ((milliseconds / power) % 10) as u8;
        out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }
}

/// Appends a decimal integer.
pub fn push_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, value.unsigned_abs());
}

fn push_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A sample value as text; see [`push_value`].
pub fn value_text(value: f64) -> String {
    let mut out = Vec::with_capacity(24);
    push_value(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

fn is_small_integer(value: f64) -> bool {
    // -0.0 prints as "-0" in Go, which the integer path would lose.
    value.abs() < 1e15 && value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_look_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (9.99e-7, "9.99e-07"),
            (1e-7, "1e-07"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (0.30000000000000004, "0.30000000000000004"),
        ];
        for (value, text) in cases {
            assert_eq!(value_text(value), text, "{value:?}");
        }
    }

    #[test]
    fn alert_values_use_the_exponent_layout() {
        let mut out = Vec::new();
        push_exponent(&mut out, 1.0);
        out.push(b' ');
        push_exponent(&mut out, 0.25);
        assert_eq!(out, b"1e+00 2.5e-01");
    }

    #[test]
    fn timestamps_show_milliseconds_only_when_there_are_any() {
        for (ms, text) in
            [(1_435_781_451_781, "1435781451.781"), (1_435_781_451_000, "1435781451"), (-1_500, "-1.500"), (7, "0.007"), (0, "0")]
        {
            let mut out = Vec::new();
            push_timestamp(&mut out, ms);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back_to_the_same_bits(bits: u64) {
            let value = f64::from_bits(bits);
            let read: f64 = value_text(value).parse().expect("a printed value parses");
            prop_assert!(read.to_bits() == bits || (read.is_nan() && value.is_nan()));
        }
    }
}
