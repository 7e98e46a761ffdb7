//! Prometheus remote read as a client sees it, decoded by hand, so that the harness shares nothing with the server that it judges.
//!
//! Requests; the plain answer (`ReadResponse`, snappy); the streamed answer (frames of `ChunkedReadResponse`), and in it XOR chunks.

use anyhow::{Context, bail, ensure};

use crate::histogram_chunk::{self, Histogram};
use crate::history::Sample;
use crate::wire::{Bits, fields, put_bytes, put_varint, take_varint};

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
    pub histograms: Vec<Histogram>,
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
            4 => series.histograms.push(histogram_chunk::decode_message(field.bytes()?)?),
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
            all.push(Series { labels: frame.labels.clone(), ..Series::default() });
        }
        for chunk in &frame.chunks {
            let (mut samples, mut histograms) = (Vec::new(), Vec::new());
            match chunk.encoding {
                1 => samples = decode_xor(&chunk.data)?,
                _ => histograms = histogram_chunk::decode(chunk.encoding, &chunk.data)?.1,
            }
            let times = samples.iter().map(|sample| sample.0).chain(histograms.iter().map(|histogram| histogram.timestamp));
            let ends = (times.clone().next(), times.last());
            ensure!(ends == (Some(chunk.min_ms), Some(chunk.max_ms)), "chunk {chunk:?} holds {ends:?}");
            if let Some(last) = all.last_mut() {
                last.samples.extend(samples);
                last.histograms.extend(histograms);
            }
        }
    }
    Ok(all)
}

/// The samples of an XOR chunk.
pub fn decode_xor(chunk: &[u8]) -> anyhow::Result<Vec<Sample>> {
    let count = usize::from(u16::from_be_bytes(*chunk.first_chunk().context("a count")?));
    let mut bits = Bits::new(&chunk[2..]);
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
            value ^= bits.difference(&mut window)?;
        }
        samples.push((time, f64::from_bits(value)));
    }
    ensure!(bits.left() < 8, "bytes behind the last sample");
    Ok(samples)
}
