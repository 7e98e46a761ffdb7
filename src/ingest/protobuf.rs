//! A cursor over protobuf wire format that borrows everything and allocates nothing.
//!
//! It knows varints, tags, lengths and how to skip; messages are walked by hand where they are needed. All failures
//! carry the byte offset in the whole body. Groups (wire types 3 and 4, long deprecated) are refused.

use super::decode_error::DecodeError;

pub const VARINT: u32 = 0;
pub const FIXED64: u32 = 1;
pub const LENGTH: u32 = 2;
pub const FIXED32: u32 = 5;

/// `field << 3 | wire type`, as one byte stands on the wire for fields below 16.
pub const fn tag(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// A cursor over `body[..end]`. A nested message is the same body with a nearer end, so that offsets stay absolute.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte, without moving: the whole tag of a record whose field is below 16.
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// Moves past a byte that was peeked at.
    #[inline(always)]
    pub fn step(&mut self) {
        self.at += 1;
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.at >= self.body.len()
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.body.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(byte as u64)
            }
            _ => self.varint_long(),
        }
    }

    /// Up to ten bytes; bits past the 64th are dropped, as every protobuf decoder does.
    #[inline]
    fn varint_long(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        let rest = &self.body[self.at.min(self.body.len())..];
        for (position, &byte) in rest.iter().take(10).enumerate() {
            value |= ((byte & 0x7f) as u64) << (7 * position);
            if byte < 0x80 {
                self.at += position + 1;
                return Ok(value);
            }
        }
        let reason = if rest.len() < 10 { "truncated varint" } else { "varint longer than ten bytes" };
        Err(DecodeError::protobuf(self.at, reason))
    }

    /// Field number and wire type of the next record.
    #[inline(always)]
    pub fn tag(&mut self) -> Result<u32, DecodeError> {
        let start = self.at;
        let tag = self.varint()?;
        if tag > u32::MAX as u64 || tag < 8 {
            return Err(DecodeError::protobuf(start, "invalid field number"));
        }
        Ok(tag as u32)
    }

    #[inline(always)]
    pub fn fixed64(&mut self) -> Result<u64, DecodeError> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk::<8>() else {
            return Err(DecodeError::protobuf(self.at, "truncated 64-bit value"));
        };
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// Length of the next length-delimited record, checked against what is left; the cursor stands at its content.
    #[inline(always)]
    pub fn length(&mut self) -> Result<usize, DecodeError> {
        let start = self.at;
        let length = self.varint()?;
        if length > (self.body.len() - self.at) as u64 {
            return Err(DecodeError::protobuf(start, "length reaches past the end"));
        }
        Ok(length as usize)
    }

    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        let content = &self.body[self.at..self.at + length];
        self.at += length;
        Ok(content)
    }

    /// The next length-delimited record as a cursor of its own; this one moves past it.
    #[inline(always)]
    pub fn message(&mut self) -> Result<Cursor<'a>, DecodeError> {
        let length = self.length()?;
        let end = self.at + length;
        let nested = Cursor { body: &self.body[..end], at: self.at };
        self.at = end;
        Ok(nested)
    }

    /// Skips the content of a record of an unknown field.
    #[inline]
    pub fn skip(&mut self, tag: u32) -> Result<(), DecodeError> {
        match tag & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LENGTH => self.bytes().map(drop),
            FIXED32 if self.body.len() - self.at >= 4 => {
                self.at += 4;
                Ok(())
            }
            FIXED32 => Err(DecodeError::protobuf(self.at, "truncated 32-bit value")),
            _ => Err(DecodeError::protobuf(self.at, "unsupported wire type")),
        }
    }
}
