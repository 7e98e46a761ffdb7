//! Prometheus remote read as a client sees it, decoded by hand, so that the harness shares nothing with the server that it judges.
//!
//! Requests; the plain answer (`ReadResponse`, snappy); the streamed answer (frames of `ChunkedReadResponse`), and in it XOR chunks.

use anyhow::{Context, bail, ensure};

use crate::history::Sample;

pub const CONTENT_TYPE: &str = "application/x-protobuf";
pub const CONTENT_TYPE_STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// `ReadRequest.ResponseType`
pub const SAMPLES: u64 = 0;
pub const STREAMED_XOR_CHUNKS: u64 = 1;

/// How a matcher compares: the numbers of `LabelMatcher.Type`.
#[derive(Clone, Copy, Debug)]
pub enum Match {
    Equal = 0,
    NotEqual = 1,
    Regex = 2,
    NotRegex = 3,
}

/// One query: a range of milliseconds, both ends inclusive, and matchers.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub start_ms: i64,
    pub end_ms: i64,
    pub matchers: Vec<(Match, &'a str, &'a str)>,
}

/// A series of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub samples: Vec<Sample>,
}

/// A frame of a streamed answer: one series or a part of it, with its chunks as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    pub query_index: u64,
    pub labels: Vec<(String, String)>,
    pub chunks: Vec<Chunk>,
    /// Of the message.
    pub bytes: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    pub min_ms: i64,
    pub max_ms: i64,
    /// 1: XOR, 2: histogram, 3: float histogram.
    pub encoding: u64,
    pub data: Vec<u8>,
}

/// The snappy-compressed body of a request.
pub fn encode_request(queries: &[Query], accepted: &[u64]) -> Vec<u8> {
    let mut request = Vec::new();
    for query in queries {
        let mut message = Vec::new();
        put_varint(&mut message, 1 << 3);
        put_varint(&mut message, query.start_ms as u64);
        put_varint(&mut message, 2 << 3);
        put_varint(&mut message, query.end_ms as u64);
        for (kind, name, value) in &query.matchers {
            let mut matcher = vec![1 << 3, *kind as u8];
            put_bytes(&mut matcher, 2, name.as_bytes());
            put_bytes(&mut matcher, 3, value.as_bytes());
            put_bytes(&mut message, 3, &matcher);
        }
        put_bytes(&mut request, 1, &message);
    }
    for &kind in accepted {
        put_varint(&mut request, 2 << 3);
        put_varint(&mut request, kind);
    }
    // Fails only above 4 GiB.
    snap::raw::Encoder::new().compress_vec(&request).expect("a request is far below 4 GiB")
}

/// The series of each query of a plain answer.
pub fn decode_samples(body: &[u8]) -> anyhow::Result<Vec<Vec<Series>>> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).context("uncompress the answer")?;
    let results = fields(&plain)?.into_iter().filter(|(number, _)| *number == 1);
    results.map(|(_, result)| fields(result.bytes()?)?.into_iter().map(|(_, series)| decode_series(series.bytes()?)).collect()).collect()
}

fn decode_series(message: &[u8]) -> anyhow::Result<Series> {
    let mut series = Series::default();
    for (number, field) in fields(message)? {
        match number {
            1 => series.labels.push(decode_label(field.bytes()?)?),
            2 => {
                let (mut timestamp, mut value) = (0, 0.0);
                for (number, field) in fields(field.bytes()?)? {
                    match number {
                        1 => value = f64::from_bits(field.number()?),
                        _ => timestamp = field.number()? as i64,
                    }
                }
                series.samples.push((timestamp, value));
            }
            other => bail!("field {other} of a series"),
        }
    }
    Ok(series)
}

fn decode_label(message: &[u8]) -> anyhow::Result<(String, String)> {
    let (mut name, mut value) = (String::new(), String::new());
    for (number, field) in fields(message)? {
        let text = String::from_utf8(field.bytes()?.to_vec())?;
        if number == 1 { name = text } else { value = text }
    }
    Ok((name, value))
}

/// The frames of a streamed answer, their checksums compared.
pub fn decode_frames(mut body: &[u8]) -> anyhow::Result<Vec<Frame>> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let length = usize::try_from(take_varint(&mut body)?)?;
        let checksum = body.split_off(..4).context("a checksum")?;
        let message = body.split_off(..length).context("a message as long as its frame says")?;
        ensure!(crc32c::crc32c(message).to_be_bytes() == checksum, "checksum of frame {}", frames.len());
        frames.push(decode_frame(message)?);
    }
    Ok(frames)
}

fn decode_frame(message: &[u8]) -> anyhow::Result<Frame> {
    let mut frame = Frame { bytes: message.len(), ..Frame::default() };
    for (number, field) in fields(message)? {
        if number == 2 {
            frame.query_index = field.number()?;
            continue;
        }
        ensure!(frame.labels.is_empty(), "a second series in a frame");
        for (number, field) in fields(field.bytes()?)? {
            match number {
                1 => frame.labels.push(decode_label(field.bytes()?)?),
                _ => frame.chunks.push(decode_chunk(field.bytes()?)?),
            }
        }
    }
    Ok(frame)
}

fn decode_chunk(message: &[u8]) -> anyhow::Result<Chunk> {
    let mut chunk = Chunk::default();
    for (number, field) in fields(message)? {
        match number {
            1 => chunk.min_ms = field.number()? as i64,
            2 => chunk.max_ms = field.number()? as i64,
            3 => chunk.encoding = field.number()?,
            _ => chunk.data = field.bytes()?.to_vec(),
        }
    }
    Ok(chunk)
}

/// The series of one query of a streamed answer; those that came in several frames are joined.
pub fn series_of_frames(frames: &[Frame], query_index: u64) -> anyhow::Result<Vec<Series>> {
    let mut all: Vec<Series> = Vec::new();
    for frame in frames.iter().filter(|frame| frame.query_index == query_index) {
        if all.last().is_none_or(|last| last.labels != frame.labels) {
            all.push(Series { labels: frame.labels.clone(), samples: Vec::new() });
        }
        for chunk in &frame.chunks {
            let samples = decode_xor(&chunk.data)?;
            let ends = (samples.first().map(|sample| sample.0), samples.last().map(|sample| sample.0));
            ensure!(chunk.encoding == 1 && ends == (Some(chunk.min_ms), Some(chunk.max_ms)), "chunk {chunk:?} holds {ends:?}");
            if let Some(last) = all.last_mut() {
                last.samples.extend(samples);
            }
        }
    }
    Ok(all)
}

/// The samples of an XOR chunk.
pub fn decode_xor(chunk: &[u8]) -> anyhow::Result<Vec<Sample>> {
    let count = usize::from(u16::from_be_bytes(*chunk.first_chunk().context("a count")?));
    let mut bits = Bits { bytes: &chunk[2..], at: 0 };
    let mut samples = Vec::with_capacity(count);
    let (mut time, mut step, mut value) = (0i64, 0i64, 0u64);
    let mut window = (0, 0);
    for position in 0..count {
        match position {
            0 => {
                let zigzag = bits.varint()?;
                time = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                value = bits.take(64)?;
            }
            1 => step = bits.varint()? as i64,
            _ => step = step.wrapping_add(bits.change()?),
        }
        if position > 0 {
            time = time.wrapping_add(step);
            if bits.take(1)? == 1 {
                if bits.take(1)? == 1 {
                    let leading = bits.take(5)? as u32;
                    let length = bits.take(6)? as u32;
                    let length = if length == 0 { 64 } else { length };
                    ensure!(leading + length <= 64, "a window of {leading} and {length} bits");
                    window = (length, 64 - leading - length);
                }
                value ^= bits.take(window.0)? << window.1;
            }
        }
        samples.push((time, f64::from_bits(value)));
    }
    ensure!(bits.bytes.len() * 8 - bits.at < 8, "bytes behind the last sample");
    Ok(samples)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> anyhow::Result<u64> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8).context("the chunk ends early")?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    fn varint(&mut self) -> anyhow::Result<u64> {
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
    fn change(&mut self) -> anyhow::Result<i64> {
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
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> anyhow::Result<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            Field::Number(number) => bail!("number {number} instead of bytes"),
        }
    }

    fn number(&self) -> anyhow::Result<u64> {
        match self {
            Field::Number(number) => Ok(*number),
            Field::Bytes(bytes) => bail!("{} bytes instead of a number", bytes.len()),
        }
    }
}

/// A message's fields with their numbers.
fn fields(mut message: &[u8]) -> anyhow::Result<Vec<(u64, Field<'_>)>> {
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

fn take_varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
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

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
