//! Functions that need all series of their arguments at hand.

use std::sync::Arc;

use super::super::column::{Column, is_absent};
use super::super::error::QueryError;
use super::super::functions::absent::{absence, labels_of_matchers, mark_present};
use super::super::functions::elementwise::part_of_step_times;
use super::super::functions::histogram_calls::{Histograms, Naming, Question};
use super::super::functions::label_calls::{LabelJoin, LabelReplacement};
use super::super::functions::sorting::{sort_by_label, sort_by_value};
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::{Argument, Call, Node, RangeCall, Text};
use super::super::same_labels;
use super::sink::{Offer, Sink, columns_into};
use super::{Evaluator, Vector};
use crate::annotations::AnnotationKind;
use crate::function_signatures::Function;
use crate::labels::Labels;
use crate::number::open_metrics;
use crate::position::PositionRange;

const LABELS_IN_SAMPLES: usize = 100;

impl<'a> Evaluator<'a> {
    pub(super) fn call(&self, call: &Call, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        match (call.function, call.args.as_slice()) {
            (Function::Vector, [scalar]) => {
                let mut column = Column::empty(Labels::empty(), grid.steps);
                column.floats = self.scalar(&scalar.node, grid, notes)?;
                self.charged(vec![column])
            }
            (Function::Absent, [vector]) => self.absent(call, &vector.node, grid, notes),
            (Function::LabelReplace, [vector, target, replacement, source, pattern]) => {
                let (target, replacement, source) = (text(target)?, text(replacement)?, text(source)?);
                let change = LabelReplacement::new(target, replacement, source, text(pattern)?)?;
                self.change_labels(&vector.node, grid, notes, |column| change.apply(column))
            }
            (Function::LabelJoin, [vector, target, separator, sources @ ..]) => {
                let sources = sources.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                let change = LabelJoin::new(text(target)?, text(separator)?, &sources)?;
                self.change_labels(&vector.node, grid, notes, |column| change.apply(column))
            }
            (Function::Sort | Function::SortDesc | Function::SortByLabel | Function::SortByLabelDesc, [vector, labels @ ..]) => {
                self.sort(call, &vector.node, labels, grid, notes)
            }
            (Function::HistogramQuantile, [quantile, vector]) => {
                let quantiles = self.quantiles(quantile, grid, notes)?;
                self.histogram_call(&Question::Quantile(&quantiles), vector, grid, notes)
            }
            (Function::HistogramFraction, [lower, upper, vector]) => {
                let lower = self.scalar(&lower.node, grid, notes)?;
                let upper = self.scalar(&upper.node, grid, notes)?;
                self.histogram_call(&Question::Fraction { lower: &lower, upper: &upper }, vector, grid, notes)
            }
            (Function::HistogramQuantiles, [vector, label, quantiles @ ..]) => {
                self.histogram_quantiles(vector, &text(label)?.value, quantiles, grid, notes)
            }
            (Function::Info, [vector, ..]) => self.info(call, &vector.node, grid, notes),
            (Function::Timestamp, [vector]) => self.evaluation_times(&vector.node, grid, notes),
            (Function::StartTimestamp, [vector]) => {
                self.vector(&vector.node, grid, notes)?;
                self.charged(Vec::new())
            }
            (function, []) => self.charged(vec![part_of_step_times(function, grid)]),
            (function, _) => Err(QueryError::execution(format!("{function} cannot be called like this"))),
        }
    }

    fn change_labels(&self, node: &Node, grid: &Grid, notes: &mut Notes, change: impl Fn(&mut Column)) -> Result<Vector<'a>, QueryError> {
        let mut vector = self.vector(node, grid, notes)?;
        let mut ticker = self.budget.ticker();
        for column in &mut vector.columns {
            // New labels cost about as much as so many samples.
            ticker.tick(grid.steps + LABELS_IN_SAMPLES)?;
            change(column);
        }
        self.charged(same_labels::merge(vector.columns)?)
    }

    fn sort(&self, call: &Call, node: &Node, labels: &[Argument], grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let mut columns = self.vector(node, grid, notes)?.columns;
        let by_value = matches!(call.function, Function::Sort | Function::SortDesc);
        if !grid.is_instant() {
            notes.push(AnnotationKind::SortInRangeQuery, call.position);
            if by_value {
                columns.iter_mut().for_each(|column| column.histograms.clear());
                columns.retain(Column::has_floats);
            }
        } else if by_value {
            sort_by_value(call.function, &mut columns);
        } else {
            let labels: Vec<&Text> = labels.iter().map(text).collect::<Result<_, _>>()?;
            sort_by_label(call.function, &mut columns, &labels);
        }
        self.charged(columns)
    }

    /// `timestamp` of anything but a selector: the time of the step.
    fn evaluation_times(&self, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let mut columns = self.vector(node, grid, notes)?.columns;
        let mut ticker = self.budget.ticker();
        for column in &mut columns {
            ticker.tick(grid.steps)?;
            for step in (0..grid.steps).filter(|step| column.is_present(*step)).collect::<Vec<_>>() {
                column.set(step, Some(crate::sample::SampleValue::Float(grid.time_ms(step) as f64 / 1000.0)));
            }
            self.drop_name(column);
        }
        self.charged(if self.options.delayed_name_removal { columns } else { same_labels::merge(columns)? })
    }

    fn absent(&self, call: &Call, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let present = self.presence(node, grid, notes)?;
        self.charged(vec![absence(labels_of_matchers(&call.matchers), &present)])
    }

    pub(super) fn absent_over_time(&self, call: &RangeCall, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let present = self.presence(node, grid, notes)?;
        let mut column = absence(labels_of_matchers(&call.matchers), &present);
        column.drop_name = true;
        self.charged(vec![column])
    }

    /// Whether a vector has any series, at each step.
    fn presence(&self, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vec<bool>, QueryError> {
        let push = |present: &mut Vec<bool>, column: &mut Column, _: &mut Notes| {
            mark_present(column, present);
            Ok(())
        };
        let new = || vec![false; grid.steps];
        let absorb = columns_into(&push);
        let offer = self.offer_of_columns(node, grid).map(|subplan| Offer { subplan, op: None, absorb: &absorb });
        let sink = Sink { new: &new, push: &push, offer: offer.as_ref() };
        let parts = match node {
            Node::RangeCall(_) => self.fold_series(node, grid, &sink, notes)?,
            _ => self.fold(node, grid, &sink, notes)?,
        };
        Ok((0..grid.steps).map(|step| parts.iter().any(|present| present[step])).collect())
    }

    fn naming(&self) -> Naming {
        if self.options.delayed_name_removal { Naming::Known } else { Naming::Unknown }
    }

    fn quantiles(&self, quantile: &Argument, grid: &Grid, notes: &mut Notes) -> Result<Vec<f64>, QueryError> {
        let quantiles = self.scalar(&quantile.node, grid, notes)?;
        note_invalid(&quantiles, quantile.position, notes);
        Ok(quantiles)
    }

    fn histogram_call(&self, question: &Question, vector: &Argument, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let given = self.vector(&vector.node, grid, notes)?;
        let histograms = Histograms::gather(&given.columns, vector.position, self.naming(), notes);
        let answers = histograms.answer(question, grid, self.budget, notes)?;
        self.nameless(answers)
    }

    fn histogram_quantiles(
        &self,
        vector: &Argument,
        label: &Arc<str>,
        quantiles: &[Argument],
        grid: &Grid,
        notes: &mut Notes,
    ) -> Result<Vector<'a>, QueryError> {
        let given = self.vector(&vector.node, grid, notes)?;
        let histograms = Histograms::gather(&given.columns, vector.position, self.naming(), notes);
        let mut answers = Vec::new();
        for quantile in quantiles {
            let quantiles = self.quantiles(quantile, grid, notes)?;
            for answer in histograms.answer(&Question::Quantile(&quantiles), grid, self.budget, notes)? {
                answers.append(&mut label_by_quantile(answer, label, &quantiles));
            }
        }
        self.nameless(answers)
    }

    fn nameless(&self, mut columns: Vec<Column>) -> Result<Vector<'a>, QueryError> {
        columns.iter_mut().for_each(|column| self.drop_name(column));
        self.charged(same_labels::merge(columns)?)
    }
}

/// Splits a series by the quantile that holds at each step, which becomes a label.
fn label_by_quantile(answer: Column, label: &Arc<str>, quantiles: &[f64]) -> Vec<Column> {
    let mut parts: Vec<(u64, Column)> = Vec::new();
    for (step, value) in answer.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
        let quantile = quantiles[step];
        let at = parts.iter().position(|(bits, _)| *bits == quantile.to_bits()).unwrap_or_else(|| {
            let labels = answer.labels.with(label.clone(), open_metrics(quantile));
            parts.push((quantile.to_bits(), Column::empty(labels, quantiles.len())));
            parts.len() - 1
        });
        parts[at].1.floats[step] = *value;
    }
    parts.into_iter().map(|(_, column)| column).collect()
}

fn note_invalid(quantiles: &[f64], position: PositionRange, notes: &mut Notes) {
    let mut last = None;
    for quantile in quantiles.iter().filter(|quantile| !(0.0..=1.0).contains(*quantile)) {
        if last.replace(quantile.to_bits()) != Some(quantile.to_bits()) {
            notes.push(AnnotationKind::InvalidQuantile { quantile: *quantile }, position);
        }
    }
}

/// The text of a string argument.
fn text(argument: &Argument) -> Result<&Text, QueryError> {
    match &argument.node {
        Node::String(text) => Ok(text),
        _ => Err(QueryError::execution("expected a string")),
    }
}
