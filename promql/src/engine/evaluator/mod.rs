//! Evaluating a plan.
//!
//! Three ways to evaluate a node: `scalar` gives one number a step; `vector` gives all series; `fold` hands series to the
//! caller one after the other and is what streams. `fold` keeps one state for each cursor of the source, so that cursors may
//! be read by several threads and the outcome still depends on nothing but the data.

mod sink;
mod scan;
mod series_wise;
mod scalars;
mod subquery;
mod aggregates;
mod calls;
mod info_call;
mod part;

use crate::function_signatures::Function;
use crate::operator::BinaryOp;
use crate::source::Source;

use super::binary::{matching, sets};
use super::budget::{Budget, Charge};
use super::column::{Column, is_metadata};
use super::error::QueryError;
use super::grid::Grid;
use super::notes::Notes;
use super::options::EngineOptions;
use super::plan::{Node, Run, VectorVector};
use super::same_labels;
use crate::subplan::{QueryText, Subplan};
use sink::{Offer, Sink};

/// Evaluates the nodes of one query.
pub struct Evaluator<'a> {
    pub source: &'a dyn Source,
    pub options: &'a EngineOptions,
    pub lookback_ms: i64,
    pub budget: &'a Budget,
    /// The plan of the whole query, and when parts of the source may be offered pieces of it, its text.
    pub plan: &'a Node,
    pub run: Run,
    pub text: Option<&'a QueryText>,
}

/// All series of a vector, and the samples they are charged for.
pub struct Vector<'b> {
    pub columns: Vec<Column>,
    pub charge: Charge<'b>,
}

impl<'a> Evaluator<'a> {
    /// All series of a vector expression.
    pub fn vector(&self, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        self.budget.check_time()?;
        self.budget.check_steps(grid.steps)?;
        if grid.steps == 0 {
            return self.charged(Vec::new());
        }
        match node {
            Node::RangeCall(call) if call.function == Function::AbsentOverTime => self.absent_over_time(call, node, grid, notes),
            Node::Selector(_) | Node::RangeCall(_) | Node::SampleTime { .. } | Node::Negate(_) | Node::VectorScalar(_) => {
                self.collect(node, grid, notes)
            }
            Node::Call(call) if self.is_series_wise(call) => self.collect(node, grid, notes),
            Node::Call(call) => self.call(call, grid, notes),
            Node::Aggregate(aggregate) => self.aggregate(aggregate, node, grid, notes),
            Node::VectorVector(operation) => self.vector_vector(operation, grid, notes),
            Node::StepInvariant(inner) => {
                let mut once = Notes::new(&grid.first());
                let vector = self.vector(inner, &grid.first(), &mut once)?;
                notes.merge_invariant(once);
                self.broadcast(vector, grid)
            }
            Node::Number(_) | Node::String(_) | Node::ScalarBinary { .. } | Node::Range(_) => {
                Err(QueryError::execution("expected an instant vector"))
            }
        }
    }

    /// Hands every series of a vector expression to the sink. Returns the states, one for each part that may be
    /// evaluated on its own, in order.
    fn fold<S: Send>(&self, node: &Node, grid: &Grid, sink: &Sink<'_, S>, notes: &mut Notes) -> Result<Vec<S>, QueryError> {
        if self.streams(node) {
            return self.fold_series(node, grid, sink, notes);
        }
        let mut state = (sink.new)();
        let mut ticker = self.budget.ticker();
        for mut column in self.vector(node, grid, notes)?.columns {
            ticker.tick(grid.steps)?;
            (sink.push)(&mut state, &mut column, notes)?;
        }
        Ok(vec![state])
    }

    /// Evaluates a node that works series by series, and collects its series.
    fn collect(&self, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let columns = self.collect_series(node, self.offer_of_columns(node, grid), grid, notes)?;
        if self.options.delayed_name_removal || self.streams(node) {
            return self.charged(columns);
        }
        if matches!(node, Node::RangeCall(_)) {
            same_labels::forbid(&columns)?;
            return self.charged(columns);
        }
        self.charged(same_labels::merge(columns)?)
    }

    /// The series of a node that works series by series; of a part that takes the offer, what that gives.
    fn collect_series(&self, node: &Node, offer: Option<Subplan>, grid: &Grid, notes: &mut Notes) -> Result<Vec<Column>, QueryError> {
        let new = || Vector { columns: Vec::new(), charge: self.budget.charge() };
        let push = |vector: &mut Vector<'a>, column: &mut Column, _: &mut Notes| {
            let column = std::mem::take(column);
            vector.charge.add_column(&column)?;
            vector.columns.push(column);
            Ok(())
        };
        let absorb = sink::columns_into(&push);
        let offer = offer.map(|subplan| Offer { subplan, op: None, absorb: &absorb });
        let sink = Sink { new: &new, push: &push, offer: offer.as_ref() };
        let parts = self.fold_series(node, grid, &sink, notes)?;
        Ok(parts.into_iter().flat_map(|part| part.columns).collect())
    }

    fn vector_vector(&self, operation: &VectorVector, grid: &Grid, notes: &mut Notes) -> Result<Vector<'a>, QueryError> {
        let left = self.vector(&operation.left, grid, notes)?;
        let right = self.vector(&operation.right, grid, notes)?;
        let columns = if operation.op.is_set() {
            sets::combine(operation.op, left.columns, right.columns, &operation.matching, grid, self.budget)?
        } else {
            let removal = if self.options.delayed_name_removal { matching::NameRemoval::Later } else { matching::NameRemoval::Now };
            matching::match_vectors(operation, &left.columns, &right.columns, (grid, self.budget), removal, notes)?
        };
        // Kept from one side, series stay as distinct as they were.
        let distinct = matches!(operation.op, BinaryOp::And | BinaryOp::Unless);
        self.charged(if distinct { columns } else { same_labels::merge(columns)? })
    }

    /// A vector of the series that have values, charged for their samples.
    fn charged(&self, mut columns: Vec<Column>) -> Result<Vector<'a>, QueryError> {
        columns.retain(|column| !column.is_empty());
        let mut charge = self.budget.charge();
        columns.iter().try_for_each(|column| charge.add_column(column))?;
        Ok(Vector { columns, charge })
    }

    /// The values of the only step, at all steps.
    fn broadcast(&self, vector: Vector<'a>, grid: &Grid) -> Result<Vector<'a>, QueryError> {
        let mut charge = self.budget.charge();
        let mut ticker = self.budget.ticker();
        let mut columns = Vec::with_capacity(vector.columns.len());
        for column in vector.columns {
            ticker.tick(grid.steps)?;
            let column = broadcast(column, grid);
            charge.add_column(&column)?;
            columns.push(column);
        }
        Ok(Vector { columns, charge })
    }

    /// Takes the metric name away, now or at the end of the query.
    fn drop_name(&self, column: &mut Column) {
        column.drop_name = true;
        if !self.options.delayed_name_removal {
            column.labels = column.labels.filter(|name| !is_metadata(name));
        }
    }

    /// Takes away the names that were left for the end.
    pub fn remove_names(&self, mut columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
        if !self.options.delayed_name_removal {
            return Ok(columns);
        }
        for column in columns.iter_mut().filter(|column| column.drop_name) {
            column.labels = column.labels.filter(|name| !is_metadata(name));
        }
        same_labels::merge(columns)
    }
}

/// The value of the only step, at all steps.
fn broadcast(column: Column, grid: &Grid) -> Column {
    let floats = vec![column.floats[0]; grid.steps];
    let histograms = if column.has_histograms() { vec![column.histograms[0].clone(); grid.steps] } else { Vec::new() };
    Column { floats, histograms, ..column }
}
