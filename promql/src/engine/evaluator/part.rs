//! The other end of an offer: evaluating a piece of a query over one part of its data, up to where parts are joined.

use super::super::aggregate::partial::is_mergeable;
use super::super::aggregate::selection;
use super::super::column::Column;
use super::super::error::QueryError;
use super::super::frame::{FrameWriter, Send};
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::{Aggregate, Node};
use super::Evaluator;
use super::sink::Sink;
use crate::operator::AggregateOp;

impl Evaluator<'_> {
    /// Sends what `node` makes of this part: the states of groups, the candidates of a choice, or series.
    pub fn send_part(&self, node: &Node, grid: &Grid, send: Send, notes: &mut Notes) -> Result<(), QueryError> {
        let Node::Aggregate(aggregate) = node else { return self.send_series(node, grid, send, notes) };
        if !self.streams(&aggregate.child) {
            return Err(not_for_a_part());
        }
        match (aggregate.op, aggregate.parameter.as_ref().map(|parameter| &parameter.node)) {
            (AggregateOp::CountValues, Some(Node::String(label))) => {
                send_columns(self.value_counts(aggregate, label, None, grid, notes)?.finish(), send)
            }
            (AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK | AggregateOp::LimitRatio, Some(parameter)) => {
                let parameter = self.scalar(parameter, grid, notes)?;
                let columns = self.collect_series(&aggregate.child, None, grid, notes)?;
                send_columns(selection::select(aggregate, &parameter, columns, self.budget.ticker(), notes)?, send)
            }
            (op, _) if is_mergeable(op) => self.send_groups(aggregate, grid, send, notes),
            _ => Err(not_for_a_part()),
        }
    }

    fn send_series(&self, node: &Node, grid: &Grid, send: Send, notes: &mut Notes) -> Result<(), QueryError> {
        let new = || FrameWriter::columns(send);
        let push = |frames: &mut FrameWriter, column: &mut Column, _: &mut Notes| frames.column(column);
        let sink = Sink { new: &new, push: &push, offer: None };
        self.fold_series(node, grid, &sink, notes)?.into_iter().try_for_each(FrameWriter::finish)
    }

    fn send_groups(&self, aggregate: &Aggregate, grid: &Grid, send: Send, notes: &mut Notes) -> Result<(), QueryError> {
        let (groups, _charge) = self.groups(aggregate, None, grid, notes)?;
        let mut frames = FrameWriter::groups(send);
        groups.states().try_for_each(|(labels, state)| frames.group(labels, state))?;
        frames.finish()
    }
}

fn send_columns(columns: Vec<Column>, send: Send) -> Result<(), QueryError> {
    let mut frames = FrameWriter::columns(send);
    columns.iter().try_for_each(|column| frames.column(column))?;
    frames.finish()
}

fn not_for_a_part() -> QueryError {
    QueryError::Invalid("this part of the query cannot be evaluated by a part of the data".to_owned())
}
