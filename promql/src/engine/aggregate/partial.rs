//! Running aggregates as bytes, so that a part of the source can begin an aggregation and another node go on with it. All
//! of the state travels (compensations, the state of running means and variances), so it makes no difference where it was
//! begun.

use super::super::column::{ABSENT, is_absent};
use super::super::functions::{HistogramMean, HistogramSum, Mean};
use super::super::wire::{Malformed, Reader, Wire, Writer, put_floats, take_floats};
use super::accumulator::{Accumulator, Floats, Spread};
use super::histogram_total::HistogramTotal;
use crate::operator::AggregateOp;

/// Whether aggregates of two lists of series can be joined into the one of both lists.
pub fn is_mergeable(op: AggregateOp) -> bool {
    use AggregateOp::{Avg, Count, Group, Max, Min, Stddev, Stdvar, Sum};
    matches!(op, Avg | Count | Group | Max | Min | Stddev | Stdvar | Sum)
}

impl Accumulator {
    pub fn put(&self, out: &mut Writer) {
        out.flag(self.drop_name);
        match &self.floats {
            Floats::Sum(sums, compensations) => {
                put_floats(sums, out);
                put_floats(compensations, out);
            }
            Floats::Mean(means) => put_means(means, out),
            Floats::Count(values) | Floats::Group(values) | Floats::Min(values) | Floats::Max(values) => put_floats(values, out),
            Floats::Variance(spreads) => {
                put_floats(&spreads.iter().map(|spread| spread.count).collect::<Vec<_>>(), out);
                put_floats(&spreads.iter().map(|spread| spread.mean).collect::<Vec<_>>(), out);
                put_floats(&spreads.iter().map(|spread| spread.squares).collect::<Vec<_>>(), out);
            }
            // Quantiles are never offered: nothing smaller than all values is mergeable.
            Floats::Values(_) => {}
        }
        let present = || self.histograms.iter().enumerate().filter_map(|(step, total)| Some((step, total.as_ref()?)));
        out.number(present().count() as u64);
        for (step, total) in present() {
            out.number(step as u64);
            total.put(out);
        }
    }

    /// The accumulator of `op` over `steps` steps.
    pub fn take(op: AggregateOp, steps: usize, from: &mut Reader) -> Result<Accumulator, Malformed> {
        if !is_mergeable(op) {
            return Err(Malformed("an aggregation that is not mergeable"));
        }
        let mut accumulator = Accumulator::new(op, 0);
        accumulator.drop_name = from.flag()?;
        match &mut accumulator.floats {
            Floats::Sum(sums, compensations) => {
                *sums = take_floats(steps, from)?;
                *compensations = take_floats(steps, from)?;
            }
            Floats::Mean(means) => *means = take_means(steps, from)?,
            Floats::Count(values) | Floats::Group(values) | Floats::Min(values) | Floats::Max(values) => {
                *values = take_floats(steps, from)?;
            }
            Floats::Variance(spreads) => {
                let (counts, means) = (take_floats(steps, from)?, take_floats(steps, from)?);
                let squares = take_floats(steps, from)?;
                let parts = counts.into_iter().zip(means).zip(squares);
                *spreads = parts.map(|((count, mean), squares)| Spread { count, mean, squares }).collect();
            }
            Floats::Values(_) => {}
        }
        for _ in 0..from.length()? {
            let step = from.number()?;
            if step >= steps as u64 {
                return Err(Malformed("a histogram after the last step"));
            }
            let total = HistogramTotal::take(from)?;
            let fits = matches!(
                (&total, op),
                (HistogramTotal::Sum(_), AggregateOp::Sum)
                    | (HistogramTotal::Mean(_), AggregateOp::Avg)
                    | (HistogramTotal::Incompatible, AggregateOp::Sum | AggregateOp::Avg)
            );
            if !fits {
                return Err(Malformed("histograms in an aggregation of floats"));
            }
            accumulator.histograms.resize(steps, None);
            accumulator.histograms[step as usize] = Some(Box::new(total));
        }
        Ok(accumulator)
    }
}

/// The parts of all means, one list each; where there is no mean, its sum is absent.
fn put_means(means: &[Option<Mean>], out: &mut Writer) {
    let parts: Vec<_> = means.iter().map(|mean| mean.map_or((ABSENT, 0.0, 0.0, false), Mean::parts)).collect();
    put_floats(&parts.iter().map(|part| part.0).collect::<Vec<_>>(), out);
    put_floats(&parts.iter().map(|part| part.1).collect::<Vec<_>>(), out);
    put_floats(&parts.iter().map(|part| part.2).collect::<Vec<_>>(), out);
    let incremental = parts.iter().any(|part| part.3);
    out.flag(incremental);
    if incremental {
        parts.iter().for_each(|part| out.flag(part.3));
    }
}

fn take_means(steps: usize, from: &mut Reader) -> Result<Vec<Option<Mean>>, Malformed> {
    let sums = take_floats(steps, from)?;
    let (compensations, counts) = (take_floats(steps, from)?, take_floats(steps, from)?);
    let incremental = from.flag()?;
    let mut means = Vec::new();
    for ((sum, compensation), count) in sums.into_iter().zip(compensations).zip(counts) {
        let incremental = incremental && from.flag()?;
        means.push((!is_absent(sum)).then(|| Mean::from_parts((sum, compensation, count, incremental))));
    }
    Ok(means)
}

impl Wire for HistogramTotal {
    fn put(&self, out: &mut Writer) {
        match self {
            HistogramTotal::Incompatible => out.byte(0),
            HistogramTotal::Sum(sum) => {
                out.byte(1);
                sum.put(out);
            }
            HistogramTotal::Mean(mean) => {
                out.byte(2);
                mean.put(out);
            }
        }
    }

    fn take(from: &mut Reader) -> Result<HistogramTotal, Malformed> {
        match from.byte()? {
            0 => Ok(HistogramTotal::Incompatible),
            1 => HistogramSum::take(from).map(HistogramTotal::Sum),
            2 => HistogramMean::take(from).map(HistogramTotal::Mean),
            _ => Err(Malformed("an unknown total")),
        }
    }
}
