//! Aggregations: which way each is evaluated.

use super::super::aggregate::count_values::ValueCounts;
use super::super::aggregate::groups::{AggregationSite, Groups};
use super::super::aggregate::partial::is_mergeable;
use super::super::aggregate::selection;
use super::super::column::{Column, series_bytes};
use super::super::error::QueryError;
use super::super::frame::Frame;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::{Aggregate, Node, Text};
use super::super::same_labels;
use super::super::wire::Malformed;
use super::sink::{Offer, Sink, columns_into};
use super::{Charge, Evaluator, Vector};
use crate::annotations::AnnotationKind;
use crate::operator::AggregateOp;
use crate::subplan::Subplan;

impl<'a> Evaluator<'a> {
    /// `node` is the aggregation as the plan has it.
    pub(super) fn aggregate(&self, aggregate: &Aggregate, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        match (aggregate.op, aggregate.parameter.as_ref().map(|parameter| &parameter.node)) {
            (AggregateOp::CountValues, Some(Node::String(label))) => {
                let counts = self.value_counts(aggregate, label, self.subplan(node, grid), grid, notes)?;
                self.charged(same_labels::merge(counts.finish())?)
            }
            (AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK | AggregateOp::LimitRatio, Some(parameter)) => {
                let parameter = self.scalar(parameter, grid, notes)?;
                // A parameter that makes no sense is an error, but one that the child may have comes first, in whichever part.
                let offer = if selection::makes_sense(&parameter) { self.subplan(node, grid) } else { None };
                let columns = match self.streams(&aggregate.child) {
                    true => self.collect_series(&aggregate.child, offer, grid, notes)?,
                    false => self.vector(&aggregate.child, grid, notes)?.columns,
                };
                self.charged(selection::select(aggregate, &parameter, columns, self.budget.ticker(), notes)?)
            }
            (_, parameter) => {
                let parameter = match parameter {
                    Some(parameter) => self.scalar(parameter, grid, notes)?,
                    None => Vec::new(),
                };
                let (groups, _charge) = self.groups(aggregate, self.subplan(node, grid), grid, notes)?;
                if aggregate.op == AggregateOp::Quantile {
                    note_quantiles(aggregate, &parameter, notes);
                }
                self.charged(groups.finish(&parameter, &mut self.budget.ticker(), notes)?)
            }
        }
    }

    /// All groups. Series are taken in while they are read; the states of the parts are joined in their order.
    pub(super) fn groups(
        &self,
        aggregate: &Aggregate,
        subplan: Option<Subplan>,
        grid: &Grid,
        notes: &mut Notes,
    ) -> Result<(Groups, Charge<'a>), QueryError> {
        let site = AggregationSite { op: aggregate.op, position: aggregate.child_position };
        let new = || (Groups::new(site, &aggregate.grouping, grid.steps), self.budget.charge());
        let push = |(groups, charge): &mut (Groups, Charge), column: &mut Column, notes: &mut Notes| {
            let before = groups.len();
            let bytes = groups.add(column, notes);
            charge.add((groups.len() - before) * grid.steps)?;
            charge.add_bytes(bytes)
        };
        let absorb_groups = |(groups, charge): &mut (Groups, Charge), frame: Frame, notes: &mut Notes| {
            let Frame::Groups(states) = frame else { return Err(Malformed("groups were expected").into()) };
            charge.add(states.len() * grid.steps)?;
            for (labels, state) in states {
                charge.add_bytes(state.bytes() + series_bytes(&labels))?;
                groups.absorb(&labels, state, notes);
            }
            Ok(())
        };
        let absorb_columns = columns_into(&push);
        let offer = if is_mergeable(aggregate.op) {
            subplan.map(|subplan| Offer { subplan, op: Some(aggregate.op), absorb: &absorb_groups })
        } else {
            let series = subplan.and_then(|_| self.offer_of_columns(&aggregate.child, grid));
            series.map(|subplan| Offer { subplan, op: None, absorb: &absorb_columns })
        };
        let sink = Sink { new: &new, push: &push, offer: offer.as_ref() };
        let mut parts = self.fold(&aggregate.child, grid, &sink, notes)?.into_iter();
        let (mut groups, charge) = parts.next().unwrap_or_else(new);
        let mut ticker = self.budget.ticker();
        for (part, _charge) in parts {
            groups.merge(part, &mut ticker, notes)?;
        }
        Ok((groups, charge))
    }

    /// How many series have each value.
    pub(super) fn value_counts(
        &self,
        aggregate: &Aggregate,
        label: &Text,
        subplan: Option<Subplan>,
        grid: &Grid,
        notes: &mut Notes,
    ) -> Result<ValueCounts, QueryError> {
        let counts = ValueCounts::new(&aggregate.grouping, label, grid.steps)?;
        let new = || (counts.clone(), self.budget.charge());
        let push = |(counts, charge): &mut (ValueCounts, Charge), column: &mut Column, _: &mut Notes| {
            let before = counts.len();
            counts.add(column);
            let added = counts.len() - before;
            charge.add(added * grid.steps)?;
            charge.add_bytes(added * (series_bytes(&column.labels) + grid.steps * size_of::<f64>()))
        };
        let absorb = |(counts, charge): &mut (ValueCounts, Charge), frame: Frame, _: &mut Notes| {
            let Frame::Columns(columns) = frame else { return Err(Malformed("counts were expected").into()) };
            charge.add(columns.len() * grid.steps)?;
            for column in columns {
                charge.add_bytes(column.bytes())?;
                counts.absorb(column);
            }
            Ok(())
        };
        let offer = subplan.map(|subplan| Offer { subplan, op: None, absorb: &absorb });
        let sink = Sink { new: &new, push: &push, offer: offer.as_ref() };
        let parts = self.fold(&aggregate.child, grid, &sink, notes)?;
        let mut all = counts.clone();
        for (part, _charge) in parts {
            part.finish().into_iter().for_each(|column| all.absorb(column));
        }
        Ok(all)
    }
}

fn note_quantiles(aggregate: &Aggregate, parameter: &[f64], notes: &mut Notes) {
    let position = aggregate.parameter.as_ref().map_or(aggregate.position, |parameter| parameter.position);
    let max = parameter.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let min = parameter.iter().copied().fold(f64::INFINITY, f64::min);
    if parameter.iter().any(|quantile| quantile.is_nan()) {
        notes.push(AnnotationKind::InvalidQuantile { quantile: f64::NAN }, position);
        return;
    }
    for quantile in [(max > 1.0).then_some(max), (min < 0.0).then_some(min)].into_iter().flatten() {
        notes.push(AnnotationKind::InvalidQuantile { quantile }, position);
    }
}
