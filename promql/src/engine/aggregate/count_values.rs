//! `count_values`: how many series of a group have each value.

use std::sync::Arc;

use super::super::column::{Column, is_absent};
use super::super::error::QueryError;
use super::super::plan::Text;
use super::grouping::{GroupIndex, GroupLabels};
use crate::ast::Grouping;
use crate::labels::Labels;
use crate::number::plain;
use crate::quote::quote;
use crate::sample::SampleValue;

/// One series of counts for each group and value.
#[derive(Clone, Debug)]
pub struct ValueCounts {
    /// The label that holds the value.
    label: Arc<str>,
    index: GroupIndex,
    counts: Vec<Column>,
    steps: usize,
}

impl ValueCounts {
    pub fn new(grouping: &Grouping, label: &Text, steps: usize) -> Result<ValueCounts, QueryError> {
        if !label.is_label_name() {
            let printed = label.invalid_utf8.as_deref().map_or_else(|| quote(&label.value), str::to_owned);
            return Err(QueryError::execution(format!("invalid label name {printed}")));
        }
        let label = label.value.clone();
        let index = GroupIndex::new(GroupLabels::with_label(grouping, &label));
        Ok(ValueCounts { label, index, counts: Vec::new(), steps })
    }

    /// How many series of counts there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Takes in one series.
    pub fn add(&mut self, column: &Column) {
        // Values often stay the same from step to step; so does then the group.
        let mut last: Option<(u64, usize)> = None;
        for step in 0..self.steps {
            let Some(value) = column.value(step) else { continue };
            let bits = value.float().map(f64::to_bits);
            let group = match last {
                Some((last_bits, group)) if Some(last_bits) == bits => group,
                _ => self.group_of(&with_value(&column.labels, &self.label, &value)),
            };
            last = bits.map(|bits| (bits, group));
            count(&mut self.counts[group].floats[step], 1.0);
        }
    }

    /// Takes in counts of other series.
    pub fn absorb(&mut self, counts: Column) {
        let group = self.group_of(&counts.labels);
        let present = counts.floats.into_iter().enumerate().filter(|(_, more)| !is_absent(*more));
        present.for_each(|(step, more)| count(&mut self.counts[group].floats[step], more));
    }

    pub fn finish(self) -> Vec<Column> {
        self.counts
    }

    fn group_of(&mut self, labels: &Labels) -> usize {
        let group = self.index.group_of(labels);
        if group == self.counts.len() {
            self.counts.push(Column::empty(self.index.groups()[group].clone(), self.steps));
        }
        group
    }
}

fn count(count: &mut f64, more: f64) {
    *count = if is_absent(*count) { more } else { *count + more };
}

fn with_value(labels: &Labels, label: &Arc<str>, value: &SampleValue) -> Labels {
    let text = match value {
        SampleValue::Float(float) => plain(*float),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    };
    labels.with(label.clone(), text)
}
