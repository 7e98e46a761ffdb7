//! The other nodes: where they are, and open connections to them.
//!
//! Each peer has a few connections that are made when first used, one for each kind of traffic ([`Lane`]), so that a
//! heartbeat never queues behind a megabyte of samples or a snapshot.
//!
//! Every call is stamped with the ids of both nodes and of the cluster; the receiver refuses what was not meant for it
//! ([`check_stamp`]). That replaces a handshake: connections come and go beneath tonic, and the address of a dead node may
//! belong to another one tomorrow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use crate::link::Link;
use crate::runtime;
use crate::settings::Settings;
use crate::types::NodeId;

const KEY_TO: &str = "tern-to";
const KEY_FROM: &str = "tern-from";
const KEY_CLUSTER: &str = "tern-cluster";

/// HTTP/2 lets this much be under way without an acknowledgement.
pub const WINDOW_BYTES: u32 = 8 << 20;
/// One message: an append request with several entries is the largest.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// An idle connection is probed this often and dropped when the answer takes as long.
pub const KEEPALIVE: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Heartbeats, votes, read barriers: small and urgent.
    Control,
    /// Log entries.
    Replication,
    /// Proposals on their way to a leader.
    Forwarding,
    /// Snapshots.
    Bulk,
    /// Everything that others (queries) do over [`crate::Node::channel`].
    Application,
}

const LANES: usize = 5;

/// A stamped connection.
pub type PeerChannel = InterceptedService<Link, Stamp>;

/// All peers of this node.
pub struct Peers {
    local: NodeId,
    cluster: ArcSwap<String>,
    addresses: ArcSwap<BTreeMap<NodeId, String>>,
    open: Mutex<BTreeMap<NodeId, Peer>>,
    connect_timeout: Duration,
}

struct Peer {
    address: String,
    lanes: [Option<Link>; LANES],
}

impl Peers {
    pub fn new(local: NodeId, settings: &Settings) -> Self {
        Self {
            local,
            cluster: ArcSwap::default(),
            addresses: ArcSwap::default(),
            open: Mutex::default(),
            connect_timeout: settings.connect_timeout,
        }
    }

    pub fn local(&self) -> NodeId {
        self.local
    }

    /// From now on calls carry this cluster's id, and calls of other clusters are refused.
    pub fn set_cluster(&self, cluster: &str) {
        self.cluster.store(Arc::new(cluster.to_owned()));
    }

    /// Empty while unknown.
    pub fn cluster(&self) -> Arc<String> {
        self.cluster.load_full()
    }

    /// Learns or corrects addresses. Open connections to a node that moved are dropped.
    pub fn learn(&self, addresses: impl IntoIterator<Item = (NodeId, String)>) {
        let mut known = BTreeMap::clone(&self.addresses.load());
        let mut changed = false;
        for (node, address) in addresses {
            changed |= known.get(&node) != Some(&address);
            known.insert(node, address);
        }
        if changed {
            self.addresses.store(Arc::new(known));
        }
    }

    pub fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.load().get(&node).cloned()
    }

    /// Addresses of all nodes ever learnt.
    pub fn addresses(&self) -> Arc<BTreeMap<NodeId, String>> {
        self.addresses.load_full()
    }

    /// A connection to a node, made when it is first used and again when it broke. Fails only when the node's address is
    /// unknown.
    pub fn channel(&self, node: NodeId, lane: Lane) -> Result<PeerChannel, Status> {
        let address = self.address(node).ok_or_else(|| Status::unavailable(format!("address of node {node} unknown")))?;
        let mut open = self.open.lock();
        let peer = open.entry(node).or_insert_with(|| Peer::at(&address));
        if peer.address != address {
            *peer = Peer::at(&address);
        }
        let channel = match &peer.lanes[lane as usize] {
            Some(channel) => channel.clone(),
            None => {
                let link = dial(&address, self.connect_timeout)?;
                peer.lanes[lane as usize].insert(link).clone()
            }
        };
        Ok(InterceptedService::new(channel, Stamp::new(self.local, node, &self.cluster.load())))
    }
}

impl Peer {
    fn at(address: &str) -> Self {
        Self { address: address.to_owned(), lanes: Default::default() }
    }
}

/// How this crate connects: low latency, wide windows, dead peers noticed. The connection is made when first used.
pub fn dial(address: &str, connect_timeout: Duration) -> Result<Link, Status> {
    if let Some(host) = runtime::host() {
        return Ok(Link::Simulated(host.dial(address)));
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Status::invalid_argument(format!("address {address}: {error}")))?;
    let endpoint = endpoint
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    Ok(Link::Network(endpoint.connect_lazy()))
}

/// Writes the stamp on every outgoing call.
#[derive(Clone)]
pub struct Stamp {
    from: AsciiMetadataValue,
    to: AsciiMetadataValue,
    cluster: Option<AsciiMetadataValue>,
}

impl Stamp {
    fn new(from: NodeId, to: NodeId, cluster: &str) -> Self {
        let cluster = (!cluster.is_empty()).then(|| cluster.parse().ok()).flatten();
        Self { from: AsciiMetadataValue::from(from), to: AsciiMetadataValue::from(to), cluster }
    }
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let stamp = request.metadata_mut();
        stamp.insert(AsciiMetadataKey::from_static(KEY_FROM), self.from.clone());
        stamp.insert(AsciiMetadataKey::from_static(KEY_TO), self.to.clone());
        if let Some(cluster) = &self.cluster {
            stamp.insert(AsciiMetadataKey::from_static(KEY_CLUSTER), cluster.clone());
        }
        Ok(request)
    }
}

/// Refuses a call that was meant for another node or comes from another cluster.
#[derive(Clone)]
pub struct StampCheck {
    peers: Arc<Peers>,
}

impl StampCheck {
    pub fn new(peers: Arc<Peers>) -> Self {
        Self { peers }
    }
}

impl Interceptor for StampCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        check_stamp(request.metadata(), self.peers.local(), &self.peers.cluster())?;
        Ok(request)
    }
}

fn check_stamp(stamp: &MetadataMap, local: NodeId, cluster: &str) -> Result<(), Status> {
    let text = |key| stamp.get(key).and_then(|value| value.to_str().ok());
    let to = text(KEY_TO).and_then(|to| to.parse::<NodeId>().ok());
    if to != Some(local) {
        return Err(Status::failed_precondition(format!("this is node {local}, the call is for node {to:?}")));
    }
    match text(KEY_CLUSTER) {
        Some(theirs) if !cluster.is_empty() && theirs != cluster => {
            Err(Status::failed_precondition(format!("this is cluster {cluster}, the call is from cluster {theirs}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(to: NodeId, cluster: &str) -> MetadataMap {
        Stamp::new(7, to, cluster).call(Request::new(())).unwrap().metadata().clone()
    }

    #[test]
    fn a_call_reaches_only_the_node_and_cluster_it_names() {
        assert!(check_stamp(&stamped(1, "a"), 1, "a").is_ok());
        assert!(check_stamp(&stamped(1, ""), 1, "a").is_ok(), "the caller does not know the cluster yet");
        assert!(check_stamp(&stamped(1, "a"), 1, "").is_ok(), "this node does not know it yet");
        assert!(check_stamp(&stamped(2, "a"), 1, "a").is_err());
        assert!(check_stamp(&stamped(1, "b"), 1, "a").is_err());
        assert!(check_stamp(&MetadataMap::new(), 1, "a").is_err());
    }
}
