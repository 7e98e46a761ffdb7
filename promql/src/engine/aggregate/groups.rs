//! Aggregations that make one series of a group: `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev`, `stdvar`, `quantile`.

use super::super::budget::Ticker;
use super::super::column::{Column, series_bytes};
use super::super::error::QueryError;
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

    /// Takes in one series; answers by how many bytes that grew.
    pub fn add(&mut self, column: &Column, notes: &mut Notes) -> usize {
        let known = self.accumulators.len();
        let group = self.group_of(&column.labels);
        let before = if group == known { 0 } else { self.accumulators[group].bytes() };
        let labels = if group == known { series_bytes(&self.index.groups()[group]) } else { 0 };
        self.accumulators[group].add(column, self.site, notes);
        labels + self.accumulators[group].bytes().saturating_sub(before)
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
    pub fn merge(&mut self, other: Groups, ticker: &mut Ticker, notes: &mut Notes) -> Result<(), QueryError> {
        for (labels, accumulator) in other.index.groups().iter().zip(other.accumulators) {
            ticker.tick(accumulator.values())?;
            self.absorb(labels, accumulator, notes);
        }
        Ok(())
    }

    /// The aggregates. `parameter` has one value a step, or is empty.
    pub fn finish(self, parameter: &[f64], ticker: &mut Ticker, notes: &mut Notes) -> Result<Vec<Column>, QueryError> {
        let mut columns = Vec::with_capacity(self.accumulators.len());
        for (labels, accumulator) in self.index.groups().iter().zip(self.accumulators) {
            let column = accumulator.finish(labels.clone(), self.site, parameter, ticker, notes)?;
            if !column.is_empty() {
                columns.push(column);
            }
        }
        Ok(columns)
    }
}
