//! The newest samples of the selected series, in families of one name and kind, with the labels that a federating system adds.

use std::sync::Arc;

use promql::labels::{Label, Labels, METRIC_NAME};
use promql::sample::is_stale;
use storage::Histogram;
use storage::histogram::{CUSTOM_BUCKETS_SCHEMA, ResetHint};

use crate::query::ordered::StoredSeries;

/// The label that a scraper would otherwise fill with this node's own address.
const INSTANCE: &str = "instance";

/// What a family holds; only some formats can carry histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Float,
    Histogram,
    GaugeHistogram,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NewestValue {
    Float(f64),
    Histogram(Box<Histogram>),
}

/// The newest sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    pub name: Arc<str>,
    /// Without the name; with what was added.
    pub labels: Vec<Label>,
    pub timestamp_ms: i64,
    pub value: NewestValue,
}

impl Newest {
    /// `None` for a series that has ended, that has no name, or whose newest sample is a histogram of custom buckets, for which
    /// no format has words.
    pub fn of(series: &StoredSeries, external: &Labels) -> Option<Newest> {
        let (timestamp_ms, value) = newest_sample(series)?;
        let name = Arc::clone(series.labels.get_shared(METRIC_NAME)?);
        Some(Newest { name, labels: labels_given(&series.labels, external), timestamp_ms, value })
    }

    pub fn kind(&self) -> Kind {
        match &self.value {
            NewestValue::Float(_) => Kind::Float,
            NewestValue::Histogram(histogram) if histogram.reset_hint == ResetHint::Gauge => Kind::GaugeHistogram,
            NewestValue::Histogram(_) => Kind::Histogram,
        }
    }
}

fn newest_sample(series: &StoredSeries) -> Option<(i64, NewestValue)> {
    let float = series.timestamps.last().copied().zip(series.values.last().copied());
    match (float, series.histograms.last()) {
        (float, Some((time, histogram))) if float.is_none_or(|(float_time, _)| float_time < *time) => {
            let is_given = !is_stale(histogram.sum) && histogram.schema != CUSTOM_BUCKETS_SCHEMA;
            is_given.then(|| (*time, NewestValue::Histogram(Box::new(histogram.clone()))))
        }
        (float, _) => float.filter(|(_, value)| !is_stale(*value)).map(|(time, value)| (time, NewestValue::Float(value))),
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

/// Brings all samples of a name and kind together, keeping the order within.
pub fn sort_by_family(samples: &mut [Newest]) {
    samples.sort_by(|left, right| left.name.cmp(&right.name).then_with(|| left.kind().cmp(&right.kind())));
}

/// Samples sorted by family, one family at a time.
pub fn families(samples: &[Newest]) -> impl Iterator<Item = &[Newest]> {
    samples.chunk_by(|left, right| left.name == right.name && left.kind() == right.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::histogram::Counts;

    const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

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
        let value = match &newest.value {
            NewestValue::Float(value) => value.to_string(),
            NewestValue::Histogram(histogram) => format!("{:?} {}", newest.kind(), histogram.sum),
        };
        Some(format!("{} {} {value} @{}", newest.name, labels.join(","), newest.timestamp_ms))
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

    fn histogram(sum: f64, reset_hint: ResetHint, schema: i32) -> Histogram {
        let counts = Counts::Integer { count: 0, zero_count: 0, positive: vec![], negative: vec![] };
        let (positive_spans, negative_spans, custom_values) = (vec![], vec![], vec![]);
        Histogram { reset_hint, schema, zero_threshold: 0.0, sum, counts, positive_spans, negative_spans, custom_values }
    }

    #[test]
    fn the_newest_of_floats_and_histograms_counts() {
        let mut both = series(&[("__name__", "h"), ("instance", "i")], &[1.0, 2.0]);
        both.histograms = vec![(5, histogram(7.0, ResetHint::Unknown, 0))];
        assert_eq!(shown(&both, &[]).as_deref(), Some("h instance=i Histogram 7 @5"));
        both.histograms = vec![(0, histogram(7.0, ResetHint::Unknown, 0))];
        assert_eq!(shown(&both, &[]).as_deref(), Some("h instance=i 2 @1"));
        both.histograms = vec![(5, histogram(7.0, ResetHint::Gauge, 0))];
        assert_eq!(shown(&both, &[]).as_deref(), Some("h instance=i GaugeHistogram 7 @5"));
        for hidden in
            [histogram(f64::from_bits(STALE_BITS), ResetHint::Unknown, 0), histogram(1.0, ResetHint::Unknown, CUSTOM_BUCKETS_SCHEMA)]
        {
            both.histograms = vec![(5, hidden)];
            assert_eq!(shown(&both, &[]), None);
        }
    }

    #[test]
    fn a_family_has_one_name_and_one_kind() {
        let newest = |name: &str, value| Newest { name: name.into(), labels: vec![], timestamp_ms: 0, value };
        let float = |name| newest(name, NewestValue::Float(1.0));
        let whole = |name| newest(name, NewestValue::Histogram(Box::new(histogram(1.0, ResetHint::Unknown, 0))));
        let mut samples = [float("b"), whole("a"), float("a"), whole("a"), float("a")];
        sort_by_family(&mut samples);
        let found: Vec<_> = families(&samples).map(|family| (&*family[0].name, family[0].kind(), family.len())).collect();
        assert_eq!(found, [("a", Kind::Float, 2), ("a", Kind::Histogram, 2), ("b", Kind::Float, 1)]);
    }

    #[test]
    fn what_has_ended_or_has_no_name_is_not_given() {
        assert_eq!(shown(&series(&[("__name__", "up")], &[1.0, f64::from_bits(STALE_BITS)]), &[]), None);
        assert_eq!(shown(&series(&[("job", "a")], &[1.0]), &[]), None);
        assert!(shown(&series(&[("__name__", "up")], &[f64::NAN]), &[]).is_some());
    }
}
