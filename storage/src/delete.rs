//! Deleting a range of time of some series, as the log says.
//!
//! Everything that the log holds before is taken away, and what comes after stays; see `tombstones` for how.

use std::sync::atomic::Ordering;

use crate::batch::Deletion;
use crate::series_set::SeriesSet;
use crate::state::ShardState;

impl ShardState {
    /// Applies one deletion; answers the series it is about. The caller makes sure that no freeze runs.
    pub fn delete(&self, deletion: &Deletion) -> SeriesSet {
        let (start_ms, end_ms) = (deletion.start_ms, deletion.end_ms);
        // All series, also those that seem inactive: what is loaded may be newer than the entry, and replay brings samples back.
        let series = self.index.read().matching(&deletion.matchers);
        if series.is_empty() || start_ms > end_ms {
            return SeriesSet::default();
        }
        let bound = u64::from(self.last_seal.load(Ordering::Relaxed));
        // What is sealed is hidden before the open generation shrinks: no reader meets a value that a deleted one had replaced.
        self.change_runs(|list| {
            list.tombstones.add(series.clone(), start_ms, end_ms, bound);
            self.deletions.store(list.tombstones.last, Ordering::Release);
        });
        self.head.remove(&series, start_ms, end_ms);
        let days = self.index.write().clear_active(&series, start_ms, end_ms);
        {
            let mut unsaved = self.unsaved.lock();
            unsaved.days.extend(days);
            unsaved.tombstones = true;
        }
        self.forget_tombstones();
        series
    }
}
