//! A small versioned key-value store inside the meta state: rules, alert state, silences, configuration.
//!
//! Writes are little transactions: all conditions hold, or nothing is changed. A version is the revision of the meta
//! state at which the key was last written: it only grows, also over a delete and a new creation of the same key, so a
//! writer that holds an old version can never win by accident.
//!
//! Keys are paths, `rules/group-7`, so that one listing of a prefix gives all of a kind.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const KEY_BYTES_MAX: usize = 512;
pub const VALUE_BYTES_MAX: usize = 1 << 20;
pub const TOTAL_BYTES_MAX: usize = 256 << 20;
pub const OPERATIONS_MAX: usize = 4096;

/// A value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    pub version: u64,
    #[serde(with = "super::encoding::octets")]
    pub value: Vec<u8>,
}

/// What must be true of a key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    Absent,
    Version(u64),
}

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvCondition {
    pub key: String,
    pub expect: Expect,
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvChange {
    Put {
        key: String,
        #[serde(with = "super::encoding::octets")]
        value: Vec<u8>,
    },
    Delete {
        key: String,
    },
}

/// Why a transaction changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvRefusal {
    /// A condition does not hold. Read again and decide anew.
    Conflict { key: String, version: Option<u64> },
    /// A limit would be passed.
    TooLarge(String),
}

/// The store. Entries are shared, so that a copy of the state for readers is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kv {
    entries: BTreeMap<String, Arc<KvEntry>>,
    /// Bytes of all keys and values.
    bytes: usize,
}

impl Kv {
    pub fn get(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.entries.get(key)
    }

    /// All keys that start with `prefix`, in order.
    pub fn list<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Arc<KvEntry>)> {
        self.entries
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (key.as_str(), entry))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a transaction may happen now.
    pub(super) fn check(&self, conditions: &[KvCondition], changes: &[KvChange]) -> Result<(), KvRefusal> {
        check_limits(conditions, changes)?;
        self.check_conditions(conditions)?;
        self.check_growth(changes)
    }

    /// Carries out the changes of a checked transaction, under a version newer than every other in the store.
    pub(super) fn carry_out(&mut self, version: u64, changes: Vec<KvChange>) {
        for change in changes {
            match change {
                KvChange::Put { key, value } => self.put(version, key, value),
                KvChange::Delete { key } => self.delete(&key),
            }
        }
    }

    fn check_conditions(&self, conditions: &[KvCondition]) -> Result<(), KvRefusal> {
        for condition in conditions {
            let version = self.entries.get(&condition.key).map(|entry| entry.version);
            let holds = match condition.expect {
                Expect::Absent => version.is_none(),
                Expect::Version(expected) => version == Some(expected),
            };
            if !holds {
                return Err(KvRefusal::Conflict { key: condition.key.clone(), version });
            }
        }
        Ok(())
    }

    /// Counts puts in full, as if they replaced nothing: simple, and never lets the store pass its bound.
    fn check_growth(&self, changes: &[KvChange]) -> Result<(), KvRefusal> {
        let growth: usize = changes
            .iter()
            .map(|change| match change {
                KvChange::Put { key, value } => key.len() + value.len(),
                KvChange::Delete { .. } => 0,
            })
            .sum();
        if growth > 0 && self.bytes + growth > TOTAL_BYTES_MAX {
            return Err(KvRefusal::TooLarge(format!("the store would pass {TOTAL_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    fn put(&mut self, version: u64, key: String, value: Vec<u8>) {
        self.delete(&key);
        self.bytes += key.len() + value.len();
        self.entries.insert(key, Arc::new(KvEntry { version, value }));
    }

    fn delete(&mut self, key: &str) {
        if let Some(old) = self.entries.remove(key) {
            self.bytes -= key.len() + old.value.len();
        }
    }
}

fn check_limits(conditions: &[KvCondition], changes: &[KvChange]) -> Result<(), KvRefusal> {
    if conditions.len() + changes.len() > OPERATIONS_MAX {
        return Err(KvRefusal::TooLarge(format!("more than {OPERATIONS_MAX} operations")));
    }
    for change in changes {
        let (key, value_bytes) = match change {
            KvChange::Put { key, value } => (key, value.len()),
            KvChange::Delete { key } => (key, 0),
        };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(KvRefusal::TooLarge(format!("a key must have 1 to {KEY_BYTES_MAX} bytes")));
        }
        if value_bytes > VALUE_BYTES_MAX {
            return Err(KvRefusal::TooLarge(format!("value of {key:?} is longer than {VALUE_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}
