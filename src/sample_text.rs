//! Sample values as texts that keep every bit, for exports that shall be imported again. Numbers are the shortest that read
//! back to the same bits. What is no number has a word: `Infinity`, `-Infinity`, `NaN` for the ordinary NaN that calculations
//! make, `StaleNaN` for the sample that says that a series has ended, and `NaN:` with sixteen hexadecimal digits for any other.

use storage::Histogram;
use storage::histogram::ordinary;

use crate::number::push_value;

/// Go's and Prometheus's "normal" NaN.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;
/// Prometheus' staleness marker.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// A number as digits; anything else as [`word`].
pub fn push_sample_text(out: &mut Vec<u8>, value: f64) {
    match word(value) {
        None => push_value(out, value),
        Some(word) => out.extend_from_slice(word.as_bytes()),
    }
}

/// The word for a value that is no number.
pub fn word(value: f64) -> Option<String> {
    if value.is_finite() {
        return None;
    }
    Some(match value.to_bits() {
        NORMAL_NAN_BITS => "NaN".to_string(),
        STALE_NAN_BITS => "StaleNaN".to_string(),
        _ if value == f64::INFINITY => "Infinity".to_string(),
        _ if value == f64::NEG_INFINITY => "-Infinity".to_string(),
        bits => format!("NaN:{bits:016x}"),
    })
}

/// Reads what [`push_sample_text`] writes, and what others write: `Inf`, `+Inf`, `nan`, any notation of a number.
pub fn parse_sample_text(text: &str) -> Option<f64> {
    if text == "StaleNaN" {
        return Some(f64::from_bits(STALE_NAN_BITS));
    }
    if let Some(digits) = text.strip_prefix("NaN:") {
        let bits = u64::from_str_radix(digits, 16).ok()?;
        let value = f64::from_bits(bits);
        return value.is_nan().then_some(ordinary(value));
    }
    let value: f64 = text.parse().ok()?;
    Some(if value.is_nan() { f64::from_bits(NORMAL_NAN_BITS) } else { value })
}

/// What the text of a native histogram begins with; hexadecimal digits of its stored form follow.
const HISTOGRAM_PREFIX: &str = "histogram:";

/// Appends a native histogram.
pub fn push_histogram_text(out: &mut Vec<u8>, histogram: &Histogram) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(HISTOGRAM_PREFIX.as_bytes());
    for byte in histogram.encoded() {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Reads what [`push_histogram_text`] writes; `None` when it is no histogram's text, else the histogram or what is wrong with it.
pub fn parse_histogram_text(text: &str) -> Option<Result<Histogram, String>> {
    let digits = text.strip_prefix(HISTOGRAM_PREFIX)?;
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let byte = |pair: &[u8]| Some(value(pair[0])? << 4 | value(*pair.get(1)?)?);
    let Some(bytes) = digits.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>() else {
        return Some(Err("a histogram in other than pairs of hexadecimal digits".to_string()));
    };
    let histogram = Histogram::decode(&bytes).map_err(|error| error.to_string());
    Some(histogram.and_then(|histogram| histogram.validate().map(|()| histogram).map_err(|problem| problem.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        push_sample_text(&mut out, value);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn what_is_no_number_has_a_word() {
        let cases = [
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::from_bits(NORMAL_NAN_BITS), "NaN"),
            (f64::from_bits(STALE_NAN_BITS), "StaleNaN"),
            (f64::from_bits(0x7ff8_0000_0000_0000), "NaN:7ff8000000000000"),
            (-0.0, "-0"),
            (0.1 + 0.2, "0.30000000000000004"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected);
        }
        for (other, bits) in [("Inf", f64::INFINITY.to_bits()), ("+Inf", f64::INFINITY.to_bits()), ("nan", NORMAL_NAN_BITS)] {
            assert_eq!(parse_sample_text(other).map(f64::to_bits), Some(bits));
        }
        for wrong in ["", "many", "NaN:", "NaN:0", "NaN:3ff0000000000000"] {
            assert_eq!(parse_sample_text(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back_to_the_same_bits(bits in prop_oneof![any::<u64>(), 0x7ff0_0000_0000_0000u64.., Just(STALE_NAN_BITS)]) {
            let value = ordinary(f64::from_bits(bits));
            prop_assert_eq!(parse_sample_text(&text(value)).map(f64::to_bits), Some(value.to_bits()));
        }
    }
}
