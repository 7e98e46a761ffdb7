//! The yardstick: XOR coding of values as in the Gorilla paper (VLDB 2015) and in Prometheus's chunks.

/// Bits, most significant first.
#[derive(Default)]
pub struct BitWriter {
    pub bytes: Vec<u8>,
    word: u64,
    filled: u32,
}

impl BitWriter {
    fn put(&mut self, value: u64, width: u32) {
        if width > 32 {
            self.put(value >> 32, width - 32);
        }
        let part = width.min(32);
        self.word = self.word << part | value & ((1 << part) - 1);
        self.filled += part;
        while self.filled >= 8 {
            self.filled -= 8;
            self.bytes.push((self.word >> self.filled) as u8);
        }
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl BitReader<'_> {
    fn take(&mut self, width: u32) -> u64 {
        let mut value = 0u128;
        let first = self.position / 8;
        for index in first..first + 9 {
            value = value << 8 | u128::from(*self.bytes.get(index).unwrap_or(&0));
        }
        let end = self.position as u32 % 8 + width;
        self.position += width as usize;
        if width == 0 { 0 } else { (value >> (72 - end)) as u64 & (u64::MAX >> (64 - width)) }
    }
}

/// Encodes `values`; the first one in full.
pub fn encode(values: &[f64], writer: &mut BitWriter) {
    let mut last = values[0].to_bits();
    let (mut leading, mut trailing) = (64, 0);
    writer.put(last, 64);
    for value in &values[1..] {
        let changed = value.to_bits() ^ last;
        last = value.to_bits();
        if changed == 0 {
            writer.put(0, 1);
            continue;
        }
        let (new_leading, new_trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if new_leading >= leading && new_trailing >= trailing {
            writer.put(0b10, 2);
        } else {
            (leading, trailing) = (new_leading, new_trailing);
            writer.put(0b11, 2);
            writer.put(u64::from(leading), 5);
            writer.put(u64::from(64 - leading - trailing) & 63, 6);
        }
        writer.put(changed >> trailing, 64 - leading - trailing);
    }
    writer.put(0, 7);
}

/// Decodes `count` values.
pub fn decode(bytes: &[u8], count: usize, values: &mut Vec<f64>) {
    let mut reader = BitReader { bytes, position: 0 };
    let mut last = reader.take(64);
    let (mut width, mut trailing) = (0, 0);
    values.push(f64::from_bits(last));
    for _ in 1..count {
        if reader.take(1) == 1 {
            if reader.take(1) == 1 {
                let leading = reader.take(5) as u32;
                width = match reader.take(6) as u32 {
                    0 => 64,
                    width => width,
                };
                trailing = 64 - leading - width;
            }
            last ^= reader.take(width) << trailing;
        }
        values.push(f64::from_bits(last));
    }
}
