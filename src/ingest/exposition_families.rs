//! What the comments of a text exposition say about a metric (a family of series): its type, help and unit.
//!
//! ```text
//! # HELP http_requests_total Requests served.
//! # TYPE http_requests_total counter
//! ```
//!
//! Lines about one metric that follow each other are one entry, under the name that they give. What cannot be read is a comment
//! like any other: no sample is refused for the sake of it.

use storage::{Metadata, MetricType};

use super::columns::Columns;

/// The metric that the comments are about at the moment.
#[derive(Debug, Default)]
pub struct Families {
    current: Metadata,
}

impl Families {
    /// Takes a line that begins with `#`.
    pub fn comment(&mut self, line: &str, columns: &mut Columns) {
        let Some((keyword, rest)) = line.trim_start_matches(BLANKS).strip_prefix('#').and_then(word) else { return };
        if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
            return;
        }
        let Some((name, text)) = name(rest) else { return };
        if self.current.metric != name {
            self.finish(columns);
            self.current.metric = name;
        }
        match keyword {
            "HELP" => self.current.help = unescaped(text),
            "UNIT" => self.current.unit = text.trim_end_matches(BLANKS).to_string(),
            _ => self.current.metric_type = MetricType::parse(text.trim_end_matches(BLANKS)).unwrap_or_default(),
        }
    }

    /// Stages what is known about the metric, if anything is.
    pub fn finish(&mut self, columns: &mut Columns) {
        let known = std::mem::take(&mut self.current);
        if known.metric_type != MetricType::Unknown || !known.help.is_empty() || !known.unit.is_empty() {
            columns.push_metadata(known);
        }
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first word, and what stands behind the blanks behind it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(BLANKS);
    let end = text.find(BLANKS).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start_matches(BLANKS)))
}

/// A metric's name, quoted if it is none of the classic ones, and what stands behind it.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else { return word(text).map(|(name, rest)| (name.to_string(), rest)) };
    let mut is_escaped = false;
    let end = quoted.find(|character| {
        let ends = character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        ends
    })?;
    (end > 0).then(|| (unescaped(&quoted[..end]), quoted[end + 1..].trim_start_matches(BLANKS)))
}

/// `\n`, `\\` and `\"`; a backslash before anything else stands for itself.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next_if(|next| matches!(next, 'n' | '\\' | '"')) } else { None };
        plain.push(match escaped {
            Some('n') => '\n',
            Some(other) => other,
            None => character,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn staged(text: &str) -> Vec<(String, &'static str, String, String)> {
        let (mut families, mut columns) = (Families::default(), Columns::new());
        text.lines().for_each(|line| families.comment(line, &mut columns));
        families.finish(&mut columns);
        columns.metadata.into_iter().map(|entry| (entry.metric, entry.metric_type.as_str(), entry.help, entry.unit)).collect()
    }

    fn entry(metric: &str, metric_type: &'static str, help: &str, unit: &str) -> (String, &'static str, String, String) {
        (metric.to_string(), metric_type, help.to_string(), unit.to_string())
    }

    #[test]
    fn lines_about_one_metric_are_one_entry() {
        let text = "# HELP a Things.\n# TYPE a counter\n# TYPE b_seconds gauge\n#UNIT b_seconds seconds\n#  \tHELP\tc  one \\\"two\\\"\\n\\\\three ";
        let expected = [entry("a", "counter", "Things.", ""), entry("b_seconds", "gauge", "", "seconds")];
        let last = entry("c", "unknown", "one \"two\"\n\\three ", "");
        assert_eq!(staged(text), [&expected[..], &[last]].concat());
        assert_eq!(staged("# TYPE \"a.b \\\"c\\\"\" summary "), [entry("a.b \"c\"", "summary", "", "")]);
    }

    #[test]
    fn comments_that_say_nothing_are_stepped_over() {
        for text in [
            "#",
            "# ",
            "# EOF",
            "# HELP",
            "# HELP a",
            "# TYPE a untyped",
            "# TYPE a horse",
            "# TYPE \"a counter",
            "# TYPE \"\" counter",
            "# a b c",
        ] {
            assert_eq!(staged(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_comment_is_no_panic(text in "#[ \t]{0,2}(HELP|TYPE|UNIT|x)[ \"\\\\naé\t]{0,12}") {
            staged(&text);
        }
    }
}
