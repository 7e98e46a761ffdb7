//! Bits, the highest first, as Prometheus' chunks are made of them.

/// How many bits a "varbit" number may take.
const VARBIT_WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

/// Appends bits behind bytes. What does not fill a byte is written by [`BitWriter::finish`].
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The lowest `held_bits` of it wait for more.
    held: u64,
    /// Below 8 between calls.
    held_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, held: 0, held_bits: 0 }
    }

    /// The lowest `count` bits of `value`, 64 at most.
    #[inline]
    pub fn put(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.put_short(value >> 32, count - 32);
            self.put_short(value, 32);
        } else {
            self.put_short(value, count);
        }
    }

    /// Up to 32 bits: with those held they fit into a word.
    #[inline]
    fn put_short(&mut self, value: u64, count: u32) {
        self.held = self.held << count | value & ((1 << count) - 1);
        self.held_bits += count;
        while self.held_bits >= 8 {
            self.held_bits -= 8;
            self.out.push((self.held >> self.held_bits) as u8);
        }
    }

    #[inline]
    pub fn put_bit(&mut self, bit: bool) {
        self.put_short(u64::from(bit), 1);
    }

    /// Seven bits a byte, the lowest first, with the highest bit set in all bytes but the last.
    pub fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_short(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put_short(value, 8);
    }

    /// The same for signed numbers, small ones of either sign being short.
    pub fn put_signed_varint(&mut self, value: i64) {
        self.put_varint((value << 1 ^ value >> 63) as u64);
    }

    /// A "varbit" number: 0 is one bit; others stand in the narrowest of [`VARBIT_WIDTHS`], behind a prefix of ones that names it.
    pub fn put_varbit(&mut self, value: u64) {
        self.put_in_width(value, |width| width == 64 || value < 1 << width);
    }

    /// The same for signed numbers. A number of n bits reaches from -2^(n-1)+1 to 2^(n-1).
    pub fn put_varbit_signed(&mut self, value: i64) {
        self.put_in_width(value as u64, |width| width == 64 || (-(1i64 << (width - 1)) + 1..=1i64 << (width - 1)).contains(&value));
    }

    fn put_in_width(&mut self, value: u64, fits: impl Fn(u32) -> bool) {
        if value == 0 {
            return self.put_bit(false);
        }
        let widest = VARBIT_WIDTHS.len() - 1;
        let place = VARBIT_WIDTHS.iter().position(|&width| fits(width)).unwrap_or(widest);
        // One 1 for each narrower width and one more, then a 0 unless there is no wider one.
        let ones = place as u32 + 1;
        self.put_short((1 << ones) - 1, ones);
        if place < widest {
            self.put_bit(false);
        }
        self.put(value, VARBIT_WIDTHS[place]);
    }

    /// Fills the last byte with zeros.
    pub fn finish(mut self) {
        if self.held_bits > 0 {
            self.put_short(0, 8 - self.held_bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_stand_from_the_highest_down() {
        let mut out = vec![0xaa];
        let mut bits = BitWriter::new(&mut out);
        bits.put_bit(true);
        bits.put(0b01, 2);
        bits.put(0xff00, 16);
        bits.put_varint(300);
        bits.finish();
        assert_eq!(out, [0xaa, 0b1011_1111, 0b1110_0000, 0b0001_0101, 0b1000_0000, 0b0100_0000]);
    }

    proptest! {
        #[test]
        fn any_run_of_bits_is_what_a_text_of_digits_says(fields in prop::collection::vec((any::<u64>(), 0u32..=64), 0..40)) {
            let mut out = Vec::new();
            let mut bits = BitWriter::new(&mut out);
            let mut digits = String::new();
            for &(value, count) in &fields {
                bits.put(value, count);
                digits.extend((0..count).rev().map(|bit| if value >> bit & 1 == 1 { '1' } else { '0' }));
            }
            bits.finish();
            while !digits.len().is_multiple_of(8) {
                digits.push('0');
            }
            let shown: String = out.iter().map(|byte| format!("{byte:08b}")).collect();
            prop_assert_eq!(shown, digits);
        }
    }
}
