//! Raw label bytes → (shard, series id), so that a series seen before needs neither sorting nor canonical hashing.
//!
//! The key is a 128-bit hash of the labels' bytes as the sender wrote them, keyed with a secret of this process: a
//! sender that orders labels in two ways merely has two entries, and nobody outside can construct collisions.
//!
//! The table takes no locks. A slot is three words: the value, and the two halves of the key each XORed with a mix of the
//! value. A reader that sees a slot half-written finds a key that does not match, which is a miss. Slots sit two to a
//! cache line, and a key may be in one of two lines, so a lookup costs one memory access or two, and in a loop over a
//! request's series those accesses overlap. The table doubles while it is more than half full, up to its bound; then a
//! newcomer takes the place of another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// Slots of a fresh table.
const SLOTS_AT_FIRST: usize = 1 << 14;
const SLOTS_A_LINE: usize = 2;

/// Where a series' samples go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub shard: u32,
    pub series: u32,
}

#[derive(Default)]
struct Slot {
    value: AtomicU64,
    key_low: AtomicU64,
    key_high: AtomicU64,
}

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
struct Line {
    slots: [Slot; SLOTS_A_LINE],
}

struct Table {
    lines: Box<[Line]>,
    used: AtomicUsize,
}

/// Shared by all requests of a node.
pub struct SeriesCache {
    table: ArcSwap<Table>,
    growing: Mutex<()>,
    slots_max: usize,
}

/// A view that stays valid while a request is being routed.
pub struct SeriesCacheView(arc_swap::Guard<Arc<Table>>);

impl SeriesCache {
    pub fn new(entries_max: usize) -> SeriesCache {
        let slots_max = entries_max.next_power_of_two().max(SLOTS_A_LINE);
        SeriesCache { table: ArcSwap::from_pointee(Table::new(slots_max.min(SLOTS_AT_FIRST))), growing: Mutex::new(()), slots_max }
    }

    pub fn view(&self) -> SeriesCacheView {
        SeriesCacheView(self.table.load())
    }

    /// Remembers places; called after a request's misses were resolved.
    pub fn insert(&self, entries: impl IntoIterator<Item = (u128, Place)>) {
        let table = self.table.load();
        for (key, place) in entries {
            table.insert(key, place);
        }
        if table.is_crowded() && table.slots() < self.slots_max {
            self.grow();
        }
    }

    /// Forgets everything: ids belong to an incarnation of a shard.
    pub fn clear(&self) {
        let _growing = self.growing.lock();
        self.table.store(Arc::new(Table::new(self.slots_max.min(SLOTS_AT_FIRST))));
    }

    /// An insert that races with growing may be lost; it is a cache, the next request finds the series again.
    fn grow(&self) {
        let Some(_growing) = self.growing.try_lock() else { return };
        let old = self.table.load();
        if !old.is_crowded() {
            return;
        }
        let new = Table::new((old.slots() * 2).min(self.slots_max));
        for slot in old.lines.iter().flat_map(|line| &line.slots) {
            if let Some((key, place)) = slot.read() {
                new.insert(key, place);
            }
        }
        self.table.store(Arc::new(new));
    }
}

impl SeriesCacheView {
    #[inline]
    pub fn get(&self, key: u128) -> Option<Place> {
        self.0.lines(key).into_iter().find_map(|line| line.slots.iter().find_map(|slot| slot.get(key)))
    }
}

impl Table {
    fn new(slots: usize) -> Table {
        let lines = std::iter::repeat_with(Line::default).take(slots / SLOTS_A_LINE).collect();
        Table { lines, used: AtomicUsize::new(0) }
    }

    fn slots(&self) -> usize {
        self.lines.len() * SLOTS_A_LINE
    }

    fn is_crowded(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.slots() / 2
    }

    /// The two lines that may hold a key; the first one is filled first.
    #[inline]
    fn lines(&self, key: u128) -> [&Line; 2] {
        // The number of lines is a power of two.
        let mask = self.lines.len() - 1;
        [&self.lines[(key as usize) & mask], &self.lines[((key >> 64) as usize) & mask]]
    }

    fn insert(&self, key: u128, place: Place) {
        let lines = self.lines(key);
        let slots = || lines.iter().flat_map(|line| &line.slots);
        let empty = slots().find(|slot| slot.value.load(Ordering::Relaxed) == 0);
        let same = slots().find(|slot| slot.get(key).is_some());
        let slot = match (same, empty) {
            (Some(slot), _) => slot,
            (None, Some(slot)) => {
                self.used.fetch_add(1, Ordering::Relaxed);
                slot
            }
            // Bits of the key that the lines' numbers do not use pick the victim.
            (None, None) => &lines[(key >> 127) as usize].slots[(key >> 126) as usize & 1],
        };
        slot.write(key, place);
    }
}

impl Slot {
    #[inline]
    fn get(&self, key: u128) -> Option<Place> {
        let value = self.value.load(Ordering::Relaxed);
        let low = self.key_low.load(Ordering::Relaxed) ^ mix_low(value);
        let high = self.key_high.load(Ordering::Relaxed) ^ mix_high(value);
        (value != 0 && low == key as u64 && high == (key >> 64) as u64).then(|| unpack(value))
    }

    fn read(&self) -> Option<(u128, Place)> {
        let value = self.value.load(Ordering::Relaxed);
        let low = self.key_low.load(Ordering::Relaxed) ^ mix_low(value);
        let high = self.key_high.load(Ordering::Relaxed) ^ mix_high(value);
        (value != 0).then(|| (u128::from(high) << 64 | u128::from(low), unpack(value)))
    }

    fn write(&self, key: u128, place: Place) {
        let value = pack(place);
        self.value.store(value, Ordering::Relaxed);
        self.key_low.store(key as u64 ^ mix_low(value), Ordering::Relaxed);
        self.key_high.store((key >> 64) as u64 ^ mix_high(value), Ordering::Relaxed);
    }
}

/// Never zero, which marks an empty slot: the series id is stored plus one. `SeriesId::MAX` is no id.
fn pack(place: Place) -> u64 {
    u64::from(place.shard) << 32 | u64::from(place.series.wrapping_add(1))
}

fn unpack(value: u64) -> Place {
    Place { shard: (value >> 32) as u32, series: (value as u32).wrapping_sub(1) }
}

#[inline]
fn mix_low(value: u64) -> u64 {
    value.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
fn mix_high(value: u64) -> u64 {
    value.rotate_left(32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes())
    }

    fn place(number: u64) -> Place {
        Place { shard: (number % 3) as u32, series: number as u32 }
    }

    #[test]
    fn what_was_inserted_is_found_and_nothing_else() {
        let cache = SeriesCache::new(1 << 20);
        // The second round is a sender's next scrape: it brings back what was pushed out before the table had grown.
        for _ in 0..2 {
            for chunk in 0..100u64 {
                cache.insert((chunk * 1000..(chunk + 1) * 1000).map(|number| (key(number), place(number))));
            }
        }
        let view = cache.view();
        let found = (0..100_000).filter(|&number| view.get(key(number)).is_some()).count();
        assert!(found > 99_000, "{found} of 100000 remembered");
        for number in 0..100_000 {
            assert!(view.get(key(number)).is_none_or(|found| found == place(number)));
        }
        assert!((100_000..200_000).all(|number| view.get(key(number)).is_none()));
    }

    #[test]
    fn a_full_cache_keeps_its_bound_and_takes_newcomers() {
        let cache = SeriesCache::new(64);
        for number in 0..10_000 {
            cache.insert([(key(number), place(number))]);
            assert_eq!(cache.view().get(key(number)), Some(place(number)), "the newest is always there");
        }
        assert_eq!(cache.view().0.slots(), 64);
    }

    #[test]
    fn clearing_forgets_everything() {
        let cache = SeriesCache::new(1024);
        cache.insert([(key(1), place(1))]);
        cache.clear();
        assert_eq!(cache.view().get(key(1)), None);
    }

    #[test]
    fn threads_that_overwrite_each_other_never_show_a_wrong_place() {
        let cache = SeriesCache::new(2);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..50_000u64 {
                        let number = (round * 7 + thread) % 11;
                        cache.insert([(key(number), place(number))]);
                        let other = (number + 5) % 11;
                        assert!(cache.view().get(key(other)).is_none_or(|found| found == place(other)));
                    }
                });
            }
        });
    }
}
