//! Questions to other nodes about shards that this one holds no replica of (`query.proto`).

use std::sync::Arc;

use bytes::Bytes;
use proto::query as wire;
use proto::query::query_client::QueryClient;
use raft::{Node, PeerChannel};
use storage::labels::{SeriesHash, SeriesId, ShardId};

/// A frame holds about 256 KiB of series, but never splits one.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Cheap to copy.
#[derive(Clone)]
pub struct Peers {
    node: Arc<Node>,
}

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("no other node that holds shard {0} can be reached")]
    NoReplica(ShardId),
    #[error("shard {shard}: {}", status.message())]
    Refused { shard: ShardId, status: tonic::Status },
    #[error("shard {shard}: malformed answer: {reason}")]
    Malformed { shard: ShardId, reason: &'static str },
}

impl Peers {
    pub fn new(node: Arc<Node>) -> Peers {
        Peers { node }
    }

    /// Clients of the other nodes that hold the shard, in an order that spreads load over them.
    pub fn holders(&self, shard: ShardId) -> Vec<QueryClient<PeerChannel>> {
        let map = self.node.shard_map();
        let mut holders: Vec<u64> = map.replicas(shard).iter().copied().filter(|&id| id != self.node.id()).collect();
        if !holders.is_empty() {
            let first = rand::random_range(0..holders.len());
            holders.rotate_left(first);
        }
        let channels = holders.into_iter().filter_map(|id| self.node.channel(id).ok());
        channels.map(|channel| QueryClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)).collect()
    }

    /// Ids of series by their hashes; `SeriesId::MAX` where a series is unknown.
    pub async fn lookup(&self, shard: ShardId, hashes: &[SeriesHash]) -> Result<Vec<SeriesId>, PeerError> {
        let packed: Bytes = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect::<Vec<u8>>().into();
        let mut failure = PeerError::NoReplica(shard);
        for mut client in self.holders(shard) {
            match client.lookup(wire::LookupRequest { shard, hashes: packed.clone() }).await {
                Ok(answer) => return unpack_ids(shard, &answer.into_inner().ids, hashes.len()),
                Err(status) => failure = PeerError::Refused { shard, status },
            }
        }
        Err(failure)
    }
}

fn unpack_ids(shard: ShardId, packed: &[u8], expected: usize) -> Result<Vec<SeriesId>, PeerError> {
    let (ids, rest) = packed.as_chunks::<4>();
    if ids.len() != expected || !rest.is_empty() {
        return Err(PeerError::Malformed { shard, reason: "a number of ids other than asked for" });
    }
    Ok(ids.iter().map(|bytes| SeriesId::from_le_bytes(*bytes)).collect())
}
