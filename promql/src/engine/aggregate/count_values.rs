//! `count_values`: how many series of a group have each value.

use std::sync::Arc;

use super::super::column::{Column, is_absent};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{Aggregate, Text};
use super::grouping::{GroupIndex, GroupLabels};
use crate::labels::Labels;
use crate::number::plain;
use crate::quote::quote;
use crate::sample::SampleValue;

/// One series for each group and value; the label `name` holds the value.
pub fn count_values(aggregate: &Aggregate, name: &Text, columns: &[Column], grid: &Grid) -> Result<Vec<Column>, QueryError> {
    let label = &name.value;
    if !name.is_label_name() {
        let printed = name.invalid_utf8.as_deref().map_or_else(|| quote(label), str::to_owned);
        return Err(QueryError::execution(format!("invalid label name {printed}")));
    }
    let mut index = GroupIndex::new(GroupLabels::with_label(&aggregate.grouping, label));
    let mut counts: Vec<Column> = Vec::new();
    for column in columns {
        // Values often stay the same from step to step; so does then the group.
        let mut last: Option<(u64, usize)> = None;
        for step in 0..grid.steps {
            let Some(value) = column.value(step) else { continue };
            let bits = value.float().map(f64::to_bits);
            let group = match last {
                Some((last_bits, group)) if Some(last_bits) == bits => group,
                _ => index.group_of(&with_value(&column.labels, label, &value)),
            };
            last = bits.map(|bits| (bits, group));
            if group == counts.len() {
                counts.push(Column::empty(index.groups()[group].clone(), grid.steps));
            }
            let count = &mut counts[group].floats[step];
            *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
        }
    }
    Ok(counts)
}

fn with_value(labels: &Labels, label: &Arc<str>, value: &SampleValue) -> Labels {
    let text = match value {
        SampleValue::Float(float) => plain(*float),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    };
    labels.with(label.clone(), text)
}
