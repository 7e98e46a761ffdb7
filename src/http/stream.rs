//! Answer bodies written by a blocking thread: small ones are sent whole, large ones flow in pieces while they are being
//! written, so that no answer is held in memory twice. Compression happens on the same thread.
//!
//! A writer that flushes sends what it has written so far at once, compressed or not.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes a piece holds; also the largest answer that is sent whole.
const PIECE_BYTES: usize = 128 * 1024;
/// Pieces that wait for a slow client before the writer waits too.
const PIECES_WAITING: usize = 8;
/// How long an answer's head waits to see whether its first piece is all of it.
const SECOND_PIECE_WAIT: Duration = Duration::from_millis(50);
/// Below this, compressing costs more than it saves.
const COMPRESS_FROM_BYTES: usize = 1024;
/// Zstandard at this level is as fast as gzip at its fastest and packs metrics a third tighter.
const ZSTD_LEVEL: i32 = 1;

/// How an answer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    /// The first listed encoding that we have wins, as upstream; weights other than 0 are not compared.
    pub fn negotiate(headers: &HeaderMap) -> Encoding {
        let listed = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for item in listed.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or("");
            if parts.any(|weight| weight == "q=0") {
                continue;
            }
            match name {
                "gzip" => return Encoding::Gzip,
                "deflate" => return Encoding::Deflate,
                "zstd" => return Encoding::Zstd,
                _ => {}
            }
        }
        Encoding::Identity
    }

    fn header(self) -> Option<HeaderValue> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some(HeaderValue::from_static("gzip")),
            Encoding::Deflate => Some(HeaderValue::from_static("deflate")),
            Encoding::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }
}

/// Runs `write` on a blocking thread and answers with what it writes. `head` carries the status and headers.
pub async fn respond<W>(head: Response, encoding: Encoding, write: W) -> Response
where
    W: FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
{
    let (pieces, mut receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES_WAITING);
    tokio::task::spawn_blocking(move || {
        // A failure to write means that the client has gone.
        let _ = Packer::new(encoding, PieceWriter { buffer: Vec::new(), pieces }).and_then(|mut out| {
            write(&mut out)?;
            out.finish()
        });
    });
    let Some(Ok(first)) = receiver.recv().await else { return finish(head, encoding, Body::empty()) };
    // Whether the answer ends here is known soon when it is small; a writer that flushes may let the second piece wait.
    match tokio::time::timeout(SECOND_PIECE_WAIT, receiver.recv()).await {
        Ok(None) => finish(head, encoding, Body::from(first)),
        Ok(Some(second)) => {
            let rest = futures::stream::iter([Ok(first), second]).chain(ReceiverStream::new(receiver));
            finish(head, encoding, Body::from_stream(rest))
        }
        Err(_) => {
            let rest = futures::stream::iter([Ok(first)]).chain(ReceiverStream::new(receiver));
            finish(head, encoding, Body::from_stream(rest))
        }
    }
}

/// The same for an answer that is already there.
pub async fn respond_bytes(head: Response, encoding: Encoding, body: Bytes) -> Response {
    if encoding == Encoding::Identity || body.len() < COMPRESS_FROM_BYTES {
        return finish(head, Encoding::Identity, Body::from(body));
    }
    respond(head, encoding, move |out| out.write_all(&body)).await
}

fn finish(head: Response, encoding: Encoding, body: Body) -> Response {
    let (mut parts, _) = head.into_parts();
    vary(&mut parts.headers, "Accept-Encoding");
    if let Some(value) = encoding.header() {
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_ENCODING, value);
    }
    Response::from_parts(parts, body)
}

/// Says, once, that the answer depends on a header of the request.
pub fn vary(headers: &mut HeaderMap, on: &'static str) {
    if !headers.get_all(header::VARY).iter().any(|value| value == on) {
        headers.append(header::VARY, HeaderValue::from_static(on));
    }
}

enum Packer {
    Identity(PieceWriter),
    Gzip(GzEncoder<PieceWriter>),
    Deflate(ZlibEncoder<PieceWriter>),
    Zstd(zstd::stream::write::Encoder<'static, PieceWriter>),
}

impl Packer {
    fn new(encoding: Encoding, inner: PieceWriter) -> io::Result<Packer> {
        Ok(match encoding {
            Encoding::Identity => Packer::Identity(inner),
            Encoding::Gzip => Packer::Gzip(GzEncoder::new(inner, Compression::fast())),
            Encoding::Deflate => Packer::Deflate(ZlibEncoder::new(inner, Compression::fast())),
            Encoding::Zstd => Packer::Zstd(zstd::stream::write::Encoder::new(inner, ZSTD_LEVEL)?),
        })
    }

    fn finish(self) -> io::Result<()> {
        let mut inner = match self {
            Packer::Identity(inner) => inner,
            Packer::Gzip(encoder) => encoder.finish()?,
            Packer::Deflate(encoder) => encoder.finish()?,
            Packer::Zstd(encoder) => encoder.finish()?,
        };
        inner.send()
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Identity(inner) => inner.write(bytes),
            Packer::Gzip(encoder) => encoder.write(bytes),
            Packer::Deflate(encoder) => encoder.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packer::Identity(inner) => inner.flush(),
            Packer::Gzip(encoder) => encoder.flush(),
            Packer::Deflate(encoder) => encoder.flush(),
            Packer::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Collects bytes and hands them to the connection a piece at a time.
struct PieceWriter {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl PieceWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;
    use std::io::Read;

    async fn body_of(encoding: Encoding, length: usize) -> (HeaderMap, Bytes) {
        let response = respond(().into_response(), encoding, move |out| {
            for at in 0..length {
                out.write_all(&[b'a' + (at % 23) as u8])?;
            }
            Ok(())
        })
        .await;
        let headers = response.headers().clone();
        (headers, response.into_body().collect().await.expect("whole").to_bytes())
    }

    #[tokio::test]
    async fn small_and_large_answers_arrive_whole() {
        for length in [0, 1, 1000, PIECE_BYTES, 3 * PIECE_BYTES + 17] {
            assert_eq!(body_of(Encoding::Identity, length).await.1.len(), length);
        }
    }

    #[tokio::test]
    async fn a_compressed_answer_unpacks_to_the_same() {
        let (_, plain) = body_of(Encoding::Identity, 500_000).await;
        for (encoding, name) in [(Encoding::Gzip, "gzip"), (Encoding::Deflate, "deflate"), (Encoding::Zstd, "zstd")] {
            let (headers, body) = body_of(encoding, 500_000).await;
            assert_eq!(headers[header::CONTENT_ENCODING], name);
            assert_eq!(headers[header::VARY], "Accept-Encoding");
            assert!(body.len() < 100_000, "{name}: {} bytes", body.len());
            assert!(unpacked(encoding, &body) == plain, "{name}");
        }
    }

    fn unpacked(encoding: Encoding, body: &[u8]) -> Vec<u8> {
        let mut unpacked = Vec::new();
        match encoding {
            Encoding::Identity => unpacked.extend_from_slice(body),
            Encoding::Gzip => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut unpacked).expect("gzip")),
            Encoding::Deflate => drop(flate2::read::ZlibDecoder::new(body).read_to_end(&mut unpacked).expect("zlib")),
            Encoding::Zstd => unpacked = zstd::decode_all(body).expect("zstd"),
        }
        unpacked
    }

    #[tokio::test]
    async fn what_is_flushed_arrives_before_the_writer_ends() {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let response = respond(().into_response(), encoding, move |out| {
                out.write_all(b"first line\n")?;
                out.flush()?;
                wait.recv().map_err(io::Error::other)?;
                out.write_all(b"second line\n")
            })
            .await;
            let mut body = response.into_body();
            let mut packed = body.frame().await.expect("a frame").expect("data").into_data().expect("data").to_vec();
            go_on.send(()).expect("the writer waits");
            packed.extend_from_slice(&body.collect().await.expect("whole").to_bytes());
            assert_eq!(unpacked(encoding, &packed), b"first line\nsecond line\n", "{encoding:?}");
        }
    }

    #[test]
    fn the_first_listed_encoding_wins() {
        let negotiated = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(text).expect("header"));
            Encoding::negotiate(&headers)
        };
        assert_eq!(negotiated("br, deflate, gzip"), Encoding::Deflate);
        assert_eq!(negotiated("gzip;q=0, deflate"), Encoding::Deflate);
        assert_eq!(negotiated("gzip, deflate, br, zstd"), Encoding::Gzip, "what browsers send");
        assert_eq!(negotiated("zstd;q=1.0, gzip"), Encoding::Zstd);
        assert_eq!(negotiated("identity"), Encoding::Identity);
        assert_eq!(Encoding::negotiate(&HeaderMap::new()), Encoding::Identity);
    }
}
