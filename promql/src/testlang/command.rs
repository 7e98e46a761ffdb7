//! What a script says to do.

use super::eval::Eval;
use crate::labels::Labels;
use crate::sample::SampleValue;

/// One command and its first line, counted from one.
#[derive(Clone, Debug)]
pub struct Command {
    pub line: usize,
    pub kind: CommandKind,
}

#[derive(Clone, Debug)]
pub enum CommandKind {
    /// Forget all samples.
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Samples to store, the first of every series at time zero.
#[derive(Clone, Debug)]
pub struct Load {
    pub interval_ms: i64,
    pub classic_histograms: ClassicHistograms,
    pub series: Vec<LoadedSeries>,
}

/// What to do with series that are the buckets of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicHistograms {
    /// `load`: store them as they are.
    AsTheyAre,
    /// `load_with_nhcb`: store them, and native histograms with custom buckets made of them.
    AlsoAsNative,
}

#[derive(Clone, Debug)]
pub struct LoadedSeries {
    pub labels: Labels,
    pub samples: Vec<LoadedSample>,
}

#[derive(Clone, Debug)]
pub struct LoadedSample {
    pub time_ms: i64,
    /// When the counter behind the sample started; zero: not known.
    pub start_ms: i64,
    pub value: SampleValue,
}
