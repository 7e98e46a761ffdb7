//! Character classes with names.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// `\d`, `\s`, `\w` in their ASCII meaning; the upper-case letter is the complement.
pub(super) fn perl(letter: char) -> Option<ClassUnicode> {
    let class = match letter.to_ascii_lowercase() {
        'd' => of(&[('0', '9')]),
        's' => of(&[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')]),
        'w' => of(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        _ => return None,
    };
    Some(complement_if(class, letter.is_ascii_uppercase()))
}

/// The class of `[:name:]`; `[:^name:]` is the complement.
pub(super) fn posix(name: &str) -> Option<ClassUnicode> {
    let plain = name.strip_prefix('^');
    let class = match plain.unwrap_or(name) {
        "alnum" => of(&[('0', '9'), ('A', 'Z'), ('a', 'z')]),
        "alpha" => of(&[('A', 'Z'), ('a', 'z')]),
        "ascii" => of(&[('\0', '\u{7f}')]),
        "blank" => of(&[('\t', '\t'), (' ', ' ')]),
        "cntrl" => of(&[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
        "digit" => of(&[('0', '9')]),
        "graph" => of(&[('!', '~')]),
        "lower" => of(&[('a', 'z')]),
        "print" => of(&[(' ', '~')]),
        "punct" => of(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
        "space" => of(&[('\t', '\r'), (' ', ' ')]),
        "upper" => of(&[('A', 'Z')]),
        "word" => of(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        "xdigit" => of(&[('0', '9'), ('A', 'F'), ('a', 'f')]),
        _ => return None,
    };
    Some(complement_if(class, plain.is_some()))
}

/// A general category or script of Unicode, such as `Lu` or `Greek`; `^` before the name is the complement.
pub(super) fn unicode(name: &str) -> Option<ClassUnicode> {
    let plain = name.strip_prefix('^');
    let property = plain.unwrap_or(name);
    let named = !property.is_empty() && property.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphabetic());
    if !named {
        return None;
    }
    // The tables are those of the library; the name is too plain to be anything but a name to it.
    let parsed = regex_syntax::parse(&format!(r"\p{{{property}}}")).ok()?;
    match parsed.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(complement_if(class, plain.is_some())),
        _ => None,
    }
}

/// Every character, or every one but the newline.
pub(super) fn dot(newline_too: bool) -> ClassUnicode {
    if newline_too { of(&[('\0', char::MAX)]) } else { of(&[('\0', '\t'), ('\u{b}', char::MAX)]) }
}

pub(super) fn of(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(first, last)| ClassUnicodeRange::new(first, last)))
}

pub(super) fn complement_if(mut class: ClassUnicode, complement: bool) -> ClassUnicode {
    if complement {
        class.negate();
    }
    class
}
