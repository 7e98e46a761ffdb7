//! Series that end up with the same labels.

use hashbrown::HashMap;

use super::column::Column;
use super::error::QueryError;
use crate::labels::Labels;

/// Joins series of the same labels into the first of them. Errs when two have a value at the same step.
pub fn merge(columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    let mut merged: Vec<Column> = Vec::with_capacity(columns.len());
    let mut positions: HashMap<Labels, usize> = HashMap::with_capacity(columns.len());
    for column in columns {
        let next = merged.len();
        let position = *positions.entry(column.labels.clone()).or_insert(next);
        if position == next {
            merged.push(column);
            continue;
        }
        for step in (0..column.steps()).filter(|step| column.is_present(*step)) {
            if merged[position].is_present(step) {
                return Err(QueryError::duplicate_labels());
            }
            merged[position].set(step, column.value(step));
        }
    }
    Ok(merged)
}

/// Errs when two series have the same labels.
pub fn forbid(columns: &[Column]) -> Result<(), QueryError> {
    let mut seen: HashMap<&Labels, ()> = HashMap::with_capacity(columns.len());
    if columns.iter().any(|column| seen.insert(&column.labels, ()).is_some()) {
        return Err(QueryError::duplicate_labels());
    }
    Ok(())
}
