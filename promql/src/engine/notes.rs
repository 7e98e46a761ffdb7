//! What is written down while a query runs, beside its values: annotations and counts of samples. Every thread has its
//! own; they are joined in the order of the cursors, so that the outcome does not depend on timing.

use std::sync::Arc;

use crate::annotations::{AnnotationKind, Annotations};
use crate::position::PositionRange;

use super::grid::Grid;

#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub annotations: Annotations,
    /// Samples looked at, for each step of the grid they belong to.
    pub samples_per_step: Vec<u64>,
    /// The last metric that was found not to be a counter, so that a thousand series of it cost one annotation.
    pub last_non_counter: Option<Arc<str>>,
}

impl Notes {
    pub fn new(grid: &Grid) -> Notes {
        Notes { samples_per_step: vec![0; grid.steps], ..Notes::default() }
    }

    pub fn push(&mut self, kind: AnnotationKind, position: PositionRange) {
        self.annotations.push(kind, position);
    }

    /// Counts samples looked at for a step.
    #[inline]
    pub fn count(&mut self, step: usize, samples: usize) {
        self.samples_per_step[step] += samples as u64;
    }

    pub fn samples(&self) -> u64 {
        self.samples_per_step.iter().sum()
    }

    /// Takes in the notes of another thread on the same grid.
    pub fn merge(&mut self, other: Notes) {
        self.annotations.merge(other.annotations);
        for (own, more) in self.samples_per_step.iter_mut().zip(other.samples_per_step) {
            *own += more;
        }
    }

    /// Takes in the notes of an expression that was evaluated once for all steps.
    pub fn merge_invariant(&mut self, other: Notes) {
        let samples = other.samples();
        self.annotations.merge(other.annotations);
        self.samples_per_step.iter_mut().for_each(|own| *own += samples);
    }
}
