//! What happened in a run, one line an operation.
//!
//! A history is a JSON-lines file, so that a run can be judged again later, by a better checker. Times are nanoseconds on the
//! monotonic clock of the one process that recorded the run.

use std::io::{BufRead, Write};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One sample as clients see it: milliseconds since the Unix epoch and a value.
pub type Sample = (i64, f64);

/// What the client learned about its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Acknowledged: every sample must be there from now on.
    Ok,
    /// Refused for certain: no sample may ever appear.
    Fail,
    /// Unknown (time-out, connection cut, 503): may be there or not, now or later.
    Info,
}

/// The samples of one series in a write or in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesSamples {
    pub series: String,
    pub samples: Vec<Sample>,
}

/// What a read returned of one series of a stream (see [`crate::workload::streams`]), by the numbers of its samples. What is as expected takes
/// little room: runs of numbers; everything else is listed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamSeries {
    pub index: u32,
    /// First and last number of each unbroken run of samples that have the value they should have.
    pub present: Vec<(u64, u64)>,
    /// Numbers with another value; its bits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<(u64, u64)>,
    /// Numbers that came twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twice: Vec<u64>,
    /// Timestamps that no sample of the stream has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<i64>,
}

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Strong,
    Eventual,
}

/// What a client asked of a register, and what a read or an answered write told it. Values are unique within a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum RegisterCall {
    /// `found`: the value and its version; `None`: there is none. Reads that failed are not recorded.
    Get {
        found: Option<(u64, u64)>,
    },
    Put {
        value: u64,
    },
    /// If the register still has this version, which held this value.
    Swap {
        expected_version: u64,
        expected: u64,
        value: u64,
    },
    /// If the register is empty.
    Create {
        value: u64,
    },
    Delete,
}

/// The content of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Action {
    Write {
        outcome: Outcome,
        data: Vec<SeriesSamples>,
    },
    /// A strong read that answered. `series` are all the series asked for, `start_ms..=end_ms` the range asked for; a series that is missing in
    /// `data` was answered as empty. Reads that failed are not recorded: they promise nothing.
    Read {
        series: Vec<String>,
        start_ms: i64,
        end_ms: i64,
        data: Vec<SeriesSamples>,
    },
    /// Samples `first..first + count` of all series of a client's stream.
    StreamWrite {
        outcome: Outcome,
        client: u32,
        first: u64,
        count: u64,
    },
    /// A strong read of the same; series without any sample are missing.
    StreamRead {
        client: u32,
        first: u64,
        count: u64,
        series: Vec<StreamSeries>,
    },
    /// How many samples of all series there are in that range, counted by a strong query.
    StreamCount {
        client: u32,
        first: u64,
        count: u64,
        found: u64,
    },
    /// A session appended this number to its series.
    SessionWrite {
        outcome: Outcome,
        number: u64,
    },
    /// The newest number that the session was shown. `generation` tells the process that answered from its predecessors on the same node.
    SessionRead {
        level: Level,
        generation: u64,
        newest: Option<u64>,
    },
    /// `Fail`: a condition did not hold. `version`: of what was written.
    Register {
        key: String,
        outcome: Outcome,
        version: Option<u64>,
        #[serde(flatten)]
        call: RegisterCall,
    },
    /// Samples `first..first + count` of one series that is deleted from.
    PruneWrite {
        outcome: Outcome,
        first: u64,
        count: u64,
    },
    /// Deletion of the same.
    PruneDelete {
        outcome: Outcome,
        first: u64,
        count: u64,
    },
    PruneRead {
        first: u64,
        count: u64,
        present: Vec<(u64, u64)>,
    },
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub process: u64,
    /// The node asked, as the run numbers them.
    pub node: u64,
    pub invoke_ns: u64,
    pub complete_ns: u64,
    #[serde(flatten)]
    pub action: Action,
}

/// Writes one line for each operation.
pub fn save(operations: &[Operation], mut out: impl Write) -> anyhow::Result<()> {
    for operation in operations {
        serde_json::to_writer(&mut out, operation).context("write history")?;
        out.write_all(b"\n").context("write history")?;
    }
    out.flush().context("write history")
}

/// Reads a history; names the line that is not an operation.
pub fn load(input: impl BufRead) -> anyhow::Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line.with_context(|| format!("read history line {}", index + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        operations.push(serde_json::from_str(&line).with_context(|| format!("parse history line {}", index + 1))?);
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_history_loads_as_it_was() {
        let operations = vec![
            Operation {
                process: 1,
                node: 2,
                invoke_ns: 10,
                complete_ns: 20,
                action: Action::Write {
                    outcome: Outcome::Info,
                    data: vec![SeriesSamples { series: "a".into(), samples: vec![(5, 0.1), (6, 9_007_199_254_740_991.0)] }],
                },
            },
            Operation {
                process: 1,
                node: 2,
                invoke_ns: 30,
                complete_ns: 40,
                action: Action::Read { series: vec!["a".into()], start_ms: 0, end_ms: 9, data: vec![] },
            },
        ];
        let mut file = Vec::new();
        save(&operations, &mut file).unwrap();
        assert_eq!(load(file.as_slice()).unwrap(), operations);
    }

    #[test]
    fn flattened_calls_load_as_they_were() {
        let call = RegisterCall::Swap { expected_version: 3, expected: 7, value: 8 };
        let action = Action::Register { key: "r".into(), outcome: Outcome::Ok, version: Some(4), call };
        let operations = vec![Operation { process: 1, node: 2, invoke_ns: 10, complete_ns: 20, action }];
        let mut file = Vec::new();
        save(&operations, &mut file).unwrap();
        assert_eq!(load(file.as_slice()).unwrap(), operations, "{}", String::from_utf8_lossy(&file));
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = load("{}\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
