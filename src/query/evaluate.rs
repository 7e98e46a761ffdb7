//! A piece of another node's query, evaluated over one local replica.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use promql::engine::{Engine, QueryError, QueryOptions};
use promql::source::{SelectRequest, SeriesCursor, Source, SourceError};
use promql::subplan::Subplan;
use proto::query as wire;
use storage::Shard;
use tokio::sync::mpsc;
use tonic::Status;

use super::conditions::Conditions;
use super::convert::matchers_to_disk;
use super::local::LocalCursor;
use crate::self_metrics::SelfMetrics;

/// One replica as the engine's data source; it has one part.
pub struct ShardSource {
    pub replica: Arc<Shard>,
    /// For the query there are no samples before this.
    pub oldest_ms: i64,
    /// Of the whole query, for each of its selectors.
    pub conditions: Conditions,
    pub metrics: Arc<SelfMetrics>,
}

impl Source for ShardSource {
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Box<dyn SeriesCursor + Send + 'a>>, SourceError> {
        let start_ms = request.start_ms.max(self.oldest_ms);
        if start_ms > request.end_ms {
            return Ok(Vec::new());
        }
        let (replica, metrics) = (Arc::clone(&self.replica), Arc::clone(&self.metrics));
        let selectors = self.conditions.applied_to(&request.matchers);
        let selectors = selectors.iter().map(|selector| matchers_to_disk(selector)).collect::<Result<Vec<_>, _>>()?;
        let cursor = LocalCursor::open(replica, &selectors, start_ms, request.end_ms, metrics)?;
        Ok(vec![Box::new(cursor)])
    }
}

/// Evaluates and sends frame after frame. It ends early when `cancel` is raised: the asker has gone.
pub fn send_evaluated(
    engine: &Engine,
    source: &ShardSource,
    subplan: &Subplan,
    (deadline, cancel): (Instant, Arc<AtomicBool>),
    sender: &mpsc::Sender<Result<wire::EvaluateFrame, Status>>,
) -> Result<(), Status> {
    let limits = QueryOptions { cancel: Some(cancel), deadline: Some(deadline), ..QueryOptions::default() };
    let send = |frame: Vec<u8>| {
        let frame = wire::EvaluateFrame { frame: frame.into() };
        sender.blocking_send(Ok(frame)).map_err(|_| QueryError::Source(SourceError::Canceled("the asker has gone".to_string())))
    };
    // It errs only when nobody listens, and then there is nobody to tell.
    let _ = engine.evaluate_part(source, subplan, &limits, &send);
    Ok(())
}
