//! Opens connections to peers: plain, or with TLS that proves who answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tls::{NodeTls, TlsStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::Status;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;
use tower::service_fn;

use crate::link::Link;
use crate::runtime;
use crate::types::NodeId;

/// HTTP/2 lets this much be under way without an acknowledgement.
pub const WINDOW_BYTES: u32 = 8 << 20;
/// An idle connection is probed this often and dropped when the answer takes as long.
pub const KEEPALIVE: Duration = Duration::from_secs(2);
/// A handshake takes two more rounds and some work of both ends.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that cannot be trusted is tried many times a second, and told of this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Lets a complaint through once in a while.
#[derive(Default)]
pub struct Seldom {
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    pub fn is_due(&self) -> bool {
        let mut last = self.last.lock();
        let is_due = last.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// A connection to a node at an address: low latency, wide windows, a dead peer noticed. It is made when first used.
pub fn link(address: &str, node: NodeId, tls: Option<&Arc<NodeTls>>, connect_timeout: Duration) -> Result<Link, Status> {
    if let Some(host) = runtime::host() {
        return Ok(Link::Simulated(host.dial(address)));
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Status::invalid_argument(format!("address {address}: {error}")))?;
    let endpoint = endpoint
        .connect_timeout(if tls.is_some() { connect_timeout.max(HANDSHAKE_TIMEOUT) } else { connect_timeout })
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let Some(tls) = tls else { return Ok(Link::Network(endpoint.connect_lazy())) };
    let tls = Arc::clone(tls);
    let complaints = Arc::new(Seldom::default());
    let connector = service_fn(move |uri: Uri| {
        let (tls, complaints) = (Arc::clone(&tls), Arc::clone(&complaints));
        async move { secure(&uri, node, &tls, &complaints).await.map(TokioIo::new) }
    });
    Ok(Link::Network(endpoint.connect_with_connector_lazy(connector)))
}

async fn secure(uri: &Uri, node: NodeId, tls: &NodeTls, complaints: &Seldom) -> io::Result<TlsStream> {
    let address = uri.authority().map_or("", |authority| authority.as_str());
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    tls.connect(stream, node).await.inspect_err(|error| {
        if complaints.is_due() {
            tracing::warn!(node, address, %error, "a peer does not prove that it is the node that was dialled");
        }
    })
}
