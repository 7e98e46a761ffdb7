//! Sets of series numbers; the one door to croaring.
//!
//! `SeriesSet` is a Roaring bitmap. `Posting` is what the index keeps per label pair: most pairs of a
//! high-cardinality label belong to one series or a handful, and a bitmap for each of them would cost
//! more than a hundred bytes, so small postings are kept inline.

use croaring::{Bitmap, Portable};

use crate::labels::SeriesId;

/// A set of series of one shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesSet {
    bitmap: Bitmap,
}

impl SeriesSet {
    /// The series `0..end`.
    pub fn below(end: SeriesId) -> Self {
        Self { bitmap: Bitmap::from_range(0..end) }
    }

    /// Adds one series.
    pub fn insert(&mut self, series: SeriesId) {
        self.bitmap.add(series);
    }

    /// Whether the series is in the set.
    pub fn contains(&self, series: SeriesId) -> bool {
        self.bitmap.contains(series)
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.bitmap.cardinality() as usize
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.bitmap.is_empty()
    }

    /// The series in rising order.
    pub fn to_vec(&self) -> Vec<SeriesId> {
        self.bitmap.to_vec()
    }

    /// Keeps what is also in `other`.
    pub fn intersect_with(&mut self, other: &Self) {
        self.bitmap.and_inplace(&other.bitmap);
    }

    /// Removes what is in `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.bitmap.andnot_inplace(&other.bitmap);
    }

    /// Adds what is in `other`.
    pub fn unite_with(&mut self, other: &Self) {
        self.bitmap.or_inplace(&other.bitmap);
    }

    /// Whether the two share a series.
    pub fn intersects(&self, other: &Self) -> bool {
        self.bitmap.intersect(&other.bitmap)
    }

    /// Removes all series from `end` on.
    pub fn truncate(&mut self, end: SeriesId) {
        self.bitmap.remove_range(end..);
    }

    /// Bytes that `from_bytes` reads, in Roaring's portable format.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut compact = self.bitmap.clone();
        compact.run_optimize();
        compact.serialize::<Portable>()
    }

    /// Reads what `to_bytes` wrote; `None` when it is not that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bitmap = Bitmap::try_deserialize::<Portable>(bytes)?;
        bitmap.internal_validate().ok()?;
        Some(Self { bitmap })
    }

    /// Bytes of memory, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.bitmap.get_serialized_size_in_bytes::<Portable>() + 64
    }
}

/// Inline postings grow up to this many series before they become a bitmap.
const FEW_MAX: usize = 48;

/// The series of one label pair. Series are added in rising order, because numbers are assigned so.
#[derive(Clone, Debug)]
pub enum Posting {
    /// One series.
    One(SeriesId),
    /// A handful, rising.
    Few(Vec<SeriesId>),
    /// Many.
    Many(Box<SeriesSet>),
}

impl Posting {
    /// Adds a series, greater than all before.
    pub fn push(&mut self, series: SeriesId) {
        match self {
            Self::One(first) => *self = Self::Few(vec![*first, series]),
            Self::Few(few) if few.len() < FEW_MAX => few.push(series),
            Self::Few(few) => {
                let mut set = SeriesSet { bitmap: Bitmap::of(few) };
                set.insert(series);
                *self = Self::Many(Box::new(set));
            }
            Self::Many(set) => set.insert(series),
        }
    }

    /// Adds this posting's series to `set`.
    pub fn add_to(&self, set: &mut SeriesSet) {
        match self {
            Self::One(series) => set.insert(*series),
            Self::Few(few) => set.bitmap.add_many(few),
            Self::Many(many) => set.unite_with(many),
        }
    }

    /// The posting as a set.
    pub fn to_set(&self) -> SeriesSet {
        match self {
            Self::One(series) => SeriesSet { bitmap: Bitmap::of(&[*series]) },
            Self::Few(few) => SeriesSet { bitmap: Bitmap::of(few) },
            Self::Many(many) => (**many).clone(),
        }
    }

    /// Whether the posting and `set` share a series.
    pub fn intersects(&self, set: &SeriesSet) -> bool {
        match self {
            Self::One(series) => set.contains(*series),
            Self::Few(few) => few.iter().any(|series| set.contains(*series)),
            Self::Many(many) => many.intersects(set),
        }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// How many of the posting's series are in `set`.
    pub fn count_in(&self, set: &SeriesSet) -> usize {
        match self {
            Self::One(series) => usize::from(set.contains(*series)),
            Self::Few(few) => few.iter().filter(|series| set.contains(**series)).count(),
            Self::Many(many) => many.bitmap.and_cardinality(&set.bitmap) as usize,
        }
    }

    /// Bytes of memory outside the enum itself, roughly.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Few(few) => few.capacity() * size_of::<SeriesId>(),
            Self::Many(many) => many.memory_bytes(),
        }
    }
}
