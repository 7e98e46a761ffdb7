//! Nodes that make of each series one series: selectors, functions of ranges, functions and operators of single values.

use std::sync::Arc;

use super::super::column::Column;
use super::super::error::QueryError;
use super::super::functions::elementwise;
use super::super::functions::range_call::{RangeFunction, keeps_metric_name, start_times_of};
use super::super::functions::window::{StartTimes, Subject};
use super::super::functions::windows::Windows;
use super::super::grid::Grid;
use super::super::instant::{for_each_holding, smoothed_values, values_at_steps};
use super::super::notes::Notes;
use super::super::plan::{Call, Node, RangeCall, RangeSource, SampleTime, Selector};
use super::super::{binary, column};
use super::Evaluator;
use super::sink::Sink;
use crate::annotations::AnnotationKind;
use crate::ast::Extension;
use crate::function_signatures::Function;
use crate::labels::{METRIC_NAME, TYPE_LABEL};
use crate::matcher::MatchOp;
use crate::sample::SampleValue;

impl Evaluator<'_> {
    pub(super) fn is_series_wise(&self, call: &Call) -> bool {
        elementwise::is_elementwise(call.function) && !call.args.is_empty()
    }

    /// Whether a node's series can be handed on one by one: it works series by series, and no two of its series
    /// get the same labels, so that nothing is to be checked when all are there.
    pub(super) fn streams(&self, node: &Node) -> bool {
        let child = match node {
            Node::Selector(_) => return true,
            Node::RangeCall(call) => {
                let distinct = self.options.delayed_name_removal || self.has_one_name(&call.source);
                return call.function != Function::AbsentOverTime && distinct;
            }
            Node::SampleTime { selector, .. } => return self.options.delayed_name_removal || self.selects_one_name(selector),
            Node::Negate(inner) => inner,
            Node::VectorScalar(operation) => &operation.vector,
            Node::Call(call) if self.is_series_wise(call) => &call.args[0].node,
            _ => return false,
        };
        match child {
            Node::Selector(selector) => self.options.delayed_name_removal || self.selects_one_name(selector),
            child => (self.options.delayed_name_removal || !matches!(child, Node::StepInvariant(_))) && self.streams(child),
        }
    }

    fn has_one_name(&self, source: &RangeSource) -> bool {
        match source {
            RangeSource::Selector { selector, .. } => self.selects_one_name(selector),
            RangeSource::Subquery(_) => false,
        }
    }

    /// Whether all selected series have the same metadata, so that they stay distinct without it.
    fn selects_one_name(&self, selector: &Selector) -> bool {
        let names = selector.matchers.iter().filter(|matcher| &*matcher.name == METRIC_NAME);
        let exact = |matcher: &crate::matcher::Matcher| matcher.op == MatchOp::Equal && !matcher.value.is_empty();
        !self.options.type_and_unit_labels && names.into_iter().any(exact)
    }

    /// Hands every series of a node that works series by series to the sink.
    pub(super) fn fold_series<S: Send>(
        &self,
        node: &Node,
        grid: &Grid,
        sink: &Sink<'_, S>,
        notes: &mut Notes,
    ) -> Result<Vec<S>, QueryError> {
        match node {
            Node::Selector(selector) => self.fold_selector(selector, grid, sink, notes),
            Node::RangeCall(call) => self.fold_range_call(call, grid, sink, notes),
            Node::SampleTime { selector, time } => self.fold_sample_times(selector, *time, grid, sink, notes),
            Node::Negate(inner) => {
                let negate = |state: &mut S, column: &mut Column, notes: &mut Notes| {
                    negate(column);
                    self.drop_name(column);
                    (sink.push)(state, column, notes)
                };
                self.fold(inner, grid, &sink.before(&negate), notes)
            }
            Node::VectorScalar(operation) => {
                let scalars = self.scalar(&operation.scalar, grid, notes)?;
                let changes_name = operation.return_bool || binary::element::changes_meaning(operation.op);
                let apply = |state: &mut S, column: &mut Column, notes: &mut Notes| {
                    binary::scalars::apply(operation, column, &scalars, notes);
                    if column.is_empty() {
                        return Ok(());
                    }
                    if changes_name {
                        self.drop_name(column);
                    }
                    (sink.push)(state, column, notes)
                };
                self.fold(&operation.vector, grid, &sink.before(&apply), notes)
            }
            Node::Call(call) => {
                let scalars = call.args[1..].iter().map(|arg| self.scalar(&arg.node, grid, notes)).collect::<Result<Vec<_>, _>>()?;
                let apply = |state: &mut S, column: &mut Column, notes: &mut Notes| {
                    elementwise::apply(call.function, column, &scalars);
                    if column.is_empty() {
                        return Ok(());
                    }
                    self.drop_name(column);
                    (sink.push)(state, column, notes)
                };
                self.fold(&call.args[0].node, grid, &sink.before(&apply), notes)
            }
            _ => Err(QueryError::execution("expected an expression that works series by series")),
        }
    }

    fn fold_selector<S: Send>(
        &self,
        selector: &Selector,
        grid: &Grid,
        sink: &Sink<'_, S>,
        notes: &mut Notes,
    ) -> Result<Vec<S>, QueryError> {
        let smoothed = selector.extension == Extension::Smoothed;
        let range = self.instant_range(selector, grid);
        self.scan(
            selector,
            range,
            grid,
            (sink.new, sink.offer),
            &|state, scratch, notes| {
                let column = &mut scratch.column;
                column.reset(grid.steps);
                column.labels = scratch.buffer.labels.clone();
                if smoothed {
                    let subject = Subject { labels: &scratch.buffer.labels.clone(), position: selector.position };
                    scratch.split.fill(&mut scratch.buffer, StartTimes::Ignore);
                    smoothed_values(selector, &scratch.split, grid, self.lookback_ms, column, subject, notes);
                } else {
                    values_at_steps(selector, &scratch.buffer, grid, self.lookback_ms, column, notes);
                }
                if column.is_empty() { Ok(()) } else { (sink.push)(state, column, notes) }
            },
            notes,
        )
    }

    /// The first and the last time of samples that an instant selector may need.
    pub(super) fn instant_range(&self, selector: &Selector, grid: &Grid) -> (i64, i64) {
        let ahead_ms = if selector.extension == Extension::Smoothed { self.lookback_ms } else { 0 };
        let first_ms = selector.reference_ms(grid.start_ms) - self.lookback_ms + 1;
        (first_ms, selector.reference_ms(grid.end_ms()) + ahead_ms)
    }

    fn fold_sample_times<S: Send>(
        &self,
        selector: &Selector,
        time: SampleTime,
        grid: &Grid,
        sink: &Sink<'_, S>,
        notes: &mut Notes,
    ) -> Result<Vec<S>, QueryError> {
        if time == SampleTime::CounterStart && !self.options.start_timestamps {
            return Ok(vec![(sink.new)()]);
        }
        let range = self.instant_range(selector, grid);
        self.scan(
            selector,
            range,
            grid,
            (sink.new, sink.offer),
            &|state, scratch, notes| {
                let (column, buffer) = (&mut scratch.column, &scratch.buffer);
                column.reset(grid.steps);
                column.labels = buffer.labels.clone();
                for_each_holding(selector, buffer, grid, self.lookback_ms, |step, position, _| {
                    let time_ms = match time {
                        SampleTime::Written => buffer.timestamps[position],
                        SampleTime::CounterStart => buffer.start_timestamps.get(position).copied().unwrap_or(0),
                    };
                    column.floats[step] = time_ms as f64 / 1000.0;
                    notes.count(step, 1);
                });
                if column.is_empty() {
                    return Ok(());
                }
                self.drop_name(column);
                (sink.push)(state, column, notes)
            },
            notes,
        )
    }

    fn fold_range_call<S: Send>(&self, call: &RangeCall, grid: &Grid, sink: &Sink<'_, S>, notes: &mut Notes) -> Result<Vec<S>, QueryError> {
        let scalars = call.scalars.iter().map(|scalar| self.scalar(scalar, grid, notes)).collect::<Result<Vec<_>, _>>()?;
        let function = RangeFunction::new(call, *grid, self.lookback_ms, &scalars, self.budget);
        let start_times = if self.options.start_timestamps { start_times_of(call.function) } else { StartTimes::Ignore };
        let drop_name = !keeps_metric_name(call.function);
        let finish = |state: &mut S, column: &mut Column, input_drops_name: bool, notes: &mut Notes| {
            if column.is_empty() {
                return Ok(());
            }
            self.note_non_counter(call, column, notes);
            if drop_name || input_drops_name {
                self.drop_name(column);
            }
            (sink.push)(state, column, notes)
        };
        match &call.source {
            RangeSource::Selector { selector, .. } => self.scan(
                selector,
                self.window_range(call, grid),
                grid,
                (sink.new, sink.offer),
                &|state, scratch, notes| {
                    let column = &mut scratch.column;
                    column.reset(grid.steps);
                    column.labels = scratch.buffer.labels.clone();
                    scratch.split.fill(&mut scratch.buffer, start_times);
                    let subject = Subject { labels: &scratch.buffer.labels, position: call.position };
                    function.evaluate(&scratch.split, &mut scratch.windows, column, subject, notes)?;
                    finish(state, column, false, notes)
                },
                notes,
            ),
            RangeSource::Subquery(subquery) => {
                let (mut state, mut windows) = ((sink.new)(), Windows::default());
                self.for_each_subquery_series(subquery, grid, notes, |buffer, split, input_drops_name, notes| {
                    let mut column = Column::empty(buffer.labels.clone(), grid.steps);
                    split.fill(buffer, start_times);
                    let subject = Subject { labels: &buffer.labels, position: call.position };
                    function.evaluate(split, &mut windows, &mut column, subject, notes)?;
                    finish(&mut state, &mut column, input_drops_name, notes)
                })?;
                Ok(vec![state])
            }
        }
    }

    /// The first and the last time of samples that any window may need.
    fn window_range(&self, call: &RangeCall, grid: &Grid) -> (i64, i64) {
        let (before_ms, ahead_ms) = match call.source.extension() {
            Extension::None => (0, 0),
            Extension::Anchored => (self.lookback_ms, 0),
            Extension::Smoothed => (self.lookback_ms, self.lookback_ms),
        };
        let first_ms = call.source.end_ms(grid.start_ms) - call.source.range_ms() - before_ms + 1;
        (first_ms, call.source.end_ms(grid.end_ms()) + ahead_ms)
    }

    /// Says so when a function of counters is used on what does not look like one.
    fn note_non_counter(&self, call: &RangeCall, column: &Column, notes: &mut Notes) {
        if !matches!(call.function, Function::Rate | Function::Increase) {
            return;
        }
        let Some(name) = column.labels.get_shared(METRIC_NAME) else { return };
        if !column.has_floats() {
            return;
        }
        if self.options.type_and_unit_labels {
            let type_label = column.labels.get(TYPE_LABEL);
            if !matches!(type_label, "counter" | "histogram") {
                let (metric, type_label) = (name.to_string(), type_label.to_owned());
                notes.push(AnnotationKind::PossibleNonCounterLabel { metric, type_label }, call.position);
            }
            return;
        }
        let known = notes.last_non_counter.as_ref().is_some_and(|last| last == name);
        if !known && !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            notes.push(AnnotationKind::PossibleNonCounter { metric: name.to_string() }, call.position);
            notes.last_non_counter = Some(Arc::clone(name));
        }
    }
}

/// Changes the sign of all values.
fn negate(column: &mut Column) {
    for value in column.floats.iter_mut().filter(|value| !column::is_absent(**value)) {
        *value = -*value;
    }
    for step in 0..column.histograms.len() {
        if let Some(histogram) = column.histograms[step].take() {
            let mut histogram = Arc::unwrap_or_clone(histogram);
            histogram.mul(-1.0);
            column.set(step, Some(SampleValue::Histogram(Arc::new(histogram))));
        }
    }
}
