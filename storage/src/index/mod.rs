//! The index of one shard: which series there are, and which of them a set of matchers selects.
//!
//! Everything lives in memory and is rebuilt from the stored label sets when the shard opens. Series are
//! numbered densely in log order; labels are interned as pairs; every pair has a posting; every UTC day
//! has the set of series that received a sample in it, which keeps yesterday's churn out of today's
//! selections.
//!
//! Invariants: postings hold only numbers below `len`; a number is never reused; pairs of a series are
//! stored in canonical (name) order.

mod go_regex;
mod matcher;
mod pairs;
mod regex_cache;
mod select;
mod listing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::labels::{self, SeriesId};
use crate::series_set::SeriesSet;
use pairs::{LabelPairs, PairId};
use regex_cache::RegexCache;

pub use matcher::{MatchOp, Matcher};

/// Milliseconds of a UTC day.
pub const DAY_MS: i64 = 86_400_000;
/// The label that holds the metric's name.
const METRIC_LABEL: &str = "__name__";

/// The UTC day of a timestamp, counted from 1970-01-01.
pub fn day_of(timestamp_ms: i64) -> i64 {
    timestamp_ms.div_euclid(DAY_MS)
}

/// Number of a metric (a value of `__name__`) in a shard, from 1; 0 for series without a name. Sealed
/// chunks are sorted by it, so that one metric is one contiguous scan. It is stored with every series.
pub type MetricId = u32;

/// The labels of one series, sorted by name. The texts are shared with the index and all its series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesLabels {
    pairs: Vec<(Arc<str>, Arc<str>)>,
}

impl SeriesLabels {
    /// Name and value of each label, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Arc<str>, Arc<str>)> {
        self.pairs.iter()
    }

    /// The value of a label, if the series has it.
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.pairs.iter().find(|(found, _)| **found == *name).map(|(_, value)| value)
    }

    /// Takes the list of names and values.
    pub fn into_pairs(self) -> Vec<(Arc<str>, Arc<str>)> {
        self.pairs
    }
}

/// See the module's story.
#[derive(Default)]
pub(crate) struct Index {
    pairs: LabelPairs,
    /// Where each series' pairs end in `lists`; they begin where the previous series' end.
    ends: Vec<u32>,
    lists: Vec<PairId>,
    metric_of: Vec<MetricId>,
    metrics: HashMap<PairId, MetricId>,
    metric_next: MetricId,
    active: BTreeMap<i64, SeriesSet>,
    /// Whether some series may be active in no day: then they are left out of what covers all days.
    has_inactive: bool,
    regexes: RegexCache,
}

impl Index {
    /// How many series there are; also the next series' number.
    pub fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Adds the next series by its canonical label bytes; its number is the answer.
    pub fn add(&mut self, canonical: &[u8]) -> SeriesId {
        self.add_with(canonical, |index, pair| {
            *index.metrics.entry(pair).or_insert_with(|| {
                index.metric_next += 1;
                index.metric_next
            })
        })
    }

    /// Adds the next series as it was stored, with the metric number it had.
    pub fn restore(&mut self, canonical: &[u8], metric: MetricId) -> SeriesId {
        self.add_with(canonical, |index, pair| {
            index.metric_next = index.metric_next.max(metric);
            index.metrics.insert(pair, metric);
            metric
        })
    }

    fn add_with(&mut self, canonical: &[u8], number_metric: impl Fn(&mut Self, PairId) -> MetricId) -> SeriesId {
        let series = self.len();
        let mut metric = 0;
        for (name, value) in labels::iter(canonical) {
            let pair = self.pairs.add(name, value, series);
            if name == METRIC_LABEL {
                metric = number_metric(self, pair);
            }
            self.lists.push(pair);
        }
        self.ends.push(self.lists.len() as u32);
        self.metric_of.push(metric);
        series
    }

    /// The metric's number of a series.
    pub fn metric(&self, series: SeriesId) -> MetricId {
        self.metric_of[series as usize]
    }

    /// The metric numbers of all series, by series number.
    pub fn metrics(&self) -> &[MetricId] {
        &self.metric_of
    }

    /// The labels of a series, or `None` when there is no such series.
    pub fn labels(&self, series: SeriesId) -> Option<SeriesLabels> {
        let pairs = self.labels_iter(series)?.map(|(name, value)| (name.clone(), value.clone()));
        Some(SeriesLabels { pairs: pairs.collect() })
    }

    /// Name and value of each label of a series, by name.
    pub fn labels_iter(&self, series: SeriesId) -> Option<impl ExactSizeIterator<Item = (&Arc<str>, &Arc<str>)>> {
        let pairs = self.pair_list(series)?.iter().map(|&id| self.pairs.pair(id));
        Some(pairs.map(|pair| (&self.pairs.name(pair.name).text, &pair.value)))
    }

    /// Appends the canonical label bytes of a series.
    pub fn canonical(&self, series: SeriesId, out: &mut Vec<u8>) {
        for &id in self.pair_list(series).unwrap_or_default() {
            let pair = self.pairs.pair(id);
            for text in [&self.pairs.name(pair.name).text, &pair.value] {
                crate::varint::put(out, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    fn pair_list(&self, series: SeriesId) -> Option<&[PairId]> {
        let end = *self.ends.get(series as usize)? as usize;
        let start = if series == 0 { 0 } else { self.ends[series as usize - 1] as usize };
        Some(&self.lists[start..end])
    }

    /// Remembers that a series received a sample in a day.
    pub fn mark_active(&mut self, day: i64, series: SeriesId) {
        self.active.entry(day).or_default().insert(series);
    }

    /// Adds stored activity.
    pub fn restore_active(&mut self, day: i64, series: &SeriesSet) {
        self.active.entry(day).or_default().unite_with(series);
    }

    /// The series that were active in a day.
    pub fn active(&self, day: i64) -> Option<&SeriesSet> {
        self.active.get(&day)
    }

    /// Each day with the series that were active in it.
    pub fn active_days(&self) -> impl Iterator<Item = (i64, &SeriesSet)> {
        self.active.iter().map(|(day, series)| (*day, series))
    }

    /// Looks whether some series are active in no day, after everything stored was restored.
    pub fn settle_activity(&mut self) {
        let mut active = SeriesSet::default();
        self.active.values().for_each(|series| active.unite_with(series));
        self.has_inactive = active.len() < self.len() as usize;
    }

    /// Forgets that some series were active in the days that lie in `start_ms..=end_ms` as a whole; answers the days in which one
    /// of them was.
    pub fn clear_active(&mut self, series: &SeriesSet, start_ms: i64, end_ms: i64) -> Vec<i64> {
        let is_whole = |day: i64| {
            let first_ms = day.saturating_mul(DAY_MS);
            start_ms <= first_ms && first_ms.saturating_add(DAY_MS - 1) <= end_ms
        };
        let mut changed = Vec::new();
        for (&day, active) in self.active.iter_mut().filter(|(day, _)| is_whole(**day)) {
            if active.intersects(series) {
                active.subtract(series);
                changed.push(day);
            }
        }
        self.has_inactive |= !changed.is_empty();
        changed
    }

    /// Forgets the activity before a day; answers whether there was any.
    pub fn forget_days_before(&mut self, day: i64) -> bool {
        let kept = self.active.split_off(&day);
        let any = !std::mem::replace(&mut self.active, kept).is_empty();
        self.has_inactive |= any;
        any
    }

    /// Bytes of memory, roughly.
    pub fn memory_bytes(&self) -> usize {
        let lists = (self.ends.capacity() + self.lists.capacity() + self.metric_of.capacity()) * 4;
        let days: usize = self.active.values().map(SeriesSet::memory_bytes).sum();
        self.pairs.memory_bytes() + lists + days
    }
}
