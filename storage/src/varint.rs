//! Variable-length integers (LEB128, seven bits a byte, least significant first) and a cursor over
//! untrusted bytes.
//!
//! Signed numbers go through zigzag, so that small ones of either sign stay short. [`Cursor`] is how every
//! decoder of this crate walks its input: each step checks the bounds, so truncated input is an error and
//! never a panic.

use crate::error::{Error, Result};

/// The most bytes one 64-bit varint can take.
pub const VARINT_BYTES_MAX: usize = 10;

/// Maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2 … become 0, 1, 2, 3 …
#[inline(always)]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline(always)]
pub const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends `value` as a varint.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as a zigzag varint.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

/// Bytes that [`put`] would take.
#[inline]
pub const fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A bounds-checked reader over bytes nobody vouches for. `what` names the format in errors.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes` as the format `what`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error about this format.
    #[cold]
    pub fn corrupt(&self, detail: &'static str) -> Error {
        Error::Corrupt { what: self.what, detail }
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.rest.split_first().ok_or_else(|| self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(first)
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next varint.
    #[inline]
    pub fn varint(&mut self) -> Result<u64> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            _ => self.varint_long(),
        }
    }

    fn varint_long(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for position in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            if position == VARINT_BYTES_MAX - 1 && byte > 1 {
                return Err(self.corrupt("a number is too large"));
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.corrupt("a number is too long"))
    }

    /// The next zigzag varint.
    #[inline]
    pub fn signed(&mut self) -> Result<i64> {
        Ok(unzigzag(self.varint()?))
    }

    /// The next varint as a count that may not pass `max`, so that no input makes us allocate without bound.
    #[inline]
    pub fn count(&mut self, max: usize) -> Result<usize> {
        match self.varint()? {
            value if value <= max as u64 => Ok(value as usize),
            _ => Err(self.corrupt("a count is larger than allowed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            let mut cursor = Cursor::new(&bytes, "test");
            prop_assert_eq!(cursor.varint().unwrap(), value);
            prop_assert!(cursor.is_empty());
            prop_assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
        }

        #[test]
        fn any_bytes_end_well(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes, "test");
            while cursor.varint().is_ok() {}
        }
    }

    #[test]
    fn an_overlong_number_is_refused() {
        let mut cursor = Cursor::new(&[0xff; 12], "test");
        assert!(cursor.varint().is_err());
        let mut bytes = [0x80; 10];
        bytes[9] = 2;
        assert!(Cursor::new(&bytes, "test").varint().is_err());
    }
}
