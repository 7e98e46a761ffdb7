//! Expressions that are one number at every step.

use super::super::binary::element::of_scalars;
use super::super::column::is_absent;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::{Call, Node, max_of, min_of};
use super::Evaluator;
use crate::function_signatures::Function;

impl Evaluator<'_> {
    /// The numbers, one a step.
    pub fn scalar(&self, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vec<f64>, QueryError> {
        match node {
            Node::Number(value) => Ok(vec![*value; grid.steps]),
            Node::Negate(inner) => {
                let mut values = self.scalar(inner, grid, notes)?;
                values.iter_mut().for_each(|value| *value = -*value);
                Ok(values)
            }
            Node::ScalarBinary { op, left, right } => {
                let mut values = self.scalar(left, grid, notes)?;
                let right = self.scalar(right, grid, notes)?;
                values.iter_mut().zip(right).for_each(|(left, right)| *left = of_scalars(*op, *left, right));
                Ok(values)
            }
            Node::StepInvariant(inner) => {
                let mut once = Notes::new(&grid.first());
                let values = self.scalar(inner, &grid.first(), &mut once)?;
                notes.merge_invariant(once);
                Ok(values.first().map_or_else(Vec::new, |value| vec![*value; grid.steps]))
            }
            Node::Call(call) => self.scalar_call(call, grid, notes),
            _ => Err(QueryError::execution("expected a scalar")),
        }
    }

    fn scalar_call(&self, call: &Call, grid: &Grid, notes: &mut Notes) -> Result<Vec<f64>, QueryError> {
        match (call.function, call.args.as_slice()) {
            (Function::Time, _) => Ok(grid.times_ms().map(|time_ms| time_ms as f64 / 1000.0).collect()),
            (Function::Pi, _) => Ok(vec![std::f64::consts::PI; grid.steps]),
            (Function::MaxOf | Function::MinOf, [left, right]) => {
                let choose = if call.function == Function::MaxOf { max_of } else { min_of };
                let left = self.scalar(&left.node, grid, notes)?;
                let right = self.scalar(&right.node, grid, notes)?;
                Ok(left.into_iter().zip(right).map(|(left, right)| choose(left, right)).collect())
            }
            (Function::Scalar, [vector]) => self.only_floats(&vector.node, grid, notes),
            (other, _) => Err(QueryError::execution(format!("{other} is not a scalar function"))),
        }
    }

    /// `scalar()`: the only float of a vector, NaN when there is none or more than one.
    fn only_floats(&self, node: &Node, grid: &Grid, notes: &mut Notes) -> Result<Vec<f64>, QueryError> {
        let vector = self.vector(node, grid, notes)?;
        let mut counts = vec![0; grid.steps];
        let mut values = vec![f64::NAN; grid.steps];
        for column in &vector.columns {
            for (step, value) in column.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                counts[step] += 1;
                values[step] = if counts[step] == 1 { *value } else { f64::NAN };
            }
        }
        Ok(values)
    }
}
