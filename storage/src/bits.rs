//! Bits: fixed-width packing in blocks of 64 integers, and a stream of variable-length codes.
//!
//! Value `i` of a block of width `w` takes the bits `i*w .. (i+1)*w`, least significant first, so a full
//! block takes exactly `8*w` bytes and a shorter last one `ceil(n*w/8)`.

/// Integers in a full block.
pub const BLOCK: usize = 64;

/// Bytes of `count` values of `width` bits.
#[inline]
pub const fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// The bits needed for `value`; none for 0.
#[inline(always)]
pub const fn bit_length(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// All ones in the lowest `width` bits.
#[inline(always)]
pub const fn mask(width: u32) -> u64 {
    if width == 0 { 0 } else { u64::MAX >> (64 - width) }
}

/// Appends the lowest `width` bits of each of up to 64 `values`.
pub fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    debug_assert!(values.len() <= BLOCK && width <= 64, "{} values of {width} bits", values.len());
    if width == 0 {
        return;
    }
    let start = out.len();
    let mask = mask(width);
    let mut word = 0u64;
    let mut filled = 0;
    for value in values {
        let value = value & mask;
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(start + packed_bytes(values.len(), width));
}

/// Unpacks a block of 64 values of `width` bits. `bytes` may be shorter than a full block, and the values
/// beyond its end are unspecified; bytes after the block's are not looked at.
#[inline]
pub fn unpack(bytes: &[u8], width: u32, values: &mut [u64; BLOCK]) {
    assert!(width <= 64, "{width} bits");
    let full = 8 * width as usize;
    // Eight bytes of slack let every value be read as one word, whatever its position.
    match bytes.get(..full + 8) {
        Some(padded) => unpack_padded(padded, width, values),
        None => {
            let mut padded = [0; 8 * BLOCK + 8];
            let length = bytes.len().min(full);
            padded[..length].copy_from_slice(&bytes[..length]);
            unpack_padded(&padded[..full + 8], width, values);
        }
    }
}

fn unpack_padded(bytes: &[u8], width: u32, values: &mut [u64; BLOCK]) {
    macro_rules! by_width {
        ($($narrow:literal)*) => {
            match width {
                0 => values.fill(0),
                $($narrow => unpack_narrow::<$narrow>(bytes, values),)*
                _ => unpack_wide(bytes, width, values),
            }
        };
    }
    by_width!(
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
        29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56
    )
}

/// Up to 56 bits. Eight values take exactly `WIDTH` bytes, so every group of eight begins at a byte, and with a
/// constant width the compiler knows each value's place in it.
fn unpack_narrow<const WIDTH: usize>(bytes: &[u8], values: &mut [u64; BLOCK]) {
    let mask = mask(WIDTH as u32);
    for (group, values) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let bytes = &bytes[group * WIDTH..][..WIDTH + 8];
        for (index, value) in values.iter_mut().enumerate() {
            let position = index * WIDTH;
            *value = word_at(bytes, position >> 3) >> (position & 7) & mask;
        }
    }
}

fn unpack_wide(bytes: &[u8], width: u32, values: &mut [u64; BLOCK]) {
    let mask = mask(width);
    let mut position = 0usize;
    for value in values {
        let index = (position >> 6) * 8;
        let shift = (position & 63) as u32;
        let low = word_at(bytes, index) >> shift;
        let high = if shift + width > 64 { word_at(bytes, index + 8) << (64 - shift) } else { 0 };
        *value = (low | high) & mask;
        position += width as usize;
    }
}

#[inline(always)]
fn word_at(bytes: &[u8], index: usize) -> u64 {
    // Invariant: a slice of eight bytes is an array of eight bytes.
    let word: [u8; 8] = bytes[index..index + 8].try_into().expect("eight bytes were sliced");
    u64::from_le_bytes(word)
}

/// Appends codes of any bit length to a byte vector, least significant bit first.
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    filled: u32,
}

impl<'a> BitWriter<'a> {
    /// A stream that begins at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, word: 0, filled: 0 }
    }

    /// Writes the lowest `width` bits of `value`; `width` is at most 64.
    pub fn put(&mut self, value: u64, width: u32) {
        let value = value & mask(width);
        self.word |= value.checked_shl(self.filled).unwrap_or(0);
        if self.filled + width < 64 {
            self.filled += width;
            return;
        }
        self.out.extend_from_slice(&self.word.to_le_bytes());
        self.word = value.checked_shr(64 - self.filled).unwrap_or(0);
        self.filled = self.filled + width - 64;
    }

    /// Writes an exponential Golomb code of order `order`: short for numbers around `2^order`, and never
    /// more than twice the number's own bits plus one. `value` is below `2^63` and `order` below 63.
    pub fn put_golomb(&mut self, value: u64, order: u32) {
        let shifted = value + (1 << order);
        let extra = bit_length(shifted) - 1 - order;
        self.put(1 << (extra % 64), extra + 1);
        self.put(shifted, extra + order);
    }

    /// Fills up the last byte.
    pub fn finish(self) {
        let bytes = self.filled.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.word.to_le_bytes()[..bytes]);
    }
}

/// Bits of the code that [`BitWriter::put_golomb`] writes.
#[inline]
pub const fn golomb_length(value: u64, order: u32) -> u32 {
    2 * (bit_length(value + (1 << order)) - 1 - order) + 1 + order
}

/// Reads a stream of [`BitWriter`]. Beyond the end it reads zeros.
#[derive(Clone, Copy)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// A stream over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// At least the next 57 bits.
    #[inline]
    fn peek(&self) -> u64 {
        let index = self.position >> 3;
        let word = match self.bytes.get(index..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => {
                let rest = self.bytes.get(index..).unwrap_or_default();
                let mut padded = [0; 8];
                padded[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(padded)
            }
        };
        word >> (self.position & 7)
    }

    /// The next `width` bits; `width` is at most 64.
    #[inline]
    pub fn take(&mut self, width: u32) -> u64 {
        if width > 56 {
            let low = self.take(32);
            return low | self.take(width - 32) << 32;
        }
        let value = self.peek() & mask(width);
        self.position += width as usize;
        value
    }

    /// The next two exponential Golomb codes; none when the bits are no codes.
    #[inline]
    pub fn take_golomb_pair(&mut self, first_order: u32, second_order: u32) -> Option<(u64, u64)> {
        let word = self.peek();
        let (first, first_length) = short_golomb(word, first_order);
        if first_length < 40 {
            let (second, second_length) = short_golomb(word >> first_length, second_order);
            if first_length + second_length <= 56 {
                self.position += (first_length + second_length) as usize;
                return Some((first, second));
            }
        }
        Some((self.take_golomb(first_order)?, self.take_golomb(second_order)?))
    }

    /// The next exponential Golomb code; none when the bits are no code.
    #[inline]
    pub fn take_golomb(&mut self, order: u32) -> Option<u64> {
        let mut extra = 0;
        let mut word = self.peek();
        while word & mask(32) == 0 {
            extra += 32;
            if extra > 64 {
                return None;
            }
            self.position += 32;
            word = self.peek();
        }
        let zeros = word.trailing_zeros();
        extra += zeros;
        self.position += zeros as usize + 1;
        let width = extra + order;
        if width > 63 {
            return None;
        }
        let shifted = self.take(width) | 1 << width;
        Some(shifted - (1 << order))
    }
}

/// The code at the beginning of `word` and its length; the code is right only if it lies within the word.
#[inline(always)]
fn short_golomb(word: u64, order: u32) -> (u64, u32) {
    let zeros = word.trailing_zeros();
    let width = zeros + order;
    let top = 1u64.wrapping_shl(width);
    let low = word.wrapping_shr(zeros + 1) & top.wrapping_sub(1);
    ((low | top).wrapping_sub(1 << order), zeros + 1 + width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back(values in prop::collection::vec(any::<u64>(), 1..=BLOCK), width in 0u32..=64, slack in 0usize..20) {
            let mut bytes = vec![];
            pack(&values, width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_bytes(values.len(), width));
            bytes.extend(std::iter::repeat_n(0xff, slack));
            let mut unpacked = [1; BLOCK];
            unpack(&bytes, width, &mut unpacked);
            for (value, unpacked) in values.iter().zip(unpacked) {
                prop_assert_eq!(value & mask(width), unpacked);
            }
        }

        #[test]
        fn codes_come_back(values in prop::collection::vec((any::<u64>(), 1u32..64, 0u32..16), 0..100)) {
            let mut bytes = vec![9];
            let mut writer = BitWriter::new(&mut bytes);
            let mut length = 0;
            for &(value, shift, order) in &values {
                writer.put_golomb(value >> shift, order);
                writer.put(value, shift);
                length += golomb_length(value >> shift, order) + shift;
            }
            writer.finish();
            prop_assert_eq!(bytes.len(), 1 + length.div_ceil(8) as usize);
            let mut reader = BitReader::new(&bytes[1..]);
            for &(value, shift, order) in &values {
                prop_assert_eq!(reader.take_golomb(order), Some(value >> shift));
                prop_assert_eq!(reader.take(shift), value & mask(shift));
            }
        }

        #[test]
        fn pairs_of_codes_come_back(values in prop::collection::vec((any::<[u64; 2]>(), 1u32..64, 0u32..16), 0..100)) {
            let mut bytes = vec![];
            let mut writer = BitWriter::new(&mut bytes);
            for &([first, second], shift, order) in &values {
                writer.put_golomb(first >> shift, order);
                writer.put_golomb(second >> (64 - shift) >> 1, 16 - order);
            }
            writer.finish();
            let mut reader = BitReader::new(&bytes);
            for &([first, second], shift, order) in &values {
                prop_assert_eq!(reader.take_golomb_pair(order, 16 - order), Some((first >> shift, second >> (64 - shift) >> 1)));
            }
        }

        #[test]
        fn any_bytes_read(bytes: Vec<u8>, order in 0u32..16) {
            let mut reader = BitReader::new(&bytes);
            while reader.take_golomb(order).is_some() {}
            let mut reader = BitReader::new(&bytes);
            while reader.take_golomb_pair(order, 3).is_some() {}
        }

        #[test]
        fn any_bytes_unpack(bytes in prop::collection::vec(any::<u8>(), 0..600), width in 0u32..=64) {
            unpack(&bytes, width, &mut [0; BLOCK]);
        }
    }
}
