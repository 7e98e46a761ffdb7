//! One log entry as bytes: a header of 17 bytes, then the payload as it came.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | kind: 0 blank, 1 normal without names, 2 membership, 3 normal |
//! | 1..9 | term of the leader that proposed it, little endian |
//! | 9..17 | id of that leader |
//! | 17.. | payload; for a membership entry an encoded `proto::raft::Membership`; in kind 3 the names come first ([`caller`]) |
//!
//! The index is the key under which the record is stored, and the log adds a checksum.

use std::io;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use prost::Message;

use crate::caller;
use crate::convert;
use crate::types::{Entry, EntryPayload, LeaderId, LogId, Payload};

const HEADER_BYTES: usize = 17;
const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;
const IDENTIFIED: u8 = 3;

/// A record in the parts that are stored one behind the other, so that the payload is not copied.
pub struct Record {
    pub index: u64,
    pub term: u64,
    pub header: [u8; HEADER_BYTES],
    pub callers: Bytes,
    pub payload: Bytes,
}

impl Record {
    /// The parts in their order.
    pub fn parts(&self) -> [&[u8]; 3] {
        [&self.header, &self.callers, &self.payload]
    }
}

/// The record of an entry; it shares the entry's payload.
pub fn encode(entry: &Entry) -> Record {
    let (kind, callers, payload) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Bytes::new(), Bytes::new()),
        EntryPayload::Normal(payload) if payload.callers.is_empty() => (NORMAL, Bytes::new(), payload.body.clone()),
        EntryPayload::Normal(payload) => (IDENTIFIED, payload.callers.clone(), payload.body.clone()),
        EntryPayload::Membership(value) => (MEMBERSHIP, Bytes::new(), Bytes::from(convert::membership_to_proto(value).encode_to_vec())),
    };
    let leader = entry.log_id.committed_leader_id();
    let mut header = [0; HEADER_BYTES];
    header[0] = kind;
    header[1..9].copy_from_slice(&leader.term.to_le_bytes());
    header[9..17].copy_from_slice(&leader.node_id.to_le_bytes());
    Record { index: entry.log_id.index(), term: leader.term, header, callers, payload }
}

/// The entry at `index`; its payload shares `record`.
pub fn decode(index: u64, record: Bytes) -> io::Result<Entry> {
    let log_id = decode_log_id(index, &record)?;
    let mut payload = record.slice(HEADER_BYTES..);
    let payload = match record[0] {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Payload { callers: Bytes::new(), body: payload }),
        IDENTIFIED => {
            let length = caller::encoded_length(&payload).ok_or_else(|| damaged(index, "names of batches are cut off"))?;
            let callers = payload.split_to(length);
            EntryPayload::Normal(Payload { callers, body: payload })
        }
        MEMBERSHIP => {
            let message = proto::raft::Membership::decode(payload).map_err(|error| damaged(index, &error.to_string()))?;
            EntryPayload::Membership(convert::membership_from_proto(message).map_err(|error| damaged(index, &error))?)
        }
        kind => return Err(damaged(index, &format!("unknown kind {kind}"))),
    };
    Ok(Entry::new(log_id, payload))
}

/// Only the id of the entry: reads the header and nothing else.
pub fn decode_log_id(index: u64, record: &[u8]) -> io::Result<LogId> {
    let header = record.get(..HEADER_BYTES).ok_or_else(|| damaged(index, "shorter than its header"))?;
    // Invariant: the slice is eight bytes long, of a header that was checked to be seventeen.
    let word = |from: usize| u64::from_le_bytes(header[from..from + 8].try_into().expect("eight bytes"));
    Ok(LogId::new(LeaderId { term: word(1), node_id: word(9) }, index))
}

fn damaged(index: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("decode log record {index}: {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::caller::Caller;
    use crate::types::Membership;

    fn payload() -> impl Strategy<Value = EntryPayload> {
        let voters = proptest::collection::btree_set(0u64..50, 1..5);
        prop_oneof![
            Just(EntryPayload::Blank),
            (proptest::collection::vec(any::<u8>(), 0..2_000), 0_u64..4).prop_map(|(bytes, count)| {
                let callers = (0..count).map(|sequence| Some(Caller { node: 7, start: 2, sequence }).filter(|_| sequence != 1));
                let callers = callers.collect::<Vec<_>>();
                let callers = if callers.is_empty() { Bytes::new() } else { caller::encode(&callers) };
                EntryPayload::Normal(Payload { callers, body: Bytes::from(bytes) })
            }),
            (proptest::collection::vec(voters, 1..3), proptest::collection::btree_set(0u64..50, 0..5)).prop_map(
                |(configs, learners): (Vec<BTreeSet<u64>>, BTreeSet<u64>)| {
                    EntryPayload::Membership(Membership::new_with_defaults(configs, learners))
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn decodes_to_what_was_encoded(term: u64, node_id: u64, index: u64, payload in payload()) {
            let log_id = LogId::new(LeaderId { term, node_id }, index);
            let entry = Entry::new(log_id, payload);
            let record = encode(&entry);
            let record = Bytes::from(record.parts().concat());
            prop_assert_eq!(decode_log_id(index, &record).unwrap(), log_id);
            prop_assert_eq!(decode(index, record).unwrap(), entry);
        }

        #[test]
        fn rubbish_is_an_error_or_an_entry(index: u64, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(index, Bytes::from(bytes));
        }
    }
}
