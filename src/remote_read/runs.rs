//! Cuts a series into what becomes one chunk each, in the order of time: floats and histograms are chunks of their own.

use storage::Histogram;
use storage::histogram::chunk::Sample;

use super::{histogram_chunk, xor_chunk};
use crate::query::ordered::StoredSeries;

/// `Chunk.Encoding`
const XOR: u64 = 1;

/// Samples of one chunk; there is always one at least.
#[derive(Clone, Copy, Debug)]
pub enum Run<'s> {
    Floats {
        timestamps: &'s [i64],
        values: &'s [f64],
    },
    Histograms {
        /// The sample directly before the first, if it is a histogram.
        before: Option<&'s Histogram>,
        samples: &'s [Sample],
    },
}

impl Run<'_> {
    /// Times of the first and the last sample.
    pub fn ends(&self) -> Option<(i64, i64)> {
        match self {
            Run::Floats { timestamps, .. } => Some((*timestamps.first()?, *timestamps.last()?)),
            Run::Histograms { samples, .. } => Some((samples.first()?.0, samples.last()?.0)),
        }
    }

    /// `Chunk.Encoding`
    pub fn encoding(&self) -> u64 {
        match self {
            Run::Floats { .. } => XOR,
            Run::Histograms { samples, .. } => samples.first().map_or(XOR, |(_, first)| histogram_chunk::encoding(first)),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Run::Floats { timestamps, values } => xor_chunk::encode(timestamps, values, out),
            Run::Histograms { before, samples } => histogram_chunk::encode(*before, samples, out),
        }
    }
}

pub fn runs(series: &StoredSeries) -> impl Iterator<Item = Run<'_>> {
    let StoredSeries { timestamps, values, histograms, .. } = series;
    let (mut float, mut histogram) = (0, 0);
    std::iter::from_fn(move || {
        let float_ms = timestamps.get(float).copied().unwrap_or(i64::MAX);
        let histogram_ms = histograms.get(histogram).map_or(i64::MAX, |(time, _)| *time);
        if float == timestamps.len() && histogram == histograms.len() {
            return None;
        }
        let floats_first = histogram == histograms.len() || float < timestamps.len() && float_ms < histogram_ms;
        if floats_first {
            let length = match histogram == histograms.len() {
                true => timestamps.len() - float,
                false => timestamps[float..].partition_point(|time| *time < histogram_ms),
            };
            let range = float..float + length.min(xor_chunk::SAMPLES_MAX);
            float = range.end;
            return Some(Run::Floats { timestamps: &timestamps[range.clone()], values: &values[range] });
        }
        let length = match float == timestamps.len() {
            true => histograms.len() - histogram,
            false => histograms[histogram..].partition_point(|(time, _)| *time < float_ms),
        };
        let length = histogram_chunk::run_length(&histograms[histogram..histogram + length]);
        let before = histogram.checked_sub(1).map(|before| &histograms[before]);
        let before = before.filter(|(time, _)| float == 0 || timestamps[float - 1] < *time).map(|(_, before)| before);
        let samples = &histograms[histogram..histogram + length];
        histogram += length;
        Some(Run::Histograms { before, samples })
    })
}
