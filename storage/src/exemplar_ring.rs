//! The newest exemplars of a shard, in the order of the log; when there are too many the oldest goes.
//!
//! Of one series, exemplars are taken in the order of their times only (Prometheus' rule), except that one which is there already
//! is taken again silently: a request that is sent twice must not fail.
//!
//! Invariant: `by_series` lists the places of every series' exemplars, oldest first, and nothing else; a place is an exemplar's
//! number in the log, so that it stays right while older ones go.

use std::collections::{BTreeMap, VecDeque};

use crate::batch::beside;
use crate::error::Result;
use crate::exemplar::Exemplar;
use crate::labels::SeriesId;
use crate::series_set::SeriesSet;
use crate::varint::{self, Cursor};

/// What became of one exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExemplarFate {
    /// It is there now.
    Kept,
    /// It was there already.
    Duplicate,
    /// The series has a newer one.
    OutOfOrder,
}

/// See the module's story.
#[derive(Debug, Default)]
pub(crate) struct ExemplarRing {
    entries: VecDeque<(SeriesId, Exemplar)>,
    /// The place of the first entry.
    first: u64,
    by_series: BTreeMap<SeriesId, VecDeque<u64>>,
}

impl ExemplarRing {
    /// Takes one exemplar; at most `most` stay.
    pub fn push(&mut self, series: SeriesId, exemplar: &Exemplar, most: usize) -> ExemplarFate {
        let places = self.by_series.entry(series).or_default();
        if let Some(newest) = places.back().map(|place| &self.entries[(place - self.first) as usize].1) {
            let is_newer = order(newest, exemplar).is_lt();
            if !is_newer {
                let is_known = places.iter().any(|place| is_same(&self.entries[(place - self.first) as usize].1, exemplar));
                return if is_known { ExemplarFate::Duplicate } else { ExemplarFate::OutOfOrder };
            }
        }
        places.push_back(self.first + self.entries.len() as u64);
        self.entries.push_back((series, exemplar.clone()));
        while self.entries.len() > most {
            self.drop_oldest();
        }
        ExemplarFate::Kept
    }

    fn drop_oldest(&mut self) {
        let Some((series, _)) = self.entries.pop_front() else { return };
        self.first += 1;
        if let Some(places) = self.by_series.get_mut(&series) {
            places.pop_front();
            if places.is_empty() {
                self.by_series.remove(&series);
            }
        }
    }

    /// Removes exemplars of some series in a range of times; answers whether there were any.
    pub fn remove(&mut self, series: &SeriesSet, start_ms: i64, end_ms: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(id, exemplar)| !series.contains(*id) || !(start_ms..=end_ms).contains(&exemplar.timestamp_ms));
        let any = self.entries.len() < before;
        if any {
            self.number_places();
        }
        any
    }

    fn number_places(&mut self) {
        self.by_series.clear();
        for (place, (series, _)) in (self.first..).zip(&self.entries) {
            self.by_series.entry(*series).or_default().push_back(place);
        }
    }

    /// The series that have exemplars, by number.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.by_series.keys().copied()
    }

    /// A series' exemplars in a range of times, oldest first.
    pub fn of_series(&self, series: SeriesId, start_ms: i64, end_ms: i64) -> impl Iterator<Item = &Exemplar> {
        let places = self.by_series.get(&series).into_iter().flatten();
        let all = places.map(|place| &self.entries[(place - self.first) as usize].1);
        all.filter(move |exemplar| (start_ms..=end_ms).contains(&exemplar.timestamp_ms))
    }

    /// Exemplars held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Appends the form that `decode` reads.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.entries.len() as u64);
        for (series, exemplar) in &self.entries {
            varint::put(out, u64::from(*series));
            beside::put_exemplar_body(out, exemplar);
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Self> {
        let count = cursor.count(cursor.rest().len())?;
        let mut ring = Self::default();
        for _ in 0..count {
            let series = cursor.count(SeriesId::MAX as usize)? as SeriesId;
            ring.entries.push_back((series, beside::read_exemplar_body(cursor)?));
        }
        ring.number_places();
        Ok(ring)
    }
}

/// By time, then value, then labels, as Prometheus orders those of one series.
fn order(left: &Exemplar, right: &Exemplar) -> std::cmp::Ordering {
    let times = left.timestamp_ms.cmp(&right.timestamp_ms);
    times.then_with(|| left.value.total_cmp(&right.value)).then_with(|| left.labels.cmp(&right.labels))
}

fn is_same(left: &Exemplar, right: &Exemplar) -> bool {
    order(left, right).is_eq()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exemplar(timestamp_ms: i64, value: u8) -> Exemplar {
        Exemplar { timestamp_ms, value: f64::from(value), labels: vec![("trace_id".into(), format!("{value}"))] }
    }

    /// The same rules over a plain list.
    #[derive(Default)]
    struct Plain(Vec<(SeriesId, Exemplar)>);

    impl Plain {
        fn push(&mut self, series: SeriesId, exemplar: &Exemplar, most: usize) -> ExemplarFate {
            let own: Vec<_> = self.0.iter().filter(|entry| entry.0 == series).map(|entry| &entry.1).collect();
            if own.contains(&exemplar) {
                return ExemplarFate::Duplicate;
            }
            if own.last().is_some_and(|newest| (newest.timestamp_ms, newest.value) > (exemplar.timestamp_ms, exemplar.value)) {
                return ExemplarFate::OutOfOrder;
            }
            self.0.push((series, exemplar.clone()));
            self.0.drain(..self.0.len().saturating_sub(most));
            ExemplarFate::Kept
        }
    }

    proptest! {
        #[test]
        fn the_ring_is_a_bounded_list(
            pushes in prop::collection::vec((0..4u32, 0..20i64, 0..3u8), 0..60),
            most in 0..8usize,
            removed in (0..4u32, 0..20i64, 0..20i64),
            at: prop::sample::Index,
        ) {
            let (mut ring, mut plain) = (ExemplarRing::default(), Plain::default());
            let at = at.index(pushes.len() + 1);
            for (number, (series, time, value)) in pushes.into_iter().enumerate() {
                if number == at {
                    let mut set = SeriesSet::default();
                    set.insert(removed.0);
                    ring.remove(&set, removed.1, removed.2);
                    plain.0.retain(|(id, it)| *id != removed.0 || !(removed.1..=removed.2).contains(&it.timestamp_ms));
                }
                let one = exemplar(time, value);
                prop_assert_eq!(ring.push(series, &one, most), plain.push(series, &one, most));
            }
            let mut bytes = Vec::new();
            ring.encode(&mut bytes);
            let read = ExemplarRing::decode(&mut Cursor::new(&bytes, "test")).unwrap();
            for ring in [&ring, &read] {
                prop_assert_eq!(ring.len(), plain.0.len());
                for series in 0..4 {
                    let of_plain: Vec<_> = plain.0.iter().filter(|entry| entry.0 == series).map(|entry| &entry.1).collect();
                    prop_assert_eq!(ring.of_series(series, 0, 20).collect::<Vec<_>>(), of_plain);
                }
            }
        }
    }
}
