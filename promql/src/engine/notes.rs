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
    /// Samples read for the first time, by the step that needed them first.
    pub read_per_step: Vec<u64>,
    /// Windows slide over the steps of a subquery, whose samples are counted as read where they are.
    pub windows_are_computed: bool,
    /// The last metric that was found not to be a counter, so that a thousand series of it cost one annotation.
    pub last_non_counter: Option<Arc<str>>,
}

impl Notes {
    pub fn new(grid: &Grid) -> Notes {
        Notes { samples_per_step: vec![0; grid.steps], read_per_step: vec![0; grid.steps], ..Notes::default() }
    }

    pub fn push(&mut self, kind: AnnotationKind, position: PositionRange) {
        self.annotations.push(kind, position);
    }

    /// Counts samples looked at for a step and no other.
    #[inline]
    pub fn count(&mut self, step: usize, samples: usize) {
        self.samples_per_step[step] += samples as u64;
        self.read_per_step[step] += samples as u64;
    }

    /// Counts the samples in the window of a step, of which `new` are in no earlier window.
    #[inline]
    pub fn count_window(&mut self, step: usize, samples: usize, new: usize) {
        self.samples_per_step[step] += samples as u64;
        if !self.windows_are_computed {
            self.read_per_step[step] += new as u64;
        }
    }

    /// [`Notes::count_window`] for all steps.
    pub fn count_windows(&mut self, samples: &[u64], new: &[u64]) {
        add(&mut self.samples_per_step, samples);
        if !self.windows_are_computed {
            add(&mut self.read_per_step, new);
        }
    }

    pub fn samples(&self) -> u64 {
        self.samples_per_step.iter().sum()
    }

    pub fn samples_read(&self) -> u64 {
        self.read_per_step.iter().sum()
    }

    /// Takes in the notes of another thread on the same grid.
    pub fn merge(&mut self, other: Notes) {
        self.annotations.merge(other.annotations);
        add(&mut self.samples_per_step, &other.samples_per_step);
        add(&mut self.read_per_step, &other.read_per_step);
    }

    /// Takes in the notes of an expression that was evaluated once for all steps, so its samples were read once.
    pub fn merge_invariant(&mut self, other: Notes) {
        let (samples, read) = (other.samples(), other.samples_read());
        self.annotations.merge(other.annotations);
        self.samples_per_step.iter_mut().for_each(|own| *own += samples);
        self.read_per_step.iter_mut().take(1).for_each(|own| *own += read);
    }

    /// Takes in what a subquery on the grid `inner` read: every sample belongs to the first step of `outer` that looks back at
    /// it. What no step's range (`range_ms` long) covers is left out. Samples looked at are counted where the outer function
    /// uses them.
    pub fn merge_subquery(&mut self, other: Notes, inner: &Grid, outer: &Grid, range_ms: i64, end_of: impl Fn(i64) -> i64) {
        self.annotations.merge(other.annotations);
        let mut step = 0;
        for (time_ms, read) in inner.times_ms().zip(&other.read_per_step) {
            while step + 1 < outer.steps && end_of(outer.time_ms(step)) < time_ms {
                step += 1;
            }
            if let Some(own) = self.read_per_step.get_mut(step)
                && time_ms > end_of(outer.time_ms(step)) - range_ms
            {
                *own += read;
            }
        }
    }
}

fn add(own: &mut [u64], more: &[u64]) {
    for (own, more) in own.iter_mut().zip(more) {
        *own += more;
    }
}
