//! Exemplars and metadata over all shards: what `/api/v1/query_exemplars` and `/api/v1/metadata` answer.

use std::collections::BTreeMap;
use std::time::Instant;

use promql::labels::Labels;
use promql::matcher::Matcher;
use promql::source::SourceError;
use proto::query as wire;
use storage::{Exemplar, Metadata, MetricType};

use super::convert::{labels_from_canonical, labels_from_disk, matchers_to_disk, matchers_to_wire};
use super::failure::QueryFailure;
use super::metadata::Found;
use super::remote::source_error;
use super::runner::Runner;
use super::session;
use super::source::ClusterSource;
use crate::config::Consistency;

/// Which exemplars are meant: those of the series of any selector.
#[derive(Clone, Debug)]
pub struct ExemplarScope {
    pub selectors: Vec<Vec<Matcher>>,
    /// Both inclusive.
    pub start_ms: i64,
    pub end_ms: i64,
    pub consistency: Consistency,
}

/// The exemplars of one series, in the order of time.
pub type SeriesExemplars = (Labels, Vec<Exemplar>);

impl Runner {
    /// Series with exemplars in the scope, sorted by labels.
    pub async fn exemplars(&self, scope: ExemplarScope) -> Result<Found<SeriesExemplars>, QueryFailure> {
        let consistency = scope.consistency;
        let (mut items, warnings) = self.of_all_shards(consistency, move |source, shard| exemplars_of_shard(source, &scope, shard)).await?;
        items.sort_by(|left: &SeriesExemplars, right| left.0.cmp(&right.0));
        Ok(Found { items, warnings })
    }

    /// What is known about one metric, or about all; by metric, of each the latest first.
    pub async fn metadata(
        &self,
        metric: Option<String>,
        consistency: Consistency,
    ) -> Result<(BTreeMap<String, Vec<Metadata>>, Vec<String>), QueryFailure> {
        let (items, warnings) =
            self.of_all_shards(consistency, move |source, shard| metadata_of_shard(source, metric.as_deref(), shard)).await?;
        let mut by_metric: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
        for entry in items {
            by_metric.entry(entry.metric.clone()).or_default().push(entry);
        }
        Ok((by_metric, warnings))
    }

    /// Runs `of_shard` for every shard on a blocking thread and puts the answers behind each other.
    async fn of_all_shards<T, F>(&self, consistency: Consistency, of_shard: F) -> Result<(Vec<T>, Vec<String>), QueryFailure>
    where
        T: Send + 'static,
        F: Fn(&ClusterSource, u32) -> Result<Vec<T>, SourceError> + Send + 'static,
    {
        let deadline = session::deadline(None, self.settings().timeout);
        let place = self.gate().enter(deadline).await?;
        let (replicas, warnings) = self.freshen(consistency, deadline).await?;
        let source = self.source(replicas, consistency, deadline);
        let job = tokio::task::spawn_blocking(move || {
            let _place = place;
            let mut items = Vec::new();
            for shard in 0..source.replicas.shards() {
                if Instant::now() > source.deadline {
                    return Err(SourceError::Timeout("query timed out while asking the shards".to_string()));
                }
                items.extend(of_shard(&source, shard)?);
            }
            Ok(items)
        });
        let items = job.await.map_err(|error| QueryFailure::Internal(format!("ask the shards: {error}")))??;
        Ok((items, warnings))
    }
}

fn exemplars_of_shard(source: &ClusterSource, scope: &ExemplarScope, shard: u32) -> Result<Vec<SeriesExemplars>, SourceError> {
    if let Some(replica) = source.replicas.local(shard) {
        let selectors = scope.selectors.iter().map(|selector| matchers_to_disk(selector)).collect::<Result<Vec<_>, _>>()?;
        let found = replica.exemplars(&selectors, scope.start_ms, scope.end_ms).into_iter();
        return Ok(found.map(|(labels, exemplars)| (labels_from_disk(labels), exemplars)).collect());
    }
    source.runtime.block_on(remote_exemplars(source, scope, shard))
}

async fn remote_exemplars(source: &ClusterSource, scope: &ExemplarScope, shard: u32) -> Result<Vec<SeriesExemplars>, SourceError> {
    let selection = source.selection(shard, Vec::new(), scope.start_ms, scope.end_ms);
    let selectors = scope.selectors.iter().map(|selector| wire::MatcherSet { matchers: matchers_to_wire(selector) }).collect();
    let request = wire::ExemplarsRequest { selection: Some(selection), selectors };
    let mut failure = no_replica(shard);
    for mut client in source.peers.holders(shard) {
        match client.exemplars(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner().series.into_iter().map(series_from_wire).collect()),
            Err(status) => failure = source_error(shard, &status),
        }
    }
    Err(failure)
}

fn series_from_wire(series: wire::SeriesExemplars) -> SeriesExemplars {
    let exemplar = |exemplar: wire::Exemplar| {
        let pairs = exemplar.labels.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        Exemplar { timestamp_ms: exemplar.timestamp_ms, value: exemplar.value, labels: pairs.collect() }
    };
    (labels_from_canonical(&series.labels), series.exemplars.into_iter().map(exemplar).collect())
}

/// For a peer's answer; `labels` are the canonical bytes of the series.
pub fn series_to_wire(labels: Vec<u8>, exemplars: Vec<Exemplar>) -> wire::SeriesExemplars {
    let exemplar = |exemplar: Exemplar| wire::Exemplar {
        timestamp_ms: exemplar.timestamp_ms,
        value: exemplar.value,
        labels: exemplar.labels.into_iter().flat_map(|(name, value)| [name, value]).collect(),
    };
    wire::SeriesExemplars { labels: labels.into(), exemplars: exemplars.into_iter().map(exemplar).collect() }
}

fn metadata_of_shard(source: &ClusterSource, metric: Option<&str>, shard: u32) -> Result<Vec<Metadata>, SourceError> {
    match source.replicas.local(shard) {
        Some(replica) => Ok(replica.metadata(metric)),
        None => source.runtime.block_on(remote_metadata(source, metric, shard)),
    }
}

async fn remote_metadata(source: &ClusterSource, metric: Option<&str>, shard: u32) -> Result<Vec<Metadata>, SourceError> {
    let selection = source.selection(shard, Vec::new(), i64::MIN, i64::MAX);
    let request = wire::MetadataRequest { selection: Some(selection), metric: metric.map(str::to_string) };
    let mut failure = no_replica(shard);
    for mut client in source.peers.holders(shard) {
        match client.metadata(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner().entries.into_iter().map(metadata_from_wire).collect()),
            Err(status) => failure = source_error(shard, &status),
        }
    }
    Err(failure)
}

fn metadata_from_wire(entry: wire::MetricMetadata) -> Metadata {
    let metric_type = MetricType::from_number(entry.metric_type.into());
    Metadata { metric: entry.metric, metric_type, help: entry.help, unit: entry.unit }
}

/// For a peer's answer.
pub fn metadata_to_wire(entry: Metadata) -> wire::MetricMetadata {
    wire::MetricMetadata { metric: entry.metric, metric_type: entry.metric_type as u32, help: entry.help, unit: entry.unit }
}

fn no_replica(shard: u32) -> SourceError {
    SourceError::Unavailable(format!("no other node that holds shard {shard} can be reached"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_answers_reads_as_it_was() {
        let exemplar = Exemplar { timestamp_ms: -5, value: 2.5, labels: vec![("trace_id".into(), "a".into())] };
        let mut canonical = Vec::new();
        storage::labels::canonicalize(&mut vec![("__name__", "up")], &mut canonical).expect("valid");
        let series = series_from_wire(series_to_wire(canonical, vec![exemplar.clone()]));
        assert_eq!(series, (Labels::from_pairs([("__name__", "up")]), vec![exemplar]));
        let entry = Metadata { metric: "up".into(), metric_type: MetricType::StateSet, help: "h".into(), unit: "u".into() };
        assert_eq!(metadata_from_wire(metadata_to_wire(entry.clone())), entry);
    }
}
