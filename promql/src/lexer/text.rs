//! Strings, cut out with their quotes on; the parser takes the quotes off.

use super::{LexError, Lexer};
use crate::token::{Token, TokenKind};

impl<'a> Lexer<'a> {
    /// A string whose opening quote was just taken.
    pub(super) fn string(&mut self, quote: char) -> Result<Token<'a>, LexError> {
        loop {
            match self.next() {
                None if quote == '`' => return Err(self.error("unterminated raw string")),
                None => return Err(self.error("unterminated quoted string")),
                // What Go sees in the place of bytes that are no UTF-8, and refuses even where it was written so.
                Some(char::REPLACEMENT_CHARACTER) => return Err(self.error("invalid UTF-8 rune")),
                Some(character) if character == quote => return Ok(self.token(TokenKind::String)),
                Some(_) if quote == '`' => {}
                Some('\n') => return Err(self.error("unterminated quoted string")),
                Some('\\') => self.escape(quote)?,
                Some(_) => {}
            }
        }
    }

    /// An escape sequence whose backslash was just taken.
    fn escape(&mut self, quote: char) -> Result<(), LexError> {
        let Some(character) = self.next() else {
            return Err(self.error("escape sequence not terminated"));
        };
        let (digits, base, greatest) = match character {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            _ if character == quote => return Ok(()),
            '0'..='7' => {
                self.position -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, u32::from(char::MAX)),
            'U' => (8, 16, u32::from(char::MAX)),
            _ => return Err(self.error(format!("unknown escape sequence {}", code_point(character)))),
        };
        let mut code: u32 = 0;
        for _ in 0..digits {
            let Some(digit) = self.next() else {
                return Err(self.error("escape sequence not terminated"));
            };
            let Some(value) = digit.to_digit(base) else {
                return Err(self.error(format!("illegal character {} in escape sequence", code_point(digit))));
            };
            code = code.wrapping_mul(base).wrapping_add(value);
        }
        if code > greatest || (0xd800..0xe000).contains(&code) {
            return Err(self.error("escape sequence is an invalid Unicode code point"));
        }
        Ok(())
    }
}

/// Go's `%#U`: the code point and, where it can be printed, the character.
fn code_point(character: char) -> String {
    let code = format!("U+{:04X}", u32::from(character));
    if character.is_control() { code } else { format!("{code} '{character}'") }
}
