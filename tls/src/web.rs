//! TLS for users' connections; with an authority for clients, only for those that have its certificate.

use std::io;
use std::path::PathBuf;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::TlsStream;
use crate::material;
use crate::watched::{FileError, Watched};

/// What is offered, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate that users see.
pub struct WebTls {
    server: Watched<ServerConfig>,
}

impl WebTls {
    /// `client_authority`: whose certificates users must show; none: users need no certificate.
    pub fn open(certificate: PathBuf, key: PathBuf, client_authority: Option<PathBuf>) -> Result<Self, FileError> {
        let paths = [certificate, key].into_iter().chain(client_authority).collect();
        Ok(Self { server: Watched::open(paths, server)? })
    }

    /// See [`Watched::refresh`].
    pub fn refresh(&self) -> Result<bool, FileError> {
        self.server.refresh()
    }

    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream> {
        let acceptor = TlsAcceptor::from(self.server.current());
        Ok(acceptor.accept(stream).await?.into())
    }
}

/// From certificate, key and, where there is one, the clients' authority.
fn server(contents: &[Vec<u8>]) -> Result<ServerConfig, String> {
    let [certificate, key, rest @ ..] = contents else { return Err("a certificate and a key are needed".to_owned()) };
    let builder = ServerConfig::builder_with_provider(material::provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match rest.first() {
        Some(authority) => builder.with_client_cert_verifier(material::client_verifier(material::roots(authority)?)?),
        None => builder.with_no_client_auth(),
    };
    let server = builder.with_single_cert(material::chain(certificate)?, material::key(key)?);
    let mut server = server.map_err(|error| format!("certificate and key do not work: {error}"))?;
    server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(server)
}
