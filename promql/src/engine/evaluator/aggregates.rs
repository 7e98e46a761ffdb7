//! Aggregations: which way each is evaluated.

use super::super::aggregate::count_values::count_values;
use super::super::aggregate::groups::{AggregationSite, Groups};
use super::super::aggregate::selection;
use super::super::column::Column;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::{Aggregate, Node};
use super::super::same_labels;
use super::{Evaluator, Vector};
use crate::annotations::AnnotationKind;
use crate::operator::AggregateOp;

impl<'a> Evaluator<'a> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        match (aggregate.op, aggregate.parameter.as_ref().map(|parameter| &parameter.node)) {
            (AggregateOp::CountValues, Some(Node::String(label))) => {
                let vector = self.vector(&aggregate.child, grid, notes)?;
                self.charged(same_labels::merge(count_values(aggregate, label, &vector.columns, grid)?)?)
            }
            (AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK | AggregateOp::LimitRatio, Some(parameter)) => {
                let parameter = self.scalar(parameter, grid, notes)?;
                let vector = self.vector(&aggregate.child, grid, notes)?;
                self.charged(selection::select(aggregate, &parameter, vector.columns, notes)?)
            }
            (_, parameter) => {
                let parameter = match parameter {
                    Some(parameter) => self.scalar(parameter, grid, notes)?,
                    None => Vec::new(),
                };
                self.group(aggregate, &parameter, grid, notes)
            }
        }
    }

    /// One series of each group. Series are taken in while they are read.
    fn group(&self, aggregate: &Aggregate, parameter: &[f64], grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let site = AggregationSite { op: aggregate.op, position: aggregate.child_position };
        let new = || (Groups::new(site, &aggregate.grouping, grid.steps), self.budget.charge());
        let push = |(groups, charge): &mut (Groups, _), column: &mut Column, notes: &mut Notes| {
            let before = groups.len();
            groups.add(column, notes);
            super::Charge::add(charge, (groups.len() - before) * grid.steps)
        };
        let mut parts = self.fold(&aggregate.child, grid, &new, &push, notes)?.into_iter();
        let Some((mut groups, _charge)) = parts.next() else { return self.charged(Vec::new()) };
        for (part, _charge) in parts {
            groups.merge(part, notes);
        }
        if aggregate.op == AggregateOp::Quantile {
            note_quantiles(aggregate, parameter, notes);
        }
        self.charged(groups.finish(parameter, notes))
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
