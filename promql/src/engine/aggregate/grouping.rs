//! Which series belong together.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::ast::{Grouping, GroupingMode};
use crate::labels::{Label, Labels, METRIC_NAME};

/// The labels that a grouping keeps.
#[derive(Clone, Debug)]
pub struct GroupLabels {
    mode: GroupingMode,
    names: Vec<Arc<str>>,
}

impl GroupLabels {
    pub fn new(grouping: &Grouping) -> GroupLabels {
        GroupLabels { mode: grouping.mode, names: grouping.labels.clone() }
    }

    /// As `new`; `name` also makes groups, whatever the mode.
    pub fn with_label(grouping: &Grouping, name: &Arc<str>) -> GroupLabels {
        let mut labels = GroupLabels::new(grouping);
        if labels.mode == GroupingMode::By {
            labels.names.push(name.clone());
        }
        labels
    }

    fn keeps(&self, name: &str) -> bool {
        let named = self.names.iter().any(|listed| &**listed == name);
        match self.mode {
            GroupingMode::By => named,
            GroupingMode::Without => !named && name != METRIC_NAME,
        }
    }

    pub fn of<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Label> {
        labels.iter().filter(|label| self.keeps(&label.name))
    }
}

/// Numbers groups in the order in which they come up.
#[derive(Clone, Debug)]
pub struct GroupIndex {
    group_labels: GroupLabels,
    hasher: DefaultHashBuilder,
    table: HashTable<usize>,
    groups: Vec<Labels>,
}

impl GroupIndex {
    pub fn new(group_labels: GroupLabels) -> GroupIndex {
        GroupIndex { group_labels, hasher: DefaultHashBuilder::default(), table: HashTable::new(), groups: Vec::new() }
    }

    /// The number of the group that a series belongs to. Allocates only for new groups.
    pub fn group_of(&mut self, labels: &Labels) -> usize {
        let hash_of = |labels: &mut dyn Iterator<Item = &Label>| {
            let mut hasher = self.hasher.build_hasher();
            labels.for_each(|label| label.hash(&mut hasher));
            hasher.finish()
        };
        let hash = hash_of(&mut self.group_labels.of(labels));
        let same = |group: &usize| self.groups[*group].iter().eq(self.group_labels.of(labels));
        if let Some(group) = self.table.find(hash, same) {
            return *group;
        }
        let group = self.groups.len();
        self.table.insert_unique(hash, group, |group| hash_of(&mut self.groups[*group].iter()));
        self.groups.push(Labels::from_sorted(self.group_labels.of(labels).cloned().collect()));
        group
    }

    /// The labels of all groups, by number.
    pub fn groups(&self) -> &[Labels] {
        &self.groups
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_and_without() {
        let series = [[("__name__", "a"), ("x", "1"), ("y", "1")], [("__name__", "b"), ("x", "1"), ("y", "2")]];
        let groups = |mode, names: &[&str]| {
            let labels = names.iter().map(|name| Arc::from(*name)).collect();
            let mut index = GroupIndex::new(GroupLabels::new(&Grouping { mode, labels }));
            let numbers = series.map(|pairs| index.group_of(&Labels::from_pairs(pairs)));
            (numbers, index.groups().iter().map(Labels::to_string).collect::<Vec<_>>())
        };
        assert_eq!(groups(GroupingMode::By, &["x"]), ([0, 0], vec![r#"{x="1"}"#.to_owned()]));
        assert_eq!(groups(GroupingMode::Without, &["y"]), ([0, 0], vec![r#"{x="1"}"#.to_owned()]));
        assert_eq!(groups(GroupingMode::By, &["y", "z"]).0, [0, 1]);
        assert_eq!(groups(GroupingMode::By, &[]), ([0, 0], vec!["{}".to_owned()]));
    }
}
