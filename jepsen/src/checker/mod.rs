//! Judges of recorded histories. Each file is one promise; [`judge`] asks them all.

pub mod sample_set;
pub mod streams;
pub mod register;
pub mod linearizable;
pub mod sessions;
pub mod prune;
pub mod logs;

use std::fmt;

use crate::history::Operation;
use sample_set::Verdict;

/// What all judges found.
#[derive(Debug)]
pub struct Judgement {
    pub sample_set: sample_set::Report,
    pub streams: sample_set::Report,
    pub register: register::Report,
    pub sessions: sessions::Report,
    pub prune: prune::Report,
}

/// Judges a history that may hold operations of all workloads.
pub fn judge(operations: &[Operation]) -> Judgement {
    Judgement {
        sample_set: sample_set::check(operations),
        streams: streams::check(operations),
        register: register::check(operations),
        sessions: sessions::check(operations),
        prune: prune::check(operations),
    }
}

impl Judgement {
    pub fn verdict(&self) -> Verdict {
        let verdicts =
            [self.sample_set.verdict(), self.streams.verdict(), self.register.verdict(), self.sessions.verdict(), self.prune.verdict()];
        verdicts.into_iter().max().unwrap_or(Verdict::Unknown)
    }

    /// Acknowledged samples of all workloads.
    pub fn acknowledged(&self) -> u64 {
        self.sample_set.acknowledged + self.streams.acknowledged + self.prune.acknowledged
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sample_set.attempted > 0 {
            write!(formatter, "sample set  {}", self.sample_set)?;
        }
        write!(formatter, "streams     {}", self.streams)?;
        write!(formatter, "register    {}", self.register)?;
        write!(formatter, "sessions    {}", self.sessions)?;
        write!(formatter, "prune       {}", self.prune)
    }
}
