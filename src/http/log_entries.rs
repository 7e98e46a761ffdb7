//! The header `X-Tern-Log` of acknowledged writes: the log entries that hold what was written, `SHARD/TERM/INDEX SHARD/TERM/INDEX …`.
//!
//! With `/debug/log` a tester can read them back from every node.

use axum::http::HeaderValue;
use axum::response::Response;

use crate::ingest::writer::WriteReport;

const HEADER: &str = "x-tern-log";

/// Adds the header to an answer. A write of nothing has no entries.
pub fn name(response: &mut Response, report: &WriteReport) {
    if let Some(value) = text(report).and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(HEADER, value);
    }
}

fn text(report: &WriteReport) -> Option<String> {
    let entries: Vec<String> = report.entries.iter().map(ToString::to_string).collect();
    (!entries.is_empty()).then(|| entries.join(" "))
}

#[cfg(test)]
mod tests {
    use raft::EntryAt;

    use super::*;
    use crate::ingest::writer::ShardEntry;

    #[test]
    fn every_shard_is_named_with_its_entry() {
        let entry = |shard, term, index| ShardEntry { shard, entry: EntryAt { term, index } };
        let report = WriteReport { entries: vec![entry(0, 3, 1234), entry(5, 1, 7)], ..WriteReport::default() };
        assert_eq!(text(&report).as_deref(), Some("0/3/1234 5/1/7"));
        assert_eq!(text(&WriteReport::default()), None);
    }
}
