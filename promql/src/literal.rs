//! What literals mean: numbers, durations and strings, read as Go and Prometheus read them.

use std::fmt::Write;

use crate::quote::quote;

/// A number in any notation of the language: `1_000`, `0x1f`, `0b11`, `0o17`, `017` (octal), `1e3`, `.5`, `Inf`, `nan`.
pub fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(integer) = parse_integer(text) {
        // A float has 53 bits; larger integers are rounded, as everywhere in the language.
        #[allow(clippy::cast_precision_loss)]
        return Ok(integer as f64);
    }
    let refused = |why: &str| format!("strconv.ParseFloat: parsing {}: {why}", quote(text));
    if !underscores_separate_digits(text) {
        return Err(refused("invalid syntax"));
    }
    let value: f64 = text.replace('_', "").parse().map_err(|_| refused("invalid syntax"))?;
    if value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(refused("value out of range"));
    }
    Ok(value)
}

/// An integer with the prefixes of Go's literals; a leading zero alone means octal.
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let digits = text.replace('_', "");
    let (sign_and_digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (&digits[..], 10),
    };
    let unsigned = !sign_and_digits.starts_with(['+', '-']);
    if unsigned { i64::from_str_radix(sign_and_digits, radix).ok() } else { None }
}

/// An underscore stands between two digits, or between the prefix of the base and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let bytes = text.as_bytes();
    let prefixed = bytes.len() > 2 && bytes[0] == b'0' && bytes[1].is_ascii_alphabetic();
    let is_digit =
        |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_hexdigit() || prefixed && byte == &bytes[1]);
    let mut underscores = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'_').map(|(at, _)| at);
    underscores.all(|at| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)))
}

/// Units from the greatest to the smallest, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000_000_000),
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

/// The greatest duration Go can hold, in nanoseconds.
const DURATION_NANOS_MAX: u64 = i64::MAX as u64;

/// A duration such as `1h30m`, in seconds: units from great to small, each once.
pub fn parse_duration_seconds(text: &str) -> Result<f64, String> {
    let nanos = parse_duration_nanos(text)?;
    // Whole seconds and the rest apart, as Go does, so that both are exact.
    #[allow(clippy::cast_precision_loss)]
    Ok((nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9)
}

/// A duration in milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    // At most i64::MAX nanoseconds, so it fits.
    parse_duration_nanos(text).map(|nanos| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
}

fn parse_duration_nanos(text: &str) -> Result<u64, String> {
    let invalid = || format!("not a valid duration string: {}", quote(text));
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let (mut rest, mut nanos, mut next_unit) = (text, 0u64, 0);
    while !rest.is_empty() {
        let (digits, behind) = split_while(rest, |byte| byte.is_ascii_digit());
        let (unit, behind) = split_while(behind, |byte| !byte.is_ascii_digit());
        let count: u64 = digits.parse().map_err(|_| invalid())?;
        if unit.is_empty() {
            return Err(invalid());
        }
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        if at < next_unit {
            return Err(invalid());
        }
        next_unit = at + 1;
        nanos = count
            .checked_mul(UNITS[at].1)
            .and_then(|more| nanos.checked_add(more))
            .filter(|&nanos| nanos <= DURATION_NANOS_MAX)
            .ok_or("duration out of range")?;
        rest = behind;
    }
    Ok(nanos)
}

fn split_while(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !wanted(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// Seconds as a length of time in milliseconds: rounded to nanoseconds and then cut, as Prometheus does in two steps.
pub fn seconds_to_millis(seconds: f64) -> i64 {
    // Saturates beyond 292 years, which callers refuse before.
    #[allow(clippy::cast_possible_truncation)]
    let nanos = (seconds * 1e9).round() as i64;
    nanos / 1_000_000
}

/// The text of a string literal: quotes off, escapes resolved, except in backquotes. Escapes name bytes; together they
/// must make text.
pub fn unquote(literal: &str) -> Result<String, String> {
    String::from_utf8(unquote_bytes(literal)?).map_err(|_| refused_literal(literal))
}

/// The bytes of a string literal, which need not be text.
pub fn unquote_bytes(literal: &str) -> Result<Vec<u8>, String> {
    let refused = || refused_literal(literal);
    let delimiter = literal.chars().next().filter(|first| "\"'`".contains(*first)).ok_or_else(refused)?;
    let inner = literal[1..].strip_suffix(delimiter).ok_or_else(refused)?;
    if delimiter == '`' || !inner.contains('\\') {
        return if inner.contains(delimiter) { Err(refused()) } else { Ok(inner.as_bytes().to_vec()) };
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => push_escaped(&mut bytes, &mut characters, delimiter).ok_or_else(refused)?,
            _ if character == delimiter => return Err(refused()),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

fn refused_literal(literal: &str) -> String {
    format!("error unquoting string {}: invalid syntax", quote(literal))
}

/// Resolves the escape whose backslash was just taken.
fn push_escaped(bytes: &mut Vec<u8>, characters: &mut std::str::Chars<'_>, delimiter: char) -> Option<()> {
    let escaped = characters.next()?;
    let byte = match escaped {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        _ if escaped == delimiter => u8::try_from(delimiter).ok()?,
        'x' => u8::try_from(take_code(characters, 0, 2, 16)?).ok()?,
        '0'..='7' => u8::try_from(take_code(characters, escaped.to_digit(8)?, 2, 8)?).ok()?,
        'u' | 'U' => {
            let digits = if escaped == 'u' { 4 } else { 8 };
            let code = char::from_u32(take_code(characters, 0, digits, 16)?)?;
            bytes.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn take_code(characters: &mut std::str::Chars<'_>, first: u32, digits: usize, radix: u32) -> Option<u32> {
    let mut code = first;
    for _ in 0..digits {
        code = code.checked_mul(radix)?.checked_add(characters.next()?.to_digit(radix)?)?;
    }
    Some(code)
}

/// A description of `value` with six decimals, as Go's `%f` has it.
pub fn format_fixed(value: f64) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match value {
        f64::INFINITY => write!(text, "+Inf"),
        f64::NEG_INFINITY => write!(text, "-Inf"),
        _ => write!(text, "{value:.6}"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_notations_of_go() {
        let cases = [
            ("1", 1.0),
            ("1_000", 1000.0),
            ("0x1f", 31.0),
            ("0X_1f", 31.0),
            ("0755", 493.0),
            ("08", 8.0),
            ("0o17", 15.0),
            ("1e3", 1000.0),
            ("1_0e1_0", 1e11),
            (".5", 0.5),
            ("5.", 5.0),
            ("Inf", f64::INFINITY),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ];
        for (text, value) in cases {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("nAn").is_ok_and(f64::is_nan));
        assert_eq!(parse_number("1e400"), Err(r#"strconv.ParseFloat: parsing "1e400": value out of range"#.to_owned()));
        assert_eq!(parse_number("0x"), Err(r#"strconv.ParseFloat: parsing "0x": invalid syntax"#.to_owned()));
    }

    #[test]
    fn durations_have_falling_units() {
        assert_eq!(parse_duration_seconds("1h30m"), Ok(5400.0));
        assert_eq!(parse_duration_seconds("1y2w3d4h5m6s7ms"), Ok(33_019_506.007));
        assert_eq!(parse_duration_ms("15ms"), Ok(15));
        assert_eq!(parse_duration_ms("1d"), Ok(86_400_000));
        for text in ["1m1h", "5m5m", "m", "5", "5m3"] {
            assert_eq!(parse_duration_ms(text), Err(format!("not a valid duration string: \"{text}\"")), "{text}");
        }
        assert_eq!(parse_duration_ms("5hs"), Err(r#"unknown unit "hs" in duration "5hs""#.to_owned()));
        assert_eq!(parse_duration_ms("300y"), Err("duration out of range".to_owned()));
        assert_eq!(parse_duration_ms(""), Err("empty duration string".to_owned()));
    }

    #[test]
    fn strings_lose_quotes_and_escapes() {
        let cases = [
            (r#""a\nb""#, "a\nb"),
            (r"'it\'s'", "it's"),
            (r#"'"'"#, "\""),
            (r"`a\nb`", r"a\nb"),
            (r#""\u00e9\xc3\xa9\303\251\U0001f600""#, "\u{e9}\u{e9}\u{e9}\u{1f600}"),
        ];
        for (literal, text) in cases {
            assert_eq!(unquote(literal).as_deref(), Ok(text), "{literal}");
        }
        for literal in [r#""\xff""#, r#""\'""#, "\"", "\"a", r#""a"b""#] {
            assert!(unquote(literal).is_err(), "{literal}");
        }
    }
}
