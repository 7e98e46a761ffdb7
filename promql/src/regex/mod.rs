//! Regular expressions of label matchers and of `label_replace`, fully anchored.
//!
//! The syntax is that of Go's `regexp`, which is RE2: `syntax` reads it into the intermediate form of the `regex`
//! family of crates, which then does the matching in time linear in the text. The differences between the two syntaxes
//! are many and quiet (`\d` is ASCII only, `\<` a plain character, `[a&&b]` a plain class, `{` may stand for itself), so
//! a pattern is never handed to the other parser.

mod class;
mod syntax;
mod template;

use std::fmt;
use std::sync::Arc;

use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};

/// A pattern longer than this is refused.
pub const PATTERN_BYTES_MAX: usize = 256 << 10;

/// The compiled automaton of one pattern may take this much memory.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// A regular expression that matches a whole value or nothing; the dot matches newlines too, as in Prometheus 3.
#[derive(Clone)]
pub struct AnchoredRegex {
    pattern: String,
    compiled: meta::Regex,
    /// The names of groups with their numbers, from the left. Several groups may share a name.
    names: Arc<[(String, usize)]>,
}

/// Why a pattern was refused, in the words of Go's `regexp/syntax`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(pub String);

impl AnchoredRegex {
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let too_large = || RegexError("expression too large".to_owned());
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(too_large());
        }
        let parsed = syntax::parse(pattern)?;
        let anchored = Hir::concat(vec![Hir::look(Look::Start), parsed.hir, Hir::look(Look::End)]);
        let limits = meta::Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let compiled = meta::Builder::new().configure(limits).build_from_hir(&anchored).map_err(|_| too_large())?;
        Ok(Self { pattern: pattern.to_owned(), compiled, names: parsed.names.into() })
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole of `value` matches.
    pub fn is_match(&self, value: &str) -> bool {
        self.compiled.is_match(value)
    }

    /// Replaces the whole of `value`, if it matches, by `template`, in which `$1`, `${1}`, `$name` and `${name}` stand
    /// for groups and `$$` for a dollar sign. A name reaches as far as letters, digits and underscores do; one that no
    /// group has, and a group that took no part, stand for nothing.
    pub fn replace(&self, value: &str, template: &str) -> Option<String> {
        let mut groups = self.compiled.create_captures();
        self.compiled.captures(value, &mut groups);
        groups.is_match().then(|| template::expand(template, value, &groups, &self.names))
    }
}

impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AnchoredRegex({:?})", self.pattern)
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        AnchoredRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(value)
    }

    #[test]
    fn the_whole_value_matches_or_nothing() {
        assert!(matches("a|b", "b") && !matches("a|b", "ab"));
        assert!(matches("", "") && !matches("", "a") && matches("a*", ""));
        assert!(matches("^a$", "a") && matches(r"\Aa\z", "a"));
    }

    #[test]
    fn the_dot_matches_newlines_unless_told_otherwise() {
        assert!(matches("a.b", "a\nb") && !matches("(?-s)a.b", "a\nb") && !matches("(?-s:a.)b", "a\nb"));
        assert!(matches("[^x]", "\n"));
    }

    #[test]
    fn what_go_and_rust_read_differently_is_read_as_in_go() {
        assert!(!matches(r"\d", "٣") && matches(r"\d", "3") && !matches(r"\w", "é") && !matches(r"\s", "\u{a0}"));
        assert!(matches(r"\<a\>", "<a>"), "escaped punctuation is itself");
        assert!(matches("a{", "a{") && matches("a{,2}", "a{,2}") && matches("{}", "{}") && matches("a{2,1x}", "a{2,1x}"));
        assert!(matches("[a&&b]", "&") && matches("[a~~b]", "~") && matches("[[a]", "[") && matches("[+--]", ",") && matches("[a-]", "-"));
        assert!(matches(r"\Qa.b*\E+", "a.b**") && matches(r"\Qa.b", "a.b"));
        assert!(matches(r"\123\x41\x{1F600}\a\f\v", "SA\u{1F600}\u{7}\u{c}\u{b}"));
        assert!(matches("]", "]") && matches("[]a]", "]") && matches("[^]a]", "b"));
        assert!(matches("a-b_c:d/e#f g", "a-b_c:d/e#f g"));
    }

    #[test]
    fn flags_last_to_the_end_of_their_group() {
        assert!(matches("(?i)straße", "STRAßE") && matches("(?i:k)", "\u{212a}"));
        assert!(matches("a(?i)b|c", "C") && !matches("(a(?i)b)c", "abC"));
        assert!(matches("(?i)[a-c]", "B") && !matches("(?i)[^a-c]", "B"));
        assert!(matches("(?m)a$\n^b", "a\nb") && !matches("a$\n^b", "a\nb"));
    }

    #[test]
    fn classes_have_names() {
        assert!(matches("[[:alpha:]]+", "abC") && matches("[[:^alpha:]_]", "_") && !matches("[[:^alpha:]]", "a"));
        assert!(matches(r"\p{Greek}\pL\PL\p{^Lu}", "αé1a") && matches(r"[\d\-\]]+", "1-]"));
        assert!(matches(r"[\p{Lu}\D]", "x") && !matches(r"[^\D]", "x"));
    }

    #[test]
    fn refusals_are_in_the_words_of_go() {
        let cases = [
            ("a(", "missing closing ): `a(`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("(|*)", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a*+", "invalid nested repetition operator: `*+`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("(a{100}){11}", "invalid repeat count: `{11}`"),
            (r"a\", "trailing backslash at end of expression: ``"),
            (r"\8", "invalid escape sequence: `\\8`"),
            (r"\1", "invalid escape sequence: `\\1`"),
            (r"\y", "invalid escape sequence: `\\y`"),
            (r"\x{110000}", "invalid escape sequence: `\\x{110000`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("[[:wat:]]", "invalid character class range: `[:wat:]`"),
            (r"\p{Wat}", "invalid character class range: `\\p{Wat}`"),
            ("(?P<n", "invalid named capture: `(?P<n`"),
            ("(?P<1-2>a)", "invalid named capture: `(?P<1-2>`"),
            ("(?<n>a)(?=b)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?q)", "invalid or unsupported Perl syntax: `(?q`"),
            ("(?i", "missing closing ): `(?i`"),
        ];
        for (pattern, why) in cases {
            let error = AnchoredRegex::new(pattern).expect_err(pattern);
            assert_eq!(error.to_string(), format!("error parsing regexp: {why}"), "{pattern}");
        }
    }

    #[test]
    fn large_and_deep_patterns_are_refused() {
        assert!(AnchoredRegex::new(&"(".repeat(100_000)).is_err());
        assert!(AnchoredRegex::new(&format!("{}a{}", "(".repeat(400), ")".repeat(400))).is_err());
        assert!(AnchoredRegex::new(r"(\pL{1000}|\pN{1000}){1}").is_err());
        assert!(AnchoredRegex::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(AnchoredRegex::new(&vec!["service-name"; 10_000].join("|")).is_ok());
    }

    #[test]
    fn templates_name_groups() {
        let regex = AnchoredRegex::new("(a)(?P<second>b)?(.*)").expect("valid pattern");
        let replace = |template| regex.replace("abc", template);
        assert_eq!(replace("$1-${2}-$second-${second}x").as_deref(), Some("a-b-b-bx"));
        assert_eq!(replace("$1x|$0|$9|$$|$|${|${}|$-").as_deref(), Some("|abc||$|$|${|${}|$-"));
        assert_eq!(replace("$01$00").as_deref(), Some(""));
        let twice = AnchoredRegex::new("(?P<n>a)?(?P<n>b)?").expect("a name may stand twice");
        assert_eq!(twice.replace("ab", "$n").as_deref(), Some("a"));
        assert_eq!(twice.replace("b", "$n").as_deref(), Some("b"));
        assert_eq!(regex.replace("xyz", "$1"), None);
        assert_eq!(regex.replace("ac", "[$2]").as_deref(), Some("[]"));
    }
}
