//! Selecting series.
//!
//! Each matcher either *requires* (it refuses the empty value, so only series with an accepted pair pass)
//! or *forbids* (it accepts the empty value, so all series pass but those with a pair it refuses).
//! Requirements are intersected first, the smallest first; what is forbidden is subtracted last.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::matcher::{Matcher, Shape};
use super::pairs::{NameId, PairId};
use super::{Index, day_of};
use crate::labels::SeriesId;
use crate::series_set::SeriesSet;

/// What one matcher means for the answer.
enum Demand {
    /// Every series passes.
    Nothing,
    /// Only series of this set pass.
    Require(SeriesSet),
    /// Series of this set do not pass.
    Forbid(SeriesSet),
}

impl Index {
    /// The series that pass all matchers and were active in a day of `start_ms..=end_ms`.
    pub fn select_set(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> SeriesSet {
        let mut selected = self.matching(matchers);
        if let Some(active) = self.active_between(start_ms, end_ms).filter(|_| !selected.is_empty()) {
            selected.intersect_with(&active);
        }
        selected
    }

    /// The series that pass all matchers, whenever they were active.
    pub fn matching(&self, matchers: &[Matcher]) -> SeriesSet {
        let (mut required, mut forbidden) = (Vec::new(), Vec::new());
        for matcher in matchers {
            match self.demand(matcher) {
                Demand::Nothing => {}
                Demand::Require(set) if set.is_empty() => return SeriesSet::default(),
                Demand::Require(set) => required.push(set),
                Demand::Forbid(set) => forbidden.push(set),
            }
        }
        required.sort_by_key(SeriesSet::len);
        let mut required = required.into_iter();
        let mut selected = required.next().unwrap_or_else(|| SeriesSet::below(self.len()));
        required.for_each(|set| selected.intersect_with(&set));
        forbidden.iter().for_each(|set| selected.subtract(set));
        selected
    }

    /// As `select_set`, sorted as sealed chunks are: by metric, then by series number.
    pub fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<SeriesId> {
        let mut series = self.select_set(matchers, start_ms, end_ms).to_vec();
        let metric_of = self.metrics();
        if !series.is_sorted_by_key(|&id| metric_of[id as usize]) {
            series.sort_by_key(|&id| (metric_of[id as usize], id));
        }
        series
    }

    /// The series active in any day of the range; `None` when these are all there are.
    pub(super) fn active_between(&self, start_ms: i64, end_ms: i64) -> Option<SeriesSet> {
        let days: RangeInclusive<i64> = day_of(start_ms)..=day_of(end_ms);
        if days.is_empty() {
            return Some(SeriesSet::default());
        }
        let (Some(first), Some(last)) = (self.active.keys().next(), self.active.keys().next_back()) else {
            return self.has_inactive.then(SeriesSet::default);
        };
        let covers_all = start_ms == i64::MIN && end_ms == i64::MAX || days.contains(first) && days.contains(last);
        if covers_all && !self.has_inactive {
            return None;
        }
        let mut active = SeriesSet::default();
        self.active.range(days).for_each(|(_, set)| active.unite_with(set));
        Some(active)
    }

    fn demand(&self, matcher: &Matcher) -> Demand {
        let passes_without_label = matcher.matches("");
        let Some(name) = self.pairs.name_id(matcher.name()) else {
            return if passes_without_label { Demand::Nothing } else { Demand::Require(SeriesSet::default()) };
        };
        // `passing`: whether the accepted pairs are those that pass, or (negated) those that do not.
        let passing = !matcher.is_negated();
        match (passes_without_label, passing) {
            (false, true) => Demand::Require(self.accepted_series(matcher, name)),
            (true, false) => Demand::Forbid(self.accepted_series(matcher, name)),
            (true, true) => Demand::Forbid(self.refused_series(matcher, name)),
            (false, false) => Demand::Require(self.refused_series(matcher, name)),
        }
    }

    /// Series with a pair of `name` whose value is accepted (before any negation).
    fn accepted_series(&self, matcher: &Matcher, name: NameId) -> SeriesSet {
        match matcher.shape() {
            Shape::Everything | Shape::NonEmpty => self.pairs.name(name).series.clone(),
            _ => self.unite(&self.accepted_pairs(matcher, name)),
        }
    }

    /// Series with a pair of `name` whose value is not accepted: all that have the label but the accepted
    /// ones, because a series has at most one value of a label.
    fn refused_series(&self, matcher: &Matcher, name: NameId) -> SeriesSet {
        if matcher.shape() == Shape::Everything {
            return SeriesSet::default();
        }
        let mut series = self.pairs.name(name).series.clone();
        series.subtract(&self.accepted_series(matcher, name));
        series
    }

    fn accepted_pairs(&self, matcher: &Matcher, name: NameId) -> Arc<Vec<PairId>> {
        match matcher.shape() {
            Shape::Literals(literals) => {
                let pairs = literals.iter().filter_map(|literal| self.pairs.pair_id(name, literal));
                Arc::new(pairs.collect())
            }
            Shape::Prefixes(prefixes) => {
                let candidates = prefixes.iter().flat_map(|prefix| self.pairs.with_prefix(name, prefix));
                Arc::new(candidates.filter(|(value, _)| matcher.accepts(value)).map(|(_, pair)| pair).collect())
            }
            Shape::Everything | Shape::NonEmpty | Shape::Opaque => self.regexes.accepted(matcher, name, &self.pairs),
        }
    }

    fn unite(&self, pairs: &[PairId]) -> SeriesSet {
        if let [pair] = pairs {
            return self.pairs.pair(*pair).posting.to_set();
        }
        let mut set = SeriesSet::default();
        pairs.iter().for_each(|&pair| self.pairs.pair(pair).posting.add_to(&mut set));
        set
    }
}
