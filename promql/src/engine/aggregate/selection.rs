//! Aggregations that keep some series of a group as they are: `topk`, `bottomk`, `limitk`, `limit_ratio`.

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
pub fn select(aggregate: &Aggregate, parameter: &[f64], columns: Vec<Column>, notes: &mut Notes) -> Result<Vec<Column>, QueryError> {
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
        selection.choose(step, *parameter).into_iter().for_each(|at| keep[at][step] = true);
    }
    let mut columns = columns;
    for (column, keep) in columns.iter_mut().zip(keep) {
        keep.iter().enumerate().filter(|(_, keep)| !**keep).for_each(|(step, _)| column.set(step, None));
    }
    columns.retain(|column| !column.is_empty());
    Ok(columns)
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
        let count = (parameter as i64).min(self.columns.len() as i64);
        if op != AggregateOp::LimitRatio && count < 1 {
            return Vec::new();
        }
        let count = count.max(0) as usize;
        let ranking = Ranking { columns: self.columns, step, op };
        for (at, column) in self.columns.iter().enumerate().filter(|(_, column)| column.is_present(step)) {
            let group = &mut chosen[self.groups[at]];
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
        }
        if matches!(op, AggregateOp::TopK | AggregateOp::BottomK) {
            chosen.iter_mut().for_each(|group| ranking.sort_best_first(group));
        }
        chosen.into_iter().flatten().collect()
    }
}

/// A heap of the best columns with the worst of them on top, as in Go's `container/heap`: of equal values it decides
/// which stay.
struct Ranking<'a> {
    columns: &'a [Column],
    step: usize,
    op: AggregateOp,
}

impl Ranking<'_> {
    fn value(&self, at: usize) -> f64 {
        self.columns[at].floats[self.step]
    }

    fn is_worse(&self, left: f64, right: f64) -> bool {
        if self.op == AggregateOp::TopK { left < right } else { left > right }
    }

    /// The order of the heap: NaN is worse than anything.
    fn is_below(&self, left: usize, right: usize) -> bool {
        self.value(left).is_nan() || self.is_worse(self.value(left), self.value(right))
    }

    fn offer(&self, heap: &mut Vec<usize>, at: usize, count: usize) {
        if heap.len() < count {
            heap.push(at);
            self.sift_up(heap);
            return;
        }
        let (worst, value) = (self.value(heap[0]), self.value(at));
        if self.is_worse(worst, value) || (worst.is_nan() && !value.is_nan()) {
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
        group.sort_by(|left, right| {
            let (left, right) = (self.value(*left), self.value(*right));
            match left.partial_cmp(&right) {
                Some(ordering) if self.op == AggregateOp::TopK => ordering.reverse(),
                Some(ordering) => ordering,
                None => left.is_nan().cmp(&right.is_nan()),
            }
        });
    }
}
