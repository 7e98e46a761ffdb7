//! Accepted connections that end when the node closes.
//!
//! Peers keep their streams open for ever, so a graceful shutdown of the server would never come to an end, and tonic's
//! connections outlive the server that accepted them. Each connection therefore watches the node's closing itself.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tls::{NodeTls, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::dial::Seldom;
use crate::types::NodeId;

/// TLS handshakes under way at once; further connections wait.
const HANDSHAKES_MAX: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP connection, with or without TLS, that fails once the node closes.
pub struct Connection {
    stream: Transport,
    certificate: PeerCertificate,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum Transport {
    Plain(TcpStream),
    Secure(Box<TlsStream>),
}

/// The ids that the other end's certificate names; none without TLS. Stands among the extensions of each request.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub Option<Arc<BTreeSet<NodeId>>>);

/// What a listener accepts, without delay for small packets.
pub fn connections(
    listener: TcpListener,
    tls: Option<Arc<NodeTls>>,
    closing: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let complaints = Arc::new(Seldom::default());
    let opened = TcpListenerStream::new(listener).map(move |stream| {
        let (tls, closing, complaints) = (tls.clone(), closing.clone(), Arc::clone(&complaints));
        async move {
            let (stream, certificate) = open(stream?, tls.as_deref(), &complaints).await?;
            Ok(Connection { stream, certificate, closing: Box::pin(closing.cancelled_owned()) })
        }
    });
    opened.buffer_unordered(HANDSHAKES_MAX)
}

async fn open(stream: TcpStream, tls: Option<&NodeTls>, complaints: &Seldom) -> io::Result<(Transport, PeerCertificate)> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok((Transport::Plain(stream), PeerCertificate(None))) };
    let peer = stream.peer_addr()?;
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    match accepted.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))) {
        Ok((stream, nodes)) => Ok((Transport::Secure(Box::new(stream)), PeerCertificate(Some(Arc::new(nodes))))),
        Err(error) => {
            if complaints.is_due() {
                tracing::warn!(%peer, %error, "refused a connection that does not prove that it comes from a node");
            }
            Err(error)
        }
    }
}

impl Connection {
    fn check_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.closing.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerCertificate;

    fn connect_info(&self) -> PeerCertificate {
        self.certificate.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Secure(stream) => stream.is_write_vectored(),
        }
    }
}
