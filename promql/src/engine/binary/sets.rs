//! `and`, `or` and `unless`: keeping series by what the other side has at the same step.

use super::super::budget::{Budget, Ticker};
use super::super::column::Column;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::signatures::Signatures;
use crate::ast::VectorMatching;
use crate::operator::BinaryOp;

/// The series that stay, with the steps at which they stay. For `or`, those of `left` come first.
pub fn combine(
    op: BinaryOp,
    mut left: Vec<Column>,
    mut right: Vec<Column>,
    matching: &VectorMatching,
    grid: &Grid,
    budget: &Budget,
) -> Result<Vec<Column>, QueryError> {
    let signatures = Signatures::new(&left, &right, matching);
    let mut charge = budget.charge();
    charge.add_bytes(signatures.count * grid.steps)?;
    let mut ticker = budget.ticker();
    let mut keep_by = |kept: (&mut [Column], &[usize]), others: (&[Column], &[usize]), wanted| {
        let presence = presence(others, signatures.count, grid, &mut ticker)?;
        keep(kept, &presence, wanted, &mut ticker)
    };
    match op {
        BinaryOp::And => keep_by((&mut left, &signatures.left), (&right, &signatures.right), true)?,
        BinaryOp::Unless => keep_by((&mut left, &signatures.left), (&right, &signatures.right), false)?,
        _ => {
            keep_by((&mut right, &signatures.right), (&left, &signatures.left), false)?;
            left.append(&mut right);
        }
    }
    left.retain(|column| !column.is_empty());
    Ok(left)
}

/// For each signature the steps at which one of its series has a value.
fn presence(
    (columns, signatures): (&[Column], &[usize]),
    count: usize,
    grid: &Grid,
    ticker: &mut Ticker,
) -> Result<Vec<Vec<bool>>, QueryError> {
    let mut presence = vec![Vec::new(); count];
    for (column, signature) in columns.iter().zip(signatures) {
        ticker.tick(grid.steps)?;
        let steps = &mut presence[*signature];
        steps.resize(grid.steps, false);
        for (step, present) in steps.iter_mut().enumerate() {
            *present |= column.is_present(step);
        }
    }
    Ok(presence)
}

/// Removes the values at all steps where the presence of the signature is not `wanted`.
fn keep(
    (columns, signatures): (&mut [Column], &[usize]),
    presence: &[Vec<bool>],
    wanted: bool,
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    for (column, signature) in columns.iter_mut().zip(signatures) {
        ticker.tick(column.steps())?;
        let steps = &presence[*signature];
        for step in 0..column.steps() {
            if steps.get(step).copied().unwrap_or(false) != wanted {
                column.set(step, None);
            }
        }
    }
    Ok(())
}
