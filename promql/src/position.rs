//! Where a piece of a query stands in the text, for errors, annotations and editors.

use std::fmt;

/// A half-open range of bytes in the query text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PositionRange {
    /// First byte, zero-based.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl PositionRange {
    /// The range from `start` up to, not including, `end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The range that starts where `self` starts and ends where `last` ends.
    pub const fn to(self, last: PositionRange) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// `line:column` of the start within `query`, both counted from one, the column in bytes.
    ///
    /// An empty query has no position to speak of; a start beyond the text is a caller's mistake. Both are said in
    /// words, exactly as Prometheus words them, because clients match on these texts.
    pub fn line_and_column(self, query: &str) -> LineAndColumn {
        if query.is_empty() {
            return LineAndColumn::Unknown;
        }
        let Some(before) = query.as_bytes().get(..self.start) else {
            return LineAndColumn::Invalid;
        };
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        LineAndColumn::At { line, column: self.start - line_start + 1 }
    }
}

/// A position as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineAndColumn {
    /// Both counted from one.
    At { line: usize, column: usize },
    /// The query is empty.
    Unknown,
    /// The position lies outside the query.
    Invalid,
}

impl fmt::Display for LineAndColumn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { line, column } => write!(out, "{line}:{column}"),
            Self::Unknown => out.write_str("unknown position"),
            Self::Invalid => out.write_str("invalid position"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let query = "a +\n  b";
        assert_eq!(PositionRange::new(0, 1).line_and_column(query).to_string(), "1:1");
        assert_eq!(PositionRange::new(3, 4).line_and_column(query).to_string(), "1:4");
        assert_eq!(PositionRange::new(6, 7).line_and_column(query).to_string(), "2:3");
        assert_eq!(PositionRange::new(7, 7).line_and_column(query).to_string(), "2:4");
    }

    #[test]
    fn impossible_positions_are_said_in_words() {
        assert_eq!(PositionRange::new(0, 0).line_and_column("").to_string(), "unknown position");
        assert_eq!(PositionRange::new(5, 6).line_and_column("abc").to_string(), "invalid position");
    }
}
