//! Answers that are sent while the store is still being read, so that no answer is ever whole in memory.
//!
//! A blocking thread produces, the connection takes, and a short queue between them makes the faster one wait. When the client
//! leaves, the producer's next piece is refused and it stops. A failure before the first piece becomes an ordinary error
//! answer; after that the status is gone, so the connection is cut: a client must never take a part for the whole.

use std::io::{self, Write};
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::stream::Encoding;
use crate::query::failure::QueryFailure;

/// Bytes a piece holds.
const PIECE_BYTES: usize = 128 * 1024;
/// Pieces that wait for a slow client before the producer waits too.
const PIECES_WAITING: usize = 4;

/// `None` is the end. A queue that closes without it had a producer that died.
type Piece = Result<Option<Bytes>, QueryFailure>;

/// Where a producer puts its bytes.
pub struct Pieces {
    buffer: Vec<u8>,
    /// `None`: not compressed.
    gzip: Option<GzEncoder<Vec<u8>>>,
    sender: mpsc::Sender<Piece>,
    runtime: Handle,
    deadline: Instant,
}

impl Pieces {
    /// What is appended here is sent by the next [`Pieces::pass_on`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Sends what fills a piece. Waits for the client, but not beyond the deadline.
    pub fn pass_on(&mut self) -> Result<(), QueryFailure> {
        if self.buffer.len() < PIECE_BYTES { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), QueryFailure> {
        let plain = std::mem::take(&mut self.buffer);
        let Some(gzip) = &mut self.gzip else { return self.send_piece(plain) };
        // Writing to a Vec cannot fail.
        let _ = gzip.write_all(&plain);
        let packed = std::mem::take(gzip.get_mut());
        self.send_piece(packed)
    }

    /// Sends what has not filled a piece, and the end of the compression.
    fn finish(&mut self) -> Result<(), QueryFailure> {
        self.send()?;
        let end = self.gzip.take().map_or(Ok(Vec::new()), GzEncoder::finish);
        self.send_piece(end.map_err(|error| QueryFailure::Internal(error.to_string()))?)
    }

    fn send_piece(&mut self, piece: Vec<u8>) -> Result<(), QueryFailure> {
        if piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(piece);
        let sent = self.runtime.block_on(tokio::time::timeout_at(self.deadline.into(), self.sender.send(Ok(Some(piece)))));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(QueryFailure::Canceled("the client has gone".to_string())),
            Err(_) => Err(QueryFailure::Timeout("the client took longer than a read may (bulk_read.timeout)".to_string())),
        }
    }
}

/// Runs `produce` on a blocking thread and answers with what it puts out. `head` carries the status and headers.
/// An encoding other than gzip is taken for none.
pub async fn respond<F>(mut head: Response, encoding: Encoding, deadline: Instant, produce: F) -> Result<Response, QueryFailure>
where
    F: FnOnce(&mut Pieces) -> Result<(), QueryFailure> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(PIECES_WAITING);
    let runtime = Handle::current();
    let gzip = (encoding == Encoding::Gzip).then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    if gzip.is_some() {
        head.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { buffer: Vec::new(), gzip, sender, runtime, deadline };
        let mut outcome = produce(&mut pieces);
        if outcome.is_ok() {
            outcome = pieces.finish();
        }
        // Without a client nobody is there to be told.
        let _ = pieces.sender.blocking_send(outcome.map(|()| None));
    });
    match receiver.recv().await {
        Some(Ok(Some(first))) => Ok(with_body(head, Body::from_stream(rest(first, receiver)))),
        Some(Ok(None)) => Ok(with_body(head, Body::empty())),
        Some(Err(failure)) => Err(failure),
        None => Err(died()),
    }
}

/// Says in headers what must be said of an answer's freshness: its body has no place for it.
pub fn add_warnings(head: &mut Response, warnings: &[String]) {
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&format!("199 tern {warning:?}")) {
            head.headers_mut().append(header::WARNING, value);
        }
    }
}

fn with_body(head: Response, body: Body) -> Response {
    Response::from_parts(head.into_parts().0, body)
}

/// The pieces, then either the end or an error that cuts the connection.
fn rest(first: Bytes, receiver: mpsc::Receiver<Piece>) -> impl futures::Stream<Item = io::Result<Bytes>> {
    let later = ReceiverStream::new(receiver).chain(futures::stream::iter([Err(died())]));
    let mut is_over = false;
    let until_end = later.take_while(move |piece| {
        let goes_on = !is_over && !matches!(piece, Ok(None));
        is_over |= matches!(piece, Err(_) | Ok(None));
        std::future::ready(goes_on)
    });
    let bytes = until_end.filter_map(|piece| {
        std::future::ready(piece.transpose().map(|piece| {
            piece.map_err(|failure| {
                tracing::warn!(%failure, "an answer was cut short");
                io::Error::other(failure)
            })
        }))
    });
    futures::stream::iter([Ok(first)]).chain(bytes)
}

fn died() -> QueryFailure {
    QueryFailure::Internal("the read ended before its time, see the server's log".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn fill(pieces: &mut Pieces, bytes: usize) -> Result<(), QueryFailure> {
        for _ in 0..bytes / 1000 {
            pieces.buffer().extend_from_slice(&[b'x'; 1000]);
            pieces.pass_on()?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn answers_of_all_sizes_arrive_whole() {
        for size in [0, 1000, 100_000, 2_000_000] {
            let response = respond(().into_response(), Encoding::Identity, soon(), move |pieces| fill(pieces, size)).await.expect("good");
            assert_eq!(response.into_body().collect().await.expect("whole").to_bytes().len(), size);
        }
    }

    #[tokio::test]
    async fn a_compressed_answer_unpacks_to_the_same() {
        let response = respond(().into_response(), Encoding::Gzip, soon(), |pieces| fill(pieces, 2_000_000)).await.expect("good");
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let packed = response.into_body().collect().await.expect("whole").to_bytes();
        let mut plain = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).expect("gzip");
        assert_eq!(plain.len(), 2_000_000);
    }

    #[tokio::test]
    async fn a_failure_before_the_first_piece_is_an_answer() {
        let failure = || QueryFailure::Timeout("late".to_string());
        let result = respond(().into_response(), Encoding::Identity, soon(), move |_| Err(failure())).await;
        assert_eq!(result.expect_err("failed"), failure());
    }

    #[tokio::test]
    async fn a_later_failure_or_a_panic_cuts_the_body() {
        let fails = respond(().into_response(), Encoding::Identity, soon(), |pieces| {
            fill(pieces, 500_000)?;
            Err(QueryFailure::Timeout("late".to_string()))
        });
        assert!(fails.await.expect("begun").into_body().collect().await.is_err());
        let panics = respond(().into_response(), Encoding::Identity, soon(), |pieces| {
            fill(pieces, 500_000)?;
            panic!("in the middle");
        });
        assert!(panics.await.expect("begun").into_body().collect().await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_leaves_stops_the_producer() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let response = respond(().into_response(), Encoding::Identity, soon(), move |pieces| {
            let outcome = fill(pieces, usize::MAX);
            let _ = sender.send(outcome.clone());
            outcome
        });
        drop(response.await.expect("begun"));
        let outcome = tokio::task::spawn_blocking(move || receiver.recv_timeout(Duration::from_secs(60))).await.expect("joined");
        assert_eq!(outcome.expect("stopped"), Err(QueryFailure::Canceled("the client has gone".to_string())));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up_at_the_deadline() {
        let deadline = Instant::now() + Duration::from_millis(200);
        let (sender, receiver) = std::sync::mpsc::channel();
        let response = respond(().into_response(), Encoding::Identity, deadline, move |pieces| {
            let outcome = fill(pieces, usize::MAX);
            let _ = sender.send(outcome.clone());
            outcome
        })
        .await
        .expect("begun");
        let outcome = tokio::task::spawn_blocking(move || receiver.recv_timeout(Duration::from_secs(60))).await.expect("joined");
        assert!(matches!(outcome.expect("stopped"), Err(QueryFailure::Timeout(_))));
        drop(response);
    }
}
