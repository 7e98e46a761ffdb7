//! Where the engine gets its samples from: the one trait between the language and a database.
//!
//! For each selector of a query the engine calls [`Source::select`] once with the exact range of time it needs. The
//! source answers with cursors; together they give every matching series exactly once, and they may be read by several
//! threads at a time, one cursor each. The order of the cursors and of the series within each must not depend on
//! chance: floats are added in that order.
//!
//! A source whose data lie elsewhere can do better than fetch series: [`Source::select_or_evaluate`] also tells it what the
//! engine would make of them, and each part may answer with that instead (see `engine::part`).

use std::sync::Arc;

use crate::ast::GroupingMode;
use crate::histogram::FloatHistogram;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::subplan::Subplan;

/// A database as the engine sees it.
pub trait Source: Sync {
    /// Series that match all matchers and may have samples between `start_ms` and `end_ms`.
    fn select<'a>(&'a self, request: &SelectRequest) -> Result<Vec<Box<dyn SeriesCursor + Send + 'a>>, SourceError>;

    /// The same parts in the same order, where each may have been asked to evaluate `subplan` over its series.
    fn select_or_evaluate<'a>(&'a self, request: &SelectRequest, _subplan: &Subplan) -> Result<Vec<Part<'a>>, SourceError> {
        Ok(self.select(request)?.into_iter().map(Part::Series).collect())
    }
}

/// A part of a selection: its series, or what a subplan makes of them.
pub enum Part<'a> {
    Series(Box<dyn SeriesCursor + Send + 'a>),
    Evaluated(Box<dyn PartAnswer<'a> + Send + 'a>),
}

/// The answer of a part that evaluated a subplan: the frames that `Engine::evaluate_part` sent there.
pub trait PartAnswer<'a> {
    /// The next frame. Not called again after the last one or an error.
    fn next(&mut self) -> Result<PartFrame, SourceError>;

    /// The series of the part, for when it does not know such subplans.
    fn into_series(self: Box<Self>) -> Result<Box<dyn SeriesCursor + Send + 'a>, SourceError>;
}

/// What a part says.
pub enum PartFrame {
    Bytes(Vec<u8>),
    /// It speaks another version; only the first frame may be this.
    NotUnderstood,
}

/// A part of the series of a selection, read one after the other.
pub trait SeriesCursor {
    /// Fills `buffer` with the next series (or part of the answer may be without samples). False: there is no further one.
    fn next(&mut self, buffer: &mut SeriesBuffer) -> Result<bool, SourceError>;

    /// How many series are still to come, when that is known without reading them. Decides whether reading the
    /// cursors in parallel is worth a thread.
    fn series_left(&self) -> Option<usize> {
        None
    }
}

/// What a selector asks for.
#[derive(Clone, Debug)]
pub struct SelectRequest {
    pub matchers: Vec<Matcher>,
    /// Inclusive.
    pub start_ms: i64,
    /// Inclusive.
    pub end_ms: i64,
    pub hints: SelectHints,
}

/// What the query does with the series; a source may use it to read less, and may ignore it.
#[derive(Clone, Debug, Default)]
pub struct SelectHints {
    /// Distance of the evaluation times; 0 for a single one.
    pub step_ms: i64,
    /// Length of a range selector; 0 for an instant selector.
    pub range_ms: i64,
    /// The innermost function or aggregation around the selector; empty when there is none.
    pub function: &'static str,
    /// The labels of the aggregation directly around the selector.
    pub grouping: Vec<Arc<str>>,
    pub grouping_mode: GroupingMode,
}

/// One series with its samples in the requested range, in ascending order of time, one per time. Reused from series to
/// series, so that nothing is allocated per sample.
#[derive(Clone, Debug, Default)]
pub struct SeriesBuffer {
    pub labels: Labels,
    pub timestamps: Vec<i64>,
    /// As long as `timestamps`. Staleness markers are handed through.
    pub values: Vec<f64>,
    /// Which of the samples are histograms (by position, ascending); their entries in `values` mean nothing.
    pub histograms: Vec<(u32, Arc<FloatHistogram>)>,
    /// When the counter behind each sample started, 0 for unknown: as long as `timestamps`, or empty.
    pub start_timestamps: Vec<i64>,
}

impl SeriesBuffer {
    /// Empties all lists, keeping their memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
        self.start_timestamps.clear();
    }
}

/// Why a source could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Data that the query needs cannot be reached now; trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// The query's time is over.
    #[error("{0}")]
    Timeout(String),
    /// The reader of the answer is gone.
    #[error("{0}")]
    Canceled(String),
    /// Anything else; trying again will not help.
    #[error("{0}")]
    Failed(String),
}
