//! Which metrics, labels and label pairs have the most series: what `/api/v1/status/tsdb` answers. Counted over all shards
//! of the cluster, name by name, so that never more than one label's values are held at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use promql::source::SourceError;
use raft::Node;

use super::failure::QueryFailure;
use super::metadata::{Inquiry, Scope};
use super::runner::Runner;

const METRIC_NAME: &str = "__name__";

/// Counts over a scope, each list cut to its largest entries, the largest first.
#[derive(Debug, Default)]
pub struct TopSeries {
    pub series: u64,
    pub label_pairs: u64,
    pub series_by_metric: Vec<(String, u64)>,
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of a label's different values; each is held once a shard, however many series have it.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Entries are `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
    /// Of the one label that was asked about, its values.
    pub series_by_focus_value: Vec<(String, u64)>,
}

/// What waits in the memory of this node's replicas.
#[derive(Debug, Default)]
pub struct HeadTotals {
    pub pieces: u64,
    pub range_ms: Option<(i64, i64)>,
}

impl Runner {
    /// Lists of `limit` entries. The scope has one selector at most.
    pub async fn top_series(&self, scope: Scope, limit: usize, focus: Option<String>) -> Result<TopSeries, QueryFailure> {
        let found = self.inquire(scope, move |inquiry| Ok(vec![TopSeries::count(inquiry, limit, focus.as_deref())?])).await?;
        Ok(found.items.into_iter().next().unwrap_or_default())
    }
}

impl TopSeries {
    fn count(inquiry: &Inquiry, limit: usize, focus: Option<&str>) -> Result<TopSeries, SourceError> {
        let top = || Largest::new(limit);
        let (mut metrics, mut labels, mut bytes, mut pairs, mut focused) = (top(), top(), top(), top(), top());
        let mut label_pairs = 0;
        for name in inquiry.names()? {
            let values = inquiry.value_counts(&name)?;
            label_pairs += values.len() as u64;
            labels.push(values.len() as u64, || name.to_string());
            bytes.push(values.iter().map(|(value, _)| value.len() as u64).sum(), || name.to_string());
            for (value, series) in &values {
                pairs.push(*series, || format!("{name}={value}"));
                if &*name == METRIC_NAME {
                    metrics.push(*series, || value.to_string());
                }
                if focus == Some(&*name) {
                    focused.push(*series, || value.to_string());
                }
            }
        }
        Ok(TopSeries {
            series: inquiry.series_count()?,
            label_pairs,
            series_by_metric: metrics.into_list(),
            values_by_label: labels.into_list(),
            bytes_by_label: bytes.into_list(),
            series_by_pair: pairs.into_list(),
            series_by_focus_value: focused.into_list(),
        })
    }
}

impl HeadTotals {
    pub fn collect(node: &Node) -> HeadTotals {
        let shards = 0..node.shard_map().shard_count();
        let extents = shards.filter_map(|shard| node.replica(shard)).map(|replica| replica.head_extent());
        extents.fold(HeadTotals::default(), |totals, extent| HeadTotals {
            pieces: totals.pieces + extent.pieces,
            range_ms: match (totals.range_ms, extent.range_ms) {
                (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
                (one, other) => one.or(other),
            },
        })
    }
}

/// The largest of many numbers with their names; among equal ones the name that comes first.
struct Largest {
    limit: usize,
    /// The least of them on top.
    heap: BinaryHeap<Reverse<(u64, Reverse<String>)>>,
}

impl Largest {
    fn new(limit: usize) -> Largest {
        Largest { limit, heap: BinaryHeap::new() }
    }

    /// `name` is made only when the number has a chance.
    fn push(&mut self, number: u64, name: impl FnOnce() -> String) {
        if self.heap.len() >= self.limit {
            if self.heap.peek().is_none_or(|Reverse((least, _))| number < *least) {
                return;
            }
            self.heap.push(Reverse((number, Reverse(name()))));
            self.heap.pop();
        } else {
            self.heap.push(Reverse((number, Reverse(name()))));
        }
    }

    fn into_list(self) -> Vec<(String, u64)> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse((number, Reverse(name)))| (name, number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_equal_ones_by_name() {
        let mut largest = Largest::new(3);
        for (number, name) in [(1, "e"), (5, "d"), (2, "c"), (5, "b"), (2, "a"), (0, "f")] {
            largest.push(number, || name.to_string());
        }
        assert_eq!(largest.into_list(), [("b".to_string(), 5), ("d".to_string(), 5), ("a".to_string(), 2)]);
        let mut none = Largest::new(0);
        none.push(1, || "a".to_string());
        assert!(none.into_list().is_empty());
    }
}
