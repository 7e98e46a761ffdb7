//! Arithmetic, comparison and trimming between two vectors.
//!
//! At every step each series of the "many" side (of one-to-one matches: the left) meets the series of the "one" side with the
//! same signature that has a sample at this step. That is done pair of series by pair of series over all steps.

use hashbrown::HashMap;

use super::super::budget::{Budget, Charge, Ticker};
use super::super::column::Column;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::notes::Notes;
use super::super::plan::VectorVector;
use super::element::Operation;
pub use super::result_labels::NameRemoval;
use super::result_labels::result_labels;
use super::signatures::{Signatures, by_signature, matched_labels};
use crate::ast::Cardinality;
use crate::labels::Labels;
use crate::sample::SampleValue;

/// The matched series of `left` and `right`.
pub fn match_vectors(
    operation: &VectorVector,
    left: &[Column],
    right: &[Column],
    (grid, budget): (&Grid, &Budget),
    removal: NameRemoval,
    notes: &mut Notes,
) -> Result<Vec<Column>, QueryError> {
    let mut signatures = Signatures::new(left, right, &operation.matching);
    let (mut many, mut one) = (left, right);
    if operation.matching.cardinality == Cardinality::OneToMany {
        std::mem::swap(&mut many, &mut one);
        std::mem::swap(&mut signatures.left, &mut signatures.right);
    }
    let ones = by_signature(&signatures.right, signatures.count);
    let (mut ticker, mut charge) = (budget.ticker(), budget.charge());
    charge.add_bytes(signatures.count * grid.steps * size_of::<u32>())?;
    let (results, by_key, matched) = (Vec::new(), HashMap::new(), Vec::new());
    let mut matcher = Matcher { operation, removal, grid, charge, results, by_key, matched };
    matcher.matched.resize_with(signatures.count, || vec![0; grid.steps]);
    matcher.check_one_side(many, one, &ones, &mut ticker)?;
    for (column, signature) in many.iter().zip(&signatures.left) {
        ticker.tick(grid.steps)?;
        let mut unmatched: Vec<bool> = (0..grid.steps).map(|step| column.is_present(step)).collect();
        for partner in ones[*signature].iter().map(|at| &one[*at]) {
            ticker.tick(grid.steps)?;
            let steps = (0..grid.steps).filter(|step| column.is_present(*step) && partner.is_present(*step));
            let steps: Vec<usize> = steps.inspect(|step| unmatched[*step] = false).collect();
            matcher.pair(Side::Column(column), Side::Column(partner), *signature, &steps, notes)?;
        }
        if let Some(fill) = operation.matching.fill.right {
            let labels = matched_labels(&column.labels, &operation.matching);
            let steps: Vec<usize> = (0..grid.steps).filter(|step| unmatched[*step]).collect();
            matcher.pair(Side::Column(column), Side::Fill(&labels, fill), *signature, &steps, notes)?;
        }
    }
    if let Some(fill) = operation.matching.fill.left {
        for (column, signature) in one.iter().zip(&signatures.right) {
            ticker.tick(grid.steps)?;
            let labels = matched_labels(&column.labels, &operation.matching);
            let free = |step: &usize| column.is_present(*step) && matcher.matched[*signature][*step] == 0;
            let steps: Vec<usize> = (0..grid.steps).filter(free).collect();
            matcher.pair(Side::Fill(&labels, fill), Side::Column(column), *signature, &steps, notes)?;
        }
    }
    Ok(matcher.results.into_iter().map(|result| result.column).filter(|column| !column.is_empty()).collect())
}

/// One side of a pair: a series, or a value that stands in for a missing one.
#[derive(Clone, Copy)]
enum Side<'a> {
    Column(&'a Column),
    Fill(&'a Labels, f64),
}

impl<'a> Side<'a> {
    fn labels(self) -> &'a Labels {
        match self {
            Side::Column(column) => &column.labels,
            Side::Fill(labels, _) => labels,
        }
    }

    /// The value at a step where it is known to be present.
    fn value(self, step: usize) -> SampleValue {
        match self {
            Side::Column(column) => column.value(step).unwrap_or(SampleValue::Float(f64::NAN)),
            Side::Fill(_, value) => SampleValue::Float(value),
        }
    }

    /// The floats of all steps, when there is nothing else.
    fn floats(self, step: usize) -> Option<f64> {
        match self {
            Side::Column(column) if column.histograms.is_empty() => Some(column.floats[step]),
            Side::Column(_) => None,
            Side::Fill(_, value) => Some(value),
        }
    }
}

/// A series of the result.
struct ResultSeries {
    column: Column,
    /// The steps at which a pair has given (or, filtered out, would have given) its value.
    taken: Vec<bool>,
}

struct Matcher<'a> {
    operation: &'a VectorVector,
    removal: NameRemoval,
    grid: &'a Grid,
    charge: Charge<'a>,
    results: Vec<ResultSeries>,
    by_key: HashMap<(usize, Labels), usize>,
    /// For each signature, how many pairs met at each step.
    matched: Vec<Vec<u32>>,
}

impl Matcher<'_> {
    /// Operates on two series at the steps where they meet.
    fn pair(&mut self, many: Side, one: Side, signature: usize, steps: &[usize], notes: &mut Notes) -> Result<(), QueryError> {
        if steps.is_empty() {
            return Ok(());
        }
        let operation = self.operation;
        let element = Operation { op: operation.op, position: operation.position };
        let swapped = operation.matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (one, many) } else { (many, one) };
        let mut result: Option<usize> = None;
        for step in steps.iter().copied() {
            let outcome = match (left.floats(step), right.floats(step)) {
                (Some(left), Some(right)) => element.of_floats(left, right, notes).map(|(value, holds)| (SampleValue::Float(value), holds)),
                _ => element.of_values(&left.value(step), &right.value(step), notes).map(|outcome| (outcome.value, outcome.holds)),
            };
            let Some((value, holds)) = outcome else { continue };
            let at = match result {
                Some(at) => at,
                None => self.result_series(many.labels(), one.labels(), signature)?,
            };
            result = Some(at);
            self.take(at, signature, step)?;
            let value = if operation.return_bool { Some(SampleValue::Float(f64::from(u8::from(holds)))) } else { holds.then_some(value) };
            if let Some(value) = value {
                self.results[at].column.set(step, Some(value));
            }
        }
        Ok(())
    }

    /// The position of the series with the labels of this pair.
    fn result_series(&mut self, many: &Labels, one: &Labels, signature: usize) -> Result<usize, QueryError> {
        let labels = result_labels(self.operation, many, one, self.removal);
        if let Some(known) = self.by_key.get(&(signature, labels.clone())) {
            return Ok(*known);
        }
        let column = Column { drop_name: self.operation.return_bool, ..Column::empty(labels.clone(), self.grid.steps) };
        let taken = vec![false; self.grid.steps];
        self.charge.add_bytes(column.bytes() + taken.len())?;
        self.results.push(ResultSeries { column, taken });
        self.by_key.insert((signature, labels), self.results.len() - 1);
        Ok(self.results.len() - 1)
    }

    /// Notes that a pair has met; errs when another one has before.
    fn take(&mut self, result: usize, signature: usize, step: usize) -> Result<(), QueryError> {
        let matched = &mut self.matched[signature][step];
        if self.operation.matching.cardinality == Cardinality::OneToOne {
            if *matched > 0 {
                let text = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
                return Err(QueryError::execution(text));
            }
        } else if std::mem::replace(&mut self.results[result].taken[step], true) {
            return Err(QueryError::execution("multiple matches for labels: grouping labels must ensure unique matches"));
        }
        *matched += 1;
        Ok(())
    }

    /// No two series of the "one" side may have a sample at the same step, unless there is nothing to match them with.
    fn check_one_side(&self, many: &[Column], one: &[Column], ones: &[Vec<usize>], ticker: &mut Ticker) -> Result<(), QueryError> {
        let fills = !self.operation.matching.fill.is_empty();
        for same in ones.iter().filter(|same| same.len() > 1) {
            for step in 0..self.grid.steps {
                ticker.tick(same.len())?;
                let mut present = same.iter().map(|at| &one[*at]).filter(|column| column.is_present(step));
                let (Some(first), Some(second)) = (present.next(), present.next()) else { continue };
                ticker.tick(many.len())?;
                if fills || many.iter().any(|column| column.is_present(step)) {
                    return Err(self.duplicate(&first.labels, &second.labels));
                }
            }
        }
        Ok(())
    }

    fn duplicate(&self, first: &Labels, second: &Labels) -> QueryError {
        let side = if self.operation.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        let group = matched_labels(second, &self.operation.matching);
        let (mut first, mut second) = (first.to_string(), second.to_string());
        if first > second {
            std::mem::swap(&mut first, &mut second);
        }
        QueryError::execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, {second}];\
             many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }
}
