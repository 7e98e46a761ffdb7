//! Fixed-width bit packing in blocks of 64 integers.
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
    let word: [u8; 8] = bytes[index..index + 8].try_into().expect("eight bytes were sliced");
    u64::from_le_bytes(word)
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
        fn any_bytes_unpack(bytes in prop::collection::vec(any::<u8>(), 0..600), width in 0u32..=64) {
            unpack(&bytes, width, &mut [0; BLOCK]);
        }
    }
}
