//! `prometheus.ReadRequest`, and which kind of answer it accepts.
//!
//! ```text
//! ReadRequest  { repeated Query queries = 1; repeated ResponseType accepted_response_types = 2; }
//! Query        { int64 start_timestamp_ms = 1; int64 end_timestamp_ms = 2; repeated LabelMatcher matchers = 3; ReadHints hints = 4; }
//! LabelMatcher { Type type = 1; string name = 2; string value = 3; }
//! ```
//! Hints may be given and are not needed here.

use promql::labels::Labels;
use promql::matcher::{MatchOp, Matcher};

use crate::ingest::decode_error::DecodeError;
use crate::ingest::protobuf::{Cursor, LENGTH, VARINT, tag};
use crate::time_text::{EARLIEST_MS, LATEST_MS};

/// Prometheus sends one query a request.
const QUERIES_MAX: usize = 1000;

const SAMPLES: u64 = 0;
const STREAMED_XOR_CHUNKS: u64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("names and values of matchers must be valid UTF-8")]
    NotUtf8,
    #[error("unknown matcher type {0}")]
    MatcherType(u64),
    #[error("matcher of label {name:?}: {reason}")]
    Pattern { name: String, reason: String },
    #[error("more than {QUERIES_MAX} queries in one request")]
    TooManyQueries,
    /// In Prometheus' words.
    #[error("server does not support any of the requested response types: {0:?}; supported: [0 (SAMPLES), 1 (STREAMED_XOR_CHUNKS)]")]
    NoAnswerKind(Vec<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    Samples,
    StreamedChunks,
}

#[derive(Debug)]
pub struct ReadRequest {
    pub queries: Vec<ReadQuery>,
    pub answer_kind: AnswerKind,
}

/// One selection of series. Both times are inclusive.
#[derive(Debug, Default)]
pub struct ReadQuery {
    pub start_ms: i64,
    pub end_ms: i64,
    pub matchers: Vec<Matcher>,
}

pub fn decode(body: &[u8]) -> Result<ReadRequest, RequestError> {
    let mut queries = Vec::new();
    let mut accepted = Vec::new();
    let mut request = Cursor::new(body);
    while !request.is_empty() {
        match request.tag()? {
            field if field == tag(1, LENGTH) => queries.push(query(request.message()?)?),
            field if field == tag(2, VARINT) => accepted.push(request.varint()?),
            field if field == tag(2, LENGTH) => {
                let mut packed = request.message()?;
                while !packed.is_empty() {
                    accepted.push(packed.varint()?);
                }
            }
            field => request.skip(field)?,
        }
        if queries.len() > QUERIES_MAX || accepted.len() > QUERIES_MAX {
            return Err(RequestError::TooManyQueries);
        }
    }
    Ok(ReadRequest { queries, answer_kind: negotiate(accepted)? })
}

/// The first accepted kind that we have; who names none gets samples.
fn negotiate(accepted: Vec<u64>) -> Result<AnswerKind, RequestError> {
    let known = accepted.iter().find_map(|&kind| match kind {
        SAMPLES => Some(AnswerKind::Samples),
        STREAMED_XOR_CHUNKS => Some(AnswerKind::StreamedChunks),
        _ => None,
    });
    match known {
        Some(kind) => Ok(kind),
        None if accepted.is_empty() => Ok(AnswerKind::Samples),
        None => Err(RequestError::NoAnswerKind(accepted)),
    }
}

fn query(mut message: Cursor) -> Result<ReadQuery, RequestError> {
    let mut query = ReadQuery::default();
    while !message.is_empty() {
        match message.tag()? {
            field if field == tag(1, VARINT) => query.start_ms = time(message.varint()?),
            field if field == tag(2, VARINT) => query.end_ms = time(message.varint()?),
            field if field == tag(3, LENGTH) => query.matchers.push(matcher(message.message()?)?),
            field => message.skip(field)?,
        }
    }
    Ok(query)
}

/// Clients that want everything send the ends of all numbers.
fn time(varint: u64) -> i64 {
    (varint as i64).clamp(EARLIEST_MS, LATEST_MS)
}

fn matcher(mut message: Cursor) -> Result<Matcher, RequestError> {
    let (mut kind, mut name, mut value): (u64, &[u8], &[u8]) = (0, &[], &[]);
    while !message.is_empty() {
        match message.tag()? {
            field if field == tag(1, VARINT) => kind = message.varint()?,
            field if field == tag(2, LENGTH) => name = message.bytes()?,
            field if field == tag(3, LENGTH) => value = message.bytes()?,
            field => message.skip(field)?,
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        other => return Err(RequestError::MatcherType(other)),
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| RequestError::NotUtf8);
    let (name, value) = (text(name)?, text(value)?);
    Matcher::new(op, name, value).map_err(|error| RequestError::Pattern { name: name.to_string(), reason: error.to_string() })
}

impl ReadQuery {
    /// The matchers as the stored series see them: they do not have the external labels that Prometheus asks for, so a
    /// condition that an external label meets becomes the condition that there is no such label.
    pub fn inner_matchers(&self, external: &Labels) -> Vec<Matcher> {
        let is_met =
            |matcher: &Matcher| matcher.op == MatchOp::Equal && !matcher.value.is_empty() && external.get(&matcher.name) == &*matcher.value;
        let matchers = self.matchers.iter();
        matchers.map(|matcher| if is_met(matcher) { Matcher::equal(matcher.name.clone(), "") } else { matcher.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_read::message::{put_bytes, put_integer, put_message, put_unsigned};

    fn encoded(accepted: &[u64], matchers: &[(u64, &str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_integer(out, 1, -5);
            put_integer(out, 2, i64::MAX);
            for &(kind, name, value) in matchers {
                put_message(out, 3, |out| {
                    put_unsigned(out, 1, kind);
                    put_bytes(out, 2, name.as_bytes());
                    put_bytes(out, 3, value.as_bytes());
                });
            }
            put_message(out, 4, |out| put_integer(out, 1, 15_000));
        });
        for &kind in accepted {
            // Zero is written too: in a list it is a value.
            out.extend_from_slice(&[0x10, kind as u8]);
        }
        out
    }

    #[test]
    fn queries_and_their_matchers_are_read_and_hints_stepped_over() {
        let request = decode(&encoded(&[], &[(0, "job", "a"), (1, "b", ""), (2, "c", "x.*"), (3, "d", "y")])).expect("valid");
        let shown: Vec<String> = request.queries[0].matchers.iter().map(Matcher::to_string).collect();
        assert_eq!(shown, ["job=\"a\"", "b!=\"\"", "c=~\"x.*\"", "d!~\"y\""]);
        assert_eq!((request.queries[0].start_ms, request.queries[0].end_ms), (-5, LATEST_MS));
    }

    #[test]
    fn the_first_known_kind_of_answer_is_given() {
        let kind = |accepted: &[u64]| decode(&encoded(accepted, &[])).map(|request| request.answer_kind);
        assert_eq!(kind(&[]).expect("default"), AnswerKind::Samples);
        assert_eq!(kind(&[1, 0]).expect("known"), AnswerKind::StreamedChunks);
        assert_eq!(kind(&[7, 0]).expect("known"), AnswerKind::Samples);
        let error = kind(&[7]).expect_err("unknown").to_string();
        assert!(error.starts_with("server does not support any of the requested response types: [7]"), "{error}");
        let packed = [0x12, 2, 1, 0];
        assert_eq!(decode(&packed).expect("packed").answer_kind, AnswerKind::StreamedChunks);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_reason() {
        let reason = |matchers: &[(u64, &str, &str)]| decode(&encoded(&[], matchers)).expect_err("wrong").to_string();
        assert_eq!(reason(&[(4, "a", "b")]), "unknown matcher type 4");
        assert!(reason(&[(2, "a", "(")]).starts_with("matcher of label \"a\": "));
        assert!(decode(&[0x0a, 0x05, 0x01]).is_err(), "cut short");
        assert!(matches!(decode(&[0x0a, 0x00].repeat(QUERIES_MAX + 1)), Err(RequestError::TooManyQueries)));
    }

    #[test]
    fn a_condition_that_an_external_label_meets_is_turned() {
        let request = decode(&encoded(&[], &[(0, "region", "eu"), (0, "zone", "a"), (2, "region", "eu")])).expect("valid");
        let external = Labels::from_pairs([("region", "eu"), ("zone", "b")]);
        let shown: Vec<String> = request.queries[0].inner_matchers(&external).iter().map(Matcher::to_string).collect();
        assert_eq!(shown, ["region=\"\"", "zone=\"a\"", "region=~\"eu\""]);
    }
}
