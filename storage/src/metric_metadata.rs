//! What is said about the metrics of a shard: by metric, the entries that were told, the latest first.
//!
//! Different targets may say different things about one metric; a few of them are kept. A metric beyond the bound is not taken,
//! which every replica decides alike.

use std::collections::BTreeMap;

use crate::batch::beside;
use crate::error::Result;
use crate::exemplar::Metadata;
use crate::varint::{self, Cursor};

/// Different entries kept of one metric.
const ENTRIES_MAX: usize = 8;
/// Metrics of one shard.
const METRICS_MAX: usize = 100_000;

/// See the module's story.
#[derive(Debug, Default)]
pub(crate) struct MetricMetadata {
    metrics: BTreeMap<String, Vec<Metadata>>,
}

impl MetricMetadata {
    /// Takes one entry; answers whether anything changed.
    pub fn push(&mut self, metadata: &Metadata) -> bool {
        if !self.metrics.contains_key(&metadata.metric) && self.metrics.len() >= METRICS_MAX {
            return false;
        }
        let entries = self.metrics.entry(metadata.metric.clone()).or_default();
        if entries.first() == Some(metadata) {
            return false;
        }
        entries.retain(|entry| entry != metadata);
        entries.insert(0, metadata.clone());
        entries.truncate(ENTRIES_MAX);
        true
    }

    /// The entries of one metric, or of all metrics by name; of each the latest first.
    pub fn entries(&self, metric: Option<&str>) -> Vec<Metadata> {
        match metric {
            Some(metric) => self.metrics.get(metric).cloned().unwrap_or_default(),
            None => self.metrics.values().flatten().cloned().collect(),
        }
    }

    /// Appends the form that `decode` reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count: usize = self.metrics.values().map(Vec::len).sum();
        varint::put(out, count as u64);
        // The oldest first, as they were told.
        self.metrics.values().flat_map(|entries| entries.iter().rev()).for_each(|entry| beside::put_metadata(out, entry));
    }

    /// Reads what `encode` wrote.
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Self> {
        let count = cursor.count(cursor.rest().len())?;
        let mut found = Self::default();
        for _ in 0..count {
            found.push(&beside::read_metadata_entry(cursor)?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(metric: &str, help: impl std::fmt::Display) -> Metadata {
        Metadata { metric: metric.into(), help: help.to_string(), ..Metadata::default() }
    }

    #[test]
    fn the_latest_comes_first_and_few_are_kept() {
        let mut metadata = MetricMetadata::default();
        assert!(metadata.push(&entry("up", "a")) && metadata.push(&entry("up", "b")) && metadata.push(&entry("down", "c")));
        assert!(!metadata.push(&entry("up", "b")), "the latest once more");
        assert!(metadata.push(&entry("up", "a")));
        assert_eq!(metadata.entries(Some("up")), [entry("up", "a"), entry("up", "b")]);
        assert!((0..20).all(|number| metadata.push(&entry("up", number))));
        let expected: Vec<_> = (12..20).rev().map(|number| entry("up", number)).collect();
        assert_eq!(metadata.entries(Some("up")), expected);
        let mut bytes = Vec::new();
        metadata.encode(&mut bytes);
        let read = MetricMetadata::decode(&mut Cursor::new(&bytes, "test")).unwrap();
        assert_eq!(read.entries(None), [vec![entry("down", "c")], expected].concat());
    }
}
