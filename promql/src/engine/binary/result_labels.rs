//! The labels of what comes of two matched series.

use super::super::column::is_metadata;
use super::element::changes_meaning;
use crate::ast::{Cardinality, MatchingMode};
use crate::labels::{Labels, LabelsBuilder};

use super::super::plan::VectorVector;

/// Whether the metric name goes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRemoval {
    Now,
    Later,
}

/// `many` is the series of the side that may have several; of one-to-one matches, the left one.
pub fn result_labels(operation: &VectorVector, many: &Labels, one: &Labels, removal: NameRemoval) -> Labels {
    let matching = &operation.matching;
    let mut builder = LabelsBuilder::from_labels(many);
    if changes_meaning(operation.op) || (operation.return_bool && removal == NameRemoval::Now) {
        builder.retain(|name| !is_metadata(name));
    }
    if matching.cardinality == Cardinality::OneToOne {
        let listed = |name: &str| matching.labels.iter().any(|label| &**label == name);
        builder.retain(|name| listed(name) == (matching.mode == MatchingMode::On));
    }
    for name in &matching.include {
        builder.set(name.clone(), one.get_shared(name).cloned().unwrap_or_default());
    }
    builder.build()
}
