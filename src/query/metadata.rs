//! Series and labels over all shards: what `/api/v1/series`, `/labels` and `/label/<name>/values` answer, and what status
//! pages count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::{Stream, TryStreamExt};
use promql::labels::Labels;
use promql::matcher::Matcher;
use promql::source::SourceError;
use proto::query as wire;
use proto::query::query_client::QueryClient;
use raft::PeerChannel;
use storage::Shard;
use tonic::Status;

use super::convert::{labels_from_canonical, labels_from_disk, matchers_to_disk, matchers_to_wire};
use super::failure::QueryFailure;
use super::local::read_failed;
use super::remote::{cut_short, source_error};
use super::runner::Runner;
use super::session::{self, Cancel};
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
        self.inquire(scope, move |inquiry| inquiry.unite(|selector, shard| inquiry.series_of_shard(selector, shard, limit))).await
    }

    /// Sorted names or values, the first `limit` of them.
    pub async fn labels(&self, scope: Scope, question: LabelQuestion, limit: usize) -> Result<Found<Arc<str>>, QueryFailure> {
        let answer = move |inquiry: &Inquiry| {
            let mut texts = inquiry.unite(|selector, shard| inquiry.labels_of_shard(selector, shard, &question, limit))?;
            texts.truncate(limit);
            Ok(texts)
        };
        self.inquire(scope, answer).await
    }

    /// How many series there are in the scope. Its selectors must not overlap.
    pub async fn series_count(&self, scope: Scope) -> Result<Found<u64>, QueryFailure> {
        self.inquire(scope, |inquiry| Ok(vec![inquiry.series_count()?])).await
    }

    /// Lets `answer` look at the shards from a blocking thread, within a query's bounds of time and concurrency. It should end
    /// soon after the asker has gone.
    pub async fn inquire<T, F>(&self, mut scope: Scope, answer: F) -> Result<Found<T>, QueryFailure>
    where
        T: Send + 'static,
        F: FnOnce(&Inquiry) -> Result<Vec<T>, SourceError> + Send + 'static,
    {
        let deadline = session::deadline(None, self.settings().timeout);
        let cancel = Cancel::new();
        let place = self.gate().enter(deadline).await?;
        let (replicas, warnings) = self.freshen(scope.consistency, deadline).await?;
        let source = self.source(replicas, scope.consistency, deadline);
        scope.start_ms = scope.start_ms.max(source.oldest_ms);
        if scope.selectors.is_empty() {
            scope.selectors.push(Vec::new());
        }
        let inquiry = Inquiry { source, scope, is_canceled: cancel.flag() };
        let job = tokio::task::spawn_blocking(move || {
            let _place = place;
            answer(&inquiry)
        });
        let items = job.await.map_err(|error| QueryFailure::Internal(format!("collect labels: {error}")));
        cancel.done();
        Ok(Found { items: items??, warnings })
    }
}

/// One question about series and labels, on a blocking thread.
pub struct Inquiry {
    source: ClusterSource,
    scope: Scope,
    is_canceled: Arc<AtomicBool>,
}

impl Inquiry {
    /// Sorted, without repetitions: what `of_shard` answers for every selector and shard.
    fn unite<T: Ord>(&self, of_shard: impl Fn(&[Matcher], u32) -> Result<Vec<T>, SourceError>) -> Result<Vec<T>, SourceError> {
        let mut items: Vec<T> = self.of_shards(of_shard)?.into_iter().flatten().collect();
        items.sort_unstable();
        items.dedup();
        Ok(items)
    }

    fn of_shards<T>(&self, of_shard: impl Fn(&[Matcher], u32) -> Result<T, SourceError>) -> Result<Vec<T>, SourceError> {
        let mut answers = Vec::new();
        if self.scope.start_ms > self.scope.end_ms {
            return Ok(answers);
        }
        for selector in &self.scope.selectors {
            for shard in 0..self.source.replicas.shards() {
                self.check()?;
                answers.push(of_shard(selector, shard)?);
            }
        }
        Ok(answers)
    }

    fn check(&self) -> Result<(), SourceError> {
        if self.is_canceled.load(Ordering::Relaxed) {
            return Err(SourceError::Canceled("query was canceled while collecting labels".to_string()));
        }
        if Instant::now() > self.source.deadline {
            return Err(SourceError::Timeout("query timed out while collecting labels".to_string()));
        }
        Ok(())
    }

    /// Sorted names of labels.
    pub fn names(&self) -> Result<Vec<Arc<str>>, SourceError> {
        self.unite(|selector, shard| self.labels_of_shard(selector, shard, &LabelQuestion::Names, usize::MAX))
    }

    /// Sorted values of a label, each with how many series have it. Selectors must not overlap.
    pub fn value_counts(&self, name: &str) -> Result<Vec<(Arc<str>, u64)>, SourceError> {
        let of_shards = self.of_shards(|selector, shard| self.value_counts_of_shard(selector, shard, name))?;
        Ok(sum_by_text(of_shards.into_iter().flatten().collect()))
    }

    pub fn series_count(&self) -> Result<u64, SourceError> {
        Ok(self.of_shards(|selector, shard| self.series_count_of_shard(selector, shard))?.into_iter().sum())
    }

    fn series_of_shard(&self, selector: &[Matcher], shard: u32, limit: usize) -> Result<Vec<Labels>, SourceError> {
        if let Some(replica) = self.source.replicas.local(shard) {
            let ids = replica.select(&matchers_to_disk(selector)?, self.scope.start_ms, self.scope.end_ms).map_err(read_failed)?;
            let wanted = &ids[..ids.len().min(limit)];
            return Ok(replica.labels_of(wanted).into_iter().map(|(_, labels)| labels_from_disk(labels)).collect());
        }
        let request = wire::SeriesRequest { selection: Some(self.selection(selector, shard)), limit: wire_limit(limit) };
        self.ask_peers(shard, async |mut client| collect_series(client.series(request.clone()).await?.into_inner()).await)
    }

    fn labels_of_shard(
        &self,
        selector: &[Matcher],
        shard: u32,
        question: &LabelQuestion,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, SourceError> {
        if let Some(replica) = self.source.replicas.local(shard) {
            let matchers = matchers_to_disk(selector)?;
            return Ok(labels_of_replica(replica, &matchers, self.scope.start_ms, self.scope.end_ms, question, limit));
        }
        let name = match question {
            LabelQuestion::Names => String::new(),
            LabelQuestion::Values(name) => name.clone(),
        };
        let selection = Some(self.selection(selector, shard));
        let request = wire::LabelsRequest { selection, name, limit: wire_limit(limit), with_counts: false };
        let answer = self.ask_peers(shard, async |mut client| Ok(client.labels(request.clone()).await?.into_inner()))?;
        Ok(answer.texts.into_iter().map(Arc::from).collect())
    }

    fn value_counts_of_shard(&self, selector: &[Matcher], shard: u32, name: &str) -> Result<Vec<(Arc<str>, u64)>, SourceError> {
        if let Some(replica) = self.source.replicas.local(shard) {
            let matchers = matchers_to_disk(selector)?;
            return Ok(replica.label_value_counts(name, &matchers, self.scope.start_ms, self.scope.end_ms));
        }
        let selection = Some(self.selection(selector, shard));
        let request = wire::LabelsRequest { selection, name: name.to_string(), limit: 0, with_counts: true };
        let answer = self.ask_peers(shard, async |mut client| Ok(client.labels(request.clone()).await?.into_inner()))?;
        Ok(answer.texts.into_iter().map(Arc::from).zip(answer.counts).collect())
    }

    fn series_count_of_shard(&self, selector: &[Matcher], shard: u32) -> Result<u64, SourceError> {
        if let Some(replica) = self.source.replicas.local(shard) {
            return Ok(replica.count(&matchers_to_disk(selector)?, self.scope.start_ms, self.scope.end_ms));
        }
        let request = wire::CountRequest { selection: Some(self.selection(selector, shard)) };
        let answer = self.ask_peers(shard, async |mut client| Ok(client.count(request.clone()).await?.into_inner()))?;
        Ok(answer.series)
    }

    fn selection(&self, selector: &[Matcher], shard: u32) -> wire::Selection {
        self.source.selection(shard, matchers_to_wire(selector), self.scope.start_ms, self.scope.end_ms)
    }

    /// The answer of the first peer that holds the shard and gives one.
    fn ask_peers<A>(&self, shard: u32, ask: impl AsyncFn(QueryClient<PeerChannel>) -> Result<A, Status>) -> Result<A, SourceError> {
        self.source.runtime.block_on(async {
            let mut failure = SourceError::Unavailable(format!("no other node that holds shard {shard} can be reached"));
            for client in self.source.peers.holders(shard) {
                match ask(client).await {
                    Ok(answer) => return Ok(answer),
                    Err(status) => failure = source_error(shard, &status),
                }
            }
            Err(failure)
        })
    }
}

/// On the wire 0 is no limit.
fn wire_limit(limit: usize) -> u64 {
    if limit == usize::MAX { 0 } else { limit as u64 }
}

/// Adds up what several shards say about the same text.
fn sum_by_text(mut counts: Vec<(Arc<str>, u64)>) -> Vec<(Arc<str>, u64)> {
    counts.sort_unstable();
    counts.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
    counts
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

/// Sorted, the first `limit`; also what a peer is answered with.
pub fn labels_of_replica(
    replica: &Shard,
    matchers: &[storage::Matcher],
    start_ms: i64,
    end_ms: i64,
    question: &LabelQuestion,
    limit: usize,
) -> Vec<Arc<str>> {
    match question {
        LabelQuestion::Names => {
            let mut names = replica.label_names(matchers, start_ms, end_ms);
            names.truncate(limit);
            names
        }
        LabelQuestion::Values(name) => replica.label_values(name, matchers, start_ms, end_ms, limit),
    }
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

    #[test]
    fn counts_of_several_shards_add_up() {
        let count = |text: &str, series| (Arc::<str>::from(text), series);
        let summed = sum_by_text(vec![count("b", 2), count("a", 1), count("b", 3), count("c", 1)]);
        assert_eq!(summed, [count("a", 1), count("b", 5), count("c", 1)]);
    }
}
