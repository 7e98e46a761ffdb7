//! `sort`, `sort_desc`, `sort_by_label` and `sort_by_label_desc`, of instant vectors (one step).

use std::cmp::Ordering;

use super::super::column::Column;
use super::super::plan::Text;
use super::natural_order::natural_order;
use crate::function_signatures::Function;

/// Sorts the series of a vector by their only value; histograms are dropped, NaN comes last.
pub fn sort_by_value(function: Function, columns: &mut Vec<Column>) {
    columns.retain(|column| !column.has_histograms());
    let descending = function == Function::SortDesc;
    columns.sort_by(|left, right| {
        let (left, right) = (left.floats[0], right.floats[0]);
        match left.partial_cmp(&right) {
            Some(ordering) if descending => ordering.reverse(),
            Some(ordering) => ordering,
            None => left.is_nan().cmp(&right.is_nan()),
        }
    });
}

/// Sorts the series of a vector by the values of `labels`, as people read them; equal ones by all labels.
pub fn sort_by_label(function: Function, columns: &mut [Column], labels: &[&Text]) {
    let descending = function == Function::SortByLabelDesc;
    columns.sort_by(|left, right| {
        let by_label = |name: &&Text| natural_order(left.labels.get(&name.value), right.labels.get(&name.value));
        let ordering = labels.iter().map(by_label).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal);
        let ordering = ordering.then_with(|| left.labels.cmp(&right.labels));
        if descending { ordering.reverse() } else { ordering }
    });
}
