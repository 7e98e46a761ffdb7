//! The head: samples of one shard that are not on disk yet.
//!
//! Stripes of 4096 series, each under its own lock. One writer appends whole batches and holds a stripe's
//! lock for as long as the batch stays in it (batches are sorted by series, so that is long); readers
//! take the lock of one stripe for one series at a time.
//!
//! A sample is in exactly one of three places: the open generation of its stripe, a frozen generation
//! of its stripe, or on disk. It moves on by `freeze` and by `release`, and `release` is called only
//! after it became readable on disk. A reader therefore reads the head first and then what is sealed, and
//! starts over when more was released than its view of the disk contains (`read` answers the number).

mod block;
mod stripe;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::batch::{Columns, ConflictPolicy};
use crate::fault::Result;
use crate::histogram;
use crate::labels::SeriesId;
use crate::series_set::SeriesSet;
use crate::tombstones::{Tombstones, Veil};
use stripe::{AppendContext, Fate, FrozenStripe, STRIPE_SERIES, Stripe};

/// Samples of one series, oldest generation first; of equal times the last is the newest.
#[derive(Default)]
pub(crate) struct HeadSamples {
    pub timestamps: Vec<i64>,
    /// That of a histogram is the mark of its place in `histograms`.
    pub values: Vec<f64>,
    /// Encoded forms.
    pub histograms: Vec<Arc<[u8]>>,
    /// The seal of each frozen generation and where its samples end, for the caller to leave out what is hidden.
    pub parts: Vec<(u64, usize)>,
}

impl HeadSamples {
    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
        self.parts.clear();
    }
}

/// What became of the samples of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Samples that are there now and were not before, or that replaced another value.
    pub accepted: u64,
    /// Samples that were there already, with the same value.
    pub duplicates: u64,
    /// Samples refused because another value was there.
    pub conflicts: u64,
    /// Samples whose series does not exist.
    pub unknown_series: u64,
    /// The first sample refused because of a conflict: (series, time).
    pub first_conflict: Option<(SeriesId, i64)>,
    /// The first series that does not exist.
    pub first_unknown: Option<SeriesId>,
}

/// See the module's story.
#[derive(Default)]
pub(crate) struct Head {
    stripes: RwLock<Vec<RwLock<Stripe>>>,
    open_samples: AtomicU64,
    open_bytes: AtomicU64,
}

/// Everything applied before a freeze that has not been released, until it is on disk.
pub(crate) struct FrozenHead {
    /// Number of the seal that will hold it.
    pub seal: u64,
    /// By stripe, the oldest generation first. Usually there is one; more when a seal was given up.
    stripes: Vec<Vec<Arc<FrozenStripe>>>,
    samples: u64,
}

/// What a head holds, open and frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadExtent {
    /// Pieces of series: one for each series in each generation that has samples of it.
    pub pieces: u64,
    /// The earliest and the latest sample; `None` when there is none.
    pub range_ms: Option<(i64, i64)>,
}

impl HeadExtent {
    fn add(&mut self, first_ms: i64, last_ms: i64) {
        let (first, last) = self.range_ms.unwrap_or((first_ms, last_ms));
        self.range_ms = Some((first.min(first_ms), last.max(last_ms)));
    }
}

impl Head {
    /// Looks at every series.
    pub fn extent(&self) -> HeadExtent {
        let mut extent = HeadExtent::default();
        self.stripes.read().iter().for_each(|stripe| stripe.read().add_extent(&mut extent));
        extent
    }

    /// Makes room for series `0..count`. The one writer calls it before it appends to new series.
    pub fn reserve(&self, count: u32) {
        let mut stripes = self.stripes.write();
        let needed = count.div_ceil(STRIPE_SERIES) as usize;
        while stripes.len() < needed {
            stripes.push(RwLock::default());
        }
        let from = stripes.len().saturating_sub(2).min(needed);
        for (number, stripe) in stripes.iter_mut().enumerate().skip(from) {
            let series = count - (number as u32 * STRIPE_SERIES).min(count);
            stripe.get_mut().reserve(series.min(STRIPE_SERIES));
        }
        for stripe in stripes.iter_mut().take(from) {
            stripe.get_mut().reserve(STRIPE_SERIES);
        }
    }

    /// Sets the newest time of a series when a shard is loaded.
    pub fn restore_time_max(&self, series: SeriesId, time_max: i64) {
        self.stripes.read()[(series / STRIPE_SERIES) as usize].write().restore_time_max(series % STRIPE_SERIES, time_max);
    }

    /// Has the next sample of a series reported as activity, whatever its day.
    pub fn mark_again(&self, series: SeriesId) {
        self.stripes.read()[(series / STRIPE_SERIES) as usize].write().mark_again(series % STRIPE_SERIES);
    }

    /// Applies all samples in order. `sealed` answers what is on disk at (series, time) and not hidden by the tombstones;
    /// `marks` receives the days in which series became active. Errors only when `sealed` fails.
    pub fn append(
        &self,
        columns: &Columns,
        series_count: u32,
        policy: ConflictPolicy,
        sealed: &dyn Fn(SeriesId, i64) -> Result<Option<u64>>,
        tombstones: &Tombstones,
        marks: &mut Vec<(i64, SeriesId)>,
    ) -> Result<Tally> {
        let stripes = self.stripes.read();
        let mut tally = Tally::default();
        let mut today: Range<i64> = 0..0;
        let mut stripe_marks = Vec::new();
        let mut next = 0;
        let mut histograms = columns.histograms.iter();
        while next < columns.len() {
            let number = columns.targets[next] / STRIPE_SERIES;
            if columns.targets[next] >= series_count {
                tally.unknown_series += 1;
                tally.first_unknown.get_or_insert(columns.targets[next]);
                if histogram::is_marker(columns.values[next].to_bits()) {
                    histograms.next();
                }
                next += 1;
                continue;
            }
            let first = number * STRIPE_SERIES;
            let here = series_count.min(first.saturating_add(STRIPE_SERIES));
            let mut stripe = stripes[number as usize].write();
            let before = (stripe.open_samples(), stripe.open_bytes());
            let ask = |place: u32, time: i64| sealed(first + place, time);
            let hidden = |place: u32, time: i64, seal: u64| tombstones.hides(first + place, time, seal);
            let mut context = AppendContext { sealed: &ask, hidden: &hidden, marks: &mut stripe_marks };
            let range = first..here;
            let result = append_run(&mut stripe, columns, &mut next, range, policy, &mut today, &mut histograms, &mut context, &mut tally);
            marks.extend(stripe_marks.drain(..).map(|(day, place)| (day, first + place)));
            self.open_samples.fetch_add(stripe.open_samples() - before.0, Ordering::Relaxed);
            // Less than before when a histogram made place for a smaller one: addition wraps.
            self.open_bytes.fetch_add((stripe.open_bytes() as u64).wrapping_sub(before.1 as u64), Ordering::Relaxed);
            result?;
        }
        Ok(tally)
    }

    /// Takes the samples of some series and of `start_ms..=end_ms` out of the open generation. The caller has hidden those in
    /// frozen generations and on disk before, so that no reader meets what they had replaced.
    pub fn remove(&self, series: &SeriesSet, start_ms: i64, end_ms: i64) {
        let stripes = self.stripes.read();
        for part in series.to_vec().chunk_by(|left, right| left / STRIPE_SERIES == right / STRIPE_SERIES) {
            let Some(stripe) = stripes.get((part[0] / STRIPE_SERIES) as usize) else {
                return;
            };
            let mut stripe = stripe.write();
            let removed = part.iter().map(|id| stripe.remove(id % STRIPE_SERIES, start_ms, end_ms)).sum();
            self.open_samples.fetch_sub(removed, Ordering::Relaxed);
        }
    }

    /// The oldest seal whose samples are in the head.
    pub fn oldest_frozen(&self) -> Option<u64> {
        self.stripes.read().iter().filter_map(|stripe| stripe.read().oldest_frozen()).min()
    }

    /// Ends the open generation of all stripes. `None` when nothing is in the head, open or frozen. The
    /// caller makes sure that no append runs.
    pub fn freeze(&self, seal: u64) -> Option<FrozenHead> {
        let stripes: Vec<_> = self.stripes.read().iter().map(|stripe| stripe.write().freeze(seal)).collect();
        self.open_samples.store(0, Ordering::Relaxed);
        self.open_bytes.store(0, Ordering::Relaxed);
        let samples = stripes.iter().flatten().map(|stripe: &Arc<FrozenStripe>| stripe.samples()).sum();
        (samples > 0).then_some(FrozenHead { seal, stripes, samples })
    }

    /// Lets go of what a seal and those before it hold.
    pub fn release(&self, seal: u64) {
        self.stripes.read().iter().for_each(|stripe| stripe.write().release(seal));
    }

    /// Appends a series' samples of `start_ms..=end_ms`, oldest generation first; a later one of the same
    /// time is the newer one. Answers the last seal that was released, which the caller must find on disk.
    pub fn read(&self, series: SeriesId, start_ms: i64, end_ms: i64, samples: &mut HeadSamples) -> u64 {
        let stripes = self.stripes.read();
        let Some(stripe) = stripes.get((series / STRIPE_SERIES) as usize) else {
            return 0;
        };
        let stripe = stripe.read();
        stripe.read(series % STRIPE_SERIES, start_ms, end_ms, samples);
        stripe.released()
    }

    /// Samples in the open generation.
    pub fn open_samples(&self) -> u64 {
        self.open_samples.load(Ordering::Relaxed)
    }

    /// Bytes of memory in the open generation.
    pub fn open_bytes(&self) -> u64 {
        self.open_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory, all in all.
    pub fn memory_bytes(&self) -> usize {
        self.stripes.read().iter().map(|stripe| stripe.read().memory_bytes()).sum()
    }
}

/// Applies the samples from `next` on that belong to the stripe of `series`, and moves `next` behind them.
#[allow(clippy::too_many_arguments)] // The loop's state; a struct for it would live for this one call.
fn append_run(
    stripe: &mut Stripe,
    columns: &Columns,
    next: &mut usize,
    series: Range<SeriesId>,
    policy: ConflictPolicy,
    today: &mut Range<i64>,
    histograms: &mut std::slice::Iter<'_, Arc<[u8]>>,
    context: &mut AppendContext<'_>,
    tally: &mut Tally,
) -> Result<()> {
    let rest = columns.targets[*next..].iter().zip(&columns.timestamps[*next..]).zip(&columns.values[*next..]);
    for ((&target, &timestamp_ms), value) in rest {
        if !series.contains(&target) {
            return Ok(());
        }
        *next += 1;
        let bits = value.to_bits();
        let encoded = if histogram::is_marker(bits) { histograms.next() } else { None };
        match stripe.append(target - series.start, timestamp_ms, bits, policy, today, context)? {
            Fate::Accepted => {
                tally.accepted += 1;
                if let Some(encoded) = encoded {
                    stripe.keep_histogram(target - series.start, timestamp_ms, encoded.clone());
                }
            }
            Fate::Duplicate => tally.duplicates += 1,
            Fate::Conflict => {
                tally.conflicts += 1;
                tally.first_conflict.get_or_insert((target, timestamp_ms));
            }
        }
    }
    Ok(())
}

impl FrozenHead {
    /// A seal without samples: new series alone also have to become durable.
    pub fn empty(seal: u64) -> Self {
        Self { seal, stripes: Vec::new(), samples: 0 }
    }

    /// Samples held.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Appends the samples of a series that are not hidden, the oldest generation first; of equal times the last is the newest.
    pub fn read(&self, series: SeriesId, veil: &Veil, samples: &mut HeadSamples) {
        for stripe in self.stripes.get((series / STRIPE_SERIES) as usize).into_iter().flatten() {
            let from = samples.timestamps.len();
            stripe.read(series % STRIPE_SERIES, i64::MIN, i64::MAX, samples);
            veil.cut(stripe.seal(), from..samples.timestamps.len(), &mut samples.timestamps, &mut samples.values);
        }
    }

    /// The newest time ever applied to each series in a stripe that froze: (series, time).
    pub fn times_max(&self) -> impl Iterator<Item = (SeriesId, i64)> {
        let stripes = self.stripes.iter().enumerate().filter_map(|(number, stripes)| Some((number, stripes.last()?)));
        stripes.flat_map(|(number, stripe)| {
            let first = number as u32 * STRIPE_SERIES;
            (0..stripe.series_count()).map(move |place| (first + place, stripe.time_max(place)))
        })
    }
}
