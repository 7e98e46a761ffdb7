//! What stands in the Raft log.

use bytes::Bytes;
use raft::record;
use raft::{MetaAnswer, MetaCommand, MetaState};

/// A record of the log that is read is written and read again as the same.
pub fn log_record(bytes: &[u8]) {
    let Ok(entry) = record::decode(7, Bytes::copy_from_slice(bytes)) else { return };
    let written = record::encode(&entry);
    let whole = [&written.header[..], &written.payload].concat();
    let again = record::decode(7, Bytes::from(whole));
    assert!(again.is_ok_and(|again| again == entry), "{entry}");
}

/// Commands of the meta group, one a line: each comes back the same, and so does the state after all of them.
pub fn meta_commands(bytes: &[u8]) {
    let mut state = MetaState::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(command) = MetaCommand::decode(line) else { continue };
        assert_eq!(MetaCommand::decode(&command.encode()).as_ref(), Ok(&command));
        let answer = state.apply(command);
        assert_eq!(MetaAnswer::decode(&answer.encode()).as_ref(), Ok(&answer));
    }
    assert_eq!(MetaState::decode(&state.encode()).as_ref(), Ok(&state));
    let _ = MetaState::decode(bytes);
}
