//! The values of a series description: numbers, gaps, repetitions and histograms.

use super::{LexError, Lexer, Place, is_alpha, is_space};
use crate::operator::BinaryOp;
use crate::quote::{quote, quote_char};
use crate::token::{CounterResetHintWord, HistogramKey, Token, TokenKind};

impl<'a> Lexer<'a> {
    /// Between values, where spaces count.
    pub(super) fn values(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let Some(character) = self.next() else {
            return self.end_of_input().map(Some);
        };
        let kind = match character {
            _ if is_space(character) => {
                self.skip_while(is_space);
                TokenKind::Space
            }
            '{' if self.accept('{') => {
                self.place = Place::Histogram;
                TokenKind::OpenHistogram
            }
            '+' => TokenKind::Operator(BinaryOp::Add),
            '-' => TokenKind::Operator(BinaryOp::Sub),
            'x' => TokenKind::Times,
            '_' => TokenKind::Blank,
            '0'..='9' => return self.value_number().map(Some),
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => return self.value_number().map(Some),
            _ if is_alpha(character) => return Ok(Some(self.word())),
            _ => {
                let message = format!("unexpected character in series sequence: {}", quote_char(character));
                return Err(self.error(message));
            }
        };
        Ok(Some(self.token(kind)))
    }

    fn value_number(&mut self) -> Result<Token<'a>, LexError> {
        self.position = self.start;
        self.number()
    }

    /// Inside `{{ }}`.
    pub(super) fn histogram(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let Some(character) = self.next() else {
            return Err(self.histogram_incomplete(char::REPLACEMENT_CHARACTER));
        };
        let kind = match character {
            _ if is_space(character) => {
                self.skip_while(is_space);
                TokenKind::Space
            }
            _ if is_alpha(character) => self.histogram_word()?,
            ':' => TokenKind::Colon,
            '-' => TokenKind::Operator(BinaryOp::Sub),
            '+' => TokenKind::Operator(BinaryOp::Add),
            '0'..='9' => return self.value_number().map(Some),
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => return self.value_number().map(Some),
            '[' => {
                self.bracket_open = true;
                self.place = Place::Buckets;
                TokenKind::LeftBracket
            }
            '}' if self.accept('}') => {
                self.place = Place::Values;
                TokenKind::CloseHistogram
            }
            _ => return Err(self.histogram_incomplete(character)),
        };
        Ok(Some(self.token(kind)))
    }

    fn histogram_incomplete(&self, character: char) -> LexError {
        self.error(format!("histogram description incomplete unexpected: {}", quote_char(character)))
    }

    fn histogram_word(&mut self) -> Result<TokenKind, LexError> {
        self.skip_while(is_alpha);
        let word = self.word_text();
        let lower = word.to_ascii_lowercase();
        if let Some(key) = histogram_key(&lower) {
            return match self.peek() {
                Some(':') => Ok(TokenKind::HistogramKey(key)),
                _ => Err(self.error("missing `:` for histogram descriptor")),
            };
        }
        if matches!(lower.as_str(), "inf" | "nan") {
            return Ok(TokenKind::Number);
        }
        counter_reset_hint(&lower)
            .map(TokenKind::CounterResetHint)
            .ok_or_else(|| self.error(format!("bad histogram descriptor found: {}", quote(word))))
    }

    /// Between `[` and `]` inside a histogram.
    pub(super) fn buckets(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let Some(character) = self.next() else {
            return Err(self.error(format!("invalid character in buckets description: {}", quote_char(char::REPLACEMENT_CHARACTER))));
        };
        let kind = match character {
            _ if is_space(character) => {
                self.skip_while(is_space);
                TokenKind::Space
            }
            '-' => TokenKind::Operator(BinaryOp::Sub),
            '+' => TokenKind::Operator(BinaryOp::Add),
            '0'..='9' | '.' => return self.value_number().map(Some),
            ']' => {
                self.bracket_open = false;
                self.place = Place::Histogram;
                TokenKind::RightBracket
            }
            _ if is_alpha(character) => {
                self.skip_while(is_alpha);
                match self.word_text().to_ascii_lowercase().as_str() {
                    "inf" | "nan" => TokenKind::Number,
                    _ => {
                        let message = format!("invalid character in buckets description: {}", quote_char(character));
                        return Err(self.error(message));
                    }
                }
            }
            _ => {
                let message = format!("invalid character in buckets description: {}", quote_char(character));
                return Err(self.error(message));
            }
        };
        Ok(Some(self.token(kind)))
    }
}

fn histogram_key(lower: &str) -> Option<HistogramKey> {
    Some(match lower {
        "sum" => HistogramKey::Sum,
        "count" => HistogramKey::Count,
        "schema" => HistogramKey::Schema,
        "offset" => HistogramKey::Offset,
        "n_offset" => HistogramKey::NegativeOffset,
        "buckets" => HistogramKey::Buckets,
        "n_buckets" => HistogramKey::NegativeBuckets,
        "z_bucket" => HistogramKey::ZeroBucket,
        "z_bucket_w" => HistogramKey::ZeroBucketWidth,
        "custom_values" => HistogramKey::CustomValues,
        "counter_reset_hint" => HistogramKey::CounterResetHint,
        _ => return None,
    })
}

fn counter_reset_hint(lower: &str) -> Option<CounterResetHintWord> {
    Some(match lower {
        "unknown" => CounterResetHintWord::Unknown,
        "reset" => CounterResetHintWord::Reset,
        "not_reset" => CounterResetHintWord::NotReset,
        "gauge" => CounterResetHintWord::Gauge,
        _ => return None,
    })
}
