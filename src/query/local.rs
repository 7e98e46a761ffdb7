//! Series of one local replica, read one after the other into the engine's buffer.

use std::sync::Arc;

use promql::source::{SeriesBuffer, SeriesCursor, SourceError};
use storage::labels::SeriesId;
use storage::{Histogram, Matcher, Reader, Shard, StorageError};

use super::convert::labels_from_disk;
use super::histograms;
use crate::self_metrics::SelfMetrics;

/// Reads the selected series in the order of the disk.
pub struct LocalCursor {
    shard: Arc<Shard>,
    reader: Reader,
    series: std::vec::IntoIter<SeriesId>,
    start_ms: i64,
    end_ms: i64,
    samples_read: u64,
    metrics: Arc<SelfMetrics>,
}

impl LocalCursor {
    /// The series of disjoint selectors, one selector after the other. Both ends of the range are inclusive.
    pub fn open(
        shard: Arc<Shard>,
        selectors: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
        metrics: Arc<SelfMetrics>,
    ) -> Result<LocalCursor, SourceError> {
        let mut series = Vec::new();
        for matchers in selectors {
            series.append(&mut shard.select(matchers, start_ms, end_ms).map_err(read_failed)?);
        }
        let reader = shard.reader();
        Ok(LocalCursor { shard, reader, series: series.into_iter(), start_ms, end_ms, samples_read: 0, metrics })
    }

    /// The next series that has samples in the range; its samples replace those in the two columns.
    pub fn next_into(&mut self, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<Option<SeriesId>, SourceError> {
        for id in self.series.by_ref() {
            timestamps.clear();
            values.clear();
            self.reader.read(id, self.start_ms, self.end_ms, timestamps, values).map_err(read_failed)?;
            if !timestamps.is_empty() {
                self.samples_read += timestamps.len() as u64;
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Which samples of the series that came last are histograms.
    pub fn histograms(&mut self) -> &mut Vec<(u32, Histogram)> {
        self.reader.histograms()
    }

    pub fn shard(&self) -> &Shard {
        &self.shard
    }
}

impl Drop for LocalCursor {
    /// Counted once, so that cores do not fight over the counter.
    fn drop(&mut self) {
        self.metrics.query.samples_read.add(self.samples_read);
    }
}

impl SeriesCursor for LocalCursor {
    fn next(&mut self, buffer: &mut SeriesBuffer) -> Result<bool, SourceError> {
        buffer.clear();
        let Some(id) = self.next_into(&mut buffer.timestamps, &mut buffer.values)? else { return Ok(false) };
        histograms::to_engine(self.reader.histograms().drain(..), &mut buffer.histograms);
        let unknown = || SourceError::Failed(format!("series {id} has samples but no labels"));
        buffer.labels = labels_from_disk(self.shard.labels(id).ok_or_else(unknown)?);
        Ok(true)
    }

    fn series_left(&self) -> Option<usize> {
        Some(self.series.len())
    }
}

pub fn read_failed(error: StorageError) -> SourceError {
    SourceError::Failed(format!("read samples: {error}"))
}
