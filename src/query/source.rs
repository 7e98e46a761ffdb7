//! The cluster as the engine's data source: one cursor a shard, over the local replica where there is one, else over a
//! peer's. Samples older than retention do not exist for a query, although they leave the disk a day at a time.

use std::sync::Arc;
use std::time::Instant;

use promql::source::{SelectRequest, SeriesCursor, Source, SourceError};
use proto::query as wire;
use storage::labels::ShardId;
use tokio::runtime::Handle;

use super::convert::{matchers_to_disk, matchers_to_wire};
use super::local::LocalCursor;
use super::remote::{RemoteCursor, deadline_ms};
use super::replicas::Replicas;
use crate::config::Consistency;
use crate::peers::Peers;
use crate::self_metrics::SelfMetrics;

/// All shards, seen by one query.
pub struct ClusterSource {
    pub replicas: Replicas,
    pub peers: Peers,
    pub runtime: Handle,
    pub metrics: Arc<SelfMetrics>,
    /// What a peer must ensure; the local replicas have passed their barrier.
    pub consistency: Consistency,
    pub oldest_ms: i64,
    pub deadline: Instant,
}

type Cursor<'a> = Box<dyn SeriesCursor + Send + 'a>;

impl Source for ClusterSource {
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Cursor<'a>>, SourceError> {
        let start = Instant::now();
        let start_ms = request.start_ms.max(self.oldest_ms);
        if start_ms > request.end_ms {
            return Ok(Vec::new());
        }
        let disk_matchers = matchers_to_disk(&request.matchers)?;
        let cursors = (0..self.replicas.shards())
            .map(|shard| -> Result<Cursor<'a>, SourceError> {
                let Some(replica) = self.replicas.local(shard) else {
                    return Ok(self.remote(shard, request, start_ms));
                };
                let metrics = Arc::clone(&self.metrics);
                Ok(Box::new(LocalCursor::open(Arc::clone(replica), &disk_matchers, start_ms, request.end_ms, metrics)?))
            })
            .collect();
        self.metrics.query.select.observe_since(start);
        cursors
    }
}

impl ClusterSource {
    fn remote<'a>(&self, shard: ShardId, request: &SelectRequest, start_ms: i64) -> Cursor<'a> {
        let matchers = matchers_to_wire(&request.matchers);
        let selection = self.selection(shard, matchers, start_ms, request.end_ms);
        Box::new(RemoteCursor::open(&self.peers, &self.runtime, selection))
    }

    /// The question to a peer about one shard.
    pub fn selection(&self, shard: ShardId, matchers: Vec<wire::Matcher>, start_ms: i64, end_ms: i64) -> wire::Selection {
        let consistency = match self.consistency {
            Consistency::Strong => wire::Consistency::Strong,
            Consistency::Eventual => wire::Consistency::Eventual,
        };
        wire::Selection { shard, matchers, start_ms, end_ms, consistency: consistency.into(), deadline_ms: deadline_ms(self.deadline) }
    }
}
