//! The windows of a range function over one series, for all steps at once.
//!
//! A target gives all its series at the same times. So what depends on times only (which samples a window holds, how far an
//! increase is carried on) is kept from series to series and calculated again only when the times differ.

use super::extrapolation::Reach;
use super::window::Bounds;

/// The windows at the times of the series seen last. One belongs to one function on one grid.
#[derive(Debug, Default)]
pub struct Windows {
    times: Vec<i64>,
    bounds: Vec<Bounds>,
    samples: Vec<u64>,
    read: Vec<u64>,
    reaches: Reaches,
    /// Room for calculations, one or more entries a sample or step.
    pub room: Vec<f64>,
}

/// One entry a window in each list; see [`Reach`]. Windows of less than two samples have no meaningful entry.
#[derive(Debug, Default)]
pub struct Reaches {
    sampled: Vec<f64>,
    to_start: Vec<f64>,
    to_end: Vec<f64>,
}

impl Windows {
    /// Finds the windows among `times`. `ranges` tells for each step after which time its window begins and until which time
    /// it reaches.
    pub fn find(&mut self, times: &[i64], ranges: impl Iterator<Item = (i64, i64)>) {
        if self.times == times && !self.bounds.is_empty() {
            return;
        }
        self.times.clear();
        self.times.extend_from_slice(times);
        self.bounds.clear();
        self.samples.clear();
        self.read.clear();
        self.reaches.sampled.clear();
        let mut bounds = Bounds::default();
        for (after_ms, until_ms) in ranges {
            let new = bounds.advance(times, after_ms, until_ms);
            self.bounds.push(bounds);
            self.samples.push(bounds.len() as u64);
            self.read.push(new.len() as u64);
        }
    }

    /// The samples of each step's window.
    pub fn bounds(&self) -> &[Bounds] {
        &self.bounds
    }

    /// How many samples each window holds.
    pub fn samples(&self) -> &[u64] {
        &self.samples
    }

    /// How many of each window's samples are in no window before it.
    pub fn read(&self) -> &[u64] {
        &self.read
    }

    /// Finds how far increases are carried on, unless it is known. `ranges` as for [`Windows::find`].
    pub fn find_reaches(&mut self, ranges: impl Iterator<Item = (i64, i64)>) {
        if !self.reaches.sampled.is_empty() {
            return;
        }
        self.reaches.to_start.clear();
        self.reaches.to_end.clear();
        for (window, range) in self.bounds.iter().zip(ranges) {
            let reach = match window.len() {
                0 | 1 => Reach { sampled: 0.0, to_start: 0.0, to_end: 0.0 },
                samples => Reach::new((self.times[window.from], self.times[window.to - 1]), samples, range),
            };
            self.reaches.sampled.push(reach.sampled);
            self.reaches.to_start.push(reach.to_start);
            self.reaches.to_end.push(reach.to_end);
        }
    }

    /// Replaces `increases`, one a window, by what they are when carried on to the whole range and divided. `firsts`: each
    /// window's first value, below which a counter did not start; none for gauges.
    pub fn extrapolate(&self, increases: &mut [f64], firsts: Option<&[f64]>, divisor: f64) {
        let Reaches { sampled, to_start, to_end } = &self.reaches;
        let reaches = sampled.iter().zip(to_start).zip(to_end);
        let reaches = reaches.map(|((sampled, to_start), to_end)| Reach { sampled: *sampled, to_start: *to_start, to_end: *to_end });
        match firsts {
            Some(firsts) => {
                for ((increase, first), reach) in increases.iter_mut().zip(firsts).zip(reaches) {
                    *increase *= reach.not_below_zero(*increase, *first).factor() / divisor;
                }
            }
            None => increases.iter_mut().zip(reaches).for_each(|(increase, reach)| *increase *= reach.factor() / divisor),
        }
    }
}
