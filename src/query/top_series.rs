//! Which metrics and labels have the most series here: what `/api/v1/status/tsdb` answers, from this node's own replicas.

use std::sync::Arc;

use raft::Node;
use storage::{Matcher, Shard};

use super::failure::QueryFailure;
use super::local::read_failed;
use crate::clock;
use crate::time_text::{EARLIEST_MS, LATEST_MS};

const METRIC_NAME: &str = "__name__";

/// Counts over the local replicas, each list cut to its largest entries.
#[derive(Debug, Default)]
pub struct TopSeries {
    pub series: u64,
    pub label_pairs: u64,
    pub oldest_ms: i64,
    pub newest_ms: i64,
    pub series_by_metric: Vec<(String, u64)>,
    pub values_by_label: Vec<(String, u64)>,
    pub bytes_by_label: Vec<(String, u64)>,
}

impl TopSeries {
    pub fn collect(node: &Node, limit: usize) -> Result<TopSeries, QueryFailure> {
        let shards = node.shard_map().shard_count();
        let replicas: Vec<Arc<Shard>> = (0..shards).filter_map(|shard| node.replica(shard)).collect();
        let mut top = TopSeries { oldest_ms: clock::now_ms(), newest_ms: clock::now_ms(), ..TopSeries::default() };
        top.series = replicas.iter().map(|replica| replica.series_count()).sum();
        for name in union(&replicas, |replica| replica.label_names(&[], EARLIEST_MS, LATEST_MS)) {
            let values = union(&replicas, |replica| replica.label_values(&name, &[], EARLIEST_MS, LATEST_MS));
            top.label_pairs += values.len() as u64;
            top.bytes_by_label.push((name.to_string(), values.iter().map(|value| value.len() as u64).sum()));
            top.values_by_label.push((name.to_string(), values.len() as u64));
        }
        for metric in union(&replicas, |replica| replica.label_values(METRIC_NAME, &[], EARLIEST_MS, LATEST_MS)) {
            let matcher = [Matcher::equal(METRIC_NAME, metric.to_string())];
            let mut series = 0;
            for replica in &replicas {
                series += replica.select(&matcher, EARLIEST_MS, LATEST_MS).map_err(read_failed)?.len() as u64;
            }
            top.series_by_metric.push((metric.to_string(), series));
        }
        for list in [&mut top.series_by_metric, &mut top.values_by_label, &mut top.bytes_by_label] {
            list.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
            list.truncate(limit);
        }
        Ok(top)
    }
}

fn union(replicas: &[Arc<Shard>], texts: impl Fn(&Shard) -> Vec<Arc<str>>) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = replicas.iter().flat_map(|replica| texts(replica)).collect();
    all.sort_unstable();
    all.dedup();
    all
}
