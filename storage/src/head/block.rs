//! Where raw samples wait: chains of small blocks in an arena.
//!
//! A block is two cache lines: ten samples of 12 bytes (milliseconds since the arena's base, and the
//! value's bits) and the next block's number. Appending touches the series' entry and one line; nothing
//! is moved when a series grows, and a whole generation is freed at once.

/// Samples in a block.
pub(super) const BLOCK_SAMPLES: u32 = 10;
/// Blocks in a segment: 32 KiB, allocated at once and never moved.
const SEGMENT_BLOCKS: usize = 256;
/// No block.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block {
    /// Time offset, low half and high half of the value's bits.
    samples: [[u32; 3]; BLOCK_SAMPLES as usize],
    next: u32,
}

const EMPTY: Block = Block { samples: [[0; 3]; BLOCK_SAMPLES as usize], next: NONE };

/// The samples of one series in one arena, in the order of their times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u32,
    last: u32,
    /// Samples held.
    pub count: u32,
}

impl Chain {
    /// A chain without samples.
    pub const EMPTY: Self = Self { first: NONE, last: NONE, count: 0 };
}

/// Blocks of many chains.
#[derive(Default)]
pub(super) struct Arena {
    segments: Vec<Box<[Block]>>,
    used: usize,
    /// The time that offsets count from; set by the first sample.
    base_ms: Option<i64>,
}

impl Arena {
    /// The offset of a time, or `None` when it is more than 24 days away from the base.
    #[inline]
    pub fn offset(&mut self, timestamp_ms: i64) -> Option<i32> {
        let base = *self.base_ms.get_or_insert(timestamp_ms);
        i32::try_from(timestamp_ms.wrapping_sub(base)).ok().filter(|_| timestamp_ms.checked_sub(base).is_some())
    }

    /// Appends a sample to a chain; its offset is greater than all before.
    #[inline]
    pub fn push(&mut self, chain: &mut Chain, offset: i32, bits: u64) {
        let place = chain.count % BLOCK_SAMPLES;
        if place == 0 {
            let fresh = self.allocate();
            if chain.count == 0 {
                chain.first = fresh;
            } else {
                self.block_mut(chain.last).next = fresh;
            }
            chain.last = fresh;
        }
        self.block_mut(chain.last).samples[place as usize] = [offset as u32, bits as u32, (bits >> 32) as u32];
        chain.count += 1;
    }

    /// The last sample's value bits, for reading or replacing. The chain is not empty.
    pub fn last_bits(&self, chain: &Chain) -> u64 {
        let place = (chain.count - 1) % BLOCK_SAMPLES;
        bits_of(self.block(chain.last).samples[place as usize])
    }

    /// The time of the last sample. The chain is not empty.
    pub fn last_time(&self, chain: &Chain) -> i64 {
        let place = (chain.count - 1) % BLOCK_SAMPLES;
        self.time_of(self.block(chain.last).samples[place as usize])
    }

    /// The time of the first sample. The chain is not empty.
    pub fn first_time(&self, chain: &Chain) -> i64 {
        self.time_of(self.block(chain.first).samples[0])
    }

    /// Finds the sample at exactly this time.
    pub fn find(&self, chain: &Chain, timestamp_ms: i64) -> Option<Found> {
        let mut left = chain.count;
        let mut number = chain.first;
        while left > 0 {
            let block = self.block(number);
            let here = left.min(BLOCK_SAMPLES) as usize;
            if self.time_of(block.samples[here - 1]) >= timestamp_ms {
                let place = block.samples[..here].iter().position(|sample| self.time_of(*sample) == timestamp_ms)?;
                return Some(Found { block: number, place: place as u32, bits: bits_of(block.samples[place]) });
            }
            left -= here as u32;
            number = block.next;
        }
        None
    }

    /// Replaces the value of a sample that `find` found.
    pub fn replace(&mut self, found: Found, bits: u64) {
        let sample = &mut self.block_mut(found.block).samples[found.place as usize];
        *sample = [sample[0], bits as u32, (bits >> 32) as u32];
    }

    /// Takes the samples of `start_ms..=end_ms` out of a chain; answers how many there were. The others move together, and what
    /// becomes free stays unused.
    pub fn remove(&mut self, chain: &mut Chain, start_ms: i64, end_ms: i64) -> u32 {
        let (mut kept, mut left) = (Chain { count: 0, ..*chain }, chain.count);
        let mut number = chain.first;
        while left > 0 {
            let block = *self.block(number);
            let here = left.min(BLOCK_SAMPLES);
            for sample in &block.samples[..here as usize] {
                if !(start_ms..=end_ms).contains(&self.time_of(*sample)) {
                    self.move_down(&mut kept, *sample);
                }
            }
            left -= here;
            number = block.next;
        }
        let removed = chain.count - kept.count;
        *chain = if kept.count == 0 { Chain::EMPTY } else { kept };
        removed
    }

    /// Appends a sample to a chain whose blocks are there already.
    fn move_down(&mut self, chain: &mut Chain, sample: [u32; 3]) {
        let place = chain.count % BLOCK_SAMPLES;
        if place == 0 {
            chain.last = if chain.count == 0 { chain.first } else { self.block(chain.last).next };
        }
        self.block_mut(chain.last).samples[place as usize] = sample;
        chain.count += 1;
    }

    /// Appends the chain's samples of `start_ms..=end_ms` to the columns.
    pub fn read(&self, chain: &Chain, start_ms: i64, end_ms: i64, timestamps: &mut Vec<i64>, values: &mut Vec<f64>) {
        let mut left = chain.count;
        let mut number = chain.first;
        while left > 0 {
            let block = self.block(number);
            let here = left.min(BLOCK_SAMPLES) as usize;
            for sample in &block.samples[..here] {
                let time = self.time_of(*sample);
                if time > end_ms {
                    return;
                }
                if time >= start_ms {
                    timestamps.push(time);
                    values.push(f64::from_bits(bits_of(*sample)));
                }
            }
            left -= here as u32;
            number = block.next;
        }
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.segments.len() * SEGMENT_BLOCKS * size_of::<Block>()
    }

    fn allocate(&mut self) -> u32 {
        if self.used == self.segments.len() * SEGMENT_BLOCKS {
            self.segments.push(vec![EMPTY; SEGMENT_BLOCKS].into_boxed_slice());
        }
        self.used += 1;
        (self.used - 1) as u32
    }

    #[inline]
    fn time_of(&self, sample: [u32; 3]) -> i64 {
        self.base_ms.unwrap_or(0) + i64::from(sample[0] as i32)
    }

    #[inline]
    fn block(&self, number: u32) -> &Block {
        &self.segments[number as usize / SEGMENT_BLOCKS][number as usize % SEGMENT_BLOCKS]
    }

    #[inline]
    fn block_mut(&mut self, number: u32) -> &mut Block {
        &mut self.segments[number as usize / SEGMENT_BLOCKS][number as usize % SEGMENT_BLOCKS]
    }
}

/// A sample in an arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    block: u32,
    place: u32,
    /// Its value's bits.
    pub bits: u64,
}

#[inline]
fn bits_of(sample: [u32; 3]) -> u64 {
    u64::from(sample[1]) | u64::from(sample[2]) << 32
}
