//! Label names and label pairs, each interned once a shard.
//!
//! A pair (name, value) is the unit of everything else: a series is a short list of pair numbers, and a
//! posting belongs to a pair. Pairs are numbered in the order in which they are first seen and never
//! removed, so a list of pairs found once stays right and needs only be extended.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::labels::SeriesId;
use crate::series_set::{Posting, SeriesSet};

/// A label name's number.
pub(crate) type NameId = u32;
/// A label pair's number.
pub(crate) type PairId = u32;

/// A label name and everything known about its values.
pub(crate) struct Name {
    /// The name.
    pub text: Arc<str>,
    /// Its pairs by value, sorted.
    pub values: BTreeMap<Arc<str>, PairId>,
    /// Its pairs in the order of their numbers.
    pub pairs: Vec<PairId>,
    /// All series that have the label.
    pub series: SeriesSet,
}

/// A label pair and its series.
pub(crate) struct Pair {
    /// The label's name.
    pub name: NameId,
    /// The label's value.
    pub value: Arc<str>,
    /// The series that have it.
    pub posting: Posting,
}

/// All names and pairs of a shard.
#[derive(Default)]
pub(crate) struct LabelPairs {
    names: Vec<Name>,
    pairs: Vec<Pair>,
    name_table: HashTable<NameId>,
    pair_table: HashTable<PairId>,
    hasher: DefaultHashBuilder,
    text_bytes: usize,
}

impl LabelPairs {
    /// Adds `series` to the posting of this pair, creating the pair when it is new.
    pub fn add(&mut self, name: &str, value: &str, series: SeriesId) -> PairId {
        let name = self.intern_name(name);
        self.names[name as usize].series.insert(series);
        let hash = self.hasher.hash_one((name, value));
        let pairs = &self.pairs;
        let is_same = |id: &PairId| pairs[*id as usize].name == name && *pairs[*id as usize].value == *value;
        if let Some(&id) = self.pair_table.find(hash, is_same) {
            self.pairs[id as usize].posting.push(series);
            return id;
        }
        let id = self.pairs.len() as PairId;
        let value: Arc<str> = value.into();
        self.text_bytes += value.len();
        self.names[name as usize].values.insert(value.clone(), id);
        self.names[name as usize].pairs.push(id);
        self.pairs.push(Pair { name, value, posting: Posting::One(series) });
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        let rehash = |id: &PairId| hasher.hash_one((pairs[*id as usize].name, &*pairs[*id as usize].value));
        self.pair_table.insert_unique(hash, id, rehash);
        id
    }

    /// The number of a name, if any series has it.
    pub fn name_id(&self, name: &str) -> Option<NameId> {
        let hash = self.hasher.hash_one(name);
        self.name_table.find(hash, |id| *self.names[*id as usize].text == *name).copied()
    }

    /// The number of a pair, if any series has it.
    pub fn pair_id(&self, name: NameId, value: &str) -> Option<PairId> {
        let hash = self.hasher.hash_one((name, value));
        let is_same = |id: &PairId| self.pairs[*id as usize].name == name && *self.pairs[*id as usize].value == *value;
        self.pair_table.find(hash, is_same).copied()
    }

    /// A name by number.
    pub fn name(&self, id: NameId) -> &Name {
        &self.names[id as usize]
    }

    /// A pair by number.
    pub fn pair(&self, id: PairId) -> &Pair {
        &self.pairs[id as usize]
    }

    /// All names, in the order of their numbers.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The pairs of `name` whose value begins with `prefix`, sorted by value.
    pub fn with_prefix<'a>(&'a self, name: NameId, prefix: &'a str) -> impl Iterator<Item = (&'a str, PairId)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let values = self.names[name as usize].values.range::<str, _>(from);
        values.map(|(value, id)| (&**value, *id)).take_while(move |(value, _)| value.starts_with(prefix))
    }

    /// Bytes of memory, roughly: texts with their counters, tables, sorted values, postings.
    pub fn memory_bytes(&self) -> usize {
        const TREE_ENTRY_BYTES: usize = 34;
        let postings: usize = self.pairs.iter().map(|pair| pair.posting.memory_bytes()).sum();
        let names: usize = self.names.iter().map(|name| name.series.memory_bytes() + name.pairs.capacity() * 4).sum();
        let per_pair = size_of::<Pair>() + 2 * size_of::<usize>() + TREE_ENTRY_BYTES + 7;
        self.pairs.len() * per_pair + self.text_bytes + postings + names
    }

    fn intern_name(&mut self, text: &str) -> NameId {
        if let Some(id) = self.name_id(text) {
            return id;
        }
        let id = self.names.len() as NameId;
        self.names.push(Name { text: text.into(), values: BTreeMap::new(), pairs: Vec::new(), series: SeriesSet::default() });
        let (names, hasher) = (&self.names, &self.hasher);
        let rehash = |id: &NameId| hasher.hash_one(&*names[*id as usize].text);
        self.name_table.insert_unique(hasher.hash_one(text), id, rehash);
        id
    }
}
