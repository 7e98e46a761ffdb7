//! TLS between nodes, always in both directions.
//!
//! One certificate authority stands for one cluster: whoever has its certificate may ask to join, and whoever has one that names a node's
//! id may speak for that node. So clusters that must not be taken for each other need authorities of their own.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::TlsStream;
use crate::material;
use crate::watched::{FileError, Watched};

/// Both ends are ours, so nothing older is needed.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
const PROTOCOL: &[u8] = b"h2";

/// The name (a DNS name among the certificate's subject alternative names) that lets a node use an id.
pub fn node_name(id: u64) -> String {
    format!("node-{id}.tern")
}

fn node_id(name: &str) -> Option<u64> {
    let id = name.to_ascii_lowercase().strip_prefix("node-")?.strip_suffix(".tern")?.parse().ok()?;
    // `node-+1.tern` and `node-01.tern` are other names.
    Some(id).filter(|id| node_name(*id).eq_ignore_ascii_case(name))
}

/// A node's certificate, and the authority that all nodes' certificates come from.
pub struct NodeTls {
    ends: Watched<Ends>,
    /// The id of this node, once it is known: a certificate that does not name it is refused from then on.
    owner: Arc<OnceLock<u64>>,
}

struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    nodes: BTreeSet<u64>,
}

/// Never shows the key.
impl fmt::Debug for NodeTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NodeTls").field("owner", &self.owner.get()).field("nodes", &self.ends.current().nodes).finish_non_exhaustive()
    }
}

impl NodeTls {
    pub fn open(authority: PathBuf, certificate: PathBuf, key: PathBuf) -> Result<Self, FileError> {
        let owner = Arc::new(OnceLock::new());
        let known_owner = Arc::clone(&owner);
        let make = move |contents: &[Vec<u8>]| {
            let ends = ends(contents)?;
            match known_owner.get() {
                Some(&id) if !ends.nodes.contains(&id) => Err(misnamed(id, &ends.nodes)),
                _ => Ok(ends),
            }
        };
        Ok(Self { ends: Watched::open(vec![authority, certificate, key], make)?, owner })
    }

    /// Says which node this is; an error when its certificate does not name it.
    pub fn claim(&self, id: u64) -> Result<(), FileError> {
        let id = *self.owner.get_or_init(|| id);
        let nodes = &self.ends.current().nodes;
        if nodes.contains(&id) {
            return Ok(());
        }
        Err(FileError { paths: self.ends.paths()[1..2].to_vec(), problem: misnamed(id, nodes) })
    }

    /// See [`Watched::refresh`].
    pub fn refresh(&self) -> Result<bool, FileError> {
        self.ends.refresh()
    }

    /// Makes sure that the other end is the node that was dialled.
    pub async fn connect(&self, stream: TcpStream, node: u64) -> io::Result<TlsStream> {
        let name = ServerName::try_from(node_name(node)).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.ends.current().client));
        Ok(connector.connect(name, stream).await?.into())
    }

    /// The connection, and the ids that its other end may use: none for a node that has not joined yet.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream, BTreeSet<u64>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.ends.current().server));
        let stream = acceptor.accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let end = certificates.first().ok_or_else(|| io::Error::other("the peer showed no certificate"))?;
        let names = material::names(end).map_err(io::Error::other)?;
        Ok((stream.into(), ids(&names)))
    }
}

fn ids(names: &[String]) -> BTreeSet<u64> {
    names.iter().filter_map(|name| node_id(name)).collect()
}

fn misnamed(id: u64, nodes: &BTreeSet<u64>) -> String {
    let named: Vec<String> = nodes.iter().map(|&node| node_name(node)).collect();
    let named = if named.is_empty() { "no node".to_owned() } else { named.join(", ") };
    let wanted = node_name(id);
    format!("this is node {id}, but the certificate names {named}; issue one with the subject alternative name DNS:{wanted}")
}

/// From authority, certificate and key.
fn ends(contents: &[Vec<u8>]) -> Result<Ends, String> {
    let [authority, certificate, key] = contents else { return Err("three files are needed".to_owned()) };
    let (roots, chain, key) = (material::roots(authority)?, material::chain(certificate)?, material::key(key)?);
    let nodes = ids(&material::names(&chain[0])?);
    let builder = ClientConfig::builder_with_provider(material::provider()).with_protocol_versions(VERSIONS);
    let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(Arc::clone(&roots));
    let client = builder.with_client_auth_cert(chain.clone(), key.clone_key());
    let mut client = client.map_err(|error| format!("certificate and key do not work: {error}"))?;
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    let builder = ServerConfig::builder_with_provider(material::provider()).with_protocol_versions(VERSIONS);
    let builder = builder.map_err(|error| error.to_string())?.with_client_cert_verifier(material::client_verifier(roots)?);
    let server = builder.with_single_cert(chain, key);
    let mut server = server.map_err(|error| format!("certificate and key do not work: {error}"))?;
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Ends { server: Arc::new(server), client: Arc::new(client), nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_stands_for_an_id() {
        assert_eq!(node_id("node-17.tern"), Some(17));
        assert_eq!(node_id("NODE-17.TERN"), Some(17));
        for wrong in ["node-017.tern", "node-+1.tern", "node-.tern", "node-1.tern.evil", "x.node-1.tern", "node-1", "*.tern"] {
            assert_eq!(node_id(wrong), None, "{wrong}");
        }
    }
}
