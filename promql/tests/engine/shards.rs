//! Data in shards, each of which may be somewhere else.

use promql::engine::{Engine, EngineOptions, QueryError, QueryOptions};
use promql::memory_source::MemorySource;
use promql::source::{Part, PartAnswer, PartFrame, SelectRequest, SeriesCursor, Source, SourceError};
use promql::subplan::Subplan;
use std::sync::Mutex;

/// How a shard answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its series are read here.
    Here,
    /// It evaluates what it is offered, and its answer comes as bytes.
    Away,
    /// It speaks another version, and gives series instead.
    Old,
}

/// One part for each shard, in order.
#[derive(Debug)]
pub struct Shards {
    pub shards: Vec<(Place, MemorySource)>,
    /// How many offers were taken.
    pub taken: Mutex<usize>,
}

type Cursor<'a> = Box<dyn SeriesCursor + Send + 'a>;

impl Shards {
    pub fn new(shards: Vec<(Place, MemorySource)>) -> Shards {
        Shards { shards, taken: Mutex::new(0) }
    }

    /// The same data, all of it read here.
    pub fn all_here(&self) -> Shards {
        Shards::new(self.shards.iter().map(|(_, shard)| (Place::Here, shard.clone())).collect())
    }
}

impl Source for Shards {
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Cursor<'a>>, SourceError> {
        Ok(self.shards.iter().map(|(_, shard)| cursor(shard, request)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn select_or_evaluate<'a>(&'a self, request: &SelectRequest, subplan: &Subplan) -> Result<Vec<Part<'a>>, SourceError> {
        let mut parts = Vec::new();
        for (place, shard) in &self.shards {
            match place {
                Place::Here => parts.extend(cursor(shard, request)?.map(Part::Series)),
                Place::Away | Place::Old => {
                    *self.taken.lock().expect("not poisoned") += usize::from(*place == Place::Away);
                    let frames = if *place == Place::Away { evaluate(shard, subplan) } else { Vec::new() };
                    parts.push(Part::Evaluated(Box::new(Answer { frames: frames.into_iter(), shard, request: request.clone() })));
                }
            }
        }
        Ok(parts)
    }
}

/// The only cursor of a shard; none when nothing matches.
fn cursor<'a>(shard: &'a MemorySource, request: &SelectRequest) -> Result<Option<Cursor<'a>>, SourceError> {
    let mut cursors = shard.select(request)?;
    assert!(cursors.len() < 2, "a shard is one part");
    Ok(cursors.pop())
}

/// All frames that the shard sends; its own settings are others than the asker's.
fn evaluate(shard: &MemorySource, subplan: &Subplan) -> Vec<Vec<u8>> {
    let frames = Mutex::new(Vec::new());
    let engine = Engine::new(EngineOptions { lookback_ms: 1, subquery_step_ms: 7, ..EngineOptions::default() });
    let send = |frame| -> Result<(), QueryError> {
        frames.lock().expect("not poisoned").push(frame);
        Ok(())
    };
    engine.evaluate_part(shard, subplan, &QueryOptions::default(), &send).expect("frames are taken");
    frames.into_inner().expect("not poisoned")
}

struct Answer<'a> {
    frames: std::vec::IntoIter<Vec<u8>>,
    shard: &'a MemorySource,
    request: SelectRequest,
}

impl<'a> PartAnswer<'a> for Answer<'a> {
    fn next(&mut self) -> Result<PartFrame, SourceError> {
        Ok(self.frames.next().map_or(PartFrame::NotUnderstood, PartFrame::Bytes))
    }

    fn into_series(self: Box<Self>) -> Result<Cursor<'a>, SourceError> {
        Ok(cursor(self.shard, &self.request)?.unwrap_or(Box::new(Nothing)))
    }
}

/// A part without series.
struct Nothing;

impl SeriesCursor for Nothing {
    fn next(&mut self, _: &mut promql::source::SeriesBuffer) -> Result<bool, SourceError> {
        Ok(false)
    }
}
