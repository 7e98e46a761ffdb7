//! What clients wrote and what they were told, and whether a read fits.

use std::collections::BTreeMap;

use storage::{Shard, ShardId, StorageError};

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub series: String,
    pub timestamp: i64,
    pub value: f64,
}

/// All samples of a replica: series → time → value, in the order of the disk.
pub type Content = BTreeMap<String, Vec<(i64, f64)>>;

/// The books of all shards.
#[derive(Default)]
pub struct Oracle {
    shards: BTreeMap<ShardId, Book>,
    pub reads: u64,
    pub refused: u64,
}

#[derive(Default)]
struct Book {
    /// Everything that was ever attempted.
    attempted: BTreeMap<(String, i64), f64>,
    /// What was acknowledged, in that order.
    acknowledged: Vec<Sample>,
}

impl Oracle {
    pub fn attempts(&mut self, shard: ShardId, samples: &[Sample]) {
        let book = self.shards.entry(shard).or_default();
        book.attempted.extend(samples.iter().map(|sample| ((sample.series.clone(), sample.timestamp), sample.value)));
    }

    pub fn acknowledged(&mut self, shard: ShardId, samples: &[Sample]) {
        self.shards.entry(shard).or_default().acknowledged.extend_from_slice(samples);
    }

    /// Samples acknowledged so far: a strong read that begins now must see them.
    pub fn count(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, |book| book.acknowledged.len())
    }

    pub fn total(&self) -> usize {
        self.shards.values().map(|book| book.acknowledged.len()).sum()
    }

    /// What does not fit in a read that must see the first `count` acknowledged samples.
    pub fn check(&self, shard: ShardId, count: usize, content: &Content) -> Result<(), String> {
        let nothing = Book::default();
        let book = self.shards.get(&shard).unwrap_or(&nothing);
        for sample in &book.acknowledged[..count] {
            let samples = content.get(&sample.series).map_or(&[][..], Vec::as_slice);
            match samples.binary_search_by_key(&sample.timestamp, |(at, _)| *at) {
                Err(_) => return Err(format!("shard {shard} lost {sample:?}, which was acknowledged before the read began")),
                Ok(at) if samples[at].1 != sample.value => return Err(format!("shard {shard} has {} for {sample:?}", samples[at].1)),
                Ok(_) => {}
            }
        }
        for (series, samples) in content {
            if let Some(pair) = samples.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                return Err(format!("shard {shard}: {series} has {pair:?} in this order"));
            }
            let phantom = samples.iter().find(|(at, value)| book.attempted.get(&(series.clone(), *at)) != Some(value));
            if let Some(phantom) = phantom {
                return Err(format!("shard {shard}: {series} has {phantom:?}, which nobody wrote"));
            }
        }
        Ok(())
    }
}

/// Everything that a replica holds.
pub fn content(shard: &Shard) -> Result<Content, StorageError> {
    let mut content = Content::new();
    let mut reader = shard.reader();
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    for series in shard.select(&[], i64::MIN, i64::MAX)? {
        timestamps.clear();
        values.clear();
        reader.read(series, i64::MIN, i64::MAX, &mut timestamps, &mut values)?;
        let name = shard.labels_with(series, |labels| {
            let mut labels: BTreeMap<_, _> = labels.map(|(name, value)| (name.to_string(), value.to_string())).collect();
            labels.remove("series")
        });
        let samples = timestamps.iter().copied().zip(values.iter().copied()).collect();
        content.insert(name.flatten().unwrap_or_default(), samples);
    }
    Ok(content)
}
