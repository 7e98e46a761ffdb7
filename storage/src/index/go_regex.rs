//! From Go's regular expressions (RE2, which Prometheus speaks) to those of the `regex` crate.
//!
//! The two agree on nearly everything. Where they do not, a pattern is rewritten here:
//! - Go's `\d \w \s`, their negations and `\b` know ASCII only.
//! - `\Q…\E` quotes, in Go.
//! - A `{` that begins no repetition is itself, in Go; so are `[`, `&&`, `--`, `~~` within a class.
//! - `\<` and `\>` are the signs themselves, in Go.
//! - `\123` is a character in octal, in Go.

use std::iter::Peekable;
use std::str::Chars;

/// Rewrites a pattern. Errors of syntax are left for the compiler to find.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    while let Some(sign) = rest.next() {
        match sign {
            '\\' => escape(&mut rest, Place::Outside, &mut out),
            '[' => class(&mut rest, &mut out),
            '{' if !begins_repetition(rest.clone()) => out.push_str(r"\{"),
            other => out.push(other),
        }
    }
    out
}

/// Where an escape stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    Class,
}

/// Rewrites what follows a backslash.
fn escape(rest: &mut Peekable<Chars<'_>>, place: Place, out: &mut String) {
    let Some(sign) = rest.next() else {
        out.push('\\');
        return;
    };
    let in_class = place == Place::Class;
    match sign {
        'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
        'w' => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
        's' => out.push_str(if in_class { r"\t\n\f\r\x20" } else { r"[\t\n\f\r\x20]" }),
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'S' => out.push_str(r"[^\t\n\f\r\x20]"),
        'b' if !in_class => out.push_str(r"(?-u:\b)"),
        'Q' => quote(rest, out),
        '<' | '>' | '_' => out.push(sign),
        '0'..='7' => octal(sign, rest, out),
        _ => {
            out.push('\\');
            out.push(sign);
            if matches!(sign, 'p' | 'P' | 'x') && rest.peek() == Some(&'{') {
                copy_through('}', rest, out);
            }
        }
    }
}

/// Copies everything up to and with `last`.
fn copy_through(last: char, rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    for sign in rest.by_ref() {
        out.push(sign);
        if sign == last {
            return;
        }
    }
}

/// Copies what stands between `\Q` and `\E` (or the end) as itself.
fn quote(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    let mut literal = String::new();
    while let Some(sign) = rest.next() {
        if sign == '\\' && rest.peek() == Some(&'E') {
            rest.next();
            break;
        }
        literal.push(sign);
    }
    out.push_str(&regex_syntax::escape(&literal));
}

/// `\0` to `\377`; a single digit but 0 is a back reference, which neither dialect has.
fn octal(first: char, rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    let mut digits = String::from(first);
    while digits.len() < 3
        && let Some(digit) = rest.next_if(|sign| ('0'..='7').contains(sign))
    {
        digits.push(digit);
    }
    match u32::from_str_radix(&digits, 8) {
        Ok(code) if digits.len() > 1 || first == '0' => out.push_str(&format!(r"\x{{{code:x}}}")),
        _ => {
            out.push('\\');
            out.push_str(&digits);
        }
    }
}

/// Rewrites a class behind its `[`.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut is_first = true;
    while let Some(sign) = rest.next() {
        match sign {
            ']' if !is_first => {
                out.push(']');
                return;
            }
            ']' => out.push_str(r"\]"),
            '\\' => escape(rest, Place::Class, out),
            '[' if rest.peek() == Some(&':') => {
                out.push('[');
                copy_through(']', rest, out);
            }
            '[' => out.push_str(r"\["),
            '&' | '~' => {
                out.push('\\');
                out.push(sign);
            }
            '-' if rest.peek() == Some(&'-') => out.push_str(r"\-"),
            other => out.push(other),
        }
        is_first = false;
    }
}

/// Whether what follows a `{` makes it a repetition: digits, perhaps a comma and digits, `}`.
fn begins_repetition(mut rest: Peekable<Chars<'_>>) -> bool {
    let mut digits = 0;
    while rest.next_if(char::is_ascii_digit).is_some() {
        digits += 1;
    }
    if rest.next_if_eq(&',').is_some() {
        while rest.next_if(char::is_ascii_digit).is_some() {}
    }
    digits > 0 && rest.next() == Some('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        regex::Regex::new(&format!("^(?s:{})$", translate(pattern))).unwrap().is_match(value)
    }

    #[test]
    fn patterns_of_go_mean_what_they_mean_in_go() {
        assert!(matches(r"\d+", "12") && !matches(r"\d+", "١٢"));
        assert!(matches(r"[\d\-x]+", "1-x") && !matches(r"[^\d]", "1"));
        assert!(matches(r"\w\W", "a ") && !matches(r"\w", "é") && matches(r"\W", "é"));
        assert!(matches(r"[\W]", "é") && matches(r"[\s]\S", "\tx") && !matches(r"\s", "\u{a0}"));
        assert!(matches(r"a\b.*", "aé"));
        assert!(matches(r"\Qa.b*\Ec", "a.b*c") && matches(r"\Qa.b", "a.b"));
        assert!(matches("/api/{id}", "/api/{id}") && matches("a{2}", "aa") && matches("a{1,}", "aaa"));
        assert!(matches("[[]x", "[x") && matches("[]a]+", "]a") && matches("[^]]", "x"));
        assert!(matches("[a&&b]+", "a&b") && matches("[[:alpha:]1]+", "a1"));
        assert!(matches(r"\<x\>", "<x>") && matches(r"\101\x42\x{43}", "ABC"));
        assert!(matches(r"[a\]b]+", "a]b") && matches(r"\p{Greek}+", "αβ"));
        assert_eq!(translate("node_.*|x+?"), "node_.*|x+?");
    }
}
