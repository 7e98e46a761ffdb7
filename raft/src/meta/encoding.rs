//! The bytes of commands, answers and snapshots of the meta state: one byte of format, then JSON.
//!
//! JSON because these are few, small, and worth reading with one's eyes in a log dump; the maps are ordered, so equal
//! values have equal bytes. The rules that keep old and new nodes in step:
//! - a reader ignores fields it does not know, and takes a default for one that is missing; so a field may be added
//!   only if ignoring it is right;
//! - whatever changes the meaning of a command is a new variant under a higher [`FORMAT`], which leaders propose only
//!   when [`super::MetaState::format`] says that every member reads it;
//! - a node that meets a newer format, or a variant it does not know, must stop applying rather than guess.

use super::command::{MetaAnswer, MetaCommand};
use super::state::MetaState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The newest format this build writes and reads.
pub const FORMAT: u8 = 1;

/// Bytes that cannot be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum EncodingError {
    /// Written by a newer build: a higher format, or sound JSON with something in it that this build does not know.
    /// Fatal for applying, because a replica must not skip what others carry out: upgrade this node.
    #[error("meta entry of format {found} is not understood ({reason}): upgrade this node")]
    TooNew { found: u8, reason: String },
    /// No build can read this, so every replica may refuse it alike. Check what comes from outside before proposing it.
    #[error("meta entry cannot be read: {0}")]
    Damaged(String),
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    // Invariant: meta values have string or integer keys, and writing to memory does not fail.
    serde_json::to_writer(&mut bytes, value).expect("meta values can be encoded");
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EncodingError> {
    match bytes.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|error| not_understood(json, error.to_string())),
        Some((&found, _)) if found > FORMAT => Err(EncodingError::TooNew { found, reason: format!("this build reads {FORMAT}") }),
        Some((found, _)) => Err(EncodingError::Damaged(format!("unknown format {found}"))),
        None => Err(EncodingError::Damaged("empty".to_string())),
    }
}

fn not_understood(json: &[u8], reason: String) -> EncodingError {
    match serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        Ok(_) => EncodingError::TooNew { found: FORMAT, reason },
        Err(_) => EncodingError::Damaged(reason),
    }
}

impl MetaCommand {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        decode(bytes)
    }
}

impl MetaAnswer {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        decode(bytes)
    }
}

impl MetaState {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        decode(bytes)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Sixteen bytes as 32 hexadecimal digits.
pub(super) mod key_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = super::from_hex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom("a key must be 32 hexadecimal digits"))
    }
}

/// Any bytes: text as a string behind `=`, anything else as hexadecimal digits behind `#`.
pub(super) mod octets {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.collect_str(&format_args!("={text}")),
            Err(_) => serializer.collect_str(&format_args!("#{}", super::to_hex(bytes))),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        if text.starts_with('=') {
            text.remove(0);
            return Ok(text.into_bytes());
        }
        let bytes = text.strip_prefix('#').and_then(super::from_hex);
        bytes.ok_or_else(|| D::Error::custom("a value must begin with = or #"))
    }
}
