//! Aggregations that keep some series of a group as they are: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use std::cmp::Ordering;

use super::super::budget::Ticker;
use super::super::column::{Column, is_absent};
use super::super::error::QueryError;
use super::super::notes::Notes;
use super::super::plan::Aggregate;
use super::grouping::{GroupIndex, GroupLabels};
use super::ratio_sampling::is_sampled;
use crate::annotations::AnnotationKind;
use crate::number::general;
use crate::operator::AggregateOp;
use crate::position::PositionRange;

/// Parameters must be within these to be counts.
const COUNT_MIN: f64 = -9_223_372_036_854_775_808.0;
const COUNT_MAX: f64 = 9_223_372_036_854_774_784.0;

/// The chosen series. Of one step they stand in the order of the aggregation; otherwise each has the steps at which it
/// was chosen.
pub fn select(
    aggregate: &Aggregate,
    parameter: &[f64],
    columns: Vec<Column>,
    mut ticker: Ticker,
    notes: &mut Notes,
) -> Result<Vec<Column>, QueryError> {
    let position = aggregate.parameter.as_ref().map_or(aggregate.position, |parameter| parameter.position);
    if !check_parameter(aggregate.op, parameter, position, notes)? {
        return Ok(Vec::new());
    }
    let mut index = GroupIndex::new(GroupLabels::new(&aggregate.grouping));
    let groups: Vec<usize> = columns.iter().map(|column| index.group_of(&column.labels)).collect();
    let mut selection = Selection { aggregate, columns: &columns, groups: &groups, group_count: index.len(), notes };
    if let [parameter] = parameter {
        let chosen = selection.choose(0, *parameter);
        return Ok(chosen.into_iter().map(|at| columns[at].clone()).collect());
    }
    let mut keep = vec![vec![false; parameter.len()]; columns.len()];
    for (step, parameter) in parameter.iter().enumerate() {
        ticker.tick(columns.len())?;
        selection.choose(step, *parameter).into_iter().for_each(|at| keep[at][step] = true);
    }
    let mut columns = columns;
    for (column, keep) in columns.iter_mut().zip(keep) {
        ticker.tick(keep.len())?;
        keep.iter().enumerate().filter(|(_, keep)| !**keep).for_each(|(step, _)| column.set(step, None));
    }
    columns.retain(|column| !column.is_empty());
    Ok(columns)
}

/// Whether a choice by these parameters cannot fail.
pub fn makes_sense(parameter: &[f64]) -> bool {
    parameter.iter().all(|value| (COUNT_MIN..COUNT_MAX).contains(value) && *value != COUNT_MIN)
}

/// False: nothing can be chosen at any step.
fn check_parameter(op: AggregateOp, parameter: &[f64], position: PositionRange, notes: &mut Notes) -> Result<bool, QueryError> {
    let max = parameter.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let min = parameter.iter().copied().fold(f64::INFINITY, f64::min);
    let has_nan = parameter.iter().any(|value| value.is_nan());
    if op == AggregateOp::LimitRatio {
        if max == 0.0 && min == 0.0 && !has_nan {
            return Ok(false);
        }
        if has_nan {
            return Err(QueryError::execution("Ratio value is NaN"));
        }
        for (ratio, capped_to) in [(max, 1.0), (min, -1.0)].into_iter().filter(|(ratio, limit)| ratio.abs() > 1.0 && ratio * limit > 0.0) {
            notes.push(AnnotationKind::InvalidRatio { ratio, capped_to }, position);
        }
        return Ok(true);
    }
    if max < 1.0 && !has_nan {
        return Ok(false);
    }
    if has_nan {
        return Err(QueryError::execution("Parameter value is NaN"));
    }
    if min <= COUNT_MIN {
        return Err(QueryError::execution(format!("Scalar value {} underflows int64", general(min))));
    }
    if max >= COUNT_MAX {
        return Err(QueryError::execution(format!("Scalar value {} overflows int64", general(max))));
    }
    Ok(true)
}

struct Selection<'a> {
    aggregate: &'a Aggregate,
    columns: &'a [Column],
    /// The group of each column.
    groups: &'a [usize],
    group_count: usize,
    notes: &'a mut Notes,
}

impl Selection<'_> {
    /// The positions of the chosen columns at a step, group by group, in order.
    fn choose(&mut self, step: usize, parameter: f64) -> Vec<usize> {
        let op = self.aggregate.op;
        let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); self.group_count];
        // Groups stand in the order in which they first had something to choose from, which is the same for all series as
        // for what was chosen from each part of them.
        let mut order = Vec::new();
        let count = (parameter as i64).min(self.columns.len() as i64);
        if op != AggregateOp::LimitRatio && count < 1 {
            return Vec::new();
        }
        let count = count.max(0) as usize;
        let ranking = Ranking { columns: self.columns, step, op };
        for (at, column) in self.columns.iter().enumerate().filter(|(_, column)| column.is_present(step)) {
            let group = &mut chosen[self.groups[at]];
            let was_empty = group.is_empty();
            match op {
                AggregateOp::LimitRatio if is_sampled(&column.labels, parameter.clamp(-1.0, 1.0)) => group.push(at),
                AggregateOp::LimitRatio => {}
                AggregateOp::LimitK if group.len() < count => group.push(at),
                AggregateOp::LimitK => {}
                _ if is_absent(column.floats[step]) => {
                    let kind = AnnotationKind::HistogramIgnoredInAggregation { aggregation: op.as_str().to_owned() };
                    self.notes.push(kind, self.aggregate.position);
                }
                _ => ranking.offer(group, at, count),
            }
            if was_empty && !group.is_empty() {
                order.push(self.groups[at]);
            }
        }
        if matches!(op, AggregateOp::TopK | AggregateOp::BottomK) {
            chosen.iter_mut().for_each(|group| ranking.sort_best_first(group));
        }
        order.into_iter().flat_map(|group| std::mem::take(&mut chosen[group])).collect()
    }
}

/// A heap of the best columns with the worst of them on top. The order is total: of equal values the series whose labels
/// come first is better. So the choice from all series is the choice from what was chosen from each part of them.
struct Ranking<'a> {
    columns: &'a [Column],
    step: usize,
    op: AggregateOp,
}

impl Ranking<'_> {
    fn value(&self, at: usize) -> f64 {
        self.columns[at].floats[self.step]
    }

    /// Less: `left` is the better one. NaN is worse than anything.
    fn compare(&self, left: usize, right: usize) -> Ordering {
        let (left_value, right_value) = (self.value(left), self.value(right));
        let by_value = match left_value.partial_cmp(&right_value) {
            Some(ordering) if self.op == AggregateOp::TopK => ordering.reverse(),
            Some(ordering) => ordering,
            None => left_value.is_nan().cmp(&right_value.is_nan()),
        };
        by_value.then_with(|| self.columns[left].labels.cmp(&self.columns[right].labels)).then(left.cmp(&right))
    }

    fn is_below(&self, left: usize, right: usize) -> bool {
        self.compare(left, right) == Ordering::Greater
    }

    fn offer(&self, heap: &mut Vec<usize>, at: usize, count: usize) {
        if heap.len() < count {
            heap.push(at);
            self.sift_up(heap);
        } else if self.is_below(heap[0], at) {
            heap[0] = at;
            self.sift_down(heap);
        }
    }

    fn sift_up(&self, heap: &mut [usize]) {
        let mut child = heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.is_below(heap[child], heap[parent]) {
                break;
            }
            heap.swap(parent, child);
            child = parent;
        }
    }

    fn sift_down(&self, heap: &mut [usize]) {
        let mut parent = 0;
        loop {
            let mut child = 2 * parent + 1;
            if child >= heap.len() {
                break;
            }
            if child + 1 < heap.len() && self.is_below(heap[child + 1], heap[child]) {
                child += 1;
            }
            if !self.is_below(heap[child], heap[parent]) {
                break;
            }
            heap.swap(parent, child);
            parent = child;
        }
    }

    fn sort_best_first(&self, group: &mut [usize]) {
        group.sort_by(|left, right| self.compare(*left, *right));
    }
}
