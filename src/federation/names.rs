//! Names for scrapers that know only the classic alphabet: the escaping schemes of Prometheus 3.
//! <https://prometheus.io/docs/instrumenting/escaping_schemes/>

use std::borrow::Cow;

/// How a name outside `[a-zA-Z_:][a-zA-Z0-9_:]*` is given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escaping {
    /// As it is, quoted.
    AllowUtf8,
    /// Each other character as `_`; the default, for it was so before there were such names.
    #[default]
    Underscores,
    /// `.` as `_dot_`, `_` as `__`, anything else as `__`.
    Dots,
    /// `U__` and each other character as its code: `_2e_`. The only scheme that can be undone.
    Values,
}

impl Escaping {
    pub fn parse(text: &str) -> Option<Escaping> {
        match text {
            "allow-utf-8" => Some(Escaping::AllowUtf8),
            "underscores" => Some(Escaping::Underscores),
            "dots" => Some(Escaping::Dots),
            "values" => Some(Escaping::Values),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    pub fn apply(self, name: &str) -> Cow<'_, str> {
        match self {
            Escaping::AllowUtf8 => Cow::Borrowed(name),
            Escaping::Underscores if is_classic(name) => Cow::Borrowed(name),
            Escaping::Underscores => replaced(name, |_, out| out.push('_')),
            Escaping::Dots => replaced_all(name, |character, is_valid, out| match character {
                '_' => out.push_str("__"),
                '.' => out.push_str("_dot_"),
                valid if is_valid => out.push(valid),
                _ => out.push_str("__"),
            }),
            Escaping::Values if is_classic(name) => Cow::Borrowed(name),
            Escaping::Values => {
                let escaped = replaced_all(name, |character, is_valid, out| match character {
                    '_' => out.push_str("__"),
                    valid if is_valid => out.push(valid),
                    other => out.push_str(&format!("_{:x}_", u32::from(other))),
                });
                Cow::Owned(format!("U__{escaped}"))
            }
        }
    }
}

/// Whether a name needs neither quotes nor escapes.
pub fn is_classic(name: &str) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(position, character)| is_valid(position, character))
}

fn is_valid(position: usize, character: char) -> bool {
    character.is_ascii_alphabetic() || matches!(character, '_' | ':') || position > 0 && character.is_ascii_digit()
}

/// Replaces only what is not valid.
fn replaced<'a>(name: &'a str, replace: impl Fn(char, &mut String)) -> Cow<'a, str> {
    replaced_all(name, |character, is_valid, out| if is_valid { out.push(character) } else { replace(character, out) })
}

fn replaced_all<'a>(name: &'a str, push: impl Fn(char, bool, &mut String)) -> Cow<'a, str> {
    let mut out = String::with_capacity(name.len() + 8);
    for (position, character) in name.chars().enumerate() {
        push(character, is_valid(position, character), &mut out);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_its_own_way() {
        let cases = [
            ("up", "up", "up", "up"),
            ("http_requests:rate5m", "http_requests:rate5m", "http__requests:rate5m", "http_requests:rate5m"),
            ("http.status_code", "http_status_code", "http_dot_status__code", "U__http_2e_status__code"),
            ("9lives", "_lives", "__lives", "U___39_lives"),
            ("a b", "a_b", "a__b", "U__a_20_b"),
            ("日x", "_x", "__x", "U___65e5_x"),
        ];
        for (name, underscores, dots, values) in cases {
            assert_eq!(Escaping::Underscores.apply(name), underscores);
            assert_eq!(Escaping::Dots.apply(name), dots);
            assert_eq!(Escaping::Values.apply(name), values);
            assert_eq!(Escaping::AllowUtf8.apply(name), name);
        }
    }

    #[test]
    fn schemes_are_known_by_their_words() {
        for scheme in [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values] {
            assert_eq!(Escaping::parse(scheme.as_str()), Some(scheme));
        }
        assert_eq!(Escaping::parse("other"), None);
    }
}
