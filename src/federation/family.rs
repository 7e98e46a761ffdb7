//! The newest samples of the selected series, in families of one name, with the labels that a federating system adds.

use std::sync::Arc;

use promql::labels::{Label, Labels, METRIC_NAME};

use crate::query::ordered::StoredSeries;

/// Bits of the sample that says that a series has ended.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The label that a scraper would otherwise fill with this node's own address.
const INSTANCE: &str = "instance";

/// The newest sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    pub name: Arc<str>,
    /// Without the name; with what was added.
    pub labels: Vec<Label>,
    pub timestamp_ms: i64,
    pub value: f64,
}

impl Newest {
    /// `None` for a series that has ended, or that has no name.
    pub fn of(series: &StoredSeries, external: &Labels) -> Option<Newest> {
        let (&timestamp_ms, &value) = series.timestamps.last().zip(series.values.last())?;
        if value.to_bits() == STALE_BITS {
            return None;
        }
        let name = Arc::clone(series.labels.get_shared(METRIC_NAME)?);
        Some(Newest { name, labels: labels_given(&series.labels, external), timestamp_ms, value })
    }
}

/// The series' own labels, then external ones that it lacks. `instance` is always there, empty if need be: a scraper with
/// `honor_labels` must not put this node's address in its place.
fn labels_given(own: &Labels, external: &Labels) -> Vec<Label> {
    let mut labels: Vec<Label> = own.iter().filter(|label| &*label.name != METRIC_NAME).cloned().collect();
    let mut added: Vec<Label> = external.iter().filter(|label| !own.has(&label.name)).cloned().collect();
    if !own.has(INSTANCE) && !external.has(INSTANCE) {
        added.push(Label::new(INSTANCE, ""));
        added.sort_by(|left, right| left.name.cmp(&right.name));
    }
    labels.append(&mut added);
    labels
}

/// Brings all samples of a name together, keeping the order within.
pub fn sort_by_name(samples: &mut [Newest]) {
    samples.sort_by(|left, right| left.name.cmp(&right.name));
}

/// Samples sorted by name, a family at a time.
pub fn families(samples: &[Newest]) -> impl Iterator<Item = &[Newest]> {
    samples.chunk_by(|left, right| left.name == right.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], values: &[f64]) -> StoredSeries {
        StoredSeries {
            labels: Labels::from_pairs(labels.iter().copied()),
            timestamps: (0..values.len() as i64).collect(),
            values: values.to_vec(),
            histograms: Vec::new(),
        }
    }

    fn shown(series: &StoredSeries, external: &[(&str, &str)]) -> Option<String> {
        let newest = Newest::of(series, &Labels::from_pairs(external.iter().copied()))?;
        let labels: Vec<String> = newest.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        Some(format!("{} {} {} @{}", newest.name, labels.join(","), newest.value, newest.timestamp_ms))
    }

    #[test]
    fn the_newest_sample_counts_and_labels_are_added_once() {
        let up = series(&[("__name__", "up"), ("job", "a")], &[1.0, 2.0]);
        assert_eq!(shown(&up, &[]).as_deref(), Some("up job=a,instance= 2 @1"));
        assert_eq!(shown(&up, &[("zone", "b"), ("job", "x")]).as_deref(), Some("up job=a,instance=,zone=b 2 @1"));
        assert_eq!(shown(&up, &[("instance", "i")]).as_deref(), Some("up job=a,instance=i 2 @1"));
        let with_instance = series(&[("__name__", "up"), ("instance", "own")], &[1.0]);
        assert_eq!(shown(&with_instance, &[]).as_deref(), Some("up instance=own 1 @0"));
    }

    #[test]
    fn what_has_ended_or_has_no_name_is_not_given() {
        assert_eq!(shown(&series(&[("__name__", "up")], &[1.0, f64::from_bits(STALE_BITS)]), &[]), None);
        assert_eq!(shown(&series(&[("job", "a")], &[1.0]), &[]), None);
        assert!(shown(&series(&[("__name__", "up")], &[f64::NAN]), &[]).is_some());
    }
}
