//! Accepts connections, with TLS where there is a certificate, and serves them with HTTP/1.1 and HTTP/2, within the bounds of the
//! settings, until told to stop; then lets running requests finish.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, Version};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tls::WebTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::paced_body::{Pace, PacedBody};
use super::patience::{Patience, Patient, RunningBody, Turn};
use super::plain_failure::PlainFailure;
pub use super::request::PeerAddress;
use crate::config::WebSettings;

/// Idle HTTP/2 connections are probed this often, and dropped when the answer takes as long.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// After a failed accept (too many open files), the pause before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A request's line (a query may stand in it) beside its headers.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What all connections are served with.
pub struct Web {
    /// May be replaced at any time; a request is answered by the one that is there when it arrives.
    pub router: Arc<ArcSwap<Router>>,
    pub settings: WebSettings,
    pub tls: Option<Arc<WebTls>>,
}

/// Serves until `stop` is cancelled and the running requests have ended or used up their time.
pub async fn serve(listener: TcpListener, web: Web, stop: CancellationToken) {
    let web = Arc::new(web);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(web.settings.connections));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, place)) => start(stream, peer, place, Arc::clone(&web), graceful.watcher()),
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(web.settings.shutdown_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running after web.shutdown_timeout; they are cut off");
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

fn start(stream: TcpStream, peer: SocketAddr, place: Place, web: Arc<Web>, watcher: Watcher) {
    tokio::spawn(async move {
        let ended = match &web.tls {
            None => converse(stream, peer, &web, watcher).await,
            Some(tls) => match tokio::time::timeout(web.settings.header_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => converse(stream, peer, &web, watcher).await,
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err("the TLS handshake took longer than web.header_timeout".into()),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
        drop(place);
    });
}

/// All requests of one connection.
async fn converse<S>(stream: S, peer: SocketAddr, web: &Arc<Web>, watcher: Watcher) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = &web.settings;
    let turn = Turn::begin();
    let patience = Patience { head: settings.header_timeout, idle: settings.idle_timeout, write: settings.write_timeout };
    let stream = Patient::new(stream, Arc::clone(&turn), patience);
    let answering = Arc::clone(web);
    let service = hyper::service::service_fn(move |request| {
        let running = turn.request(request.version() == Version::HTTP_2);
        let web = Arc::clone(&answering);
        async move {
            let response = answer(&web, peer, request).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| RunningBody::new(body, running)))
        }
    });
    watcher.watch(builder(settings).serve_connection(TokioIo::new(stream), service).into_owned()).await
}

async fn answer(web: &Web, peer: SocketAddr, request: hyper::Request<Incoming>) -> Response {
    if let Some(refusal) = oversized(&web.settings, &request) {
        return refusal.into_response();
    }
    let pace = Pace { grace: web.settings.body_timeout, bytes_per_second: web.settings.body_rate_min };
    let mut request: Request = request.map(|body| Body::new(PacedBody::new(body, pace)));
    request.extensions_mut().insert(PeerAddress(peer));
    match Router::clone(&web.router.load()).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn oversized(settings: &WebSettings, request: &hyper::Request<Incoming>) -> Option<PlainFailure> {
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let (bytes_max, headers_max) = (settings.header_bytes, settings.headers_max);
    let text = match (bytes > bytes_max, headers.len() > headers_max) {
        (true, _) => format!("the request's headers are larger than {bytes_max} bytes (web.header_bytes)"),
        (_, true) => format!("the request has more than {headers_max} headers (web.headers_max)"),
        _ => return None,
    };
    Some(PlainFailure::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text))
}

/// Times are kept by [`Patient`].
fn builder(settings: &WebSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head_bytes = settings.header_bytes + LINE_BYTES_MAX;
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_headers(settings.headers_max).max_buf_size(head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PROBE_INTERVAL))
        .keep_alive_timeout(PROBE_INTERVAL)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(settings.http2_streams)
        .max_pending_accept_reset_streams(settings.http2_resets);
    builder
}
