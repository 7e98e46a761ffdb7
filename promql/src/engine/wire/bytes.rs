//! Writing and reading the plainest things: numbers, texts, lists.

/// Bytes under construction.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

/// Bytes that are no answer of this version. Never trusted, never fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed partial answer: {0}")]
pub struct Malformed(pub &'static str);

/// What has a form as bytes.
pub trait Wire: Sized {
    fn put(&self, out: &mut Writer);
    fn take(from: &mut Reader) -> Result<Self, Malformed>;
}

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// Seven bits a byte, the lowest first.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// Small for numbers near zero on either side.
    pub fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    pub fn float(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub fn list<T: Wire>(&mut self, items: &[T]) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| item.put(self));
    }
}

/// Bytes being read; nothing is read twice.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Errs when something is left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.is_at_end() { Ok(()) } else { Err(Malformed("bytes after the end")) }
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Malformed("cut short"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither yes nor no")),
        }
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("a number too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a number too long"))
    }

    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let folded = self.number()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    pub fn float(&mut self) -> Result<f64, Malformed> {
        let (chunk, _) = self.take(8)?.as_chunks::<8>();
        Ok(f64::from_bits(u64::from_le_bytes(chunk[0])))
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed("text that is not UTF-8"))
    }

    /// The length of a list whose entries take at least one byte each, so that a short message cannot ask for much memory.
    pub fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.number()?;
        if length > self.bytes.len() as u64 { Err(Malformed("a list longer than the message")) } else { Ok(length as usize) }
    }

    pub fn list<T: Wire>(&mut self) -> Result<Vec<T>, Malformed> {
        let length = self.length()?;
        // Entries are larger in memory than on the wire: the list grows as they come.
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(T::take(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_sizes_come_back() {
        let mut out = Writer::default();
        let numbers = [0, 1, 127, 128, 1 << 35, u64::MAX];
        numbers.iter().for_each(|number| out.number(*number));
        let signed = [0, -1, 63, -64, i64::MIN, i64::MAX];
        signed.iter().for_each(|number| out.signed(*number));
        let mut from = Reader::new(&out.bytes);
        assert!(numbers.iter().all(|number| from.number() == Ok(*number)));
        assert!(signed.iter().all(|number| from.signed() == Ok(*number)));
        assert_eq!(from.end(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Reader::new(&[0xff; 11]).number(), Err(Malformed("a number too large")));
        assert_eq!(Reader::new(&[5, b'a']).text(), Err(Malformed("a list longer than the message")));
        assert_eq!(Reader::new(&[1, 0xff]).text(), Err(Malformed("text that is not UTF-8")));
        assert_eq!(Reader::new(&[1; 7]).float(), Err(Malformed("cut short")));
    }
}
