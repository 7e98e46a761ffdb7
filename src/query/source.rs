//! The cluster as the engine's data source: one cursor a shard, over the local replica where there is one, else over a
//! peer's; and what the engine would make of a peer's series, the peer is asked to do itself. Samples older than retention do not exist for a query, although they leave the disk a day at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use promql::source::{Part, PartAnswer, PartFrame, SelectRequest, SeriesBuffer, SeriesCursor, Source, SourceError};
use promql::subplan::Subplan;
use proto::query as wire;
use storage::labels::ShardId;
use tokio::runtime::Handle;

use super::conditions::Conditions;
use super::convert::{matchers_to_disk, matchers_to_wire, subplan_to_wire};
use super::local::LocalCursor;
use super::remote::{RemoteCursor, RemoteFrames, deadline_ms};
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
    /// What every selector of the query must meet too.
    pub conditions: Conditions,
}

type Cursor<'a> = Box<dyn SeriesCursor + Send + 'a>;

impl Source for ClusterSource {
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Cursor<'a>>, SourceError> {
        self.each_shard(request, |cursor| cursor, |shard, start_ms| self.remote(shard, request, start_ms))
    }

    fn select_or_evaluate<'a>(&'a self, request: &SelectRequest, subplan: &Subplan) -> Result<Vec<Part<'a>>, SourceError> {
        self.each_shard(request, Part::Series, |shard, start_ms| {
            let selection = self.selection(shard, Vec::new(), start_ms, request.end_ms);
            let question = subplan_to_wire(subplan, selection, &self.conditions);
            Part::Evaluated(Box::new(RemotePart::open(self, request.clone(), start_ms, shard, question)))
        })
    }
}

impl ClusterSource {
    fn each_shard<'a, T>(
        &'a self,
        request: &SelectRequest,
        local: impl Fn(Cursor<'a>) -> T,
        remote: impl Fn(ShardId, i64) -> T,
    ) -> Result<Vec<T>, SourceError> {
        let start = Instant::now();
        let start_ms = request.start_ms.max(self.oldest_ms);
        if start_ms > request.end_ms {
            return Ok(Vec::new());
        }
        let selectors = self.conditions.applied_to(&request.matchers);
        let selectors = selectors.iter().map(|selector| matchers_to_disk(selector)).collect::<Result<Vec<_>, _>>()?;
        let parts = (0..self.replicas.shards())
            .map(|shard| {
                let Some(replica) = self.replicas.local(shard) else { return Ok(remote(shard, start_ms)) };
                let metrics = Arc::clone(&self.metrics);
                let cursor = LocalCursor::open(Arc::clone(replica), &selectors, start_ms, request.end_ms, metrics)?;
                Ok(local(Box::new(cursor)))
            })
            .collect();
        self.metrics.query.select.observe_since(start);
        parts
    }

    fn remote<'a>(&self, shard: ShardId, request: &SelectRequest, start_ms: i64) -> Cursor<'a> {
        let cursors = self.conditions.applied_to(&request.matchers).into_iter().map(|selector| {
            let selection = self.selection(shard, matchers_to_wire(&selector), start_ms, request.end_ms);
            RemoteCursor::open(&self.peers, &self.runtime, selection)
        });
        Box::new(OneByOne { cursors: cursors.collect() })
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

/// The series of disjoint selectors in the order in which a local cursor has them.
struct OneByOne {
    cursors: VecDeque<RemoteCursor>,
}

impl SeriesCursor for OneByOne {
    fn next(&mut self, buffer: &mut SeriesBuffer) -> Result<bool, SourceError> {
        while let Some(cursor) = self.cursors.front_mut() {
            if cursor.next(buffer)? {
                return Ok(true);
            }
            self.cursors.pop_front();
        }
        Ok(false)
    }
}

/// A shard that a peer was asked to evaluate; its series, when the peer does not know how.
struct RemotePart<'a> {
    source: &'a ClusterSource,
    request: SelectRequest,
    start_ms: i64,
    shard: ShardId,
    frames: RemoteFrames,
}

impl<'a> RemotePart<'a> {
    fn open(
        source: &'a ClusterSource,
        request: SelectRequest,
        start_ms: i64,
        shard: ShardId,
        question: wire::EvaluateRequest,
    ) -> RemotePart<'a> {
        let frames = RemoteFrames::open(&source.peers, &source.runtime, shard, question);
        RemotePart { source, request, start_ms, shard, frames }
    }
}

impl<'a> PartAnswer<'a> for RemotePart<'a> {
    fn next(&mut self) -> Result<PartFrame, SourceError> {
        self.frames.next()
    }

    fn into_series(self: Box<Self>) -> Result<Cursor<'a>, SourceError> {
        Ok(self.source.remote(self.shard, &self.request, self.start_ms))
    }
}
