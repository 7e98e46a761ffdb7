//! Functions of floats over all windows of a series at once.
//!
//! Where a window's value can be had from that of the window before it without another bit (counts, extremes, order), each
//! sample is looked at when it enters and when it leaves. Sums are not like that: Prometheus adds a window's samples from its
//! first to its last with compensation, and taking samples out again would give other bits. So sums and variances look at every
//! sample of every window, but at several windows side by side, which keeps the processor's adders busy.

use super::super::budget::Ticker;
use super::super::column::Column;
use super::super::error::QueryError;
use super::changes::Event;
use super::order_statistics::SortedWindow;
use super::over_time::{self, Extreme};
use super::window::Bounds;

/// How many windows are worked on side by side.
const LANES: usize = 8;

/// A sum and its compensation in each lane.
#[derive(Clone, Copy)]
struct Sums {
    sum: [f64; LANES],
    compensation: [f64; LANES],
}

impl Sums {
    fn new(sum: [f64; LANES]) -> Sums {
        Sums { sum, compensation: [0.0; LANES] }
    }

    /// As `kahan::add`, except for sums that run over: those never become finite again, and are done anew.
    #[inline(always)]
    fn add(&mut self, increments: [f64; LANES]) {
        for ((sum, compensation), increment) in self.sum.iter_mut().zip(&mut self.compensation).zip(increments) {
            let total = *sum + increment;
            let (large, small) = if sum.abs() >= increment.abs() { (*sum, increment) } else { (increment, *sum) };
            *compensation += (large - total) + small;
            *sum = total;
        }
    }

    fn lane(&self, lane: usize) -> (f64, f64) {
        (self.sum[lane], self.compensation[lane])
    }
}

/// Windows next to each other, all with samples, and how many samples the shortest has.
struct Block<'b> {
    windows: &'b [Bounds; LANES],
    shortest: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn samples(&self, values: &[f64], at: usize) -> [f64; LANES] {
        std::array::from_fn(|lane| values[self.windows[lane].from + at])
    }
}

/// Calls `block` for as many windows side by side as possible, `one` for the others.
fn in_blocks(
    windows: &[Bounds],
    ticker: &mut Ticker,
    mut block: impl FnMut(usize, &Block),
    mut one: impl FnMut(usize, Bounds),
) -> Result<(), QueryError> {
    let (blocks, rest) = windows.as_chunks::<LANES>();
    for (number, windows) in blocks.iter().enumerate() {
        ticker.tick(windows.iter().map(Bounds::len).sum())?;
        let shortest = windows.iter().map(Bounds::len).min().unwrap_or(0);
        if shortest > 0 {
            block(number * LANES, &Block { windows, shortest });
        } else {
            windows.iter().enumerate().for_each(|(lane, window)| one(number * LANES + lane, *window));
        }
    }
    for (position, window) in rest.iter().enumerate() {
        ticker.tick(window.len())?;
        one(blocks.len() * LANES + position, *window);
    }
    Ok(())
}

/// `sum_over_time`
pub fn sums(values: &[f64], windows: &[Bounds], column: &mut Column, ticker: &mut Ticker) -> Result<(), QueryError> {
    let floats = std::cell::Cell::from_mut(column.floats.as_mut_slice()).as_slice_of_cells();
    let one = |step: usize, window: Bounds| {
        if window.len() > 0 {
            floats[step].set(over_time::sum(&values[window.from..window.to]));
        }
    };
    let block = |first: usize, block: &Block| {
        let mut sums = Sums::new([0.0; LANES]);
        (0..block.shortest).for_each(|at| sums.add(block.samples(values, at)));
        for (lane, window) in block.windows.iter().enumerate() {
            let sum = over_time::sum_from(sums.lane(lane), &values[window.from + block.shortest..window.to]);
            if sum.is_finite() { floats[first + lane].set(sum) } else { one(first + lane, *window) }
        }
    };
    in_blocks(windows, ticker, block, one)
}

/// `avg_over_time`
pub fn averages(values: &[f64], windows: &[Bounds], column: &mut Column, ticker: &mut Ticker) -> Result<(), QueryError> {
    let floats = std::cell::Cell::from_mut(column.floats.as_mut_slice()).as_slice_of_cells();
    let one = |step: usize, window: Bounds| {
        if window.len() > 0 {
            floats[step].set(over_time::average(&values[window.from..window.to]));
        }
    };
    let block = |first: usize, block: &Block| {
        let mut sums = Sums::new(block.samples(values, 0));
        (1..block.shortest).for_each(|at| sums.add(block.samples(values, at)));
        for (lane, window) in block.windows.iter().enumerate() {
            let (sum, compensation) = sums.lane(lane);
            let begun = over_time::Mean::from_parts((sum, compensation, block.shortest as f64, false));
            let mean = over_time::average_from(begun, &values[window.from + block.shortest..window.to]);
            // A sum that ran over would have become a running mean.
            if sum.is_finite() { floats[first + lane].set(mean) } else { one(first + lane, *window) }
        }
    };
    in_blocks(windows, ticker, block, one)
}

/// `stdvar_over_time`, or of its values what `finish` makes of them.
pub fn variances(
    values: &[f64],
    windows: &[Bounds],
    column: &mut Column,
    ticker: &mut Ticker,
    finish: impl Fn(f64) -> f64,
) -> Result<(), QueryError> {
    let floats = std::cell::Cell::from_mut(column.floats.as_mut_slice()).as_slice_of_cells();
    let one = |step: usize, window: Bounds| {
        if window.len() > 0 {
            floats[step].set(finish(over_time::variance(&values[window.from..window.to])));
        }
    };
    let block = |first: usize, block: &Block| {
        let (mut means, mut squares) = (Sums::new([0.0; LANES]), Sums::new([0.0; LANES]));
        for at in 0..block.shortest {
            let (samples, count) = (block.samples(values, at), (at + 1) as f64);
            let deltas: [f64; LANES] = std::array::from_fn(|lane| samples[lane] - (means.sum[lane] + means.compensation[lane]));
            means.add(deltas.map(|delta| delta / count));
            squares.add(std::array::from_fn(|lane| deltas[lane] * (samples[lane] - (means.sum[lane] + means.compensation[lane]))));
        }
        for (lane, window) in block.windows.iter().enumerate() {
            let begun = (block.shortest as f64, means.lane(lane), squares.lane(lane));
            let variance = over_time::variance_from(begun, &values[window.from + block.shortest..window.to]);
            if variance.is_finite() { floats[first + lane].set(finish(variance)) } else { one(first + lane, *window) }
        }
    };
    in_blocks(windows, ticker, block, one)
}

/// `changes` and `resets`: events are counted once from the beginning of the series.
pub fn events(values: &[f64], windows: &[Bounds], event: Event, column: &mut Column) {
    let mut before = Vec::with_capacity(values.len());
    let mut count = 0u32;
    for (position, value) in values.iter().enumerate() {
        count += u32::from(position > 0 && event.happened(values[position - 1], *value));
        before.push(count);
    }
    for (step, window) in windows.iter().enumerate().filter(|(_, window)| window.len() > 0) {
        column.floats[step] = f64::from(before[window.to - 1] - before[window.from]);
    }
}

/// `quantile_over_time`; `quantiles` has one for each step.
pub fn quantiles(
    values: &[f64],
    windows: &[Bounds],
    quantiles: &[f64],
    column: &mut Column,
    ticker: &mut Ticker,
) -> Result<(), QueryError> {
    let mut sorted = SortedWindow::default();
    for (step, window) in windows.iter().enumerate().filter(|(_, window)| window.len() > 0) {
        ticker.tick(window.len())?;
        sorted.advance(values, *window);
        column.floats[step] = sorted.quantile(quantiles[step]);
    }
    Ok(())
}

/// `max_over_time`
pub fn maxima(values: &[f64], windows: &[Bounds], room: &mut Vec<f64>, column: &mut Column) {
    first_extremes(values, windows, Extreme::Max, room, column, |one, other| if one > other { one } else { other });
}

/// `min_over_time`
pub fn minima(values: &[f64], windows: &[Bounds], room: &mut Vec<f64>, column: &mut Column) {
    first_extremes(values, windows, Extreme::Min, room, column, |one, other| if one < other { one } else { other });
}

/// The first of the greatest or least values in each window. Among numbers any of equal ones will do, as long as they have the
/// same bits.
fn first_extremes(
    values: &[f64],
    windows: &[Bounds],
    extreme: Extreme,
    room: &mut Vec<f64>,
    column: &mut Column,
    better: impl Fn(f64, f64) -> f64,
) {
    let is_plain = values.iter().fold(true, |plain, value| plain & !value.is_nan() & (value.to_bits() != (-0.0_f64).to_bits()));
    if is_plain {
        extremes_by_doubling(values, windows, room, column, better);
    } else {
        extremes_by_queue(values, windows, extreme, Ties::First, |step, position| column.floats[step] = values[position]);
    }
}

/// The time of the last of the greatest or least values in each window.
pub fn last_extremes(values: &[f64], windows: &[Bounds], extreme: Extreme, time_of: impl Fn(usize) -> f64, column: &mut Column) {
    extremes_by_queue(values, windows, extreme, Ties::Last, |step, position| column.floats[step] = time_of(position));
}

/// The best value in each window. Of every position the best of 2, 4, 8 … samples from there on is found, and a window of n
/// samples is covered by two such spans of the largest power of two that fits. No branch depends on a value.
fn extremes_by_doubling(values: &[f64], windows: &[Bounds], room: &mut Vec<f64>, column: &mut Column, better: impl Fn(f64, f64) -> f64) {
    let lengths = || windows.iter().map(Bounds::len).filter(|length| *length > 0);
    let (shortest, longest) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    room.clear();
    room.extend_from_slice(values);
    room.resize(2 * values.len(), 0.0);
    let (mut best, mut next) = room.split_at_mut(values.len());
    let mut span = 1;
    while span <= longest {
        if shortest < 2 * span {
            for (window, value) in windows.iter().zip(&mut column.floats) {
                if window.len() >= span && window.len() < 2 * span {
                    *value = better(best[window.from], best[window.to - span]);
                }
            }
        }
        // Behind the last whole span nothing is asked for.
        for ((next, one), other) in next.iter_mut().zip(&best[..]).zip(&best[span..]) {
            *next = better(*one, *other);
        }
        std::mem::swap(&mut best, &mut next);
        span *= 2;
    }
}

/// Which of equal extremes counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ties {
    First,
    Last,
}

/// The position of the extreme in each window in O(samples + steps): a queue holds the positions that may still become
/// the extreme of a later window, best first. NaN only counts when there is nothing else: then the last one does.
fn extremes_by_queue(values: &[f64], windows: &[Bounds], extreme: Extreme, ties: Ties, mut found: impl FnMut(usize, usize)) {
    let mut queue = std::collections::VecDeque::<usize>::new();
    let mut entered = 0;
    for (step, window) in windows.iter().enumerate() {
        for position in entered.max(window.from)..window.to {
            let value = values[position];
            if value.is_nan() {
                continue;
            }
            let yields = |last: f64| extreme.is_beyond(value, last) || (ties == Ties::Last && value == last);
            while queue.back().is_some_and(|last| yields(values[*last])) {
                queue.pop_back();
            }
            queue.push_back(position);
        }
        entered = window.to;
        while queue.front().is_some_and(|first| *first < window.from) {
            queue.pop_front();
        }
        if window.len() > 0 {
            found(step, queue.front().copied().unwrap_or(window.to - 1));
        }
    }
}
