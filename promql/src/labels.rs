//! Label sets as the language sees them: sorted, cheap to clone, sharing their text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use crate::quote::quote;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds a classic histogram bucket's upper bound.
pub const BUCKET_LABEL: &str = "le";
/// The label that holds the type of a metric, where type-and-unit labels are in use.
pub const TYPE_LABEL: &str = "__type__";
/// The label that holds the unit of a metric, where type-and-unit labels are in use.
pub const UNIT_LABEL: &str = "__unit__";

/// One name with its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    pub name: Arc<str>,
    pub value: Arc<str>,
}

impl Label {
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A set of labels.
///
/// Invariants: sorted by name, no name twice, no empty value (an empty value means that the label is absent).
/// Cloning copies one pointer. The order of two sets is Prometheus's: label by label, name before value, and a
/// set that begins the other comes first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

static EMPTY: LazyLock<Arc<[Label]>> = LazyLock::new(|| Arc::from(Vec::new()));

impl Labels {
    /// The set without labels; allocates nothing.
    pub fn empty() -> Self {
        Self(Arc::clone(&EMPTY))
    }

    /// Sorts `labels`, drops empty values; of a name given twice the last value stays.
    pub fn from_vec(mut labels: Vec<Label>) -> Self {
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        labels.dedup_by(|later, earlier| {
            let same = later.name == earlier.name;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        labels.retain(|label| !label.value.is_empty());
        Self::from_sorted(labels)
    }

    /// Takes labels that already keep the invariants.
    pub fn from_sorted(labels: Vec<Label>) -> Self {
        debug_assert!(labels.windows(2).all(|pair| pair[0].name < pair[1].name), "labels out of order or doubled: {labels:?}");
        if labels.is_empty() { Self::empty() } else { Self(labels.into()) }
    }

    /// The set of these pairs.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self::from_vec(pairs.into_iter().map(|(name, value)| Label::new(name.as_ref(), value.as_ref())).collect())
    }

    /// The value of `name`, empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |label| &label.value)
    }

    /// The value of `name` as shared text.
    pub fn get_shared(&self, name: &str) -> Option<&Arc<str>> {
        self.find(name).map(|label| &label.value)
    }

    /// Whether there is a label `name`.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The metric name, empty when there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// The labels in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// The labels in order, as a slice.
    pub fn as_slice(&self) -> &[Label] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only the labels for which `keep` says so. Shares the set when nothing is dropped.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.iter().all(|label| keep(&label.name)) {
            return self.clone();
        }
        Self::from_sorted(self.iter().filter(|label| keep(&label.name)).cloned().collect())
    }

    /// The set without `name`. Shares the set when it has no such label.
    pub fn without(&self, name: &str) -> Self {
        if self.has(name) { self.filter(|other| other != name) } else { self.clone() }
    }

    /// The set with `name` set to `value`; an empty value removes the label.
    pub fn with(&self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let mut builder = LabelsBuilder::from_labels(self);
        builder.set(name, value);
        builder.build()
    }

    fn find(&self, name: &str) -> Option<&Label> {
        // Label sets are short: a linear walk over neighbours beats a binary search up to a dozen entries.
        if self.0.len() <= 12 {
            return self.0.iter().find(|label| &*label.name == name);
        }
        let at = self.0.binary_search_by(|label| (*label.name).cmp(name)).ok()?;
        Some(&self.0[at])
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for label in self.iter() {
            state.write(label.name.as_bytes());
            state.write_u8(0xff);
            state.write(label.value.as_bytes());
            state.write_u8(0xff);
        }
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self::from_vec(labels.into_iter().collect())
    }
}

/// `{a="1", b="2"}`, the metric name as an ordinary label, as Prometheus prints label sets.
impl fmt::Display for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (index, label) in self.iter().enumerate() {
            if index > 0 {
                out.write_str(", ")?;
            }
            write_label_name(out, &label.name)?;
            write!(out, "={}", quote(&label.value))?;
        }
        out.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Writes a label name as it stands in a query: bare when it is a classic name, else quoted.
pub(crate) fn write_label_name(out: &mut impl fmt::Write, name: &str) -> fmt::Result {
    if is_classic_label_name(name) { out.write_str(name) } else { out.write_str(&quote(name)) }
}

/// Whether `name` needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_classic_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes[0].is_ascii_digit() && bytes.iter().all(|&byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Changes a label set step by step.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name.
    labels: Vec<Label>,
}

impl LabelsBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn from_labels(labels: &Labels) -> Self {
        Self { labels: labels.as_slice().to_vec() }
    }

    /// Starts over from `labels`, keeping the allocation.
    pub fn reset(&mut self, labels: &Labels) {
        self.labels.clear();
        self.labels.extend_from_slice(labels.as_slice());
    }

    /// Sets `name` to `value`; an empty value removes the label.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> &mut Self {
        let label = Label { name: name.into(), value: value.into() };
        match self.position(&label.name) {
            Ok(at) if label.value.is_empty() => {
                self.labels.remove(at);
            }
            Ok(at) => self.labels[at] = label,
            Err(_) if label.value.is_empty() => {}
            Err(at) => self.labels.insert(at, label),
        }
        self
    }

    /// Removes `name` where it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(at) = self.position(name) {
            self.labels.remove(at);
        }
        self
    }

    /// Keeps only the labels for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> &mut Self {
        self.labels.retain(|label| keep(&label.name));
        self
    }

    /// The value of `name`, empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |at| &self.labels[at].value)
    }

    /// The set as it stands.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.labels.clone())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.labels.binary_search_by(|label| (*label.name).cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_unique_and_without_empty_values() {
        let labels = Labels::from_pairs([("z", "1"), ("a", "2"), ("z", "3"), ("empty", "")]);
        assert_eq!(labels.to_string(), r#"{a="2", z="3"}"#);
        assert_eq!((labels.get("z"), labels.get("empty"), labels.has("empty")), ("3", "", false));
    }

    #[test]
    fn a_later_empty_value_removes_the_label() {
        assert!(Labels::from_pairs([("a", "1"), ("a", "")]).is_empty());
    }

    #[test]
    fn builder_keeps_the_order() {
        let mut builder = LabelsBuilder::from_labels(&Labels::from_pairs([("b", "1"), ("d", "1")]));
        builder.set("c", "2").set("a", "3").set("b", "").remove("missing");
        assert_eq!(builder.build(), Labels::from_pairs([("a", "3"), ("c", "2"), ("d", "1")]));
    }

    #[test]
    fn names_beyond_the_classic_form_are_quoted() {
        assert_eq!(Labels::from_pairs([("a.b", "x\"y")]).to_string(), r#"{"a.b"="x\"y"}"#);
    }

    #[test]
    fn order_is_label_by_label() {
        let short = Labels::from_pairs([("a", "1")]);
        let long = Labels::from_pairs([("a", "1"), ("b", "0")]);
        let other = Labels::from_pairs([("a", "2")]);
        assert!(short < long && long < other);
    }
}
