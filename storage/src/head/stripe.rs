//! One stripe of the head: 4096 neighbouring series under one lock.
//!
//! A stripe has an open generation, which `append` fills, and the frozen generations that are being
//! persisted. Per series it knows the newest time ever applied: a sample after it is new without any
//! search, which is the path nearly every sample takes. Anything else is looked for everywhere before it
//! is accepted, so that the outcome depends on the log alone and not on when this node sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::block::{Arena, Chain};
use super::{HeadExtent, HeadSamples};
use crate::batch::ConflictPolicy;
use crate::fault::Result;
use crate::histogram;
use crate::index::{DAY_MS, day_of};

/// Series in a stripe.
pub(crate) const STRIPE_SERIES: u32 = 4096;

/// What a histogram takes beside its encoded form, roughly.
const HISTOGRAM_ENTRY_BYTES: usize = 64;

/// What became of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there now and was not before, or it replaced another value.
    Accepted,
    /// The same value was there already.
    Duplicate,
    /// Another value was there already and stays.
    Conflict,
}

/// Answers what is sealed for (series' place in its stripe, time).
pub(crate) type SealedLookup<'a> = dyn Fn(u32, i64) -> Result<Option<u64>> + 'a;

/// What is known of one series.
#[derive(Clone, Copy)]
struct Entry {
    /// The newest time ever applied; `i64::MIN` before the first sample.
    time_max: i64,
    /// Its samples in the open generation that came in order.
    chain: Chain,
}

const UNUSED: Entry = Entry { time_max: i64::MIN, chain: Chain::EMPTY };

/// Samples of one stripe, applied between two freezes.
#[derive(Default)]
struct Generation {
    arena: Arena,
    /// Samples that came out of order, by series and time.
    side: BTreeMap<(u32, i64), u64>,
    samples: u64,
    /// Encoded histograms by series and time. A sample that replaced one leaves it here: only those count whose marker is the value.
    histograms: BTreeMap<(u32, i64), Arc<[u8]>>,
    histogram_bytes: usize,
}

/// A generation that no longer changes.
pub(crate) struct FrozenStripe {
    seal: u64,
    entries: Vec<Entry>,
    generation: Generation,
}

/// See the module's story.
#[derive(Default)]
pub(crate) struct Stripe {
    entries: Vec<Entry>,
    open: Generation,
    frozen: Vec<Arc<FrozenStripe>>,
    /// Series that may not be known to be active in the day of their newest time: a deletion took that sample, or the day's.
    unmarked: BTreeSet<u32>,
    /// Seals up to this one have left the stripe and are to be found on disk.
    released: u64,
}

impl Stripe {
    /// Makes room for the series `0..count` of the stripe.
    pub fn reserve(&mut self, count: u32) {
        if self.entries.len() < count as usize {
            self.entries.resize(count as usize, UNUSED);
        }
    }

    /// Sets the newest time of a series when a shard is loaded.
    pub fn restore_time_max(&mut self, place: u32, time_max: i64) {
        let known = &mut self.entries[place as usize].time_max;
        *known = time_max.max(*known);
    }

    /// Has the next sample of a series reported as activity, whatever its day.
    pub fn mark_again(&mut self, place: u32) {
        self.unmarked.insert(place);
    }

    /// Applies one sample. `today` caches the day last looked at; a day in which the series was not yet
    /// known to be active is reported through `mark`.
    #[inline]
    pub fn append(
        &mut self,
        place: u32,
        timestamp_ms: i64,
        bits: u64,
        policy: ConflictPolicy,
        today: &mut Range<i64>,
        context: &mut AppendContext<'_>,
    ) -> Result<Fate> {
        let entry = &mut self.entries[place as usize];
        if timestamp_ms <= entry.time_max {
            return self.append_late(place, timestamp_ms, bits, policy, context);
        }
        if !today.contains(&timestamp_ms) {
            let start = day_of(timestamp_ms).saturating_mul(DAY_MS);
            *today = start..start.saturating_add(DAY_MS);
        }
        let is_unmarked = !self.unmarked.is_empty() && self.unmarked.remove(&place);
        if entry.time_max < today.start || is_unmarked {
            context.marks.push((day_of(timestamp_ms), place));
        }
        entry.time_max = timestamp_ms;
        self.open.samples += 1;
        match self.open.arena.offset(timestamp_ms) {
            Some(offset) => self.open.arena.push(&mut entry.chain, offset, bits),
            None => {
                self.open.side.insert((place, timestamp_ms), bits);
            }
        }
        Ok(Fate::Accepted)
    }

    /// Keeps the encoded form of a histogram whose marker was accepted just now.
    #[cold]
    pub fn keep_histogram(&mut self, place: u32, timestamp_ms: i64, encoded: Arc<[u8]>) {
        self.open.histogram_bytes += encoded.len() + HISTOGRAM_ENTRY_BYTES;
        if let Some(replaced) = self.open.histograms.insert((place, timestamp_ms), encoded) {
            self.open.histogram_bytes -= replaced.len() + HISTOGRAM_ENTRY_BYTES;
        }
    }

    /// A sample that is not newer than all of its series.
    #[cold]
    fn append_late(
        &mut self,
        place: u32,
        timestamp_ms: i64,
        bits: u64,
        policy: ConflictPolicy,
        context: &mut AppendContext<'_>,
    ) -> Result<Fate> {
        let entry = &self.entries[place as usize];
        let chain = entry.chain;
        let is_last = chain.count > 0 && self.open.arena.last_time(&chain) == timestamp_ms;
        if is_last && self.open.arena.last_bits(&chain) == bits {
            return Ok(Fate::Duplicate);
        }
        if let Some(found) = self.open.arena.find(&chain, timestamp_ms) {
            let fate = judge(found.bits, bits, policy);
            if fate == Fate::Accepted {
                self.open.arena.replace(found, bits);
            }
            return Ok(fate);
        }
        let older = match self.open.side.get(&(place, timestamp_ms)) {
            Some(&older) => Some(older),
            None => self.find_older(place, timestamp_ms, policy, context)?,
        };
        let fate = older.map_or(Fate::Accepted, |older| judge(older, bits, policy));
        if fate == Fate::Accepted {
            self.open.samples += u64::from(self.open.side.insert((place, timestamp_ms), bits).is_none());
            context.marks.push((day_of(timestamp_ms), place));
        }
        Ok(fate)
    }

    /// The value at this time in frozen generations, then (when the policy's answer depends on it) on
    /// disk. Under "last write wins" the disk need not be asked: the newest generation wins anyway.
    fn find_older(&self, place: u32, timestamp_ms: i64, policy: ConflictPolicy, context: &AppendContext<'_>) -> Result<Option<u64>> {
        let frozen = self.frozen.iter().rev();
        let frozen = frozen.filter(|frozen| !(context.hidden)(place, timestamp_ms, frozen.seal));
        if let Some(bits) = frozen.filter_map(|frozen| frozen.find(place, timestamp_ms)).next() {
            return Ok(Some(bits));
        }
        match policy {
            ConflictPolicy::LastWriteWins => Ok(None),
            ConflictPolicy::Reject => (context.sealed)(place, timestamp_ms),
        }
    }

    /// Takes a series' samples of `start_ms..=end_ms` out of the open generation; answers how many there were. The caller has
    /// hidden those in frozen generations and on disk.
    pub fn remove(&mut self, place: u32, start_ms: i64, end_ms: i64) -> u64 {
        let Some(entry) = self.entries.get_mut(place as usize).filter(|_| start_ms <= end_ms) else {
            return 0;
        };
        if (start_ms..=end_ms).contains(&entry.time_max) {
            // Nothing is left from the range's start on, so a sample there is new.
            entry.time_max = start_ms.saturating_sub(1);
            self.unmarked.insert(place);
        }
        let mut removed = u64::from(self.open.arena.remove(&mut entry.chain, start_ms, end_ms));
        let side: Vec<_> = self.open.side.range((place, start_ms)..=(place, end_ms)).map(|(key, _)| *key).collect();
        removed += side.len() as u64;
        for key in side {
            self.open.side.remove(&key);
        }
        self.open.samples -= removed;
        removed
    }

    /// The oldest seal whose samples have not left the stripe.
    pub fn oldest_frozen(&self) -> Option<u64> {
        self.frozen.iter().map(|frozen| frozen.seal).min()
    }

    /// Ends the open generation. The answer is every frozen generation that has not been released, oldest
    /// first.
    pub fn freeze(&mut self, seal: u64) -> Vec<Arc<FrozenStripe>> {
        if self.open.samples > 0 {
            let generation = std::mem::take(&mut self.open);
            let entries = self.entries.clone();
            self.entries.iter_mut().for_each(|entry| entry.chain = Chain::EMPTY);
            self.frozen.push(Arc::new(FrozenStripe { seal, entries, generation }));
        }
        self.frozen.clone()
    }

    /// Lets go of the frozen generations up to a seal that is on disk.
    pub fn release(&mut self, seal: u64) {
        self.frozen.retain(|frozen| frozen.seal > seal);
        self.released = self.released.max(seal);
    }

    /// The last seal that readers must look for on disk.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Appends a series' samples of the range, oldest generation first.
    pub fn read(&self, place: u32, start_ms: i64, end_ms: i64, samples: &mut HeadSamples) {
        for frozen in &self.frozen {
            frozen.read(place, start_ms, end_ms, samples);
            samples.parts.push((frozen.seal, samples.timestamps.len()));
        }
        if let Some(entry) = self.entries.get(place as usize) {
            self.open.read(place, &entry.chain, start_ms, end_ms, samples);
        }
    }

    /// Samples in the open generation.
    pub fn open_samples(&self) -> u64 {
        self.open.samples
    }

    /// Bytes of memory of the open generation.
    pub fn open_bytes(&self) -> usize {
        self.open.memory_bytes()
    }

    /// Widens `extent` by what is here.
    pub fn add_extent(&self, extent: &mut HeadExtent) {
        self.frozen.iter().for_each(|frozen| frozen.generation.add_extent(&frozen.entries, extent));
        self.open.add_extent(&self.entries, extent);
    }

    /// Bytes of memory, all in all.
    pub fn memory_bytes(&self) -> usize {
        let frozen = self.frozen.iter().map(|frozen| frozen.memory_bytes()).sum::<usize>();
        self.entries.capacity() * size_of::<Entry>() + self.open_bytes() + frozen
    }
}

impl FrozenStripe {
    /// Series the stripe had when it froze.
    pub fn series_count(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Samples held.
    pub fn samples(&self) -> u64 {
        self.generation.samples
    }

    /// The seal it froze for; a later one may write it.
    pub fn seal(&self) -> u64 {
        self.seal
    }

    /// The newest time applied to a series before the freeze.
    pub fn time_max(&self, place: u32) -> i64 {
        self.entries[place as usize].time_max
    }

    /// Appends a series' samples of the range; out-of-order samples come behind the others.
    pub fn read(&self, place: u32, start_ms: i64, end_ms: i64, samples: &mut HeadSamples) {
        if let Some(entry) = self.entries.get(place as usize) {
            self.generation.read(place, &entry.chain, start_ms, end_ms, samples);
        }
    }

    fn find(&self, place: u32, timestamp_ms: i64) -> Option<u64> {
        let entry = self.entries.get(place as usize)?;
        let found = self.generation.arena.find(&entry.chain, timestamp_ms).map(|found| found.bits);
        found.or_else(|| self.generation.side.get(&(place, timestamp_ms)).copied())
    }

    fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.generation.memory_bytes()
    }
}

impl Generation {
    fn read(&self, place: u32, chain: &Chain, start_ms: i64, end_ms: i64, samples: &mut HeadSamples) {
        let from = samples.values.len();
        self.arena.read(chain, start_ms, end_ms, &mut samples.timestamps, &mut samples.values);
        if !self.side.is_empty() && start_ms <= end_ms {
            for (&(_, time), &bits) in self.side.range((place, start_ms)..=(place, end_ms)) {
                samples.timestamps.push(time);
                samples.values.push(f64::from_bits(bits));
            }
        }
        if !self.histograms.is_empty() {
            self.attach_histograms(place, from, samples);
        }
    }

    /// Puts the mark of a place where a marker is, and the histogram there.
    fn attach_histograms(&self, place: u32, from: usize, samples: &mut HeadSamples) {
        for (time, value) in samples.timestamps[from..].iter().zip(&mut samples.values[from..]) {
            if histogram::is_marker(value.to_bits()) {
                // Invariant: a marker is accepted only with its histogram, in the same generation.
                let encoded = self.histograms.get(&(place, *time)).expect("a marker with its histogram");
                *value = histogram::mark_of_place(samples.histograms.len());
                samples.histograms.push(encoded.clone());
            }
        }
    }

    fn add_extent(&self, entries: &[Entry], extent: &mut HeadExtent) {
        for entry in entries.iter().filter(|entry| entry.chain.count > 0) {
            extent.pieces += 1;
            extent.add(self.arena.first_time(&entry.chain), self.arena.last_time(&entry.chain));
        }
        self.side.keys().for_each(|&(_, time)| extent.add(time, time));
    }

    fn memory_bytes(&self) -> usize {
        const SIDE_ENTRY_BYTES: usize = 40;
        self.arena.memory_bytes() + self.side.len() * SIDE_ENTRY_BYTES + self.histogram_bytes
    }
}

/// What `append` needs from around it.
pub(crate) struct AppendContext<'a> {
    /// What is sealed already; asked only for samples that are late.
    pub sealed: &'a SealedLookup<'a>,
    /// Whether a deletion hides (place in the stripe, time) under a seal.
    pub hidden: &'a dyn Fn(u32, i64, u64) -> bool,
    /// Days in which series became active: (day, place in the stripe).
    pub marks: &'a mut Vec<(i64, u32)>,
}

fn judge(older: u64, newer: u64, policy: ConflictPolicy) -> Fate {
    match policy {
        _ if older == newer => Fate::Duplicate,
        ConflictPolicy::LastWriteWins => Fate::Accepted,
        ConflictPolicy::Reject => Fate::Conflict,
    }
}
