//! One float a step. Neighbouring steps often have the same value, or one that shares sign, exponent and a short mantissa:
//! each is stored as the bytes in which it differs from the one before.

use super::bytes::{Malformed, Reader, Writer};

/// A header byte (zero bytes at the end of the difference, bytes that follow), then those bytes; 0 for "the same again".
pub fn put_floats(values: &[f64], out: &mut Writer) {
    let mut last = 0u64;
    for value in values {
        let difference = value.to_bits() ^ last;
        last = value.to_bits();
        if difference == 0 {
            out.byte(0);
            continue;
        }
        let skipped = difference.trailing_zeros() / 8;
        let length = 8 - difference.leading_zeros() / 8 - skipped;
        out.byte((skipped << 4 | length) as u8);
        out.bytes.extend_from_slice(&(difference >> (8 * skipped)).to_le_bytes()[..length as usize]);
    }
}

/// As many floats as there are steps.
pub fn take_floats(steps: usize, from: &mut Reader) -> Result<Vec<f64>, Malformed> {
    let mut last = 0u64;
    let mut values = Vec::new();
    for _ in 0..steps {
        let header = from.byte()?;
        let (skipped, length) = (header >> 4, header & 0x0f);
        if skipped + length > 8 {
            return Err(Malformed("a float of more than eight bytes"));
        }
        if length > 0 {
            let mut bytes = [0; 8];
            bytes[skipped as usize..(skipped + length) as usize].copy_from_slice(from.take(length as usize)?);
            last ^= u64::from_le_bytes(bytes);
        }
        values.push(f64::from_bits(last));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::STALE_MARKER;

    #[test]
    fn every_bit_comes_back() {
        let values = [0.0, 0.0, -0.0, 1.0, 1.5, 1.5, f64::NAN, STALE_MARKER, f64::MIN_POSITIVE, 1e300, -1.0 / 3.0, f64::INFINITY];
        let mut out = Writer::default();
        put_floats(&values, &mut out);
        let back = take_floats(values.len(), &mut Reader::new(&out.bytes)).unwrap();
        assert_eq!(back.map_bits(), values.map(f64::to_bits));
        assert!(out.bytes.len() < values.len() * 8, "{} bytes", out.bytes.len());
    }

    trait Bits {
        fn map_bits(self) -> Vec<u64>;
    }

    impl Bits for Vec<f64> {
        fn map_bits(self) -> Vec<u64> {
            self.into_iter().map(f64::to_bits).collect()
        }
    }

    #[test]
    fn a_header_cannot_reach_beyond_eight_bytes() {
        assert_eq!(take_floats(1, &mut Reader::new(&[0x7f; 9])), Err(Malformed("a float of more than eight bytes")));
        assert_eq!(take_floats(2, &mut Reader::new(&[0x00])), Err(Malformed("cut short")));
    }
}
