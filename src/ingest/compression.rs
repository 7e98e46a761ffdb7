//! Uncompressing request bodies within limits: what a sender claims is checked before memory is given for it, and what
//! a stream turns into is checked while it grows.
//!
//! A body that is not compressed is handed on as it is.

use super::decode_error::DecodeError;
use bytes::Bytes;
use std::io::Read;

/// How a request body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    /// The block format, as remote write uses it; not the framed one.
    Snappy,
    Gzip,
    /// zlib, as the standard means it, or a bare deflate stream, as some clients send.
    Deflate,
    Zstd,
}

/// How many times larger than it was sent a body may become. Honest metrics reach some fifty.
const RATIO_MAX: usize = 200;

/// Small bodies may repeat themselves as much as they like.
const RATIO_FROM_BYTES: usize = 4 << 20;

/// zstd frames that need a larger window than 8 MiB are refused, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A snappy element of three bytes yields at most 64.
const SNAPPY_RATIO_MAX: usize = 64;

/// By how much the output grows at first; later by as much as it has.
const CHUNK_BYTES: usize = 64 << 10;

impl Encoding {
    /// Reads a `Content-Encoding`; several in a row are not supported.
    pub fn from_header(header: &str) -> Result<Self, DecodeError> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "snappy" => Ok(Self::Snappy),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            _ => Err(DecodeError::UnknownEncoding(header.chars().take(64).collect())),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// The body as it was before the sender compressed it; `content_encoding` is the header, empty if there is none.
pub fn decompress(content_encoding: &str, raw: Bytes, decompressed_bytes_max: usize) -> Result<Bytes, DecodeError> {
    let encoding = Encoding::from_header(content_encoding)?;
    match encoding {
        Encoding::Identity => {
            check_size(raw.len(), decompressed_bytes_max)?;
            Ok(raw)
        }
        Encoding::Snappy => snappy(&raw, decompressed_bytes_max),
        _ => drain(&mut open(encoding, &raw)?, encoding, raw.len(), decompressed_bytes_max),
    }
}

/// How large a body will be, as far as it says before it is uncompressed.
pub fn claimed_bytes(content_encoding: &str, raw: &[u8]) -> Option<usize> {
    match Encoding::from_header(content_encoding).ok()? {
        Encoding::Identity => Some(raw.len()),
        Encoding::Snappy => snap::raw::decompress_len(raw).ok(),
        Encoding::Gzip | Encoding::Deflate | Encoding::Zstd => None,
    }
}

fn open<'a>(encoding: Encoding, raw: &'a [u8]) -> Result<Box<dyn Read + 'a>, DecodeError> {
    Ok(match encoding {
        Encoding::Identity | Encoding::Snappy => Box::new(raw),
        Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Encoding::Deflate if is_zlib(raw) => Box::new(flate2::bufread::ZlibDecoder::new(raw)),
        Encoding::Deflate => Box::new(flate2::bufread::DeflateDecoder::new(raw)),
        Encoding::Zstd => {
            let failed = |error: std::io::Error| damaged(encoding, error);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            Box::new(decoder)
        }
    })
}

fn damaged(encoding: Encoding, error: impl std::fmt::Display) -> DecodeError {
    DecodeError::Compression { encoding: encoding.name(), reason: error.to_string() }
}

fn check_size(bytes: usize, limit_bytes: usize) -> Result<(), DecodeError> {
    if bytes > limit_bytes { Err(DecodeError::TooLarge { what: "decompressed request body", limit_bytes }) } else { Ok(()) }
}

/// The header claims a size; it is believed only as far as the format could keep the promise.
fn snappy(raw: &[u8], decompressed_bytes_max: usize) -> Result<Bytes, DecodeError> {
    let failed = |error: snap::Error| damaged(Encoding::Snappy, error);
    if raw.starts_with(b"\xff\x06\x00\x00sNaPpY") {
        return Err(damaged(Encoding::Snappy, "this is the framed format; send the block format"));
    }
    let claimed = snap::raw::decompress_len(raw).map_err(failed)?;
    check_size(claimed, decompressed_bytes_max)?;
    if claimed / SNAPPY_RATIO_MAX > raw.len() {
        return Err(damaged(Encoding::Snappy, "the claimed size is impossible"));
    }
    let mut out = vec![0; claimed];
    snap::raw::Decoder::new().decompress(raw, &mut out).map_err(failed)?;
    Ok(Bytes::from(out))
}

/// RFC 1950: method 8, and the first two bytes as a number are a multiple of 31.
fn is_zlib(raw: &[u8]) -> bool {
    matches!(raw, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

/// Reads a stream to its end in chunks, and stops as soon as it passes a limit.
fn drain(stream: &mut dyn Read, encoding: Encoding, compressed: usize, limit_bytes: usize) -> Result<Bytes, DecodeError> {
    let mut out = Vec::new();
    let mut filled = 0;
    loop {
        if filled == out.len() {
            out.resize(filled + filled.max(CHUNK_BYTES).min(limit_bytes + 1), 0);
        }
        let read = stream.read(&mut out[filled..]).map_err(|error| damaged(encoding, error))?;
        filled += read;
        check_size(filled, limit_bytes)?;
        if filled > RATIO_FROM_BYTES && filled / RATIO_MAX > compressed {
            return Err(DecodeError::Bomb { encoding: encoding.name(), limit: RATIO_MAX });
        }
        if read == 0 {
            out.truncate(filled);
            return Ok(Bytes::from(out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const MAX: usize = 64 << 20;
    const ALL: [&str; 5] = ["", "snappy", "gzip", "deflate", "zstd"];

    fn compress(encoding: &str, body: &[u8]) -> Bytes {
        let level = flate2::Compression::default();
        let out = match encoding {
            "snappy" => snap::raw::Encoder::new().compress_vec(body).unwrap(),
            "gzip" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "bare deflate" => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap()
            }
            "zstd" => zstd::encode_all(body, 3).unwrap(),
            _ => body.to_vec(),
        };
        Bytes::from(out)
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![any::<Vec<u8>>(), (any::<u8>(), 0usize..300_000).prop_map(|(byte, length)| vec![byte; length])]
    }

    proptest! {
        #[test]
        fn a_body_comes_back(body in body()) {
            for encoding in ALL {
                prop_assert_eq!(&decompress(encoding, compress(encoding, &body), MAX).unwrap()[..], &body[..]);
            }
            // An empty or unlucky bare stream can look like zlib; then the client has to send zlib.
            let bare = compress("bare deflate", &body);
            if !is_zlib(&bare) {
                prop_assert_eq!(&decompress("deflate", bare, MAX).unwrap()[..], &body[..]);
            }
        }

        #[test]
        fn a_cut_body_is_an_error(body in body(), cut: prop::sample::Index) {
            for encoding in &ALL[1..] {
                let whole = compress(encoding, &body);
                let part = whole.slice(..cut.index(whole.len()));
                let outcome = decompress(encoding, part.clone(), MAX);
                // Zero bytes hold zero zstd frames or gzip members.
                prop_assert!(outcome.is_err() || part.is_empty(), "{} {:?}", encoding, outcome);
            }
        }

        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            for encoding in ALL {
                let _ = decompress(encoding, Bytes::from(bytes.clone()), MAX);
            }
        }
    }

    #[test]
    fn bombs_stop_early() {
        let zeros = vec![0u8; 32 << 20];
        for encoding in ["gzip", "deflate", "zstd"] {
            let bomb = compress(encoding, &zeros);
            let error = decompress(encoding, bomb.clone(), MAX).unwrap_err();
            assert_eq!(error, DecodeError::Bomb { encoding, limit: RATIO_MAX });
            let error = decompress(encoding, bomb, 1 << 20).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
        }
        // Claims 4 GiB - 1 in five bytes.
        let claim = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(matches!(decompress("snappy", claim.clone(), MAX), Err(DecodeError::TooLarge { .. })));
        assert!(matches!(decompress("snappy", claim, usize::MAX), Err(DecodeError::Compression { .. })));
    }

    #[test]
    fn what_is_not_supported_is_said() {
        let error = decompress("br", Bytes::new(), MAX).unwrap_err();
        assert_eq!(error, DecodeError::UnknownEncoding("br".to_string()));
        let mut framed = snap::write::FrameEncoder::new(Vec::new());
        framed.write_all(b"hello").unwrap();
        let error = decompress("snappy", Bytes::from(framed.into_inner().unwrap()), MAX).unwrap_err();
        assert!(error.to_string().contains("block format"), "{error}");
    }
}
