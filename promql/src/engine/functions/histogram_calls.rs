//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction` of classic and native histograms alike.

use hashbrown::HashMap;

use super::super::budget::Budget;
use super::super::column::{Column, is_absent};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::classic_histogram::{self, ClassicBucket};
use crate::annotations::{AnnotationKind, ForcedMonotonicity};
use crate::histogram::{FloatHistogram, NanNote};
use crate::labels::{BUCKET_LABEL, Labels};
use crate::position::PositionRange;
use crate::sample::SampleValue;

/// What is asked of each histogram; numbers have one value a step.
pub enum Question<'a> {
    Quantile(&'a [f64]),
    Fraction { lower: &'a [f64], upper: &'a [f64] },
}

/// The histograms among the series of a vector: the series of a classic histogram gathered, native ones by themselves.
pub struct Histograms<'a> {
    columns: &'a [Column],
    classic: Vec<ClassicSeries>,
    classic_by_labels: HashMap<Labels, usize>,
    position: PositionRange,
    naming: Naming,
}

/// Whether series still have their metric name, so that annotations can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Known,
    Unknown,
}

struct ClassicSeries {
    labels: Labels,
    /// Upper bound and position among the columns.
    buckets: Vec<(f64, usize)>,
}

impl<'a> Histograms<'a> {
    /// Sorts out `columns`. Series of floats without a bucket label are left out with a warning.
    pub fn gather(columns: &'a [Column], position: PositionRange, naming: Naming, notes: &mut Notes) -> Histograms<'a> {
        let mut histograms = Histograms { columns, classic: Vec::new(), classic_by_labels: HashMap::new(), position, naming };
        for (at, column) in columns.iter().enumerate().filter(|(_, column)| column.has_floats()) {
            let bound = column.labels.get(BUCKET_LABEL);
            let Ok(upper) = bound.parse::<f64>() else {
                let kind = AnnotationKind::BadBucketLabel { metric: histograms.metric(&column.labels), value: bound.to_owned() };
                notes.push(kind, position);
                continue;
            };
            let labels = column.labels.without(BUCKET_LABEL);
            let series = *histograms.classic_by_labels.entry(labels.clone()).or_insert_with(|| {
                histograms.classic.push(ClassicSeries { labels, buckets: Vec::new() });
                histograms.classic.len() - 1
            });
            histograms.classic[series].buckets.push((upper, at));
        }
        histograms
    }

    fn metric(&self, labels: &Labels) -> String {
        if self.naming == Naming::Known { labels.metric_name().to_owned() } else { String::new() }
    }

    /// The answers for all histograms at all steps.
    pub fn answer(&self, question: &Question, grid: &Grid, budget: &Budget, notes: &mut Notes) -> Result<Vec<Column>, QueryError> {
        let (mut ticker, mut charge) = (budget.ticker(), budget.charge());
        let mut conflicts: Vec<Vec<bool>> = self.classic.iter().map(|_| Vec::new()).collect();
        let mut answers = Vec::new();
        for column in self.columns.iter().filter(|column| column.has_histograms()) {
            let classic = self.classic_by_labels.get(&column.labels).copied();
            let mut answer = Column::empty(column.labels.clone(), grid.steps);
            charge.add_bytes(answer.bytes())?;
            for (step, histogram) in column.histograms.iter().enumerate() {
                let Some(histogram) = histogram else { continue };
                ticker.tick(histogram.size_in_samples())?;
                if let Some(classic) = classic.filter(|classic| self.classic[*classic].is_present(self.columns, step)) {
                    let kind = AnnotationKind::MixedClassicNativeHistograms { metric: self.metric(&column.labels) };
                    notes.push(kind, self.position);
                    conflicts[classic].resize(grid.steps, false);
                    conflicts[classic][step] = true;
                    continue;
                }
                let value = self.answer_native(question, histogram, step, &column.labels, notes);
                answer.set(step, Some(SampleValue::Float(value)));
            }
            answers.push(answer);
        }
        for (series, conflicts) in self.classic.iter().zip(conflicts) {
            let mut answer = Column::empty(series.labels.clone(), grid.steps);
            charge.add_bytes(answer.bytes())?;
            for step in (0..grid.steps).filter(|step| !conflicts.get(*step).copied().unwrap_or(false)) {
                ticker.tick(series.buckets.len())?;
                let mut buckets = series.buckets_at(self.columns, step);
                if !buckets.is_empty() {
                    answer.floats[step] = self.answer_classic(question, &mut buckets, series, (step, grid), notes);
                }
            }
            answers.push(answer);
        }
        answers.retain(|answer| !answer.is_empty());
        Ok(answers)
    }

    fn answer_native(&self, question: &Question, histogram: &FloatHistogram, step: usize, labels: &Labels, notes: &mut Notes) -> f64 {
        let metric = || labels.metric_name().to_owned();
        match question {
            Question::Quantile(quantiles) => {
                let result = histogram.quantile(quantiles[step]);
                match result.note {
                    Some(NanNote::ResultIsNan) => {
                        notes.push(AnnotationKind::QuantileOfNanHistogramIsNan { metric: metric() }, self.position);
                    }
                    Some(NanNote::Skewed) => {
                        notes.push(AnnotationKind::QuantileOfNanHistogramIsSkewed { metric: metric() }, self.position);
                    }
                    None => {}
                }
                result.value
            }
            Question::Fraction { lower, upper } => {
                let result = histogram.fraction(lower[step], upper[step]);
                if result.excluded_nan {
                    notes.push(AnnotationKind::FractionOfNanHistogram { metric: metric() }, self.position);
                }
                result.value
            }
        }
    }

    fn answer_classic(
        &self,
        question: &Question,
        buckets: &mut Vec<ClassicBucket>,
        series: &ClassicSeries,
        (step, grid): (usize, &Grid),
        notes: &mut Notes,
    ) -> f64 {
        match question {
            Question::Fraction { lower, upper } => classic_histogram::fraction(lower[step], upper[step], buckets),
            Question::Quantile(quantiles) => {
                let (value, mended) = classic_histogram::quantile(quantiles[step], buckets);
                if let Some(mended) = mended {
                    let time_ms = grid.time_ms(step);
                    let extent = ForcedMonotonicity::at(time_ms, mended.bucket_min, mended.bucket_max, mended.difference_max);
                    notes.push(AnnotationKind::ForcedMonotonicity { metric: self.metric(&series.labels), extent }, self.position);
                }
                value
            }
        }
    }
}

impl ClassicSeries {
    fn is_present(&self, columns: &[Column], step: usize) -> bool {
        self.buckets.iter().any(|(_, at)| !is_absent(columns[*at].floats[step]))
    }

    fn buckets_at(&self, columns: &[Column], step: usize) -> Vec<ClassicBucket> {
        let counts = self.buckets.iter().map(|(upper, at)| ClassicBucket { upper: *upper, count: columns[*at].floats[step] });
        counts.filter(|bucket| !is_absent(bucket.count)).collect()
    }
}
