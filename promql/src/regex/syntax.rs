//! RE2's syntax, as Go's `regexp/syntax` reads it with the flags that `regexp.Compile` uses.

use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

use super::RegexError;
use super::class;

/// The greatest count in `{n,m}`, and the greatest product of nested ones.
const REPEAT_MAX: u32 = 1000;
/// Groups inside groups. The compiler recurses over them.
const NESTING_MAX: usize = 250;

/// A pattern that was read.
pub(super) struct Parsed {
    pub(super) hir: Hir,
    /// The names of groups with their numbers, from the left.
    pub(super) names: Vec<(String, usize)>,
}

/// Reads `pattern`; the dot matches newlines unless the pattern switches that off.
pub(super) fn parse(pattern: &str) -> Result<Parsed, RegexError> {
    let mut parser = Parser {
        pattern,
        position: 0,
        flags: Flags { fold_case: false, multi_line: false, dot_newline: true, ungreedy: false },
        groups: 0,
        names: Vec::new(),
        nesting: 0,
    };
    let piece = parser.alternation()?;
    if !parser.rest().is_empty() {
        return Err(refused("unexpected )", pattern));
    }
    Ok(Parsed { hir: piece.hir, names: parser.names })
}

#[derive(Clone, Copy)]
struct Flags {
    /// `i`
    fold_case: bool,
    /// `m`: `^` and `$` match at lines
    multi_line: bool,
    /// `s`
    dot_newline: bool,
    /// `U`: swaps lazy and greedy
    ungreedy: bool,
}

/// A part of the pattern, and the greatest product of nested counts in it.
struct Piece {
    hir: Hir,
    repeats: u32,
}

impl Piece {
    fn plain(hir: Hir) -> Self {
        Self { hir, repeats: 1 }
    }
}

/// What an opening parenthesis is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grouping {
    /// `(…)` or `(?P<name>…)`
    Capture,
    /// `(?i:…)`
    Plain,
    /// `(?i)`
    FlagsOnly,
}

/// A repetition operator.
struct Repeat {
    min: u32,
    max: Option<u32>,
    /// Whether it was written with braces, which bounds nested counts.
    counted: bool,
}

struct Parser<'a> {
    pattern: &'a str,
    position: usize,
    flags: Flags,
    /// How many capture groups were opened.
    groups: u32,
    names: Vec<(String, usize)>,
    nesting: usize,
}

impl<'a> Parser<'a> {
    /// Alternatives up to a closing parenthesis or the end.
    fn alternation(&mut self) -> Result<Piece, RegexError> {
        let mut alternatives = Vec::new();
        let mut repeats = 1;
        loop {
            let piece = self.concatenation()?;
            repeats = repeats.max(piece.repeats);
            alternatives.push(piece.hir);
            if !self.accept('|') {
                return Ok(Piece { hir: Hir::alternation(alternatives), repeats });
            }
        }
    }

    fn concatenation(&mut self) -> Result<Piece, RegexError> {
        let mut pieces: Vec<Piece> = Vec::new();
        // Where the operator began that the last piece was repeated with.
        let mut last_repeat: Option<usize> = None;
        while let Some(character) = self.peek().filter(|character| !matches!(character, '|' | ')')) {
            let start = self.position;
            if let Some(repeat) = self.repeat_operator(character)? {
                let lazy = self.accept('?') != self.flags.ungreedy;
                let written = &self.pattern[start..self.position];
                if let Some(from) = last_repeat {
                    let stacked = &self.pattern[from..self.position];
                    return Err(refused("invalid nested repetition operator", stacked));
                }
                let piece = pieces.pop().ok_or_else(|| refused("missing argument to repetition operator", written))?;
                pieces.push(repeated(piece, &repeat, !lazy, written)?);
                last_repeat = Some(start);
                continue;
            }
            last_repeat = None;
            self.next();
            self.atom(character, start, &mut pieces)?;
        }
        let repeats = pieces.iter().map(|piece| piece.repeats).max().unwrap_or(1);
        Ok(Piece { hir: Hir::concat(pieces.into_iter().map(|piece| piece.hir).collect()), repeats })
    }

    /// `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`. A brace that is none of these stands for itself.
    fn repeat_operator(&mut self, character: char) -> Result<Option<Repeat>, RegexError> {
        let (min, max) = match character {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            '{' => return self.counted_repeat(),
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(Repeat { min, max, counted: false }))
    }

    fn counted_repeat(&mut self) -> Result<Option<Repeat>, RegexError> {
        let Some((inside, _)) = self.rest()[1..].split_once('}') else {
            return Ok(None);
        };
        let (first, second) = inside.split_once(',').map_or((inside, None), |(first, second)| (first, Some(second)));
        let Some(min) = repeat_count(first) else {
            return Ok(None);
        };
        let max = match second {
            None => Some(min),
            Some("") => None,
            Some(digits) => match repeat_count(digits) {
                Some(max) => Some(max),
                None => return Ok(None),
            },
        };
        let written = &self.rest()[..inside.len() + 2];
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || max < min) {
            return Err(refused("invalid repeat count", written));
        }
        self.position += written.len();
        Ok(Some(Repeat { min, max, counted: true }))
    }

    /// What begins with `character`, which was taken at `start`.
    fn atom(&mut self, character: char, start: usize, pieces: &mut Vec<Piece>) -> Result<(), RegexError> {
        let hir = match character {
            '(' => {
                pieces.extend(self.group(start)?);
                return Ok(());
            }
            '[' => Hir::class(Class::Unicode(self.class(start)?)),
            '.' => Hir::class(Class::Unicode(class::dot(self.flags.dot_newline))),
            '^' if self.flags.multi_line => Hir::look(Look::StartLF),
            '^' => Hir::look(Look::Start),
            '$' if self.flags.multi_line => Hir::look(Look::EndLF),
            '$' => Hir::look(Look::End),
            '\\' if self.accept('Q') => {
                self.quoted(pieces);
                return Ok(());
            }
            '\\' => self.escape(start)?,
            _ => self.literal(character),
        };
        pieces.push(Piece::plain(hir));
        Ok(())
    }

    /// `\Q…\E`, every character for itself.
    fn quoted(&mut self, pieces: &mut Vec<Piece>) {
        let rest = self.rest();
        let (text, behind) = rest.split_once(r"\E").unwrap_or((rest, ""));
        pieces.extend(text.chars().map(|character| Piece::plain(self.literal(character))));
        self.position += rest.len() - behind.len();
    }

    fn literal(&self, character: char) -> Hir {
        if !self.flags.fold_case {
            return Hir::literal(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Hir::class(Class::Unicode(self.folded(class::of(&[(character, character)]))))
    }

    fn folded(&self, mut class: ClassUnicode) -> ClassUnicode {
        if self.flags.fold_case {
            class.case_fold_simple();
        }
        class
    }

    /// An escape outside of classes, whose backslash was taken.
    fn escape(&mut self, start: usize) -> Result<Hir, RegexError> {
        let look = match self.peek() {
            Some('A') => Some(Look::Start),
            Some('z') => Some(Look::End),
            Some('b') => Some(Look::WordAscii),
            Some('B') => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.next();
            return Ok(Hir::look(look));
        }
        match self.named_class(start)? {
            Some(class) => Ok(Hir::class(Class::Unicode(class))),
            None => self.escaped_character(start).map(|character| self.literal(character)),
        }
    }

    /// `\d`, `\pL`, `\p{Greek}` and their complements, whose backslash was taken.
    fn named_class(&mut self, start: usize) -> Result<Option<ClassUnicode>, RegexError> {
        let Some(letter) = self.peek() else {
            return Ok(None);
        };
        if let Some(class) = class::perl(letter) {
            self.next();
            return Ok(Some(class));
        }
        if !matches!(letter, 'p' | 'P') {
            return Ok(None);
        }
        self.next();
        let rest = self.rest();
        let (name, length) = match rest.strip_prefix('{') {
            Some(braced) => {
                let end = braced.find('}').ok_or_else(|| refused("invalid character class range", &self.pattern[start..]))?;
                (&braced[..end], end + 2)
            }
            None => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                (&rest[..length], length)
            }
        };
        self.position += length;
        let written = &self.pattern[start..self.position];
        let class = class::unicode(name).ok_or_else(|| refused("invalid character class range", written))?;
        Ok(Some(class::complement_if(self.folded(class), letter == 'P')))
    }

    /// An escape that stands for one character, whose backslash was taken.
    fn escaped_character(&mut self, start: usize) -> Result<char, RegexError> {
        let Some(character) = self.next() else {
            return Err(refused("trailing backslash at end of expression", ""));
        };
        let value = match character {
            // A single digit from 1 to 7 would be a reference to a group; there are none.
            '1'..='7' if !self.peek().is_some_and(|next| next.is_digit(8)) => None,
            '0'..='7' => Some(self.octal(character)),
            'x' => return self.hexadecimal(start),
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            _ if character.is_ascii() && !character.is_ascii_alphanumeric() => Some(character),
            _ => None,
        };
        value.ok_or_else(|| self.bad_escape(start))
    }

    /// Up to three octal digits, the first of which was taken: at most 0o777, always a character.
    fn octal(&mut self, first: char) -> char {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else {
                break;
            };
            self.next();
            code = code * 8 + digit;
        }
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// `\x7F` or `\x{10FFFF}`, whose `x` was taken.
    fn hexadecimal(&mut self, start: usize) -> Result<char, RegexError> {
        let braced = self.accept('{');
        let mut code = 0;
        let mut digits = 0;
        while let Some(digit) = self.next().and_then(|next| next.to_digit(16)) {
            (code, digits) = (code * 16 + digit, digits + 1);
            if code > u32::from(char::MAX) {
                return Err(self.bad_escape(start));
            }
            match (braced, digits) {
                (true, _) if self.accept('}') => {
                    return char::from_u32(code).ok_or_else(|| self.bad_escape(start));
                }
                (false, 2) => return char::from_u32(code).ok_or_else(|| self.bad_escape(start)),
                _ => {}
            }
        }
        Err(self.bad_escape(start))
    }

    fn bad_escape(&self, start: usize) -> RegexError {
        refused("invalid escape sequence", &self.pattern[start..self.position])
    }

    /// A class whose `[` was taken.
    fn class(&mut self, start: usize) -> Result<ClassUnicode, RegexError> {
        let complement = self.accept('^');
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || self.peek() != Some(']') {
            // A minus stands for itself at the edges only (and before another one at the end, as in Perl).
            first = false;
            if self.peek().is_none() {
                return Err(refused("missing closing ]", &self.pattern[start..]));
            }
            match self.class_in_class()? {
                Some(named) => class.union(&named),
                None => self.class_range(start, &mut class)?,
            }
        }
        self.next();
        Ok(class::complement_if(class, complement))
    }

    /// `[:alpha:]`, `\d`, `\pL` inside a class.
    fn class_in_class(&mut self) -> Result<Option<ClassUnicode>, RegexError> {
        let start = self.position;
        if let Some(named) = self.rest().strip_prefix("[:")
            && let Some(end) = named.find(":]")
        {
            let written = &self.rest()[..end + 4];
            let class = class::posix(&named[..end]).ok_or_else(|| refused("invalid character class range", written))?;
            self.position += written.len();
            return Ok(Some(self.folded(class)));
        }
        if !self.accept('\\') {
            return Ok(None);
        }
        let class = self.named_class(start)?;
        if class.is_none() {
            self.position = start;
        }
        Ok(class)
    }

    /// One character, or two with a minus between them.
    fn class_range(&mut self, start: usize, class: &mut ClassUnicode) -> Result<(), RegexError> {
        let from = self.position;
        let first = self.class_character(start)?;
        let mut last = first;
        let rest = self.rest();
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            self.next();
            last = self.class_character(start)?;
            if last < first {
                return Err(refused("invalid character class range", &self.pattern[from..self.position]));
            }
        }
        class.union(&self.folded(ClassUnicode::new([ClassUnicodeRange::new(first, last)])));
        Ok(())
    }

    fn class_character(&mut self, start: usize) -> Result<char, RegexError> {
        let from = self.position;
        match self.next() {
            None => Err(refused("missing closing ]", &self.pattern[start..])),
            Some('\\') => self.escaped_character(from),
            Some(character) => Ok(character),
        }
    }

    /// A group whose `(` was taken; nothing for one that only sets flags.
    fn group(&mut self, start: usize) -> Result<Option<Piece>, RegexError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(refused("expression nests too deeply", self.pattern));
        }
        let outside = self.flags;
        let capture = self.group_head(start)?;
        if capture == Grouping::FlagsOnly {
            self.nesting -= 1;
            return Ok(None);
        }
        let index = self.groups;
        let mut piece = self.alternation()?;
        if !self.accept(')') {
            return Err(refused("missing closing )", self.pattern));
        }
        self.flags = outside;
        self.nesting -= 1;
        if capture == Grouping::Capture {
            // Names stay outside of the automaton, where they would have to be unique.
            piece.hir = Hir::capture(Capture { index, name: None, sub: Box::new(piece.hir) });
        }
        Ok(Some(piece))
    }

    /// What stands between the parenthesis and the content of a group.
    fn group_head(&mut self, start: usize) -> Result<Grouping, RegexError> {
        if self.accept('?') {
            if !self.rest().starts_with("P<") && !self.rest().starts_with('<') {
                return self.group_flags(start);
            }
            self.group_name(start)?;
        }
        self.groups += 1;
        Ok(Grouping::Capture)
    }

    /// `P<name>` or `<name>`, whose `(?` was taken.
    fn group_name(&mut self, start: usize) -> Result<(), RegexError> {
        self.accept('P');
        self.accept('<');
        let rest = self.rest();
        let end = rest.find('>').ok_or_else(|| refused("invalid named capture", &self.pattern[start..]))?;
        let name = &rest[..end];
        self.position += end + 1;
        let valid = !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        if !valid {
            return Err(refused("invalid named capture", &self.pattern[start..self.position]));
        }
        self.names.push((name.to_owned(), self.groups as usize + 1));
        Ok(())
    }

    /// `i-s:` or `i-s)`, whose `(?` was taken. The flags hold up to the end of the group, this one or the one around.
    fn group_flags(&mut self, start: usize) -> Result<Grouping, RegexError> {
        let mut on = true;
        let mut any = false;
        let mut flags = self.flags;
        loop {
            let character = self.next();
            match character {
                Some('i') => flags.fold_case = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_newline = on,
                Some('U') => flags.ungreedy = on,
                Some('-') if on => {
                    (on, any) = (false, false);
                    continue;
                }
                Some(end @ (':' | ')')) if on || any => {
                    self.flags = flags;
                    return Ok(if end == ':' { Grouping::Plain } else { Grouping::FlagsOnly });
                }
                None => return Err(refused("missing closing )", self.pattern)),
                _ => {
                    let written = &self.pattern[start..self.position];
                    return Err(refused("invalid or unsupported Perl syntax", written));
                }
            }
            any = true;
        }
    }

    fn rest(&self) -> &'a str {
        &self.pattern[self.position..]
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
        let found = self.peek() == Some(wanted);
        if found {
            self.position += wanted.len_utf8();
        }
        found
    }
}

fn repeated(piece: Piece, repeat: &Repeat, greedy: bool, written: &str) -> Result<Piece, RegexError> {
    let count = repeat.max.unwrap_or(repeat.min).max(1);
    let mut repeats = piece.repeats;
    if repeat.counted {
        repeats = repeats.saturating_mul(count);
        if count >= 2 && repeats > REPEAT_MAX {
            return Err(refused("invalid repeat count", written));
        }
    }
    let hir = Hir::repetition(Repetition { min: repeat.min, max: repeat.max, greedy, sub: Box::new(piece.hir) });
    Ok(Piece { hir, repeats })
}

/// The digits of a count: no sign, no leading zero. Any huge number is over the limit all the same.
fn repeat_count(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}

fn refused(why: &str, what: &str) -> RegexError {
    RegexError(format!("{why}: `{what}`"))
}
