//! Operators between a vector and a scalar: each series on its own.

use super::super::column::{ABSENT, Column, is_absent};
use super::super::notes::Notes;
use super::super::plan::{ScalarSide, VectorScalar};
use super::element::{Operation, arithmetic};
use crate::sample::SampleValue;

/// Applies the operator to all values of a series. `scalars` has one value a step.
pub fn apply(operation: &VectorScalar, column: &mut Column, scalars: &[f64], notes: &mut Notes) {
    if !column.has_histograms() && !operation.return_bool && apply_arithmetic(operation, column, scalars) {
        return;
    }
    let element = Operation { op: operation.op, position: operation.position };
    for (step, scalar) in scalars.iter().enumerate() {
        let Some(value) = column.value(step) else { continue };
        let scalar = SampleValue::Float(*scalar);
        let outcome = match operation.side {
            ScalarSide::Left => element.of_values(&scalar, &value, notes),
            ScalarSide::Right => element.of_values(&value, &scalar, notes),
        };
        let result = outcome.and_then(|outcome| {
            if operation.return_bool {
                return Some(SampleValue::Float(f64::from(u8::from(outcome.holds))));
            }
            // A comparison keeps the element of the vector, on whichever side it is.
            let kept = if operation.op.is_comparison() { value } else { outcome.value };
            outcome.holds.then_some(kept)
        });
        column.set(step, result);
    }
}

/// Arithmetic of floats. False: it is something else.
fn apply_arithmetic(operation: &VectorScalar, column: &mut Column, scalars: &[f64]) -> bool {
    if arithmetic(operation.op, 1.0, 1.0).is_none() {
        return false;
    }
    column.histograms.clear();
    for (value, scalar) in column.floats.iter_mut().zip(scalars).filter(|(value, _)| !is_absent(**value)) {
        let (left, right) = match operation.side {
            ScalarSide::Left => (*scalar, *value),
            ScalarSide::Right => (*value, *scalar),
        };
        *value = arithmetic(operation.op, left, right).unwrap_or(ABSENT);
    }
    true
}
