//! A request's body that must keep coming: who sends less than a trickle is cut off, however long the body may take as a whole.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Time in which anything may come slowly, and what must come on average after it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub grace: Duration,
    /// Bytes a second; 0: however little.
    pub bytes_per_second: usize,
}

/// A body came too slowly. Answer 408.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the request body came too slowly: less than {bytes_per_second} bytes a second after {grace:?} (web.body_rate_min, web.body_timeout)"
)]
pub struct TooSlow {
    grace: Duration,
    bytes_per_second: usize,
}

/// Only the time counts in which this node waits for the sender.
pub struct PacedBody<B> {
    body: B,
    pace: Pace,
    bytes: u64,
    waited: Duration,
    waiting: Option<Wait>,
}

struct Wait {
    since: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<B> PacedBody<B> {
    pub fn new(body: B, pace: Pace) -> PacedBody<B> {
        PacedBody { body, pace, bytes: 0, waited: Duration::ZERO, waiting: None }
    }

    /// How long the sender may be waited for, by what has come.
    fn allowance(&self) -> Option<Duration> {
        let rate = self.pace.bytes_per_second as u64;
        (rate > 0).then(|| self.pace.grace + Duration::from_millis(self.bytes.saturating_mul(1000) / rate))
    }

    fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(wait) = self.waiting.take() {
            self.waited += wait.since.elapsed();
        }
    }

    /// Ready when the sender has used up its time.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(allowance) = self.allowance() else { return Poll::Pending };
        let left = allowance.saturating_sub(self.waited);
        let wait = self.waiting.get_or_insert_with(|| Wait { since: Instant::now(), alarm: Box::pin(tokio::time::sleep(left)) });
        wait.alarm.as_mut().poll(context)
    }
}

impl<B> HttpBody for PacedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref).map_or(0, Bytes::len);
            this.came(bytes);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.poll_patience(context));
        let Pace { grace, bytes_per_second } = this.pace;
        Poll::Ready(Some(Err(TooSlow { grace, bytes_per_second }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether this is why a body could not be read.
pub fn too_slow(error: &(dyn Error + 'static)) -> Option<TooSlow> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<TooSlow>() {
            return Some(*found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures::stream;
    use http_body_util::BodyExt;

    const PACE: Pace = Pace { grace: Duration::from_secs(60), bytes_per_second: 1024 };

    /// So many pieces, each after a pause.
    fn sender(pieces: usize, bytes: usize, pause: Duration) -> PacedBody<Body> {
        let pieces = stream::unfold(0, move |sent| async move {
            (sent < pieces).then_some(())?;
            tokio::time::sleep(pause).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; bytes])), sent + 1))
        });
        PacedBody::new(Body::from_stream(pieces), PACE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_off_when_the_grace_is_used_up() {
        let begun = Instant::now();
        let error = sender(1000, 10, Duration::from_secs(1)).collect().await.expect_err("too slow");
        assert!(too_slow(&*error).is_some(), "{error}");
        assert!((60..62).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_the_least_rate_may_take_as_long_as_it_takes() {
        let whole = sender(1000, 2048, Duration::from_secs(2)).collect().await.map(|body| body.to_bytes().len());
        assert_eq!(whole.map_err(|error| error.to_string()), Ok(1000 * 2048));
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_this_node_takes_is_not_the_senders() {
        let mut body = sender(100, 10, Duration::from_millis(100));
        for _ in 0..100 {
            assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert!(body.frame().await.is_none());
    }
}
