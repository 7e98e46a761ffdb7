//! The queries that ran lately, to find the ones that cost most: `/api/v1/status/top_queries`.
//!
//! A bounded list of the last ones. Equal texts are held once, and long ones are cut, so that the bound on their number is
//! also one on memory: 20 000 different texts of a kibibyte are 20 MiB.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Of a longer text, the beginning.
const TEXT_BYTES_MAX: usize = 1024;

/// One query that has ended.
#[derive(Clone, Debug)]
struct Record {
    text: Arc<str>,
    range_seconds: u64,
    took: Duration,
    ended: Instant,
}

/// What all runs of the same text over the same length of time took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heavy {
    pub text: Arc<str>,
    /// From the first to the last time evaluated.
    pub range_seconds: u64,
    pub count: u32,
    pub total: Duration,
}

impl Heavy {
    pub fn average(&self) -> Duration {
        self.total / self.count.max(1)
    }
}

/// See the module's story.
pub struct QueryHistory {
    capacity: usize,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    list: VecDeque<Record>,
    texts: HashSet<Arc<str>>,
}

impl QueryHistory {
    pub fn new(capacity: usize) -> QueryHistory {
        QueryHistory { capacity, records: Mutex::default() }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn add(&self, text: &str, range_seconds: u64, took: Duration) {
        if self.capacity == 0 {
            return;
        }
        let mut records = self.records.lock();
        if records.list.len() >= self.capacity {
            records.drop_oldest();
        }
        let text = records.share(beginning(text));
        records.list.push_back(Record { text, range_seconds, took, ended: Instant::now() });
    }

    /// Everything that ended within `age`, each text and range once, in no order.
    pub fn since(&self, age: Duration) -> Vec<Heavy> {
        let mut sums: HashMap<(Arc<str>, u64), (u32, Duration)> = HashMap::new();
        for record in self.records.lock().list.iter().rev().take_while(|record| record.ended.elapsed() <= age) {
            let sum = sums.entry((Arc::clone(&record.text), record.range_seconds)).or_default();
            sum.0 += 1;
            sum.1 += record.took;
        }
        sums.into_iter().map(|((text, range_seconds), (count, total))| Heavy { text, range_seconds, count, total }).collect()
    }
}

impl Records {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.list.pop_front() else { return };
        // Held by this record and by the set of texts, that is by no other record.
        if Arc::strong_count(&oldest.text) == 2 {
            self.texts.remove(&oldest.text);
        }
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_same_query_add_up() {
        let history = QueryHistory::new(10);
        for (text, range, milliseconds) in [("a", 60, 10), ("b", 60, 5), ("a", 60, 30), ("a", 0, 1)] {
            history.add(text, range, Duration::from_millis(milliseconds));
        }
        let mut heavy = history.since(Duration::from_secs(600));
        heavy.sort_by_key(|heavy| std::cmp::Reverse(heavy.total));
        assert_eq!((&*heavy[0].text, heavy[0].range_seconds, heavy[0].count), ("a", 60, 2));
        assert_eq!((heavy[0].total, heavy[0].average()), (Duration::from_millis(40), Duration::from_millis(20)));
        assert_eq!(heavy.len(), 3);
    }

    #[test]
    fn the_oldest_go_first_with_their_texts() {
        let history = QueryHistory::new(2);
        for text in ["a", "b", "b", "b"] {
            history.add(text, 0, Duration::ZERO);
        }
        assert_eq!(history.since(Duration::from_secs(600)).len(), 1);
        assert_eq!(history.records.lock().texts.len(), 1);
        let none = QueryHistory::new(0);
        none.add("a", 0, Duration::ZERO);
        assert!(none.since(Duration::from_secs(600)).is_empty());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(beginning(&text).len(), TEXT_BYTES_MAX);
        assert_eq!(beginning(&format!("a{text}")).len(), TEXT_BYTES_MAX - 1);
    }
}
