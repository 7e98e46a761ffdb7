//! Native histograms as Prometheus' remote read carries them: its chunks of integers and of floats, and its message. Decoded by
//! hand, like everything in this crate.

use anyhow::{Context, ensure};

use crate::wire::{Bits, fields, varints};

/// A histogram as a reader sees it; counts are absolute, and floats in both kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub timestamp: i64,
    pub is_float: bool,
    pub schema: i32,
    pub zero_threshold: f64,
    pub count: f64,
    pub zero_count: f64,
    /// As bits: a stale one is no number.
    pub sum_bits: u64,
    /// Of the positive buckets and of the negative ones: offset and length.
    pub spans: [Vec<(i32, u32)>; 2],
    pub buckets: [Vec<f64>; 2],
    pub custom_values: Vec<f64>,
}

/// A number of three to sixty-four bits behind a prefix of ones.
fn varbit(bits: &mut Bits, is_signed: bool) -> anyhow::Result<u64> {
    let mut ones = 0;
    while ones < 8 && bits.take(1)? == 1 {
        ones += 1;
    }
    let width = [0, 3, 6, 9, 12, 18, 25, 56, 64][ones];
    let value = bits.take(width)?;
    let is_negative = is_signed && width > 0 && width < 64 && value > 1 << (width - 1);
    Ok(if is_negative { value.wrapping_sub(1 << width) } else { value })
}

fn signed(bits: &mut Bits) -> anyhow::Result<i64> {
    Ok(varbit(bits, true)? as i64)
}

fn zero_threshold(bits: &mut Bits) -> anyhow::Result<f64> {
    Ok(match bits.take(8)? {
        0 => 0.0,
        255 => f64::from_bits(bits.take(64)?),
        exponent => 0.5 * 2f64.powi(exponent as i32 - 243),
    })
}

fn layout(bits: &mut Bits) -> anyhow::Result<Histogram> {
    let mut frame = Histogram { zero_threshold: zero_threshold(bits)?, schema: i32::try_from(signed(bits)?)?, ..Histogram::default() };
    for side in 0..2 {
        for _ in 0..varbit(bits, false)? {
            let length = u32::try_from(varbit(bits, false)?)?;
            frame.spans[side].push((i32::try_from(signed(bits)?)?, length));
        }
        frame.buckets[side] = vec![0.0; frame.spans[side].iter().map(|span| span.1 as usize).sum()];
    }
    if frame.schema == -53 {
        for _ in 0..varbit(bits, false)? {
            frame.custom_values.push(match varbit(bits, false)? {
                0 => f64::from_bits(bits.take(64)?),
                thousandths => (thousandths - 1) as f64 / 1000.0,
            });
        }
    }
    Ok(frame)
}

/// The histograms of a chunk, and its flags.
pub fn decode(encoding: u64, chunk: &[u8]) -> anyhow::Result<(u8, Vec<Histogram>)> {
    let [high, low, flags] = *chunk.first_chunk().context("a head")?;
    let mut bits = Bits::new(&chunk[3..]);
    let frame = layout(&mut bits)?;
    let count = usize::from(u16::from_be_bytes([high, low]));
    let all = match encoding {
        2 => integers(&frame, count, &mut bits)?,
        3 => floats(&frame, count, &mut bits)?,
        other => anyhow::bail!("encoding {other} is none of histograms"),
    };
    ensure!(bits.left() < 8, "bytes behind the last histogram");
    Ok((flags, all))
}

fn integers(frame: &Histogram, count: usize, bits: &mut Bits) -> anyhow::Result<Vec<Histogram>> {
    let sides = frame.buckets.each_ref().map(Vec::len);
    let width = 3 + sides[0] + sides[1];
    let (mut row, mut steps, mut sum) = (vec![0i64; width], vec![0i64; width], XorColumn::default());
    let mut all = Vec::new();
    for position in 0..count {
        for column in 0..width {
            if column == 3 {
                sum.next(position == 0, bits)?;
            }
            let number = if position == 0 && (column == 1 || column == 2) { varbit(bits, false)? as i64 } else { signed(bits)? };
            if position == 0 {
                row[column] = number;
            } else {
                steps[column] = steps[column].wrapping_add(number);
                row[column] = row[column].wrapping_add(steps[column]);
            }
        }
        if width == 3 {
            sum.next(position == 0, bits)?;
        }
        let absolute = |differences: &[i64]| {
            let running = differences.iter().scan(0i64, |total, difference| {
                *total += difference;
                Some(*total as f64)
            });
            running.collect::<Vec<f64>>()
        };
        all.push(Histogram {
            timestamp: row[0],
            count: row[1] as u64 as f64,
            zero_count: row[2] as u64 as f64,
            sum_bits: sum.value,
            buckets: [absolute(&row[3..3 + sides[0]]), absolute(&row[3 + sides[0]..])],
            ..frame.clone()
        });
    }
    Ok(all)
}

fn floats(frame: &Histogram, count: usize, bits: &mut Bits) -> anyhow::Result<Vec<Histogram>> {
    let sides = frame.buckets.each_ref().map(Vec::len);
    let mut columns = vec![XorColumn::default(); 3 + sides[0] + sides[1]];
    let (mut time, mut step) = (0i64, 0i64);
    let mut all = Vec::new();
    for position in 0..count {
        let number = signed(bits)?;
        if position == 0 {
            time = number;
        } else {
            step = step.wrapping_add(number);
            time = time.wrapping_add(step);
        }
        columns.iter_mut().try_for_each(|column| column.next(position == 0, bits))?;
        let values: Vec<f64> = columns.iter().map(|column| f64::from_bits(column.value)).collect();
        all.push(Histogram {
            timestamp: time,
            is_float: true,
            count: values[0],
            zero_count: values[1],
            sum_bits: columns[2].value,
            buckets: [values[3..3 + sides[0]].to_vec(), values[3 + sides[0]..].to_vec()],
            ..frame.clone()
        });
    }
    Ok(all)
}

/// A column of floats by their differences.
#[derive(Clone, Default)]
struct XorColumn {
    value: u64,
    window: (u32, u32),
}

impl XorColumn {
    fn next(&mut self, is_first: bool, bits: &mut Bits) -> anyhow::Result<()> {
        if is_first {
            self.value = bits.take(64)?;
        } else {
            self.value ^= bits.difference(&mut self.window)?;
        }
        Ok(())
    }
}

/// The message `prometheus.Histogram`.
pub fn decode_message(message: &[u8]) -> anyhow::Result<Histogram> {
    let mut histogram = Histogram::default();
    let mut deltas: [Vec<i64>; 2] = Default::default();
    for (number, field) in fields(message)? {
        match number {
            1 => histogram.count = field.number()? as f64,
            2 => (histogram.count, histogram.is_float) = (f64::from_bits(field.number()?), true),
            3 => histogram.sum_bits = field.number()?,
            4 => histogram.schema = i32::try_from(zigzag(field.number()?))?,
            5 => histogram.zero_threshold = f64::from_bits(field.number()?),
            6 => histogram.zero_count = field.number()? as f64,
            7 => histogram.zero_count = f64::from_bits(field.number()?),
            8 | 11 => histogram.spans[usize::from(number == 8)].push(decode_span(field.bytes()?)?),
            9 | 12 => deltas[usize::from(number == 9)] = varints(field.bytes()?)?.into_iter().map(zigzag).collect(),
            10 | 13 => histogram.buckets[usize::from(number == 10)] = doubles(field.bytes()?),
            15 => histogram.timestamp = field.number()? as i64,
            16 => histogram.custom_values = doubles(field.bytes()?),
            _ => {}
        }
    }
    for (side, deltas) in deltas.into_iter().enumerate().filter(|(_, deltas)| !deltas.is_empty()) {
        let mut total = 0;
        histogram.buckets[side] = deltas
            .into_iter()
            .map(|delta| {
                total += delta;
                total as f64
            })
            .collect();
    }
    Ok(histogram)
}

fn decode_span(message: &[u8]) -> anyhow::Result<(i32, u32)> {
    let mut span = (0, 0);
    for (number, field) in fields(message)? {
        match number {
            1 => span.0 = i32::try_from(zigzag(field.number()?))?,
            _ => span.1 = u32::try_from(field.number()?)?,
        }
    }
    Ok(span)
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}
