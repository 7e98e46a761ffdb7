//! Sends prepared bodies over raw HTTP/1.1 connections, one request in flight on each, and measures the acknowledgements.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tern_jepsen::remote_write::CONTENT_TYPE_V1;
use tern_jepsen::wait;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::{Body, Load};

/// Pause before a request that was refused for overload is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Refusals of one request in a row that end the run.
const RETRIES_MAX: u32 = 200;

/// What came of a load.
#[derive(Debug, Default)]
pub struct Sent {
    pub samples: u64,
    pub elapsed: Duration,
    pub retries: u64,
    /// Times from request to acknowledgement, sorted.
    latencies: Vec<Duration>,
}

impl Sent {
    pub fn latency(&self, quantile: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
    }
}

/// Sends the whole load, connections spread over the addresses in turn. Stops early, without an error, after `limit`.
pub async fn send_all(load: &Load, addresses: &[String], limit: Duration) -> anyhow::Result<Sent> {
    let began = Instant::now();
    let mut connections = JoinSet::new();
    for (index, bodies) in load.connections.iter().enumerate() {
        let address = addresses[index % addresses.len()].clone();
        connections.spawn(send_in_order(address, bodies.clone(), began + limit));
    }
    let mut total = Sent::default();
    while let Some(finished) = connections.join_next().await {
        let sent = finished.context("a sending task")??;
        total.samples += sent.samples;
        total.retries += sent.retries;
        total.latencies.extend(sent.latencies);
    }
    total.elapsed = began.elapsed();
    total.latencies.sort_unstable();
    Ok(total)
}

async fn send_in_order(address: String, bodies: Vec<Body>, deadline: Instant) -> anyhow::Result<Sent> {
    let mut connection = connect(&address).await?;
    let mut sent = Sent::default();
    for body in bodies {
        if Instant::now() >= deadline {
            break;
        }
        let began = Instant::now();
        sent.retries += send_until_acknowledged(&mut connection, &address, &body.bytes).await?;
        sent.latencies.push(began.elapsed());
        sent.samples += body.samples;
    }
    Ok(sent)
}

async fn connect(address: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("start HTTP")?;
    // Ends when the sender is dropped; its errors are seen by the sender too.
    tokio::spawn(connection);
    Ok(sender)
}

/// Returns how often the server asked to come again.
async fn send_until_acknowledged(connection: &mut SendRequest<Full<Bytes>>, address: &str, body: &Bytes) -> anyhow::Result<u64> {
    for retry in 0..RETRIES_MAX {
        connection.ready().await.context("wait for the connection")?;
        let request = Request::post("/api/v1/write")
            .header("host", address)
            .header("content-type", CONTENT_TYPE_V1)
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(Full::new(body.clone()))?;
        let response = connection.send_request(request).await.context("send a write")?;
        let status = response.status();
        let answer = response.into_body().collect().await.context("read an acknowledgement")?.to_bytes();
        match status {
            status if status.is_success() => return Ok(u64::from(retry)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => wait::pace(RETRY_PAUSE).await,
            status => bail!("a write was refused with {status}: {:.300}", String::from_utf8_lossy(&answer)),
        }
    }
    bail!("a write was refused for overload {RETRIES_MAX} times in a row")
}
