//! Whole series in the order of their labels, as remote read, federation and exports give them out. The order makes answers
//! the same whatever node gives them, and lets several shards and selectors be united one series at a time.
//!
//! A disk holds series in another order, and jumping about in it for each series would read every block many times. So a
//! cursor takes the next few series by labels, reads these in the order of the disk, and gives them out by labels. What is
//! held in memory is the labels of the selection (their texts are shared with the index) and one such handful of samples.

use std::collections::VecDeque;
use std::sync::Arc;

use promql::labels::Labels;
use promql::source::SourceError;
use storage::histogram::chunk::Sample;
use storage::labels::SeriesId;
use storage::{Matcher, Reader, Shard};

use super::convert::labels_from_disk;
use super::failure::QueryFailure;
use super::histograms;
use super::local::read_failed;
use crate::self_metrics::SelfMetrics;

/// About how much is read ahead of what was given out.
const AHEAD_BYTES: usize = 4 << 20;
/// Series read at once: at first, while their size is not known, and at most.
const AHEAD_SERIES_FIRST: usize = 16;
const AHEAD_SERIES_MAX: usize = 4096;
/// Labels are collected by so many series at a time, for the index is locked meanwhile.
const LABELS_AT_ONCE: usize = 4096;

/// What a native histogram takes in memory, about.
const HISTOGRAM_BYTES: usize = 512;

/// A series with all its samples in a range. Times rise strictly, in each list, and no time is in both.
#[derive(Clone, Debug, Default)]
pub struct StoredSeries {
    pub labels: Labels,
    pub timestamps: Vec<i64>,
    /// As long as `timestamps`; bit for bit as they were written.
    pub values: Vec<f64>,
    /// Native histograms with their times.
    pub histograms: Vec<Sample>,
}

impl StoredSeries {
    fn bytes(&self) -> usize {
        self.timestamps.len() * 16 + self.histograms.len() * HISTOGRAM_BYTES
    }

    fn is_empty(&self) -> bool {
        self.timestamps.is_empty() && self.histograms.is_empty()
    }

    /// For formats that cannot carry native histograms: leaving them out would look like all there is.
    pub fn require_floats(&self, format: &str) -> Result<(), QueryFailure> {
        if self.histograms.is_empty() {
            return Ok(());
        }
        let labels = &self.labels;
        let hint = "select other series, or take JSON lines from /api/v1/export";
        Err(QueryFailure::Execution(format!("{labels} has native histograms, which {format} cannot carry: {hint}")))
    }
}

/// A selected series that has not been read.
struct Waiting {
    labels: Labels,
    /// Place in the order of the disk.
    rank: usize,
    id: SeriesId,
}

/// Reads the series of one local replica.
pub struct OrderedCursor {
    reader: Reader,
    start_ms: i64,
    end_ms: i64,
    /// By labels.
    waiting: std::vec::IntoIter<Waiting>,
    ready: VecDeque<StoredSeries>,
    /// How many series are read at once next.
    take: usize,
    samples_read: u64,
    metrics: Arc<SelfMetrics>,
}

impl OrderedCursor {
    /// Both ends inclusive.
    pub fn open(
        shard: &Shard,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        metrics: Arc<SelfMetrics>,
    ) -> Result<OrderedCursor, SourceError> {
        let selected = shard.select(matchers, start_ms, end_ms).map_err(read_failed)?;
        let mut waiting = Vec::with_capacity(selected.len());
        for ids in selected.chunks(LABELS_AT_ONCE) {
            for (id, labels) in shard.labels_of(ids) {
                waiting.push(Waiting { labels: labels_from_disk(labels), rank: waiting.len(), id });
            }
        }
        waiting.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        Ok(OrderedCursor {
            reader: shard.reader(),
            start_ms,
            end_ms,
            waiting: waiting.into_iter(),
            ready: VecDeque::new(),
            take: AHEAD_SERIES_FIRST,
            samples_read: 0,
            metrics,
        })
    }

    /// The next series that has samples in the range.
    pub fn next(&mut self) -> Result<Option<StoredSeries>, SourceError> {
        while self.ready.is_empty() && self.waiting.len() > 0 {
            self.read_ahead()?;
        }
        Ok(self.ready.pop_front())
    }

    fn read_ahead(&mut self) -> Result<(), SourceError> {
        let mut batch: Vec<(Waiting, StoredSeries)> =
            self.waiting.by_ref().take(self.take).map(|waiting| (waiting, StoredSeries::default())).collect();
        batch.sort_unstable_by_key(|(waiting, _)| waiting.rank);
        for (waiting, series) in &mut batch {
            let StoredSeries { timestamps, values, .. } = series;
            self.reader.read(waiting.id, self.start_ms, self.end_ms, timestamps, values).map_err(read_failed)?;
            series.histograms = histograms::take_out(self.reader.histograms(), timestamps, values);
            series.labels = waiting.labels.clone();
        }
        let bytes: usize = batch.iter().map(|(_, series)| series.bytes()).sum();
        self.samples_read += batch.iter().map(|(_, series)| (series.timestamps.len() + series.histograms.len()) as u64).sum::<u64>();
        self.take = next_take(batch.len(), bytes);
        let mut filled: Vec<StoredSeries> = batch.into_iter().map(|(_, series)| series).filter(|series| !series.is_empty()).collect();
        filled.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        self.ready.extend(filled);
        Ok(())
    }
}

impl Drop for OrderedCursor {
    /// Counted once, so that cores do not fight over the counter.
    fn drop(&mut self) {
        self.metrics.query.samples_read.add(self.samples_read);
    }
}

/// So many series as fill the allowance if they are like those just read, and not many times more: they may be larger.
fn next_take(series: usize, bytes: usize) -> usize {
    let fitting = AHEAD_BYTES * series / bytes.max(1);
    fitting.min(series * 4).clamp(1, AHEAD_SERIES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_follows_the_size_of_the_series() {
        assert_eq!(next_take(16, 0), 64, "small ones: more, step by step");
        assert_eq!(next_take(16, 16 << 20), 4);
        assert_eq!(next_take(4, 400 << 20), 1, "never none");
        assert_eq!(next_take(4096, 1), AHEAD_SERIES_MAX);
    }
}
