//! The sum or mean of the histograms of one group at one step.

use super::super::functions::{HistogramMean, HistogramSum, Seen};
use super::super::notes::Notes;
use crate::annotations::{AnnotationKind, HistogramOperation};
use crate::histogram::{FloatHistogram, IncompatibleSchemas};
use crate::position::PositionRange;

#[derive(Clone, Debug)]
pub enum HistogramTotal {
    Sum(HistogramSum),
    Mean(HistogramMean),
    /// Exponential and custom buckets came together: there is no total.
    Incompatible,
}

impl HistogramTotal {
    /// Takes in one more histogram of the metric `metric`.
    pub fn add(&mut self, histogram: &FloatHistogram, metric: &str, position: PositionRange, notes: &mut Notes) {
        let added = match self {
            HistogramTotal::Sum(sum) => sum.add(histogram),
            HistogramTotal::Mean(mean) => mean.add(histogram),
            HistogramTotal::Incompatible => return,
        };
        self.check(added, metric, position, notes);
    }

    /// Takes in the total of other series.
    pub fn merge(&mut self, other: HistogramTotal, position: PositionRange, notes: &mut Notes) {
        let merged = match (&mut *self, other) {
            (HistogramTotal::Sum(own), HistogramTotal::Sum(other)) => own.merge(other),
            (HistogramTotal::Mean(own), HistogramTotal::Mean(other)) => own.merge(other),
            (HistogramTotal::Incompatible, _) => return,
            (own, _) => {
                *own = HistogramTotal::Incompatible;
                return;
            }
        };
        self.check(merged, "", position, notes);
    }

    fn check(&mut self, outcome: Result<(), IncompatibleSchemas>, metric: &str, position: PositionRange, notes: &mut Notes) {
        if outcome.is_err() {
            notes.push(AnnotationKind::MixedExponentialCustomHistograms { metric: metric.to_owned() }, position);
            *self = HistogramTotal::Incompatible;
        }
    }

    pub fn is_incompatible(&self) -> bool {
        matches!(self, HistogramTotal::Incompatible)
    }

    /// The total, compacted. None when there is none.
    pub fn finish(self, position: PositionRange, notes: &mut Notes) -> Option<FloatHistogram> {
        let (total, seen) = match self {
            HistogramTotal::Sum(sum) => (sum.clone().value(), sum.seen),
            HistogramTotal::Mean(mean) => (mean.clone().value(), mean.seen),
            HistogramTotal::Incompatible => return None,
        };
        let mut total = total.ok()?;
        note(seen, position, notes);
        total.compact(0);
        Some(total)
    }
}

fn note(seen: Seen, position: PositionRange, notes: &mut Notes) {
    let operation = HistogramOperation::Aggregation;
    if seen.has_collision() {
        notes.push(AnnotationKind::HistogramCounterResetCollision { operation }, position);
    }
    if seen.bounds_reconciled() {
        notes.push(AnnotationKind::MismatchedCustomBuckets { operation }, position);
    }
}
