//! Aggregations that make one series of a group: `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev`, `stdvar`, `quantile`.

use super::super::column::Column;
use super::super::notes::Notes;
pub use super::accumulator::{Accumulator, AggregationSite};
use super::grouping::{GroupIndex, GroupLabels};
use crate::ast::Grouping;
use crate::labels::Labels;

/// All groups of an aggregation, or of the part of it that one thread sees.
#[derive(Debug)]
pub struct Groups {
    site: AggregationSite,
    index: GroupIndex,
    accumulators: Vec<Accumulator>,
    steps: usize,
}

impl Groups {
    pub fn new(site: AggregationSite, grouping: &Grouping, steps: usize) -> Groups {
        Groups { site, index: GroupIndex::new(GroupLabels::new(grouping)), accumulators: Vec::new(), steps }
    }

    /// Takes in one series.
    pub fn add(&mut self, column: &Column, notes: &mut Notes) {
        let group = self.group_of(&column.labels);
        self.accumulators[group].add(column, self.site, notes);
    }

    fn group_of(&mut self, labels: &Labels) -> usize {
        let group = self.index.group_of(labels);
        if group == self.accumulators.len() {
            self.accumulators.push(Accumulator::new(self.site.op, self.steps));
        }
        group
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// All groups with their state, in order.
    pub fn states(&self) -> impl Iterator<Item = (&Labels, &Accumulator)> {
        self.index.groups().iter().zip(&self.accumulators)
    }

    /// Takes in the state of a group that was begun elsewhere.
    pub fn absorb(&mut self, labels: &Labels, state: Accumulator, notes: &mut Notes) {
        let group = self.group_of(labels);
        self.accumulators[group].merge(state, self.site, notes);
    }

    /// Takes in what another thread has seen.
    pub fn merge(&mut self, other: Groups, notes: &mut Notes) {
        for (labels, accumulator) in other.index.groups().iter().zip(other.accumulators) {
            self.absorb(labels, accumulator, notes);
        }
    }

    /// The aggregates. `parameter` has one value a step, or is empty.
    pub fn finish(self, parameter: &[f64], notes: &mut Notes) -> Vec<Column> {
        let groups = self.index.groups().iter().cloned().zip(self.accumulators);
        let columns = groups.map(|(labels, accumulator)| accumulator.finish(labels, self.site, parameter, notes));
        columns.filter(|column| !column.is_empty()).collect()
    }
}
