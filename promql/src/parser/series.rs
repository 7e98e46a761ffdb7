//! Series descriptions: a metric and its values in short, as tests and rule unit tests write them.
//!
//! `metric{a="b"} 1 2+3x2 _ stale {{schema:1 sum:3 buckets:[1 2]}}x2` is 1, 2, 5, 8, a gap, the staleness marker and
//! three times the same histogram. A repetition counts what follows the first value.

use std::sync::Arc;

use super::cursor::{Failure, Parsed, Parser};
use super::error::ParseError;
use super::expression::sign;
use crate::histogram::{CounterResetHint, FloatHistogram, Span};
use crate::labels::{Label, Labels, METRIC_NAME};
use crate::operator::{BinaryOp, UnaryOp};
use crate::position::PositionRange;
use crate::quote::quote;
use crate::sample::STALE_MARKER;
use crate::token::{CounterResetHintWord, HistogramKey, Token, TokenKind};

/// The most values one description may stand for.
const SEQUENCE_VALUES_MAX: usize = 1 << 20;

const LABEL_SET: &str = "label set";
const SERIES_VALUES: &str = "series values";

/// A value of a described series.
#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// No sample at this step.
    Omitted,
    Float(f64),
    Histogram {
        histogram: Arc<FloatHistogram>,
        /// Whether the description names a reset hint, `unknown` included: only then is the hint compared.
        hint_given: bool,
    },
}

/// A metric and its values.
#[derive(Clone, Debug)]
pub struct SeriesDescription {
    pub labels: Labels,
    pub values: Vec<SequenceValue>,
}

/// A histogram as described.
#[derive(Clone)]
struct Described {
    histogram: FloatHistogram,
    hint_given: bool,
}

impl From<Described> for SequenceValue {
    fn from(described: Described) -> Self {
        Self::Histogram { histogram: Arc::new(described.histogram), hint_given: described.hint_given }
    }
}

impl<'a> Parser<'a> {
    pub(super) fn series_description(&mut self) -> Parsed<SeriesDescription> {
        let labels = self.metric()?;
        let mut values = Vec::new();
        self.within(SERIES_VALUES, "", |parser| {
            while parser.take_if(TokenKind::Space)?.is_some() {
                if !matches!(parser.peek()?.kind, TokenKind::Space | TokenKind::EndOfInput) {
                    parser.series_item(&mut values)?;
                }
            }
            parser.expect(TokenKind::EndOfInput)
        })?;
        Ok(SeriesDescription { labels, values })
    }

    /// A metric's name, labels in braces, or both.
    pub(super) fn metric(&mut self) -> Parsed<Labels> {
        let token = self.peek()?;
        let mut labels = Vec::new();
        if token.kind.may_name_metric() {
            self.take()?;
        }
        if self.at(TokenKind::LeftBrace)? {
            self.label_set(&mut labels)?;
        }
        if token.kind.may_name_metric() {
            labels.push(Label::new(METRIC_NAME, token.text));
        }
        Ok(Labels::from_vec(labels))
    }

    fn label_set(&mut self, labels: &mut Vec<Label>) -> Parsed<()> {
        self.expect(TokenKind::LeftBrace)?;
        if self.take_if(TokenKind::RightBrace)?.is_some() {
            return Ok(());
        }
        loop {
            labels.push(self.within(LABEL_SET, "identifier or \"}\"", Self::label)?);
            let comma = self.take_if(TokenKind::Comma)?;
            if self.take_if(TokenKind::RightBrace)?.is_some() {
                return Ok(());
            }
            if comma.is_none() {
                return Err(self.unexpected(LABEL_SET, "\",\" or \"}\""));
            }
        }
    }

    fn label(&mut self) -> Parsed<Label> {
        let token = self.peek()?;
        let name = match token.kind {
            TokenKind::Identifier => token.text.to_owned(),
            TokenKind::String => self.unquoted(token)?,
            _ => return Err(Failure::Unexpected),
        };
        self.take()?;
        if self.take_if(TokenKind::Assign)?.is_none() {
            return match token.kind {
                TokenKind::String => Ok(Label::new(METRIC_NAME, name)),
                _ => Err(self.unexpected(LABEL_SET, "\"=\"")),
            };
        }
        let value = self.within(LABEL_SET, "string", |parser| parser.expect(TokenKind::String))?;
        Ok(Label::new(name, self.unquoted(value)?))
    }

    /// One value, or several in short.
    fn series_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        match self.peek()?.kind {
            TokenKind::Blank => {
                self.take()?;
                let count = self.repetition()?.unwrap_or(1);
                self.push_values(values, count, || Ok(SequenceValue::Omitted))
            }
            TokenKind::OpenHistogram => self.histogram_item(values),
            _ => self.float_item(values),
        }
    }

    /// `x3`
    fn repetition(&mut self) -> Parsed<Option<usize>> {
        if self.take_if(TokenKind::Times)?.is_none() {
            return Ok(None);
        }
        let token = self.expect(TokenKind::Number)?;
        let count = token.text.parse().map_err(|_| {
            let why = format!("strconv.ParseUint: parsing {}: invalid syntax", quote(token.text));
            ParseError::new(token.position(), format!("invalid repetition in series values: {why}"))
        })?;
        Ok(Some(count))
    }

    fn push_values(
        &mut self,
        values: &mut Vec<SequenceValue>,
        count: usize,
        mut next: impl FnMut() -> Result<SequenceValue, String>,
    ) -> Parsed<()> {
        let position = self.peek()?.position();
        if count > SEQUENCE_VALUES_MAX - values.len().min(SEQUENCE_VALUES_MAX) {
            let message = format!("series has more than {SEQUENCE_VALUES_MAX} values");
            return Err(ParseError::new(position, message).into());
        }
        for _ in 0..count {
            values.push(next().map_err(|why| ParseError::new(position, why))?);
        }
        Ok(())
    }

    /// `1`, `1x2`, `1+2x3`, `stale`
    fn float_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        let mut value = self.series_value()?;
        let step = match sign(self.peek()?.kind) {
            Some(op) => {
                self.take()?;
                Some(op.apply(self.series_number()?))
            }
            None => None,
        };
        let count = match (self.repetition()?, step) {
            (Some(times), _) => times.saturating_add(1),
            (None, None) => 1,
            (None, Some(_)) => return Err(Failure::Unexpected),
        };
        let step = step.unwrap_or(0.0);
        let mut first = true;
        self.push_values(values, count, || {
            // Added step by step, as tests expect the rounding of that.
            if !std::mem::take(&mut first) && step != 0.0 {
                value += step;
            }
            Ok(SequenceValue::Float(value))
        })
    }

    fn series_value(&mut self) -> Parsed<f64> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Identifier if token.text == "stale" => {
                self.take()?;
                Ok(STALE_MARKER)
            }
            TokenKind::Identifier => Err(self.unexpected(SERIES_VALUES, "number or \"stale\"")),
            _ => self.signed_series_number(),
        }
    }

    fn signed_series_number(&mut self) -> Parsed<f64> {
        let op = sign(self.peek()?.kind);
        if op.is_some() {
            self.take()?;
        }
        Ok(op.unwrap_or(UnaryOp::Plus).apply(self.series_number()?))
    }

    fn series_number(&mut self) -> Parsed<f64> {
        if !matches!(self.peek()?.kind, TokenKind::Number | TokenKind::Duration) {
            return Err(Failure::Unexpected);
        }
        Ok(self.number()?.value)
    }

    /// `{{…}}`, `{{…}}x2`, `{{…}}+{{…}}x3`, `{{…}}-{{…}}x3`
    fn histogram_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        let base = self.histogram()?;
        let op = match self.peek()?.kind {
            TokenKind::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) => op,
            _ => {
                let count = self.repetition()?.map_or(1, |times| times.saturating_add(1));
                let value = SequenceValue::from(base);
                return self.push_values(values, count, || Ok(value.clone()));
            }
        };
        self.take()?;
        let step = self.histogram()?;
        let times = self.repetition()?.ok_or(Failure::Unexpected)?;
        let hint_given = step.hint_given;
        let mut next = Some(Described { hint_given, ..base });
        let mut made = 0;
        self.push_values(values, times.saturating_add(1), || {
            let current = next.take().ok_or("histograms ran out")?;
            if made < times {
                next = Some(Described { histogram: combine(&current.histogram, op, &step.histogram)?, hint_given });
            }
            made += 1;
            Ok(current.into())
        })
    }

    fn histogram(&mut self) -> Parsed<Described> {
        const WANTED: &str = "histogram description key, e.g. buckets:[5 10 7]";
        self.expect(TokenKind::OpenHistogram)?;
        let mut builder = HistogramBuilder::default();
        self.take_if(TokenKind::Space)?;
        while self.take_if(TokenKind::CloseHistogram)?.is_none() {
            let TokenKind::HistogramKey(key) = self.peek()?.kind else {
                return Err(match builder.keys.is_empty() {
                    true => Failure::Unexpected,
                    false => self.unexpected("histogram description", WANTED),
                });
            };
            self.take()?;
            self.histogram_part(key, &mut builder)?;
            let space = self.take_if(TokenKind::Space)?;
            if space.is_none() && !self.at(TokenKind::CloseHistogram)? {
                return Err(self.unexpected("histogram description", WANTED));
            }
        }
        Ok(builder.build())
    }

    /// `key:value`, whose key was taken.
    fn histogram_part(&mut self, key: HistogramKey, builder: &mut HistogramBuilder) -> Parsed<()> {
        self.expect(TokenKind::Colon)?;
        let histogram = &mut builder.histogram;
        match key {
            HistogramKey::Schema => histogram.schema = self.small_integer()?,
            HistogramKey::Offset => builder.positive_offset = self.small_integer()?,
            HistogramKey::NegativeOffset => builder.negative_offset = self.small_integer()?,
            HistogramKey::Sum => histogram.sum = self.signed_series_number()?,
            HistogramKey::Count => histogram.count = self.signed_series_number()?,
            HistogramKey::ZeroBucket => histogram.zero_count = self.signed_series_number()?,
            HistogramKey::ZeroBucketWidth => histogram.zero_threshold = self.series_number()?,
            HistogramKey::Buckets => histogram.positive_buckets = self.bucket_list()?,
            HistogramKey::NegativeBuckets => histogram.negative_buckets = self.bucket_list()?,
            HistogramKey::CustomValues => histogram.custom_values = self.bucket_list()?.into(),
            HistogramKey::CounterResetHint => histogram.counter_reset_hint = self.counter_reset_hint()?,
        }
        if builder.keys.contains(&key) {
            let message = "duplicate key in histogram";
            return Err(ParseError::new(PositionRange::default(), message).into());
        }
        builder.keys.push(key);
        Ok(())
    }

    fn counter_reset_hint(&mut self) -> Parsed<CounterResetHint> {
        let TokenKind::CounterResetHint(word) = self.peek()?.kind else {
            return Err(Failure::Unexpected);
        };
        self.take()?;
        Ok(match word {
            CounterResetHintWord::Unknown => CounterResetHint::Unknown,
            CounterResetHintWord::Reset => CounterResetHint::Reset,
            CounterResetHintWord::NotReset => CounterResetHint::NotReset,
            CounterResetHintWord::Gauge => CounterResetHint::Gauge,
        })
    }

    fn small_integer(&mut self) -> Parsed<i32> {
        let minus = self.take_if(TokenKind::Operator(BinaryOp::Sub))?.is_some();
        let token: Token<'a> = self.expect(TokenKind::Number)?;
        let value: i32 =
            token.text.parse().map_err(|_| ParseError::new(token.position(), format!("error parsing integer: {}", quote(token.text))))?;
        Ok(if minus { -value } else { value })
    }

    /// `[1 2 3]`
    fn bucket_list(&mut self) -> Parsed<Vec<f64>> {
        self.expect(TokenKind::LeftBracket)?;
        let mut counts = vec![self.signed_series_number()?];
        loop {
            let space = self.take_if(TokenKind::Space)?;
            if self.take_if(TokenKind::RightBracket)?.is_some() {
                return Ok(counts);
            }
            if space.is_none() || counts.len() >= SEQUENCE_VALUES_MAX {
                return Err(Failure::Unexpected);
            }
            counts.push(self.signed_series_number()?);
        }
    }
}

/// A histogram of which some parts were read.
#[derive(Default)]
struct HistogramBuilder {
    histogram: FloatHistogram,
    positive_offset: i32,
    negative_offset: i32,
    keys: Vec<HistogramKey>,
}

impl HistogramBuilder {
    fn build(mut self) -> Described {
        let span = |offset, buckets: &[f64]| match u32::try_from(buckets.len()) {
            Ok(length @ 1..) => vec![Span { offset, length }],
            _ => Vec::new(),
        };
        self.histogram.positive_spans = span(self.positive_offset, &self.histogram.positive_buckets);
        self.histogram.negative_spans = span(self.negative_offset, &self.histogram.negative_buckets);
        let hint_given = self.keys.contains(&HistogramKey::CounterResetHint);
        Described { histogram: self.histogram, hint_given }
    }
}

fn combine(current: &FloatHistogram, op: BinaryOp, step: &FloatHistogram) -> Result<FloatHistogram, String> {
    if current.schema > step.schema {
        let (from, to) = (step.schema, current.schema);
        return Err(format!("error combining histograms: cannot merge from schema {from} to {to}"));
    }
    let mut sum = current.clone();
    let added = if op == BinaryOp::Add { sum.add(step) } else { sum.sub(step) };
    added.map(|_| sum).map_err(|error| error.to_string())
}
