//! The running aggregate of one group at all steps.

use super::super::budget::Ticker;
use super::super::column::{ABSENT, Column, SAMPLE_BYTES, is_absent};
use super::super::error::QueryError;
use super::super::functions::{HistogramMean, HistogramSum, Mean, quantile_of};
use super::super::notes::Notes;
use super::histogram_total::HistogramTotal;
use crate::annotations::AnnotationKind;
use crate::kahan;
use crate::labels::Labels;
use crate::operator::AggregateOp;
use crate::position::PositionRange;
use crate::sample::SampleValue;

/// Floats taken in so far, for each step; and for sums and means, histograms.
#[derive(Clone, Debug)]
pub struct Accumulator {
    pub(super) floats: Floats,
    /// One entry a step, or empty when there was no histogram.
    pub(super) histograms: Vec<Option<Box<HistogramTotal>>>,
    /// Of the largest total so far, about.
    histogram_bytes: usize,
    /// Of a group that keeps all its values.
    values_held: usize,
    pub drop_name: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Floats {
    /// Sum (absent before the first value) and compensation.
    Sum(Vec<f64>, Vec<f64>),
    Mean(Vec<Option<Mean>>),
    /// Of floats and histograms; 0: none.
    Count(Vec<f64>),
    Group(Vec<f64>),
    Min(Vec<f64>),
    Max(Vec<f64>),
    Variance(Vec<Spread>),
    Values(Vec<Vec<f64>>),
}

/// Welford's running variance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    pub count: f64,
    pub mean: f64,
    pub squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn merge(&mut self, other: Spread) {
        if self.count == 0.0 || other.count == 0.0 {
            *self = if self.count == 0.0 { other } else { *self };
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.squares += other.squares + delta * delta * self.count * other.count / count;
        self.mean += delta * other.count / count;
        self.count = count;
    }
}

/// What an accumulator needs to know about the aggregation.
#[derive(Clone, Copy, Debug)]
pub struct AggregationSite {
    pub op: AggregateOp,
    /// Where the aggregated expression stands.
    pub position: PositionRange,
}

impl Accumulator {
    pub fn new(op: AggregateOp, steps: usize) -> Accumulator {
        let floats = match op {
            AggregateOp::Sum => Floats::Sum(vec![ABSENT; steps], vec![0.0; steps]),
            AggregateOp::Avg => Floats::Mean(vec![None; steps]),
            AggregateOp::Count => Floats::Count(vec![0.0; steps]),
            AggregateOp::Min => Floats::Min(vec![ABSENT; steps]),
            AggregateOp::Max => Floats::Max(vec![ABSENT; steps]),
            AggregateOp::Stddev | AggregateOp::Stdvar => Floats::Variance(vec![Spread::default(); steps]),
            AggregateOp::Quantile => Floats::Values(vec![Vec::new(); steps]),
            _ => Floats::Group(vec![ABSENT; steps]),
        };
        Accumulator { floats, histograms: Vec::new(), histogram_bytes: 0, values_held: 0, drop_name: false }
    }

    /// How many values it holds: steps, or more where a group keeps all its values.
    pub fn values(&self) -> usize {
        match &self.floats {
            Floats::Sum(values, _) | Floats::Count(values) | Floats::Group(values) | Floats::Min(values) | Floats::Max(values) => {
                values.len()
            }
            Floats::Mean(means) => means.len(),
            Floats::Variance(spreads) => spreads.len(),
            Floats::Values(lists) => lists.len() + self.values_held,
        }
    }

    /// Bytes of memory that it takes, about: the largest histogram stands for all of them, for this is asked at every series.
    pub fn bytes(&self) -> usize {
        let floats = match &self.floats {
            Floats::Sum(sums, _) => sums.len() * 2 * size_of::<f64>(),
            Floats::Mean(means) => means.len() * size_of::<Option<Mean>>(),
            Floats::Variance(spreads) => spreads.len() * size_of::<Spread>(),
            Floats::Values(lists) => lists.len() * size_of::<Vec<f64>>() + self.values_held * size_of::<f64>(),
            Floats::Count(_) | Floats::Group(_) | Floats::Min(_) | Floats::Max(_) => self.values() * size_of::<f64>(),
        };
        floats + self.histograms.len() * (size_of::<usize>() + self.histogram_bytes)
    }

    /// Takes in one series.
    pub fn add(&mut self, column: &Column, site: AggregationSite, notes: &mut Notes) {
        self.drop_name |= column.drop_name;
        if column.has_histograms() {
            self.add_histograms(column, site, notes);
        }
        let present = column.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value));
        match &mut self.floats {
            Floats::Sum(sums, compensations) => {
                for (step, value) in present {
                    if is_absent(sums[step]) {
                        sums[step] = *value;
                    } else {
                        (sums[step], compensations[step]) = kahan::add(*value, sums[step], compensations[step]);
                    }
                }
            }
            Floats::Mean(means) => present.for_each(|(step, value)| match &mut means[step] {
                Some(mean) => mean.add(*value),
                empty => *empty = Some(Mean::new(*value)),
            }),
            Floats::Count(counts) => present.for_each(|(step, _)| counts[step] += 1.0),
            Floats::Group(groups) => present.for_each(|(step, _)| groups[step] = 1.0),
            Floats::Min(values) => present.for_each(|(step, value)| merge_extreme(&mut values[step], *value, |new, old| new < old)),
            Floats::Max(values) => present.for_each(|(step, value)| merge_extreme(&mut values[step], *value, |new, old| new > old)),
            Floats::Variance(spreads) => present.for_each(|(step, value)| spreads[step].add(*value)),
            Floats::Values(lists) => present.for_each(|(step, value)| {
                lists[step].push(*value);
                self.values_held += 1;
            }),
        }
    }

    fn add_histograms(&mut self, column: &Column, site: AggregationSite, notes: &mut Notes) {
        let present = column.histograms.iter().enumerate().filter_map(|(step, histogram)| Some((step, histogram.as_ref()?)));
        match &mut self.floats {
            Floats::Count(counts) => return present.for_each(|(step, _)| counts[step] += 1.0),
            Floats::Group(groups) => return present.for_each(|(step, _)| groups[step] = 1.0),
            Floats::Sum(..) | Floats::Mean(_) => {}
            _ => {
                let aggregation = site.op.as_str().to_owned();
                return notes.push(AnnotationKind::HistogramIgnoredInAggregation { aggregation }, site.position);
            }
        }
        self.histograms.resize(column.steps(), None);
        for (step, histogram) in present {
            // The buckets and what rounding has cost them.
            self.histogram_bytes = self.histogram_bytes.max(2 * SAMPLE_BYTES * histogram.size_in_samples());
            match &mut self.histograms[step] {
                Some(total) => total.add(histogram, column.labels.metric_name(), site.position, notes),
                empty if site.op == AggregateOp::Sum => *empty = Some(Box::new(HistogramTotal::Sum(HistogramSum::new(histogram)))),
                empty => *empty = Some(Box::new(HistogramTotal::Mean(HistogramMean::new(histogram)))),
            }
        }
    }

    /// Takes in other series of the same group.
    pub fn merge(&mut self, other: Accumulator, site: AggregationSite, notes: &mut Notes) {
        self.drop_name |= other.drop_name;
        self.histogram_bytes = self.histogram_bytes.max(other.histogram_bytes);
        self.values_held += other.values_held;
        match (&mut self.floats, other.floats) {
            (Floats::Sum(sums, compensations), Floats::Sum(other_sums, other_compensations)) => {
                for (step, value) in other_sums.into_iter().enumerate().filter(|(_, value)| !is_absent(*value)) {
                    if is_absent(sums[step]) {
                        (sums[step], compensations[step]) = (value, other_compensations[step]);
                    } else {
                        let compensation = compensations[step] + other_compensations[step];
                        (sums[step], compensations[step]) = kahan::add(value, sums[step], compensation);
                    }
                }
            }
            (Floats::Mean(means), Floats::Mean(others)) => {
                for (mean, other) in means.iter_mut().zip(others) {
                    match (mean, other) {
                        (Some(mean), Some(other)) => mean.merge(other),
                        (empty @ None, other) => *empty = other,
                        (Some(_), None) => {}
                    }
                }
            }
            (Floats::Count(counts), Floats::Count(others)) => counts.iter_mut().zip(others).for_each(|(count, other)| *count += other),
            (Floats::Group(groups), Floats::Group(others)) => {
                groups.iter_mut().zip(others).filter(|(_, other)| !is_absent(*other)).for_each(|(group, other)| *group = other);
            }
            (Floats::Min(values), Floats::Min(others)) => merge_extremes(values, others, |new, old| new < old),
            (Floats::Max(values), Floats::Max(others)) => merge_extremes(values, others, |new, old| new > old),
            (Floats::Variance(spreads), Floats::Variance(others)) => {
                spreads.iter_mut().zip(others).for_each(|(spread, other)| spread.merge(other));
            }
            (Floats::Values(lists), Floats::Values(others)) => {
                lists.iter_mut().zip(others).for_each(|(list, mut other)| list.append(&mut other));
            }
            // Invariant: both were made for the same operator.
            (own, other) => unreachable!("accumulators of one aggregation differ: {own:?}, {other:?}"),
        }
        self.merge_histograms(other.histograms, site, notes);
    }

    fn merge_histograms(&mut self, others: Vec<Option<Box<HistogramTotal>>>, site: AggregationSite, notes: &mut Notes) {
        self.histograms.resize(self.histograms.len().max(others.len()), None);
        for (own, other) in self.histograms.iter_mut().zip(others) {
            match (own, other) {
                (Some(own), Some(other)) => own.merge(*other, site.position, notes),
                (empty @ None, other) => *empty = other,
                (Some(_), None) => {}
            }
        }
    }

    /// The aggregate at all steps. `parameter`: the quantile at each step.
    pub fn finish(
        self,
        labels: Labels,
        site: AggregationSite,
        parameter: &[f64],
        ticker: &mut Ticker,
        notes: &mut Notes,
    ) -> Result<Column, QueryError> {
        ticker.tick(self.values())?;
        let floats = match self.floats {
            Floats::Sum(sums, compensations) => {
                let total = |(sum, compensation): (f64, f64)| if is_absent(sum) { ABSENT } else { sum + compensation };
                sums.into_iter().zip(compensations).map(total).collect()
            }
            Floats::Mean(means) => means.into_iter().map(|mean| mean.map_or(ABSENT, |mean| mean.value())).collect(),
            Floats::Count(counts) => counts.into_iter().map(|count| if count == 0.0 { ABSENT } else { count }).collect(),
            Floats::Group(values) | Floats::Min(values) | Floats::Max(values) => values,
            Floats::Variance(spreads) => spreads.into_iter().map(|spread| spread.value(site.op)).collect(),
            Floats::Values(lists) => {
                let quantile = |(mut list, q): (Vec<f64>, &f64)| {
                    ticker.tick(list.len())?;
                    Ok(if list.is_empty() { ABSENT } else { quantile_of(*q, &mut list) })
                };
                lists.into_iter().zip(parameter).map(quantile).collect::<Result<_, QueryError>>()?
            }
        };
        let mut column = Column { labels, drop_name: self.drop_name, floats, histograms: Vec::new() };
        for (step, total) in self.histograms.into_iter().enumerate() {
            let Some(total) = total else { continue };
            if !is_absent(column.floats[step]) {
                notes.push(AnnotationKind::MixedFloatsHistogramsInAggregation, site.position);
                column.set(step, None);
            } else if !total.is_incompatible() {
                let total = total.finish(site.position, notes);
                column.set(step, total.map(|total| SampleValue::Histogram(total.into())));
            }
        }
        Ok(column)
    }
}

impl Spread {
    fn value(self, op: AggregateOp) -> f64 {
        if self.count == 0.0 {
            return ABSENT;
        }
        let variance = self.squares / self.count;
        if op == AggregateOp::Stddev { variance.sqrt() } else { variance }
    }
}

/// Any number is more extreme than NaN.
#[inline]
fn merge_extreme(value: &mut f64, new: f64, is_beyond: impl Fn(f64, f64) -> bool) {
    if is_beyond(new, *value) || value.is_nan() {
        *value = new;
    }
}

fn merge_extremes(values: &mut [f64], others: Vec<f64>, is_beyond: impl Fn(f64, f64) -> bool) {
    for (value, other) in values.iter_mut().zip(others).filter(|(_, other)| !is_absent(*other)) {
        merge_extreme(value, other, &is_beyond);
    }
}
