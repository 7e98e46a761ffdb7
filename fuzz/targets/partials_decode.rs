//! What a peer sends in place of series is never trusted: any bytes, also those of a real answer with a few of them changed,
//! give an answer or an error, without a panic.
#![no_main]

#[path = "data.rs"]
mod data;

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use promql::memory_source::MemorySource;
use promql::source::{Part, PartAnswer, PartFrame, SelectRequest, SeriesCursor, Source, SourceError};
use promql::subplan::{QueryText, Subplan};
use promql::{ParserOptions, parse};

static SHARDS: LazyLock<Vec<MemorySource>> = LazyLock::new(data::shards);

const QUERIES: [&str; 10] = [
    "sum by (g)({n=~\".+\"})",
    "avg({n=~\".+\"})",
    "stddev by (n)(b)",
    "topk(2, b)",
    "count_values(\"v\", h)",
    "rate(h[2m])",
    "max(b)",
    "histogram_quantile(0.9, sum by (g)(rate(h[2m])))",
    "count(h)",
    "quantile(0.5, b)",
];

/// A shard that is read here, and one that answers with these bytes.
struct Peer<'b> {
    bytes: &'b [u8],
    is_raw: bool,
}

impl Source for Peer<'_> {
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Box<dyn SeriesCursor + Send + 'a>>, SourceError> {
        SHARDS[0].select(request)
    }

    fn select_or_evaluate<'a>(&'a self, request: &SelectRequest, subplan: &Subplan) -> Result<Vec<Part<'a>>, SourceError> {
        let mut parts: Vec<Part> = SHARDS[0].select(request)?.into_iter().map(Part::Series).collect();
        let frames = if self.is_raw { raw_frames(self.bytes) } else { changed_frames(self.bytes, subplan) };
        parts.push(Part::Evaluated(Box::new(Frames(frames.into_iter()))));
        Ok(parts)
    }
}

struct Frames(std::vec::IntoIter<Vec<u8>>);

impl<'a> PartAnswer<'a> for Frames {
    fn next(&mut self) -> Result<PartFrame, SourceError> {
        self.0.next().map(PartFrame::Bytes).ok_or_else(|| SourceError::Unavailable("cut short".to_owned()))
    }

    fn into_series(self: Box<Self>) -> Result<Box<dyn SeriesCursor + Send + 'a>, SourceError> {
        Err(SourceError::Failed("not asked for".to_owned()))
    }
}

/// Frames of up to 255 bytes, each after its length.
fn raw_frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (frame, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// A real answer in which some bytes are others: three bytes say where, one what.
fn changed_frames(changes: &[u8], subplan: &Subplan) -> Vec<Vec<u8>> {
    let frames = Mutex::new(Vec::new());
    let send = |frame| -> Result<(), QueryError> {
        frames.lock().expect("not poisoned").push(frame);
        Ok(())
    };
    let engine = Engine::new(EngineOptions::default());
    engine.evaluate_part(&SHARDS[1], subplan, &QueryOptions::default(), &send).expect("frames are taken");
    let mut frames: Vec<Vec<u8>> = frames.into_inner().expect("not poisoned");
    let (changes, _) = changes.as_chunks::<4>();
    for [frame, high, low, value] in changes {
        let count = frames.len();
        let frame = &mut frames[usize::from(*frame) % count];
        let at = (usize::from(*high) << 8 | usize::from(*low)) % frame.len();
        frame[at] = *value;
    }
    frames
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let text = QUERIES[usize::from(choice & 0x7f) % QUERIES.len()];
    let parser = ParserOptions::default();
    let expr = parse(text, parser).expect("valid");
    let options = QueryOptions { text: Some(QueryText { text: text.into(), parser }), ..QueryOptions::default() };
    let engine = Engine::new(EngineOptions { samples_max: 100_000, threads_max: 1, ..EngineOptions::default() });
    let _ = engine.range(&Peer { bytes, is_raw: choice >= 128 }, &expr, 0, 300_000, 60_000, &options);
});
