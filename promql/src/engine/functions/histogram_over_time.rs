//! `sum_over_time` and `avg_over_time` of native histograms, and the running sums and means that aggregations share.

use std::sync::Arc;

use super::super::notes::Notes;
use super::super::wire::{Malformed, Reader, Wire, Writer};
use super::window::Subject;
use crate::annotations::{AnnotationKind, HistogramOperation};
use crate::histogram::{CounterResetHint, FloatHistogram, IncompatibleSchemas};

/// What came up while adding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    reset: bool,
    not_reset: bool,
    bounds_reconciled: bool,
}

impl Seen {
    fn look_at(&mut self, histogram: &FloatHistogram) {
        match histogram.counter_reset_hint {
            CounterResetHint::Reset => self.reset = true,
            CounterResetHint::NotReset => self.not_reset = true,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
    }

    /// Some of the histograms follow a reset, some say there was none.
    pub fn has_collision(self) -> bool {
        self.reset && self.not_reset
    }

    pub fn bounds_reconciled(self) -> bool {
        self.bounds_reconciled
    }

    pub fn merge(&mut self, other: Seen) {
        self.reset |= other.reset;
        self.not_reset |= other.not_reset;
        self.bounds_reconciled |= other.bounds_reconciled;
    }
}

/// A sum of histograms under construction.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    sum: FloatHistogram,
    compensation: Option<FloatHistogram>,
    pub seen: Seen,
}

impl HistogramSum {
    pub fn new(first: &FloatHistogram) -> HistogramSum {
        let mut seen = Seen::default();
        seen.look_at(first);
        HistogramSum { sum: first.clone(), compensation: None, seen }
    }

    pub fn add(&mut self, other: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.seen.look_at(other);
        let addition = self.sum.add_compensated(other, &mut self.compensation)?;
        self.seen.bounds_reconciled |= addition.bounds_reconciled;
        Ok(())
    }

    /// Takes in the sum of other histograms.
    pub fn merge(&mut self, other: HistogramSum) -> Result<(), IncompatibleSchemas> {
        self.seen.merge(other.seen);
        for part in std::iter::once(&other.sum).chain(&other.compensation) {
            let addition = self.sum.add_compensated(part, &mut self.compensation)?;
            self.seen.bounds_reconciled |= addition.bounds_reconciled;
        }
        Ok(())
    }

    pub fn value(mut self) -> Result<FloatHistogram, IncompatibleSchemas> {
        if let Some(compensation) = self.compensation {
            self.sum.add(&compensation)?;
        }
        Ok(self.sum)
    }
}

/// A mean of histograms under construction: sum by count, or where the sum would run over, a running mean.
#[derive(Clone, Debug)]
pub struct HistogramMean {
    sum_or_mean: FloatHistogram,
    compensation: Option<FloatHistogram>,
    count: f64,
    incremental: bool,
    pub seen: Seen,
}

impl HistogramMean {
    pub fn new(first: &FloatHistogram) -> HistogramMean {
        let mut seen = Seen::default();
        seen.look_at(first);
        HistogramMean { sum_or_mean: first.clone(), compensation: None, count: 1.0, incremental: false, seen }
    }

    pub fn add(&mut self, other: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.seen.look_at(other);
        self.count += 1.0;
        if !self.incremental {
            let (mut sum, mut compensation) = (self.sum_or_mean.clone(), self.compensation.clone());
            let addition = sum.add_compensated(other, &mut compensation)?;
            self.seen.bounds_reconciled |= addition.bounds_reconciled;
            if !sum.has_overflow() {
                (self.sum_or_mean, self.compensation) = (sum, compensation);
                return Ok(());
            }
            self.make_incremental(self.count - 1.0);
        }
        let share = (self.count - 1.0) / self.count;
        if let Some(compensation) = &mut self.compensation {
            compensation.mul(share);
        }
        let mut part = other.clone();
        part.div(self.count);
        self.sum_or_mean.mul(share);
        let addition = self.sum_or_mean.add_compensated(&part, &mut self.compensation)?;
        self.seen.bounds_reconciled |= addition.bounds_reconciled;
        Ok(())
    }

    fn make_incremental(&mut self, count: f64) {
        self.incremental = true;
        self.sum_or_mean.div(count);
        if let Some(compensation) = &mut self.compensation {
            compensation.div(count);
        }
    }

    /// Takes in the mean of other histograms.
    pub fn merge(&mut self, mut other: HistogramMean) -> Result<(), IncompatibleSchemas> {
        self.seen.merge(other.seen);
        let count = self.count + other.count;
        for mean in [&mut *self, &mut other].into_iter().filter(|mean| !mean.incremental) {
            mean.make_incremental(mean.count);
        }
        let (own_share, other_share) = (self.count / count, other.count / count);
        self.sum_or_mean.mul(own_share);
        if let Some(compensation) = &mut self.compensation {
            compensation.mul(own_share);
        }
        for part in std::iter::once(&mut other.sum_or_mean).chain(&mut other.compensation) {
            part.mul(other_share);
            let addition = self.sum_or_mean.add_compensated(part, &mut self.compensation)?;
            self.seen.bounds_reconciled |= addition.bounds_reconciled;
        }
        self.count = count;
        Ok(())
    }

    pub fn value(mut self) -> Result<FloatHistogram, IncompatibleSchemas> {
        if !self.incremental {
            self.sum_or_mean.div(self.count);
        }
        if let Some(mut compensation) = self.compensation {
            if !self.incremental {
                compensation.div(self.count);
            }
            self.sum_or_mean.add(&compensation)?;
        }
        Ok(self.sum_or_mean)
    }
}

impl Wire for HistogramSum {
    fn put(&self, out: &mut Writer) {
        self.sum.put(out);
        put_compensation(self.compensation.as_ref(), out);
        self.seen.put(out);
    }

    fn take(from: &mut Reader) -> Result<HistogramSum, Malformed> {
        let sum = FloatHistogram::take(from)?;
        Ok(HistogramSum { sum, compensation: take_compensation(from)?, seen: Seen::take(from)? })
    }
}

impl Wire for HistogramMean {
    fn put(&self, out: &mut Writer) {
        self.sum_or_mean.put(out);
        put_compensation(self.compensation.as_ref(), out);
        out.float(self.count);
        out.flag(self.incremental);
        self.seen.put(out);
    }

    fn take(from: &mut Reader) -> Result<HistogramMean, Malformed> {
        let sum_or_mean = FloatHistogram::take(from)?;
        let compensation = take_compensation(from)?;
        let (count, incremental) = (from.float()?, from.flag()?);
        Ok(HistogramMean { sum_or_mean, compensation, count, incremental, seen: Seen::take(from)? })
    }
}

fn put_compensation(compensation: Option<&FloatHistogram>, out: &mut Writer) {
    out.flag(compensation.is_some());
    if let Some(compensation) = compensation {
        compensation.put(out);
    }
}

fn take_compensation(from: &mut Reader) -> Result<Option<FloatHistogram>, Malformed> {
    if from.flag()? { FloatHistogram::take(from).map(Some) } else { Ok(None) }
}

impl Wire for Seen {
    fn put(&self, out: &mut Writer) {
        [self.reset, self.not_reset, self.bounds_reconciled].into_iter().for_each(|flag| out.flag(flag));
    }

    fn take(from: &mut Reader) -> Result<Seen, Malformed> {
        Ok(Seen { reset: from.flag()?, not_reset: from.flag()?, bounds_reconciled: from.flag()? })
    }
}

/// `sum_over_time`. `histograms` has at least one.
pub fn sum(histograms: &[Arc<FloatHistogram>], subject: Subject, notes: &mut Notes) -> Option<FloatHistogram> {
    let mut sum = HistogramSum::new(&histograms[0]);
    let added = histograms[1..].iter().try_for_each(|histogram| sum.add(histogram));
    let seen = sum.seen;
    finish(added.and_then(|()| sum.value()), seen, subject, notes)
}

/// `avg_over_time`. `histograms` has at least one.
pub fn average(histograms: &[Arc<FloatHistogram>], subject: Subject, notes: &mut Notes) -> Option<FloatHistogram> {
    let mut mean = HistogramMean::new(&histograms[0]);
    let added = histograms[1..].iter().try_for_each(|histogram| mean.add(histogram));
    let seen = mean.seen;
    finish(added.and_then(|()| mean.value()), seen, subject, notes)
}

fn finish(outcome: Result<FloatHistogram, IncompatibleSchemas>, seen: Seen, subject: Subject, notes: &mut Notes) -> Option<FloatHistogram> {
    match outcome {
        Err(IncompatibleSchemas) => {
            subject.mixed_schemas(notes);
            None
        }
        Ok(histogram) => {
            seen.note(subject.position, notes);
            Some(histogram)
        }
    }
}

impl Seen {
    /// Writes down what there is to say about an aggregation.
    pub fn note(self, position: crate::position::PositionRange, notes: &mut Notes) {
        let operation = HistogramOperation::Aggregation;
        if self.has_collision() {
            notes.push(AnnotationKind::HistogramCounterResetCollision { operation }, position);
        }
        if self.bounds_reconciled() {
            notes.push(AnnotationKind::MismatchedCustomBuckets { operation }, position);
        }
    }
}
