//! Prometheus' XOR chunks: up to 120 float samples in one run of bits, after Facebook's "Gorilla" (VLDB 2015) with
//! millisecond times. Format: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>
//!
//! ```text
//! u16 count, big endian
//! sample 0   signed varint time, 64 bits value
//! sample 1   varint step of time, XOR of value
//! sample n   change of the step by prefix (0: none, 10: 14 bits, 110: 17, 1110: 20, 1111: 64), XOR of value
//! ```
//! XOR of value: `0` the same as before; `10` the meaningful bits in the window of the last time; `11` five bits of leading
//! zeros, six bits of length (64 as 0), the meaningful bits.

use super::bit_writer::BitWriter;

/// Prometheus begins a new chunk after so many samples; readers are used to it.
pub const SAMPLES_MAX: usize = 120;

/// More leading zeros do not fit into five bits.
const LEADING_MAX: u32 = 31;

/// Appends one chunk. The two columns are equally long, 1 to 65,535 samples, and times rise.
pub fn encode(timestamps: &[i64], values: &[f64], out: &mut Vec<u8>) {
    debug_assert!(timestamps.len() == values.len() && u16::try_from(timestamps.len()).is_ok());
    out.extend_from_slice(&(timestamps.len() as u16).to_be_bytes());
    let mut bits = BitWriter::new(out);
    let mut xor = Xor::default();
    let (mut time_before, mut step_before) = (0i64, 0i64);
    for (position, (&time, &value)) in timestamps.iter().zip(values).enumerate() {
        let step = time.wrapping_sub(time_before);
        match position {
            0 => {
                bits.put_signed_varint(time);
                xor.begin(value, &mut bits);
            }
            1 => {
                bits.put_varint(step as u64);
                xor.put(value, &mut bits);
            }
            _ => {
                put_change(step.wrapping_sub(step_before), &mut bits);
                xor.put(value, &mut bits);
            }
        }
        (time_before, step_before) = (time, step);
    }
    bits.finish();
}

/// The change of a step between times. A number of n bits reaches from -2^(n-1)+1 to 2^(n-1).
fn put_change(change: i64, bits: &mut BitWriter) {
    let fits = |count: u32| (-(1i64 << (count - 1)) + 1..=1i64 << (count - 1)).contains(&change);
    if change == 0 {
        bits.put_bit(false);
    } else if fits(14) {
        bits.put(0b10, 2);
        bits.put(change as u64, 14);
    } else if fits(17) {
        bits.put(0b110, 3);
        bits.put(change as u64, 17);
    } else if fits(20) {
        bits.put(0b1110, 4);
        bits.put(change as u64, 20);
    } else {
        bits.put(0b1111, 4);
        bits.put(change as u64, 64);
    }
}

/// One column of floats, each told by its difference from the one before.
#[derive(Default)]
pub struct Xor {
    /// Bits of the value before.
    value: u64,
    /// Leading and trailing zeros of the window in use.
    window: Option<(u32, u32)>,
}

impl Xor {
    /// The first value, as it is.
    pub fn begin(&mut self, value: f64, bits: &mut BitWriter) {
        self.value = value.to_bits();
        bits.put(self.value, 64);
    }

    pub fn put(&mut self, value: f64, bits: &mut BitWriter) {
        let difference = value.to_bits() ^ self.value;
        self.value = value.to_bits();
        if difference == 0 {
            return bits.put_bit(false);
        }
        bits.put_bit(true);
        let leading = difference.leading_zeros().min(LEADING_MAX);
        let trailing = difference.trailing_zeros();
        if let Some((window_leading, window_trailing)) = self.window
            && leading >= window_leading
            && trailing >= window_trailing
        {
            bits.put_bit(false);
            bits.put(difference >> window_trailing, 64 - window_leading - window_trailing);
            return;
        }
        self.window = Some((leading, trailing));
        let length = 64 - leading - trailing;
        bits.put_bit(true);
        bits.put(u64::from(leading), 5);
        bits.put(u64::from(length), 6);
        bits.put(difference >> trailing, length);
    }
}
