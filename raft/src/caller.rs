//! The name of a batch, by which its repetitions are known, see [`crate::callers`].

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::NodeId;

const COUNT_BYTES: usize = 4;
const CALLER_BYTES: usize = 24;

/// The name of one batch for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    pub node: NodeId,
    /// Counts the starts of the node.
    pub start: u64,
    /// Counts the batches for the group since then.
    pub sequence: u64,
}

/// Names of an entry's batches as bytes: their number, then 24 bytes each, all little endian. A batch without a name is zeros,
/// for no node has the id 0.
pub fn encode(callers: &[Option<Caller>]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(COUNT_BYTES + callers.len() * CALLER_BYTES);
    bytes.put_u32_le(callers.len() as u32);
    for caller in callers {
        let caller = caller.unwrap_or(Caller { node: 0, start: 0, sequence: 0 });
        bytes.put_u64_le(caller.node);
        bytes.put_u64_le(caller.start);
        bytes.put_u64_le(caller.sequence);
    }
    bytes.freeze()
}

/// How many bytes at the beginning are names; `None` when they are cut off.
pub fn encoded_length(bytes: &[u8]) -> Option<usize> {
    let count = u32::from_le_bytes(bytes.get(..COUNT_BYTES)?.try_into().ok()?) as usize;
    let length = count.checked_mul(CALLER_BYTES)?.checked_add(COUNT_BYTES)?;
    (length <= bytes.len()).then_some(length)
}

/// The names, of bytes that [`encoded_length`] accepts.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = Option<Caller>> {
    let names = bytes.get(COUNT_BYTES..).unwrap_or_default();
    names.chunks_exact(CALLER_BYTES).map(|name| {
        // Invariant: a chunk has 24 bytes.
        let word = |at: usize| u64::from_le_bytes(name[at..at + 8].try_into().expect("eight bytes"));
        let caller = Caller { node: word(0), start: word(8), sequence: word(16) };
        (caller.node != 0).then_some(caller)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_cut_off_are_noticed() {
        let names = encode(&[Some(Caller { node: 1, start: 3, sequence: 2 }), None]);
        assert_eq!(encoded_length(&names), Some(names.len()));
        assert_eq!(decode(&names).collect::<Vec<_>>(), [Some(Caller { node: 1, start: 3, sequence: 2 }), None]);
        for cut in 0..names.len() {
            assert_eq!(encoded_length(&names[..cut]), None);
        }
    }
}
