//! Quoting of text as Go's `strconv.Quote` does it, which is what Prometheus prints everywhere.

use std::fmt::Write;

/// `text` in double quotes, with Go's escapes for everything that is not printable.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        push_escaped(&mut quoted, character, '"');
    }
    quoted.push('"');
    quoted
}

/// As [`quote`], for bytes of which some are no text: each of these stands as `\xNN`.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push_escaped(&mut quoted, character, '"'));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

/// `character` in single quotes, as Go's `%q` prints a rune.
pub fn quote_char(character: char) -> String {
    let mut quoted = String::from("'");
    push_escaped(&mut quoted, character, '\'');
    quoted.push('\'');
    quoted
}

fn push_escaped(out: &mut String, character: char, delimiter: char) {
    match character {
        _ if character == delimiter || character == '\\' => {
            out.push('\\');
            out.push(character);
        }
        '\u{07}' => out.push_str("\\a"),
        '\u{08}' => out.push_str("\\b"),
        '\u{0c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{0b}' => out.push_str("\\v"),
        _ if is_printable(character) => out.push(character),
        _ => push_code(out, character as u32),
    }
}

fn push_code(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
        0..0x10000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space. Rust's own debug
/// escaping follows the same idea: it escapes control, separator, format, private-use and unassigned characters.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        // Combining marks are printable for Go; Rust escapes the ones that would attach to the quote.
        _ => character.escape_debug().len() == 1 || is_combining_mark(character),
    }
}

fn is_combining_mark(character: char) -> bool {
    matches!(character as u32, 0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f
        | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20f0 | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_go() {
        assert_eq!(quote("a\"b\\c\n\t\r\u{7}\u{8}\u{b}\u{c}"), r#""a\"b\\c\n\t\r\a\b\v\f""#);
        assert_eq!(quote("\u{0}\u{1f}\u{7f}"), r#""\x00\x1f\x7f""#);
        assert_eq!(quote("é日本'"), "\"é日本'\"");
        assert_eq!(quote("\u{200b}\u{feff}\u{e000}\u{a0}"), r#""\u200b\ufeff\ue000\u00a0""#);
        assert_eq!(quote("e\u{301}"), "\"e\u{301}\"");
        assert_eq!(quote_bytes(b"a\xc5z\xff\n\xc3\xa9"), "\"a\\xc5z\\xff\\n\u{e9}\"");
        assert_eq!(quote_char('\''), r"'\''");
        assert_eq!(quote_char('"'), "'\"'");
    }
}
