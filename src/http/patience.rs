//! How long a connection may hold its place without getting on: the head of a request, the pause before the next one, an answer that
//! nobody takes. (A body's pace is watched where it is read, in `paced_body`.)
//!
//! hyper's own timeout of heads covers neither the first bytes of a connection nor HTTP/2, and does not tell a slow head from a quiet
//! connection; so this stands beneath it, between the socket and hyper.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long each may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a request to the end of its head; for the first request, from the connection on.
    pub head: Duration,
    /// From an answer to the next request.
    pub idle: Duration,
    /// For the other end to take some of an answer.
    pub write: Duration,
}

/// What a connection is doing; shared by its socket and its requests.
pub struct Turn {
    state: Mutex<State>,
}

struct State {
    running: usize,
    had_requests: bool,
    has_streams: bool,
    quiet_since: Instant,
    head_since: Option<Instant>,
    /// Whoever waits to read while a request runs: hyper does not look again by itself when it has ended.
    reader: Option<Waker>,
}

impl Turn {
    /// Of a connection that begins now.
    pub fn begin() -> Arc<Turn> {
        let state =
            State { running: 0, had_requests: false, has_streams: false, quiet_since: Instant::now(), head_since: None, reader: None };
        Arc::new(Turn { state: Mutex::new(state) })
    }

    /// A request is there; it runs until what is returned has gone. `has_streams`: HTTP/2, where other frames than heads come as well.
    pub fn request(self: &Arc<Turn>, has_streams: bool) -> Running {
        let mut state = self.state.lock();
        state.running += 1;
        state.had_requests = true;
        state.has_streams = has_streams;
        Running(Arc::clone(self))
    }

    fn heard(&self) {
        let mut state = self.state.lock();
        if state.running == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Until when something must come; none while a request runs, whose end wakes the reader then.
    fn deadline(&self, patience: &Patience, context: &Context<'_>) -> Option<Instant> {
        let mut state = self.state.lock();
        match (state.running, state.had_requests, state.head_since) {
            (1.., _, _) => {
                state.reader = Some(context.waker().clone());
                None
            }
            (0, false, _) => Some(state.quiet_since + patience.head),
            (0, true, Some(since)) if !state.has_streams => Some(since + patience.head),
            (0, true, _) => Some(state.quiet_since + patience.idle),
        }
    }
}

/// A request under way.
pub struct Running(Arc<Turn>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running -= 1;
        state.quiet_since = Instant::now();
        state.head_since = None;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

/// An answer's body that keeps its request running until it is sent or given up.
pub struct RunningBody<B> {
    body: B,
    _running: Running,
}

impl<B> RunningBody<B> {
    pub fn new(body: B, running: Running) -> RunningBody<B> {
        RunningBody { body, _running: running }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for RunningBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that fails when patience is at its end.
pub struct Patient<S> {
    stream: S,
    turn: Arc<Turn>,
    patience: Patience,
    read_alarm: Alarm,
    write_alarm: Alarm,
    /// Since when the other end takes nothing.
    stuck_since: Option<Instant>,
}

impl<S> Patient<S> {
    pub fn new(stream: S, turn: Arc<Turn>, patience: Patience) -> Patient<S> {
        Patient { stream, turn, patience, read_alarm: Alarm::default(), write_alarm: Alarm::default(), stuck_since: None }
    }

    /// What writing came to; without progress for too long it is an error.
    fn written<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stuck_since = None;
            return result;
        }
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        ready!(self.write_alarm.poll(context, since + self.patience.write));
        Poll::Ready(Err(timed_out("nobody takes the answer")))
    }
}

/// A timer that is made when it is first needed and moved only when its time changes.
#[derive(Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    fn poll(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(context)
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.turn.heard();
            }
            return Poll::Ready(result);
        }
        let Some(deadline) = this.turn.deadline(&this.patience, context) else { return Poll::Pending };
        ready!(this.read_alarm.poll(context, deadline));
        Poll::Ready(Err(timed_out("no whole request came in time")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(100), write: Duration::from_secs(60) };

    fn connection() -> (DuplexStream, Patient<DuplexStream>, Arc<Turn>) {
        let (far, near) = tokio::io::duplex(16);
        let turn = Turn::begin();
        (far, Patient::new(near, Arc::clone(&turn), PATIENCE), turn)
    }

    /// Reads until it fails; how long that took.
    async fn given_up(near: &mut Patient<DuplexStream>) -> Duration {
        let begun = Instant::now();
        let mut buffer = [0; 16];
        loop {
            match near.read(&mut buffer).await {
                Ok(read) => assert!(read > 0, "the other end is open"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return begun.elapsed();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_must_come_in_time_whatever_trickles_in() {
        let (mut far, mut near, _turn) = connection();
        let trickle = tokio::spawn(async move {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(3)).await;
                let _ = far.write_all(b"x").await;
            }
        });
        let took = given_up(&mut near).await;
        trickle.abort();
        assert!((PATIENCE.head..PATIENCE.head + Duration::from_millis(10)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_run_and_a_connection_rest_longer_than_a_head_may_take() {
        let (mut far, mut near, turn) = connection();
        let running = turn.request(false);
        assert!(tokio::time::timeout(Duration::from_secs(1000), given_up(&mut near)).await.is_err(), "while it runs");
        drop(running);
        let took = given_up(&mut near).await;
        assert!((PATIENCE.idle..PATIENCE.idle + Duration::from_millis(10)).contains(&took), "{took:?}");
        drop(turn.request(false));
        far.write_all(b"GET").await.unwrap();
        let took = given_up(&mut near).await;
        assert!((PATIENCE.head..PATIENCE.head + Duration::from_millis(10)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_to_read_while_a_request_runs_hears_of_its_end() {
        let (_far, mut near, turn) = connection();
        let running = turn.request(false);
        let waiting = tokio::spawn(async move { given_up(&mut near).await });
        tokio::time::sleep(Duration::from_secs(1000)).await;
        drop(running);
        let took = waiting.await.unwrap().saturating_sub(Duration::from_secs(1000));
        assert!((PATIENCE.idle..PATIENCE.idle + Duration::from_millis(10)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn with_streams_other_frames_begin_no_head() {
        let (mut far, mut near, turn) = connection();
        drop(turn.request(true));
        far.write_all(b"PING").await.unwrap();
        let took = given_up(&mut near).await;
        assert!(took >= PATIENCE.idle, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let (_far, mut near, turn) = connection();
        let _running = turn.request(false);
        let begun = Instant::now();
        let error = near.write_all(&[0; 100]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, PATIENCE.write.as_secs()));
    }
}
