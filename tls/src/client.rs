//! TLS of a client that asks a node over HTTPS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::TlsStream;
use crate::material;
use crate::watched::FileError;

/// Authorities that the machine trusts, on Debian and its kin.
const MACHINE_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom a client trusts, and what it shows.
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// `authority`: none are those that the machine trusts. `own`: certificate and key, when servers ask for one.
    pub fn open(authority: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Self, FileError> {
        let authority = authority.unwrap_or(Path::new(MACHINE_AUTHORITIES));
        let roots = from_file(authority, material::roots)?;
        let builder = ClientConfig::builder_with_provider(material::provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| fault(authority, error.to_string()))?.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, key_content) = (from_file(certificate, material::chain)?, from_file(key, material::key)?);
                let config = builder.with_client_auth_cert(chain, key_content);
                config.map_err(|error| fault(certificate, format!("does not work with {}: {error}", key.display())))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    /// Makes sure that the other end may use this host name or IP address.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?.into())
    }
}

fn from_file<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, FileError> {
    let content = std::fs::read(path).map_err(|error| fault(path, error.to_string()))?;
    parse(&content).map_err(|problem| fault(path, problem))
}

fn fault(path: &Path, problem: String) -> FileError {
    FileError { paths: vec![PathBuf::from(path)], problem }
}
