//! Numbers and durations. What is cut out here is not yet known to be a valid number: the parser reads it.

use super::{Language, LexError, Lexer, is_alphanumeric};
use crate::quote::quote;
use crate::token::{Token, TokenKind};

impl<'a> Lexer<'a> {
    /// A number or a duration whose first character was just taken.
    pub(super) fn number_or_duration(&mut self) -> Result<Token<'a>, LexError> {
        self.position = self.start;
        if self.scan_number() {
            return Ok(self.token(TokenKind::Number));
        }
        if self.scan_rest_of_duration() {
            return Ok(self.token(TokenKind::Duration));
        }
        Err(self.error(format!("bad number or duration syntax: {}", quote(self.word_text()))))
    }

    /// A number at the current place.
    pub(super) fn number(&mut self) -> Result<Token<'a>, LexError> {
        if self.scan_number() {
            return Ok(self.token(TokenKind::Number));
        }
        Err(self.error(format!("bad number syntax: {}", quote(self.word_text()))))
    }

    /// Reads `[.][digits][digits . _ e]*` and says whether that can be a number; when not, it may still be the digits
    /// of a duration. In series descriptions there are no hexadecimal numbers: `0x3` is zero, three times.
    fn scan_number(&mut self) -> bool {
        let first = self.position;
        let mut is_digit: fn(char) -> bool = |character| character.is_ascii_digit();
        let mut hexadecimal = false;
        let series = self.language == Language::SeriesDescription;
        if !series && self.accept('0') && self.accept_if(|character| matches!(character, 'x' | 'X')) {
            self.accept('_');
            is_digit = |character| character.is_ascii_hexdigit();
            hexadecimal = true;
        }
        self.accept('.');
        self.accept_if(is_digit);
        if !self.scan_digits_and_marks(is_digit, hexadecimal) || self.position == first {
            return false;
        }
        match self.peek() {
            Some('x') if series => true,
            Some(next) => !is_alphanumeric(next),
            None => true,
        }
    }

    /// A dot and an exponent may come once each, an underscore only between digits.
    fn scan_digits_and_marks(&mut self, is_digit: fn(char) -> bool, hexadecimal: bool) -> bool {
        let (mut had_dot, mut had_exponent) = (false, false);
        loop {
            match self.peek() {
                Some('.') => {
                    self.next();
                    if had_dot || self.accept_if(|next| matches!(next, '_' | '.')) || hexadecimal {
                        return false;
                    }
                    had_dot = true;
                }
                // In a hexadecimal number an `e` is a digit as well, and is taken for the exponent all the same,
                // unless it stands among digits.
                Some('e' | 'E') => {
                    self.next();
                    if had_exponent {
                        return false;
                    }
                    had_exponent = true;
                    self.accept_if(|next| matches!(next, '+' | '-'));
                    if self.ends_or_is_marked() {
                        return false;
                    }
                }
                Some('_') => {
                    self.next();
                    if self.ends_or_is_marked() {
                        return false;
                    }
                }
                Some(character) if is_digit(character) => self.skip_while(is_digit),
                _ => return true,
            }
        }
    }

    fn ends_or_is_marked(&mut self) -> bool {
        self.accept_if(|next| matches!(next, '.' | '_' | 'e' | 'E')) || self.peek().is_none()
    }

    /// Units and more digits behind the first digits. Wrong units and wrong orders of units are found by the parser.
    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept_if(|unit| "smhdwy".contains(unit)) {
            return false;
        }
        self.accept('s');
        while self.accept_if(|digit| digit.is_ascii_digit()) {
            self.skip_while(|digit| digit.is_ascii_digit());
            // Years come first or not at all.
            if !self.accept_if(|unit| "smhdw".contains(unit)) {
                return false;
            }
            self.accept('s');
        }
        // The offending letter belongs to what the error shows.
        !self.accept_if(is_alphanumeric)
    }
}
