//! The words of the language, and how error messages name them.

use crate::operator::{AggregateOp, BinaryOp};
use crate::position::PositionRange;
use crate::quote::quote;

/// What kind of word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    EndOfInput,
    Comma,
    Colon,
    Duration,
    Identifier,
    /// An identifier with a colon in it: only a metric can be named so.
    MetricIdentifier,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Number,
    String,
    /// `=` outside of a comparison
    Assign,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    At,
    /// Arithmetic, comparison, set and trim operators. `!=` is also a matching operator, `+` and `-` are also signs.
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
    /// `{{`, in series descriptions only, as are the following.
    OpenHistogram,
    CloseHistogram,
    Space,
    /// `_`: no sample
    Blank,
    /// `x`: repetition
    Times,
    /// `buckets`, `sum`, … before a colon
    HistogramKey(HistogramKey),
    CounterResetHint(CounterResetHintWord),
}

/// Words with a meaning of their own. Most can also name a metric or a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
}

/// Words that stand for values known only when a query runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// The parts of a histogram in a series description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistogramKey {
    Sum,
    Count,
    Schema,
    Offset,
    NegativeOffset,
    Buckets,
    NegativeBuckets,
    ZeroBucket,
    ZeroBucketWidth,
    CustomValues,
    CounterResetHint,
}

/// The values of `counter_reset_hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterResetHintWord {
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

impl TokenKind {
    /// The keyword, operator, aggregation or preprocessor of this name, in whatever case it is written; `inf` and
    /// `nan` are numbers.
    pub fn of_word(word: &str) -> Option<Self> {
        // The longest word with a meaning has 12 letters; most identifiers are not worth lowering.
        if word.len() > 12 {
            return None;
        }
        let kind = match word.to_ascii_lowercase().as_str() {
            "and" => Self::Operator(BinaryOp::And),
            "or" => Self::Operator(BinaryOp::Or),
            "unless" => Self::Operator(BinaryOp::Unless),
            "atan2" => Self::Operator(BinaryOp::Atan2),
            "sum" => Self::Aggregate(AggregateOp::Sum),
            "avg" => Self::Aggregate(AggregateOp::Avg),
            "count" => Self::Aggregate(AggregateOp::Count),
            "min" => Self::Aggregate(AggregateOp::Min),
            "max" => Self::Aggregate(AggregateOp::Max),
            "group" => Self::Aggregate(AggregateOp::Group),
            "stddev" => Self::Aggregate(AggregateOp::Stddev),
            "stdvar" => Self::Aggregate(AggregateOp::Stdvar),
            "topk" => Self::Aggregate(AggregateOp::TopK),
            "bottomk" => Self::Aggregate(AggregateOp::BottomK),
            "count_values" => Self::Aggregate(AggregateOp::CountValues),
            "quantile" => Self::Aggregate(AggregateOp::Quantile),
            "limitk" => Self::Aggregate(AggregateOp::LimitK),
            "limit_ratio" => Self::Aggregate(AggregateOp::LimitRatio),
            "offset" => Self::Keyword(Keyword::Offset),
            "smoothed" => Self::Keyword(Keyword::Smoothed),
            "anchored" => Self::Keyword(Keyword::Anchored),
            "by" => Self::Keyword(Keyword::By),
            "without" => Self::Keyword(Keyword::Without),
            "on" => Self::Keyword(Keyword::On),
            "ignoring" => Self::Keyword(Keyword::Ignoring),
            "group_left" => Self::Keyword(Keyword::GroupLeft),
            "group_right" => Self::Keyword(Keyword::GroupRight),
            "fill" => Self::Keyword(Keyword::Fill),
            "fill_left" => Self::Keyword(Keyword::FillLeft),
            "fill_right" => Self::Keyword(Keyword::FillRight),
            "bool" => Self::Keyword(Keyword::Bool),
            "start" => Self::Preprocessor(Preprocessor::Start),
            "end" => Self::Preprocessor(Preprocessor::End),
            "inf" | "nan" => Self::Number,
            lower => return Self::of_duration_word(lower),
        };
        Some(kind)
    }

    /// The words that may stand inside brackets, in whatever case.
    pub fn of_duration_word(word: &str) -> Option<Self> {
        let preprocessor = match word.to_ascii_lowercase().as_str() {
            "step" => Preprocessor::Step,
            "range" => Preprocessor::Range,
            "max_of" => Preprocessor::MaxOf,
            "min_of" => Preprocessor::MinOf,
            _ => return None,
        };
        Some(Self::Preprocessor(preprocessor))
    }

    /// Whether a metric may be named by this word where an expression begins.
    pub fn may_name_metric(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_set(),
            Self::Keyword(keyword) => {
                !matches!(keyword, Keyword::Bool | Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight)
            }
            _ => false,
        }
    }

    /// Whether this word may be a label in a `by`, `on` or `group_left` list. (`without` alone may not.)
    pub fn may_name_label(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_set() || op == BinaryOp::Atan2,
            Self::Keyword(keyword) => keyword != Keyword::Without,
            _ => false,
        }
    }
}

/// One word and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    /// As it is written, quotes included.
    pub text: &'a str,
    pub start: usize,
}

impl Token<'_> {
    pub fn position(&self) -> PositionRange {
        PositionRange::new(self.start, self.start + self.text.len())
    }

    /// The word as `unexpected …` messages name it.
    pub fn describe(&self) -> String {
        match self.kind {
            TokenKind::EndOfInput => "end of input".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(self.text)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(self.text)),
            TokenKind::String => format!("string {}", quote_shortened(self.text)),
            TokenKind::Number => format!("number {}", quote_shortened(self.text)),
            TokenKind::Duration => format!("duration {}", quote_shortened(self.text)),
            TokenKind::Keyword(_) => format!("<{}>", self.text),
            TokenKind::Operator(_) | TokenKind::EqualRegex | TokenKind::NotEqualRegex | TokenKind::At => {
                format!("<op:{}>", self.text)
            }
            TokenKind::Aggregate(_) => format!("<aggr:{}>", self.text),
            _ => quote_shortened(self.text),
        }
    }
}

fn quote_shortened(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text);
    }
    format!("{}...", quote(&text.chars().take(10).collect::<String>()))
}
