//! Uncompressing a body while it arrives, a little at a time: each step makes at most about a megabyte, whatever the body claims.

use std::io::Write;

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::compression::Encoding;
use super::decode_error::DecodeError;

/// gzip grows at most some thousand times, so a step makes at most a megabyte of it.
const STEP_BYTES: usize = 1024;
/// What one step of zstd makes at most.
const ZSTD_STEP_BYTES: usize = 256 << 10;
/// As for whole bodies.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

pub struct Unpacker {
    encoding: Encoding,
    state: State,
}

enum State {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Deflate(Box<ZlibDecoder<Vec<u8>>>),
    Zstd { decoder: Box<Decoder<'static>>, is_between_frames: bool },
}

impl Unpacker {
    pub fn new(encoding: Encoding) -> Result<Unpacker, DecodeError> {
        let state = match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Encoding::Deflate => State::Deflate(Box::new(ZlibDecoder::new(Vec::new()))),
            Encoding::Zstd => {
                let mut decoder = Decoder::new().map_err(|error| damaged(encoding, error))?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(|error| damaged(encoding, error))?;
                State::Zstd { decoder: Box::new(decoder), is_between_frames: true }
            }
            // The block format has to be whole before it can be read.
            Encoding::Snappy => return Err(DecodeError::UnknownEncoding("snappy".to_string())),
        };
        Ok(Unpacker { encoding, state })
    }

    /// Takes the beginning of `packed`, appends what it means to `plain`, and answers how much of `packed` was taken.
    pub fn step(&mut self, packed: &[u8], plain: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let encoding = self.encoding;
        let failed = |error: std::io::Error| damaged(encoding, error);
        match &mut self.state {
            State::Identity => {
                plain.extend_from_slice(packed);
                Ok(packed.len())
            }
            State::Gzip(decoder) => {
                let taken = packed.len().min(STEP_BYTES);
                decoder.write_all(&packed[..taken]).map_err(failed)?;
                plain.append(decoder.get_mut());
                Ok(taken)
            }
            State::Deflate(decoder) => {
                let taken = packed.len().min(STEP_BYTES);
                decoder.write_all(&packed[..taken]).map_err(failed)?;
                plain.append(decoder.get_mut());
                Ok(taken)
            }
            State::Zstd { decoder, is_between_frames } => {
                let before = plain.len();
                let taken = zstd_step(decoder, is_between_frames, packed, plain).map_err(failed)?;
                if taken == 0 && plain.len() == before {
                    return Err(damaged(encoding, "no progress"));
                }
                Ok(taken)
            }
        }
    }

    /// What is still inside when the body has ended; an error when the body was cut short.
    pub fn finish(self, plain: &mut Vec<u8>) -> Result<(), DecodeError> {
        let failed = |error: std::io::Error| damaged(self.encoding, error);
        match self.state {
            State::Identity => {}
            State::Gzip(decoder) => plain.append(&mut decoder.finish().map_err(failed)?),
            State::Deflate(decoder) => plain.append(&mut decoder.finish().map_err(failed)?),
            State::Zstd { mut decoder, mut is_between_frames } => {
                // At most one block is left inside.
                while !is_between_frames {
                    let before = plain.len();
                    zstd_step(&mut decoder, &mut is_between_frames, &[], plain).map_err(failed)?;
                    if plain.len() == before && !is_between_frames {
                        return Err(damaged(self.encoding, "the body ends inside a frame"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn zstd_step(decoder: &mut Decoder, is_between_frames: &mut bool, packed: &[u8], plain: &mut Vec<u8>) -> std::io::Result<usize> {
    let start = plain.len();
    plain.resize(start + ZSTD_STEP_BYTES, 0);
    let status = decoder.run_on_buffers(packed, &mut plain[start..])?;
    plain.truncate(start + status.bytes_written);
    *is_between_frames = status.remaining == 0;
    Ok(status.bytes_read)
}

fn damaged(encoding: Encoding, reason: impl std::fmt::Display) -> DecodeError {
    DecodeError::Compression { encoding: encoding.name(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Encoding; 4] = [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn packed(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        match encoding {
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).expect("memory");
                encoder.finish().expect("memory")
            }
            Encoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain).expect("memory");
                encoder.finish().expect("memory")
            }
            Encoding::Zstd => zstd::encode_all(plain, 3).expect("memory"),
            _ => plain.to_vec(),
        }
    }

    /// The plain bytes, and the most that one step made.
    fn unpacked(encoding: Encoding, packed: &[u8], piece: usize) -> Result<(Vec<u8>, usize), DecodeError> {
        let mut unpacker = Unpacker::new(encoding)?;
        let (mut plain, mut most) = (Vec::new(), 0);
        for mut piece in packed.chunks(piece) {
            while !piece.is_empty() {
                let before = plain.len();
                let taken = unpacker.step(piece, &mut plain)?;
                most = most.max(plain.len() - before);
                piece = &piece[taken..];
            }
        }
        unpacker.finish(&mut plain)?;
        Ok((plain, most))
    }

    proptest! {
        #[test]
        fn bodies_in_pieces_unpack_to_the_same(body in prop::collection::vec(0u8..4, 0..20_000), piece in 1usize..5_000) {
            for encoding in ALL {
                let (plain, _) = unpacked(encoding, &packed(encoding, &body), piece).expect("sound");
                prop_assert_eq!(&plain, &body);
            }
        }

        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>) {
            for encoding in ALL {
                let _ = unpacked(encoding, &bytes, 7);
            }
        }
    }

    #[test]
    fn several_frames_in_a_row_are_one_body() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let both = [packed(encoding, b"one "), packed(encoding, b"two")].concat();
            assert_eq!(unpacked(encoding, &both, 5).expect("sound").0, b"one two");
        }
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let whole = packed(encoding, &b"some text ".repeat(1000));
            assert!(unpacked(encoding, &whole[..whole.len() - 1], 100).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_comes_out_in_small_steps() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let bomb = packed(encoding, &vec![0; 64 << 20]);
            let (plain, most) = unpacked(encoding, &bomb, 64 << 10).expect("sound");
            assert_eq!(plain.len(), 64 << 20);
            assert!(most <= 2 << 20, "{encoding:?}: {most} bytes in one step");
        }
    }
}
