//! Listing label names and values.
//!
//! Nothing here looks at series one by one unless they are fewer than the values they could have: a name or value is listed
//! when its set of series meets the selected one, and without a selection that restricts anything not even that is asked.

use std::sync::Arc;

use super::Index;
use super::matcher::Matcher;
use super::pairs::{NameId, PairId};
use crate::series_set::SeriesSet;

impl Index {
    /// Names of the labels that the selected series have, sorted.
    pub fn label_names(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<Arc<str>> {
        let scope = self.scope(matchers, start_ms, end_ms);
        let names = self.pairs.names().iter();
        let mut found: Vec<Arc<str>> =
            names.filter(|name| scope.as_ref().is_none_or(|scope| name.series.intersects(scope))).map(|name| name.text.clone()).collect();
        found.sort_unstable();
        found
    }

    /// The first `limit` values of one label that the selected series have, sorted.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], start_ms: i64, end_ms: i64, limit: usize) -> Vec<Arc<str>> {
        let Some(name) = self.pairs.name_id(name) else {
            return Vec::new();
        };
        let values = &self.pairs.name(name).values;
        match self.scope(matchers, start_ms, end_ms) {
            None => values.keys().take(limit).cloned().collect(),
            // Finding one series' value costs about as much as asking one value whether it has a selected series.
            Some(scope) if scope.len() < values.len() => self.values_of(name, &scope, limit),
            Some(scope) => {
                let found = values.iter().filter(|(_, pair)| self.pairs.pair(**pair).posting.intersects(&scope));
                found.map(|(value, _)| value.clone()).take(limit).collect()
            }
        }
    }

    /// Every value of one label that the selected series have, sorted, with how many of them have it.
    pub fn label_value_counts(&self, name: &str, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<(Arc<str>, u64)> {
        let Some(name) = self.pairs.name_id(name) else {
            return Vec::new();
        };
        let scope = self.scope(matchers, start_ms, end_ms);
        let counted = self.pairs.name(name).values.iter().map(|(value, pair)| {
            let posting = &self.pairs.pair(*pair).posting;
            let series = scope.as_ref().map_or_else(|| posting.len(), |scope| posting.count_in(scope));
            (value.clone(), series as u64)
        });
        counted.filter(|(_, series)| *series > 0).collect()
    }

    /// How many series pass all matchers and were active in a day of the range.
    pub fn count(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> u64 {
        self.scope(matchers, start_ms, end_ms).map_or(u64::from(self.len()), |scope| scope.len() as u64)
    }

    /// Values of a label by way of the series that may have it, for a selection of few series.
    fn values_of(&self, name: NameId, scope: &SeriesSet, limit: usize) -> Vec<Arc<str>> {
        let of_name = |pairs: &[PairId]| pairs.iter().copied().find(|&pair| self.pairs.pair(pair).name == name);
        let mut pairs: Vec<PairId> = scope.to_vec().into_iter().filter_map(|series| of_name(self.pair_list(series)?)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut values: Vec<Arc<str>> = pairs.into_iter().map(|pair| self.pairs.pair(pair).value.clone()).collect();
        values.sort_unstable();
        values.truncate(limit);
        values
    }

    /// The series a listing is limited to; `None` when it is all of them.
    fn scope(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Option<SeriesSet> {
        if matchers.is_empty() {
            return self.active_between(start_ms, end_ms);
        }
        Some(self.select_set(matchers, start_ms, end_ms))
    }
}
