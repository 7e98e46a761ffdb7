//! The other nodes: where they are, and open connections to them.
//!
//! Each peer has a few connections that are made when first used, one for each kind of traffic ([`Lane`]), so that a
//! heartbeat never queues behind a megabyte of samples or a snapshot.
//!
//! Every call is stamped with the ids of both nodes and of the cluster; the receiver refuses what was not meant for it
//! ([`StampCheck`]). That replaces a handshake: connections come and go beneath tonic, and the address of a dead node may
//! belong to another one tomorrow. With TLS the certificates of both ends must name the ids that the stamp claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tls::NodeTls;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::dial;
use crate::link::Link;
use crate::settings::Settings;
use crate::types::NodeId;

const KEY_TO: &str = "tern-to";
const KEY_FROM: &str = "tern-from";
const KEY_CLUSTER: &str = "tern-cluster";

/// One message: an append request with several entries is the largest.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;

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
    tls: Option<Arc<NodeTls>>,
}

struct Peer {
    address: String,
    lanes: [Option<Link>; LANES],
}

impl Peers {
    pub fn new(local: NodeId, settings: &Settings, tls: Option<Arc<NodeTls>>) -> Self {
        Self {
            local,
            cluster: ArcSwap::default(),
            addresses: ArcSwap::default(),
            open: Mutex::default(),
            connect_timeout: settings.connect_timeout,
            tls,
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
                let link = dial::link(&address, node, self.tls.as_ref(), self.connect_timeout)?;
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

/// Refuses a call that was meant for another node, comes from another cluster, or claims to come from a node that its
/// connection does not speak for.
#[derive(Clone)]
pub struct StampCheck {
    peers: Arc<Peers>,
}

impl StampCheck {
    pub fn new(peers: Arc<Peers>) -> Self {
        Self { peers }
    }

    /// `proven`: the ids that the other end's certificate names, on a connection with TLS.
    pub fn check(&self, headers: &HeaderMap, proven: Option<&BTreeSet<NodeId>>) -> Result<(), Status> {
        let stamp = stamp_of(headers);
        check_stamp(stamp, self.peers.local(), &self.peers.cluster())?;
        match (proven, stamp.from) {
            (Some(proven), Some(from)) if !proven.contains(&from) => {
                Err(Status::permission_denied(format!("the call claims to come from node {from}, the certificate names {proven:?}")))
            }
            (_, None) => Err(Status::failed_precondition("the call does not say which node it comes from")),
            _ => Ok(()),
        }
    }
}

/// A stamp as it came; what is missing or malformed is none.
#[derive(Clone, Copy)]
struct Stamped<'a> {
    from: Option<NodeId>,
    to: Option<NodeId>,
    cluster: Option<&'a str>,
}

fn stamp_of(headers: &HeaderMap) -> Stamped<'_> {
    let text = |key| headers.get(key).and_then(|value| value.to_str().ok());
    let id = |key| text(key).and_then(|id| id.parse().ok());
    Stamped { from: id(KEY_FROM), to: id(KEY_TO), cluster: text(KEY_CLUSTER) }
}

fn check_stamp(stamp: Stamped<'_>, local: NodeId, cluster: &str) -> Result<(), Status> {
    let Stamped { from, to, cluster: theirs } = stamp;
    if to != Some(local) {
        let meant = to.map_or_else(|| "names no node".to_owned(), |to| format!("is for node {to}"));
        return Err(Status::failed_precondition(format!("this is node {local}, the call {meant}")));
    }
    match theirs {
        Some(theirs) if !cluster.is_empty() && theirs != cluster => {
            let from = from.unwrap_or(0);
            Err(Status::failed_precondition(format!("this is cluster {cluster}, the call is from node {from} of cluster {theirs}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(to: NodeId, cluster: &str) -> HeaderMap {
        Stamp::new(7, to, cluster).call(Request::new(())).unwrap().metadata().clone().into_headers()
    }

    #[test]
    fn a_call_reaches_only_the_node_and_cluster_it_names() {
        let check = |headers: &HeaderMap, cluster: &str| check_stamp(stamp_of(headers), 1, cluster);
        assert!(check(&stamped(1, "a"), "a").is_ok());
        assert!(check(&stamped(1, ""), "a").is_ok(), "the caller does not know the cluster yet");
        assert!(check(&stamped(1, "a"), "").is_ok(), "this node does not know it yet");
        assert!(check(&stamped(2, "a"), "a").unwrap_err().message().contains("this is node 1, the call is for node 2"));
        assert!(check(&stamped(1, "b"), "a").unwrap_err().message().contains("from node 7 of cluster b"));
        assert!(check(&HeaderMap::new(), "a").unwrap_err().message().contains("names no node"));
    }

    #[test]
    fn a_certificate_must_name_the_node_that_a_call_claims_to_come_from() {
        let check = StampCheck::new(Arc::new(Peers::new(1, &Settings::default(), None)));
        let headers = stamped(1, "a");
        assert!(check.check(&headers, None).is_ok(), "without TLS");
        assert!(check.check(&headers, Some(&BTreeSet::from([6, 7]))).is_ok());
        for proven in [BTreeSet::new(), BTreeSet::from([6])] {
            let refused = check.check(&headers, Some(&proven)).unwrap_err();
            assert!(refused.code() == tonic::Code::PermissionDenied && refused.message().contains("node 7"), "{refused}");
        }
    }
}
