//! Cuts a body that arrives in pieces into blocks of whole lines, so that a body of any length passes through bounded memory.

use super::decode_error::DecodeError;

/// A block is handed out when it has reached this.
const BLOCK_BYTES: usize = 2 << 20;
/// The longest line; VictoriaMetrics' own bound.
const LINE_BYTES_MAX: usize = 10 << 20;

/// Some whole lines, and the number of the first one, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    pub first_line: usize,
    pub bytes: Vec<u8>,
}

/// Whether quotation marks may hold line breaks, as in CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    MeanNothing,
    HoldLineBreaks,
}

/// The pieces that are not a block yet.
pub struct LineBlocks {
    quotes: Quotes,
    pending: Vec<u8>,
    /// How much of it has been searched for line breaks.
    searched: usize,
    is_quoted: bool,
    /// Behind the last line break found.
    complete: usize,
    /// Line breaks found, of all kinds: what a person counts.
    breaks_complete: usize,
    breaks: usize,
    first_line: usize,
}

impl LineBlocks {
    pub fn new(quotes: Quotes) -> LineBlocks {
        LineBlocks { quotes, pending: Vec::new(), searched: 0, is_quoted: false, complete: 0, breaks_complete: 0, breaks: 0, first_line: 1 }
    }

    /// Where the next plain bytes are appended.
    pub fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// The next block, if enough has come.
    pub fn next_block(&mut self) -> Result<Option<Block>, DecodeError> {
        if self.pending.len() < BLOCK_BYTES {
            return Ok(None);
        }
        self.search();
        if self.complete > 0 {
            return Ok(Some(self.cut(self.complete)));
        }
        if self.pending.len() > LINE_BYTES_MAX {
            return Err(DecodeError::TooLarge { what: "line of the body", limit_bytes: LINE_BYTES_MAX });
        }
        Ok(None)
    }

    /// What is left when the body has ended.
    pub fn last_block(mut self) -> Option<Block> {
        let length = self.pending.len();
        (length > 0).then(|| self.cut(length))
    }

    fn search(&mut self) {
        for (position, &byte) in self.pending.iter().enumerate().skip(self.searched) {
            match byte {
                b'"' if self.quotes == Quotes::HoldLineBreaks => self.is_quoted = !self.is_quoted,
                b'\n' => {
                    self.breaks += 1;
                    if !self.is_quoted {
                        self.complete = position + 1;
                        self.breaks_complete = self.breaks;
                    }
                }
                _ => {}
            }
        }
        self.searched = self.pending.len();
    }

    fn cut(&mut self, length: usize) -> Block {
        let rest = self.pending.split_off(length);
        let block = Block { first_line: self.first_line, bytes: std::mem::replace(&mut self.pending, rest) };
        self.first_line += self.breaks_complete;
        self.breaks -= self.breaks_complete;
        self.breaks_complete = 0;
        self.searched = self.searched.saturating_sub(length);
        self.complete = 0;
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks(body: &[u8], piece: usize, quotes: Quotes) -> Vec<Block> {
        let mut lines = LineBlocks::new(quotes);
        let mut blocks = Vec::new();
        for piece in body.chunks(piece) {
            lines.pending().extend_from_slice(piece);
            blocks.extend(lines.next_block().expect("short lines"));
        }
        blocks.extend(lines.last_block());
        blocks
    }

    #[test]
    fn a_long_body_is_cut_between_lines() {
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let body = line.repeat(7000);
        let blocks = blocks(&body, 100_000, Quotes::MeanNothing);
        assert!(blocks.len() > 2);
        let mut expected_line = 1;
        for block in &blocks {
            assert_eq!(block.first_line, expected_line);
            assert_eq!(block.bytes.len() % 1000, 0, "whole lines");
            expected_line += block.bytes.len() / 1000;
        }
        assert_eq!(blocks.iter().map(|block| block.bytes.len()).sum::<usize>(), body.len());
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_memory() {
        let mut lines = LineBlocks::new(Quotes::MeanNothing);
        let mut refused = None;
        for _ in 0..20 {
            lines.pending().extend_from_slice(&vec![b'x'; 1 << 20]);
            if let Err(error) = lines.next_block() {
                refused = Some(error);
                break;
            }
        }
        assert_eq!(refused, Some(DecodeError::TooLarge { what: "line of the body", limit_bytes: LINE_BYTES_MAX }));
    }

    proptest! {
        // Each case is megabytes.
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn quoted_line_breaks_stay_inside_a_block(rows in prop::collection::vec("[a\n]{0,3}", 1..5), piece in 1000usize..300_000) {
            let row: String = rows.iter().map(|text| format!("\"{text}\",")).collect::<String>() + "\n";
            let body = row.repeat((5 << 20) / row.len());
            let blocks = blocks(body.as_bytes(), piece, Quotes::HoldLineBreaks);
            let mut line = 1;
            for block in &blocks {
                prop_assert_eq!(block.first_line, line);
                prop_assert!(block.bytes.len() % row.len() == 0);
                line += block.bytes.iter().filter(|&&byte| byte == b'\n').count();
            }
            prop_assert_eq!(blocks.iter().map(|block| block.bytes.len()).sum::<usize>(), body.len());
        }
    }
}
