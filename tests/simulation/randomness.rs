//! All randomness of a run comes from its seed.
//!
//! What the simulation itself decides, it draws from a [`Chance`]. Everything else (tokio's choice among ready branches, hash
//! maps, `rand`'s generators, from which openraft takes its timeouts) asks the operating system for a seed in the end, by
//! `getrandom`. This program has a function of that name, which the linker prefers over libc's: on a thread that belongs to a
//! run it answers from the run's seed, elsewhere it asks the kernel as libc does.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// What the next call of [`getrandom`] on this thread starts from; 0 outside runs.
    static SYSTEM_SEED: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread's randomness comes from a seed.
pub fn seed_this_thread(seed: u64) {
    SYSTEM_SEED.set(mix(seed) | 1);
}

/// Stands in libc's place; see there for the arguments.
///
/// # Safety
/// `buffer` must be writable for `length` bytes, as for libc's.
// The name is taken on purpose. It is sound because the signature is libc's own (ssize_t getrandom(void *, size_t, unsigned)), the
// buffer is written within the length that the caller vouches for, and the thread-local is a plain `Cell` without a destructor, so
// it may be used at any moment of a thread's life.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let seed = SYSTEM_SEED.get();
    if seed == 0 {
        // Safety: the same arguments that libc would pass on.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    let mut chance = Chance::new(seed);
    for offset in 0..length {
        // Safety: within the caller's buffer.
        unsafe { buffer.add(offset).write(chance.draw() as u8) };
    }
    SYSTEM_SEED.set(chance.draw() | 1);
    length as isize
}

/// A small generator (SplitMix64, Steele and others 2014): quick, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for a part of the simulation, so that what one part draws does not shift what another does.
    pub fn fork(&mut self) -> Self {
        Self::new(self.draw())
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// One of `0..end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        match end {
            0 => 0,
            end => (self.draw() % end as u64) as usize,
        }
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.draw() % (to - from + 1)
    }

    pub fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    pub fn microseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.between(from, to))
    }

    /// True so many times in a thousand.
    pub fn per_mille(&mut self, times: u32) -> bool {
        self.draw() % 1000 < u64::from(times)
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        among.get(self.below(among.len()))
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
