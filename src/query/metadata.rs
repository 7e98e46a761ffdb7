//! Series and labels over all shards: what `/api/v1/series`, `/labels` and `/label/<name>/values` answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, TryStreamExt};
use promql::labels::Labels;
use promql::matcher::Matcher;
use promql::source::SourceError;
use proto::query as wire;
use storage::Shard;
use tonic::Status;

use super::convert::{labels_from_canonical, labels_from_disk, matchers_to_disk, matchers_to_wire};
use super::failure::QueryFailure;
use super::local::read_failed;
use super::remote::{cut_short, source_error};
use super::runner::Runner;
use super::session;
use super::source::ClusterSource;
use crate::config::Consistency;

/// Which series are meant: those of any of the selectors; without a selector all of them.
#[derive(Clone, Debug)]
pub struct Scope {
    pub selectors: Vec<Vec<Matcher>>,
    /// Both inclusive.
    pub start_ms: i64,
    pub end_ms: i64,
    pub consistency: Consistency,
}

/// What is asked about the labels of a scope.
#[derive(Clone, Debug)]
pub enum LabelQuestion {
    Names,
    Values(String),
}

/// An answer, and what must be said about its freshness.
pub struct Found<T> {
    pub items: Vec<T>,
    pub warnings: Vec<String>,
}

impl Runner {
    /// The sorted label sets of all series in the scope; at most `limit` of them are collected from each shard.
    pub async fn series(&self, scope: Scope, limit: usize) -> Result<Found<Labels>, QueryFailure> {
        self.ask(scope, move |source, scope, selector, shard| series_of_shard(source, scope, selector, shard, limit)).await
    }

    /// Sorted names or values.
    pub async fn labels(&self, scope: Scope, question: LabelQuestion) -> Result<Found<String>, QueryFailure> {
        self.ask(scope, move |source, scope, selector, shard| labels_of_shard(source, scope, selector, shard, &question)).await
    }

    /// Runs `of_shard` for every selector and shard on a blocking thread and unites the answers.
    async fn ask<T, F>(&self, mut scope: Scope, of_shard: F) -> Result<Found<T>, QueryFailure>
    where
        T: Ord + Send + 'static,
        F: Fn(&ClusterSource, &Scope, &[Matcher], u32) -> Result<Vec<T>, SourceError> + Send + 'static,
    {
        let deadline = session::deadline(None, self.settings().timeout);
        let place = self.gate().enter(deadline).await?;
        let (replicas, warnings) = self.freshen(scope.consistency, deadline).await?;
        let source = self.source(replicas, scope.consistency, deadline);
        scope.start_ms = scope.start_ms.max(source.oldest_ms);
        if scope.selectors.is_empty() {
            scope.selectors.push(Vec::new());
        }
        let job = tokio::task::spawn_blocking(move || {
            let _place = place;
            let mut items = BTreeSet::new();
            for selector in &scope.selectors {
                for shard in 0..source.replicas.shards() {
                    if Instant::now() > source.deadline {
                        return Err(SourceError::Timeout("query timed out while collecting labels".to_string()));
                    }
                    items.extend(of_shard(&source, &scope, selector, shard)?);
                }
            }
            Ok(items.into_iter().collect())
        });
        let items = job.await.map_err(|error| QueryFailure::Internal(format!("collect labels: {error}")))??;
        Ok(Found { items, warnings })
    }
}

fn series_of_shard(
    source: &ClusterSource,
    scope: &Scope,
    selector: &[Matcher],
    shard: u32,
    limit: usize,
) -> Result<Vec<Labels>, SourceError> {
    if let Some(replica) = source.replicas.local(shard) {
        let ids = replica.select(&matchers_to_disk(selector)?, scope.start_ms, scope.end_ms).map_err(read_failed)?;
        let wanted = &ids[..ids.len().min(limit)];
        return Ok(replica.labels_of(wanted).into_iter().map(|(_, labels)| labels_from_disk(labels)).collect());
    }
    source.runtime.block_on(remote_series(source, scope, selector, shard, limit))
}

async fn remote_series(
    source: &ClusterSource,
    scope: &Scope,
    selector: &[Matcher],
    shard: u32,
    limit: usize,
) -> Result<Vec<Labels>, SourceError> {
    let selection = source.selection(shard, matchers_to_wire(selector), scope.start_ms, scope.end_ms);
    let mut failure = no_replica(shard);
    for mut client in source.peers.holders(shard) {
        let request = wire::SeriesRequest { selection: Some(selection.clone()), limit: limit as u64 };
        let answer = match client.series(request).await {
            Ok(answer) => collect_series(answer.into_inner()).await,
            Err(status) => Err(status),
        };
        match answer {
            Ok(series) => return Ok(series),
            Err(status) => failure = source_error(shard, &status),
        }
    }
    Err(failure)
}

/// The whole answer of one peer; one without its last frame is no answer.
async fn collect_series(mut frames: impl Stream<Item = Result<wire::SeriesFrame, Status>> + Unpin) -> Result<Vec<Labels>, Status> {
    let mut series = Vec::new();
    while let Some(frame) = frames.try_next().await? {
        series.extend(frame.labels.iter().map(|canonical| labels_from_canonical(canonical)));
        if frame.is_last {
            return Ok(series);
        }
    }
    Err(cut_short())
}

fn labels_of_shard(
    source: &ClusterSource,
    scope: &Scope,
    selector: &[Matcher],
    shard: u32,
    question: &LabelQuestion,
) -> Result<Vec<String>, SourceError> {
    if let Some(replica) = source.replicas.local(shard) {
        let matchers = matchers_to_disk(selector)?;
        let texts = labels_of_replica(replica, &matchers, scope.start_ms, scope.end_ms, question);
        return Ok(texts.iter().map(|text| text.to_string()).collect());
    }
    source.runtime.block_on(remote_labels(source, scope, selector, shard, question))
}

/// Also what a peer is answered with.
pub fn labels_of_replica(
    replica: &Shard,
    matchers: &[storage::Matcher],
    start_ms: i64,
    end_ms: i64,
    question: &LabelQuestion,
) -> Vec<Arc<str>> {
    match question {
        LabelQuestion::Names => replica.label_names(matchers, start_ms, end_ms),
        LabelQuestion::Values(name) => replica.label_values(name, matchers, start_ms, end_ms),
    }
}

async fn remote_labels(
    source: &ClusterSource,
    scope: &Scope,
    selector: &[Matcher],
    shard: u32,
    question: &LabelQuestion,
) -> Result<Vec<String>, SourceError> {
    let selection = source.selection(shard, matchers_to_wire(selector), scope.start_ms, scope.end_ms);
    let name = match question {
        LabelQuestion::Names => String::new(),
        LabelQuestion::Values(name) => name.clone(),
    };
    let mut failure = no_replica(shard);
    for mut client in source.peers.holders(shard) {
        let request = wire::LabelsRequest { selection: Some(selection.clone()), name: name.clone() };
        match client.labels(request).await {
            Ok(answer) => return Ok(answer.into_inner().texts),
            Err(status) => failure = source_error(shard, &status),
        }
    }
    Err(failure)
}

fn no_replica(shard: u32) -> SourceError {
    SourceError::Unavailable(format!("no other node that holds shard {shard} can be reached"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(last: bool) -> impl Stream<Item = Result<wire::SeriesFrame, Status>> + Unpin {
        let mut canonical = Vec::new();
        storage::labels::canonicalize(&mut vec![("__name__", "up")], &mut canonical).expect("valid");
        let frame = wire::SeriesFrame { labels: vec![canonical.into()], is_last: false };
        let end = wire::SeriesFrame { labels: Vec::new(), is_last: true };
        futures::stream::iter([frame].into_iter().chain(last.then_some(end)).map(Ok))
    }

    #[tokio::test]
    async fn a_peers_answer_that_breaks_off_is_no_answer() {
        assert_eq!(collect_series(frames(true)).await.expect("whole"), [Labels::from_pairs([("__name__", "up")])]);
        let status = collect_series(frames(false)).await.expect_err("cut short");
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
}
