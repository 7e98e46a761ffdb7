//! Who this data directory is, kept in the log instance under a group of its own.
//!
//! The identity is written before the node answers anybody. A node id with an empty directory where the cluster knows
//! another one is a wiped disk: it may have voted and forgotten it, so it must not come back under the old id.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use proto::raft as wire;
use serde::{Deserialize, Serialize};
use storage::LogDb;

use crate::log_writer::LogWriter;
use crate::types::{GroupId, NodeId};

/// Facts about the node itself are filed under this group, which no Raft group uses.
const NODE_FACTS: GroupId = GroupId::MAX;
const KEY_IDENTITY: &str = "identity";
const KEY_ADDRESSES: &str = "addresses";
const KEY_FOUNDERS: &str = "founders";
const KEY_STARTS: &str = "starts";

/// Whether the cluster is known to mean this directory by the node's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// New, or every start so far ended before that was known.
    Fresh,
    Admitted,
}

/// What the identity says about its directory.
pub fn directory(identity: &wire::Identity) -> Directory {
    match identity.admitted {
        true => Directory::Admitted,
        false => Directory::Fresh,
    }
}

/// The identity on disk, if there is one.
pub fn load(db: &LogDb) -> io::Result<Option<wire::Identity>> {
    read(db, KEY_IDENTITY)
}

/// The node id this directory has been given; none while it has never joined a cluster.
pub fn node_id(db: &LogDb) -> io::Result<Option<NodeId>> {
    Ok(load(db)?.map(|identity| identity.node_id).filter(|&node_id| node_id != 0))
}

/// Writes the identity; durable on return.
pub async fn save(writer: &LogWriter, identity: &wire::Identity) -> io::Result<()> {
    write(writer, KEY_IDENTITY, identity).await
}

/// Addresses of the nodes as last known, to find them again when all start at once.
pub fn load_addresses(db: &LogDb) -> io::Result<BTreeMap<NodeId, String>> {
    let book: wire::AddressBook = read(db, KEY_ADDRESSES)?.unwrap_or_default();
    Ok(book.nodes.into_iter().map(|node| (node.node_id, node.grpc_address)).collect())
}

pub async fn save_addresses(writer: &LogWriter, addresses: &BTreeMap<NodeId, String>) -> io::Result<()> {
    let nodes = addresses.iter().map(|(&node_id, address)| wire::NodeAddress { node_id, grpc_address: address.clone() });
    write(writer, KEY_ADDRESSES, &wire::AddressBook { nodes: nodes.collect() }).await
}

/// The directories that founded the cluster; only the node that founded it has them.
pub fn load_founders(db: &LogDb) -> io::Result<Option<wire::Founders>> {
    read(db, KEY_FOUNDERS)
}

pub async fn save_founders(writer: &LogWriter, founders: &wire::Founders) -> io::Result<()> {
    write(writer, KEY_FOUNDERS, founders).await
}

/// Counts the starts of this directory, or goes beyond `known` when others have heard of a later start (this directory is an
/// older copy of itself). Durable before it is answered: batches are named by it, and no two starts may share names.
pub async fn count_start(writer: &LogWriter, known: u64) -> io::Result<u64> {
    let counted: wire::Starts = read(writer.db(), KEY_STARTS)?.unwrap_or_default();
    let start = counted.starts.max(known) + 1;
    write(writer, KEY_STARTS, &wire::Starts { starts: start }).await?;
    Ok(start)
}

/// What is kept beside the log's directory, as text, for the day on which the log cannot be read any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub cluster_id: String,
    pub node_id: NodeId,
    pub directory_id: u64,
    /// The id in the configuration, where it is another one.
    pub configured_node_id: NodeId,
    /// gRPC addresses of all living members, this node among them.
    pub nodes: BTreeMap<NodeId, String>,
}

const CARD_FILE: &str = "identity";

impl Card {
    /// The card in a node's folder; none when there is none or it is damaged.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(CARD_FILE)).ok()?;
        let (json, checksum) = text.trim_end().split_once('\n')?;
        (checksum == format!("{:08x}", crc32c::crc32c(json.as_bytes()))).then(|| serde_json::from_str(json).ok())?
    }

    /// Writes the card unless it is there; durable on return.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        if Self::read(folder).as_ref() == Some(self) {
            return Ok(());
        }
        let json = serde_json::to_string(self)?;
        let text = format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()));
        storage::write_durably(&folder.join(CARD_FILE), text.as_bytes()).map_err(io::Error::other)
    }

    /// Whether there is nobody else in the cluster.
    pub fn is_alone(&self) -> bool {
        self.nodes.keys().all(|node| *node == self.node_id)
    }
}

/// The token under which a directory asks for a node id: asking again gives the same id.
pub fn token(directory_id: u64) -> String {
    format!("{directory_id:016x}")
}

fn read<M: Message + Default>(db: &LogDb, key: &str) -> io::Result<Option<M>> {
    let bytes = db.get_meta(NODE_FACTS, key).map_err(io::Error::other)?;
    bytes.map(|bytes| M::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))).transpose()
}

async fn write(writer: &LogWriter, key: &'static str, message: &impl Message) -> io::Result<()> {
    writer.put_meta(NODE_FACTS, key, Bytes::from(message.encode_to_vec())).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use storage::LogOptions;

    use super::*;

    #[tokio::test]
    async fn a_directory_has_a_node_id_only_when_it_was_given_one() {
        let folder = tempfile::tempdir().expect("folder");
        let db = Arc::new(LogDb::open(folder.path(), LogOptions::default()).expect("log"));
        let writer = LogWriter::start(Arc::clone(&db), 1 << 20, Arc::new(|reason| panic!("{reason}"))).expect("writer");
        assert_eq!(node_id(&db).expect("readable"), None);
        // Asked to join; the answer never came.
        let mut identity = wire::Identity { directory_id: 7, ..wire::Identity::default() };
        save(&writer, &identity).await.expect("saved");
        assert_eq!(node_id(&db).expect("readable"), None);
        identity.node_id = 4;
        save(&writer, &identity).await.expect("saved");
        assert_eq!(node_id(&db).expect("readable"), Some(4));
    }
}
