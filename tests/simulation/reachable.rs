//! The nodes that clients can reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raft::Node;
use raft::runtime::Host;

use crate::network::MachineId;

/// All that are up now.
pub type Directory = Arc<Mutex<BTreeMap<MachineId, Reachable>>>;

#[derive(Clone)]
pub struct Reachable {
    pub host: Arc<dyn Host>,
    pub node: Arc<Node>,
}
