//! Which series of two vectors may meet: those that agree in the labels that are matched on.

use hashbrown::HashMap;

use super::super::column::Column;
use crate::ast::{MatchingMode, VectorMatching};
use crate::labels::{Labels, METRIC_NAME};

/// The labels that are matched on.
pub fn matched_labels(labels: &Labels, matching: &VectorMatching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| &**label == name);
    match matching.mode {
        MatchingMode::On => labels.filter(listed),
        MatchingMode::Ignoring => labels.filter(|name| name != METRIC_NAME && !listed(name)),
    }
}

/// A number for each series of both sides; series with the same number may meet.
#[derive(Debug)]
pub struct Signatures {
    pub left: Vec<usize>,
    pub right: Vec<usize>,
    pub count: usize,
}

impl Signatures {
    pub fn new(left: &[Column], right: &[Column], matching: &VectorMatching) -> Signatures {
        let mut numbers: HashMap<Labels, usize> = HashMap::new();
        let mut number_all = |columns: &[Column]| -> Vec<usize> {
            let number = |column: &Column| {
                let next = numbers.len();
                *numbers.entry(matched_labels(&column.labels, matching)).or_insert(next)
            };
            columns.iter().map(number).collect()
        };
        let (left, right) = (number_all(left), number_all(right));
        Signatures { left, right, count: numbers.len() }
    }
}

/// For each signature the positions of its series.
pub fn by_signature(signatures: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut positions = vec![Vec::new(); count];
    for (position, signature) in signatures.iter().enumerate() {
        positions[*signature].push(position);
    }
    positions
}
