//! `and`, `or` and `unless`: keeping series by what the other side has at the same step.

use super::super::column::Column;
use super::super::grid::Grid;
use super::signatures::Signatures;
use crate::ast::VectorMatching;
use crate::operator::BinaryOp;

/// The series that stay, with the steps at which they stay. For `or`, those of `left` come first.
pub fn combine(op: BinaryOp, mut left: Vec<Column>, mut right: Vec<Column>, matching: &VectorMatching, grid: &Grid) -> Vec<Column> {
    let signatures = Signatures::new(&left, &right, matching);
    match op {
        BinaryOp::And => keep(&mut left, &signatures.left, &presence(&right, &signatures.right, signatures.count, grid), true),
        BinaryOp::Unless => keep(&mut left, &signatures.left, &presence(&right, &signatures.right, signatures.count, grid), false),
        _ => {
            keep(&mut right, &signatures.right, &presence(&left, &signatures.left, signatures.count, grid), false);
            left.append(&mut right);
        }
    }
    left.retain(|column| !column.is_empty());
    left
}

/// For each signature the steps at which one of its series has a value.
fn presence(columns: &[Column], signatures: &[usize], count: usize, grid: &Grid) -> Vec<Vec<bool>> {
    let mut presence = vec![Vec::new(); count];
    for (column, signature) in columns.iter().zip(signatures) {
        let steps = &mut presence[*signature];
        steps.resize(grid.steps, false);
        for (step, present) in steps.iter_mut().enumerate() {
            *present |= column.is_present(step);
        }
    }
    presence
}

/// Removes the values at all steps where the presence of the signature is not `wanted`.
fn keep(columns: &mut [Column], signatures: &[usize], presence: &[Vec<bool>], wanted: bool) {
    for (column, signature) in columns.iter_mut().zip(signatures) {
        let steps = &presence[*signature];
        for step in 0..column.steps() {
            if steps.get(step).copied().unwrap_or(false) != wanted {
                column.set(step, None);
            }
        }
    }
}
