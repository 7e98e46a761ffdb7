//! Cuts a query into words.
//!
//! One [`Lexer`] walks the text once and gives one [`Token`] a call. What a character means depends on where it stands:
//! in braces there are no operators, in brackets only durations, and a series description has a language of its own
//! (`series`). After an error, or the end of the input, nothing sensible follows and the caller stops.

mod number;
mod series;
mod text;

use crate::operator::BinaryOp;
use crate::position::PositionRange;
use crate::quote::quote_char;
use crate::token::{Keyword, Token, TokenKind};

/// What the text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A query.
    Expression,
    /// A series with its values, as tests describe them: `metric{a="b"} 1+2x3 _ stale {{sum:1}}`.
    SeriesDescription,
}

/// Why a text has no words at some place; the rest of the text is in the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexError {
    pub position: PositionRange,
    pub message: String,
}

/// Where the next word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Outside of braces, or inside once `brace_open` is set.
    Statement,
    /// After `[`, up to the first number.
    Duration,
    /// Among the values of a series description.
    Values,
    /// Inside `{{ }}`.
    Histogram,
    /// Between `[` and `]` inside of a histogram.
    Buckets,
}

/// A walk over one text.
pub struct Lexer<'a> {
    input: &'a str,
    language: Language,
    /// The next byte to read.
    position: usize,
    /// The first byte of the word being read.
    start: usize,
    place: Place,
    paren_depth: usize,
    brace_open: bool,
    bracket_open: bool,
    /// Whether a colon was seen since the last `[`.
    got_colon: bool,
    /// Whether a number, or a word that stands for one, was ever seen inside brackets.
    got_duration: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(input: &'a str, language: Language) -> Self {
        Self {
            input,
            language,
            position: 0,
            start: 0,
            place: Place::Statement,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
        }
    }

    /// The next word. Comments and, except between the values of a series, spaces are passed over.
    pub fn next_token(&mut self) -> Result<Token<'a>, LexError> {
        loop {
            self.start = self.position;
            let token = match self.place {
                Place::Statement if self.brace_open => self.inside_braces()?,
                Place::Statement => self.statement()?,
                Place::Duration => self.duration()?,
                Place::Values => self.values()?,
                Place::Histogram => self.histogram()?,
                Place::Buckets => self.buckets()?,
            };
            if let Some(token) = token {
                return Ok(token);
            }
        }
    }

    /// Outside of braces. `None`: only spaces or a comment were passed.
    fn statement(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let Some(character) = self.next() else {
            return self.end_of_input().map(Some);
        };
        let kind = match character {
            '#' => return Ok(self.skip_comment()),
            _ if is_space(character) => return Ok(self.skip_spaces()),
            ',' => TokenKind::Comma,
            '@' => TokenKind::At,
            '=' | '!' | '<' | '>' => self.comparison(character)?,
            '0'..='9' => return self.number_or_duration().map(Some),
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                return self.number_or_duration().map(Some);
            }
            '"' | '\'' | '`' => return self.string(character).map(Some),
            ':' if self.bracket_open => self.colon()?,
            _ if is_alpha(character) && self.bracket_open => return self.bracketed_word(character).map(Some),
            _ if is_alpha(character) || character == ':' => return Ok(Some(self.word())),
            '(' | ')' | '[' | ']' | '{' => self.bracket(character)?,
            _ => match arithmetic(character) {
                Some(op) => TokenKind::Operator(op),
                None => return Err(self.error(format!("unexpected character: {}", quote_char(character)))),
            },
        };
        Ok(Some(self.token(kind)))
    }

    fn end_of_input(&mut self) -> Result<Token<'a>, LexError> {
        if self.paren_depth != 0 {
            return Err(self.error("unclosed left parenthesis"));
        }
        if self.bracket_open {
            return Err(self.error("unclosed left bracket"));
        }
        Ok(self.token(TokenKind::EndOfInput))
    }

    fn comparison(&mut self, character: char) -> Result<TokenKind, LexError> {
        let next = self.peek();
        let (op, length) = match (character, next) {
            ('=', Some('=')) => (BinaryOp::Equal, 1),
            ('=', Some('~')) => return Err(self.error("unexpected character after '=': '~'")),
            ('=', _) => return Ok(TokenKind::Assign),
            ('!', Some('=')) => (BinaryOp::NotEqual, 1),
            ('!', _) => return Err(self.unexpected_after_bang("unexpected character after '!'", next)),
            ('<', Some('=')) => (BinaryOp::LessOrEqual, 1),
            ('<', Some('/')) => (BinaryOp::TrimUpper, 1),
            ('<', _) => (BinaryOp::Less, 0),
            (_, Some('=')) => (BinaryOp::GreaterOrEqual, 1),
            (_, Some('/')) => (BinaryOp::TrimLower, 1),
            _ => (BinaryOp::Greater, 0),
        };
        self.position += length;
        Ok(TokenKind::Operator(op))
    }

    /// Go prints the end of the input, which it takes for the character -1, as the replacement character.
    fn unexpected_after_bang(&self, what: &str, next: Option<char>) -> LexError {
        self.error(format!("{what}: {}", quote_char(next.unwrap_or(char::REPLACEMENT_CHARACTER))))
    }

    fn colon(&mut self) -> Result<TokenKind, LexError> {
        if self.got_colon {
            return Err(self.error("unexpected colon ':'"));
        }
        self.got_colon = true;
        Ok(TokenKind::Colon)
    }

    fn bracket(&mut self, character: char) -> Result<TokenKind, LexError> {
        match character {
            '(' => {
                self.paren_depth += 1;
                Ok(TokenKind::LeftParen)
            }
            ')' => self.close_paren(),
            '{' => {
                self.brace_open = true;
                Ok(TokenKind::LeftBrace)
            }
            '[' if self.bracket_open => Err(self.error("unexpected left bracket '['")),
            '[' => {
                self.got_colon = false;
                self.bracket_open = true;
                self.place = Place::Duration;
                Ok(TokenKind::LeftBracket)
            }
            _ if !self.bracket_open => Err(self.error("unexpected right bracket ']'")),
            _ => {
                self.bracket_open = false;
                Ok(TokenKind::RightBracket)
            }
        }
    }

    fn close_paren(&mut self) -> Result<TokenKind, LexError> {
        match self.paren_depth.checked_sub(1) {
            Some(depth) => {
                self.paren_depth = depth;
                Ok(TokenKind::RightParen)
            }
            None => {
                // The parenthesis itself was taken already: the rest begins behind it.
                self.start = self.position;
                Err(self.error("unexpected right parenthesis ')'"))
            }
        }
    }

    /// Inside the braces of a selector, where words have no meaning of their own.
    fn inside_braces(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let Some(character) = self.next() else {
            return Err(self.error("unexpected end of input inside braces"));
        };
        let kind = match character {
            '#' => return Ok(self.skip_comment()),
            _ if is_space(character) => return Ok(self.skip_spaces()),
            _ if is_alpha(character) => {
                self.skip_while(is_alphanumeric);
                TokenKind::Identifier
            }
            ',' => TokenKind::Comma,
            '"' | '\'' | '`' => return self.string(character).map(Some),
            '=' if self.accept('~') => TokenKind::EqualRegex,
            '=' => TokenKind::Assign,
            '!' if self.accept('~') => TokenKind::NotEqualRegex,
            '!' if self.accept('=') => TokenKind::Operator(BinaryOp::NotEqual),
            '!' => {
                let next = self.peek();
                return Err(self.unexpected_after_bang("unexpected character after '!' inside braces", next));
            }
            '{' => return Err(self.error("unexpected left brace '{'")),
            '}' => {
                self.brace_open = false;
                if self.language == Language::SeriesDescription {
                    self.place = Place::Values;
                }
                TokenKind::RightBrace
            }
            _ => {
                return Err(self.error(format!("unexpected character inside braces: {}", quote_char(character))));
            }
        };
        Ok(Some(self.token(kind)))
    }

    /// Between `[` and the first number: durations and what calculates with them.
    fn duration(&mut self) -> Result<Option<Token<'a>>, LexError> {
        let Some(character) = self.next() else {
            return Err(self.error("unexpected end of input in duration expression"));
        };
        let kind = match character {
            _ if is_space(character) => {
                self.skip_while(is_space);
                return Ok(None);
            }
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.place = Place::Statement;
                TokenKind::RightBracket
            }
            ':' => self.colon_in_duration()?,
            '(' => {
                self.paren_depth += 1;
                TokenKind::LeftParen
            }
            ')' => self.close_paren()?,
            ',' => TokenKind::Comma,
            '0'..='9' => return self.first_duration().map(Some),
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => return self.first_duration().map(Some),
            _ => match arithmetic(character) {
                Some(op) => TokenKind::Operator(op),
                None => self.duration_word(character)?,
            },
        };
        Ok(Some(self.token(kind)))
    }

    fn first_duration(&mut self) -> Result<Token<'a>, LexError> {
        self.got_duration = true;
        self.place = Place::Statement;
        self.number_or_duration()
    }

    /// The colon itself was taken when its place is found wrong: the rest begins behind it.
    fn colon_in_duration(&mut self) -> Result<TokenKind, LexError> {
        let refusal = if !self.got_duration {
            "unexpected colon before duration in duration expression"
        } else if self.got_colon {
            "unexpected repeated colon in duration expression"
        } else {
            self.got_colon = true;
            return Ok(TokenKind::Colon);
        };
        self.start = self.position;
        Err(self.error(refusal))
    }

    /// Prometheus does not take these words for a duration when a colon follows, by oversight: `a[step():]` is refused there.
    fn duration_word(&mut self, first: char) -> Result<TokenKind, LexError> {
        let refused = |lexer: &Self| lexer.error(format!("unexpected character in duration expression: {}", quote_char(first)));
        let kind = self.preprocessor(first).ok_or_else(|| refused(self))?;
        self.got_duration = true;
        Ok(kind)
    }

    /// A word inside brackets, after the first number.
    fn bracketed_word(&mut self, first: char) -> Result<Token<'a>, LexError> {
        match self.preprocessor(first) {
            Some(kind) => Ok(self.token(kind)),
            None => Err(self.error(format!("unexpected character: {}, expected ':'", quote_char(first)))),
        }
    }

    /// Reads on when the word may become one of `step`, `range`, `max_of`, `min_of`.
    fn preprocessor(&mut self, first: char) -> Option<TokenKind> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.skip_while(is_alpha);
        TokenKind::of_duration_word(self.word_text())
    }

    /// An identifier, or a word with a meaning.
    fn word(&mut self) -> Token<'a> {
        self.skip_while(|character| is_alphanumeric(character) || character == ':');
        let text = self.word_text();
        let kind = match TokenKind::of_word(text) {
            // Only before a parenthesis is `fill` the modifier: as a metric name it is older.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) if !self.is_before_paren() => {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if text.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        if self.language == Language::SeriesDescription && self.peek() != Some('{') {
            self.place = Place::Values;
        }
        self.token(kind)
    }

    fn is_before_paren(&self) -> bool {
        self.rest().trim_start_matches(is_space).starts_with('(')
    }

    fn skip_comment(&mut self) -> Option<Token<'a>> {
        self.skip_while(|character| character != '\n' && character != '\r');
        None
    }

    fn skip_spaces(&mut self) -> Option<Token<'a>> {
        self.skip_while(is_space);
        None
    }

    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    fn word_text(&self) -> &'a str {
        &self.input[self.start..self.position]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.accept_if(|character| character == wanted)
    }

    fn accept_if(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.next();
        }
        found
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.position += rest.find(|character| !wanted(character)).unwrap_or(rest.len());
    }

    fn token(&self, kind: TokenKind) -> Token<'a> {
        Token { kind, text: self.word_text(), start: self.start }
    }

    fn error(&self, message: impl Into<String>) -> LexError {
        LexError { position: PositionRange::new(self.start, self.input.len()), message: message.into() }
    }
}

fn arithmetic(character: char) -> Option<BinaryOp> {
    Some(match character {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        _ => return None,
    })
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(character: char) -> bool {
    character == '_' || character.is_ascii_alphabetic()
}

fn is_alphanumeric(character: char) -> bool {
    is_alpha(character) || character.is_ascii_digit()
}
