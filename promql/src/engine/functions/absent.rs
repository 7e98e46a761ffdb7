//! `absent` and `absent_over_time`: a series of ones where there is nothing.

use std::collections::HashSet;

use super::super::column::{ABSENT, Column};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};

/// The labels that a selector with these matchers demands exactly: each name that stands in one equality matcher only.
pub fn labels_of_matchers(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::new();
    let mut seen = HashSet::new();
    for matcher in matchers.iter().filter(|matcher| &*matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && seen.insert(&matcher.name) {
            builder.set(matcher.name.clone(), matcher.value.clone());
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

/// One at every step at which none of `present` was marked.
pub fn absence(labels: Labels, present: &[bool]) -> Column {
    let mut column = Column::empty(labels, present.len());
    for (value, present) in column.floats.iter_mut().zip(present) {
        *value = if *present { ABSENT } else { 1.0 };
    }
    column
}

/// Marks the steps at which a series has a value.
pub fn mark_present(column: &Column, present: &mut [bool]) {
    for (step, present) in present.iter_mut().enumerate() {
        *present |= column.is_present(step);
    }
}
