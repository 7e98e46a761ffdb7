//! Protobuf and runs of bits, read and written by hand: what the formats of remote write and remote read are made of.

use anyhow::{Context, bail, ensure};

/// Bits, the highest first, as Prometheus' chunks are made of them.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    /// Bits not taken yet.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// What differs between two floats; `window` is the length of the meaningful bits and how far they are shifted.
    pub(crate) fn difference(&mut self, window: &mut (u32, u32)) -> anyhow::Result<u64> {
        if self.take(1)? == 0 {
            return Ok(0);
        }
        if self.take(1)? == 1 {
            let leading = self.take(5)? as u32;
            let length = self.take(6)? as u32;
            let length = if length == 0 { 64 } else { length };
            ensure!(leading + length <= 64, "a window of {leading} and {length} bits");
            *window = (length, 64 - leading - length);
        }
        Ok(self.take(window.0)? << window.1)
    }

    pub(crate) fn take(&mut self, count: u32) -> anyhow::Result<u64> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8).context("the chunk ends early")?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    pub(crate) fn varint(&mut self) -> anyhow::Result<u64> {
        let mut value = 0u64;
        for position in 0..10 {
            let byte = self.take(8)?;
            value |= (byte & 0x7f) << (7 * position);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a varint without an end")
    }

    /// The change of the step between two times.
    pub(crate) fn change(&mut self) -> anyhow::Result<i64> {
        let mut ones = 0;
        while ones < 4 && self.take(1)? == 1 {
            ones += 1;
        }
        let count = [0, 14, 17, 20, 64][ones];
        if count == 0 {
            return Ok(0);
        }
        let value = self.take(count)?;
        let is_negative = count < 64 && value > 1 << (count - 1);
        Ok(if is_negative { value as i64 - (1 << count) } else { value as i64 })
    }
}

/// A field's content: a number, or bytes.
pub(crate) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(&self) -> anyhow::Result<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            Field::Number(number) => bail!("number {number} instead of bytes"),
        }
    }

    pub(crate) fn number(&self) -> anyhow::Result<u64> {
        match self {
            Field::Number(number) => Ok(*number),
            Field::Bytes(bytes) => bail!("{} bytes instead of a number", bytes.len()),
        }
    }
}

/// A message's fields with their numbers.
pub(crate) fn fields(mut message: &[u8]) -> anyhow::Result<Vec<(u64, Field<'_>)>> {
    let mut all = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let field = match key & 7 {
            0 => Field::Number(take_varint(&mut message)?),
            1 => {
                let bytes = message.split_off(..8).context("eight bytes")?;
                Field::Number(u64::from_le_bytes(bytes.try_into()?))
            }
            2 => {
                let length = usize::try_from(take_varint(&mut message)?)?;
                Field::Bytes(message.split_off(..length).context("bytes as many as their length says")?)
            }
            other => bail!("wire type {other}"),
        };
        all.push((key >> 3, field));
    }
    Ok(all)
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0u64;
    for position in 0..10 {
        let byte = *bytes.split_off_first().context("a varint ends early")?;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("a varint without an end")
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Numbers without tags, as packed lists hold them.
pub(crate) fn varints(mut bytes: &[u8]) -> anyhow::Result<Vec<u64>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(take_varint(&mut bytes)?);
    }
    Ok(all)
}
