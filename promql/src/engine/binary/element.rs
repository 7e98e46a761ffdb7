//! One operation on two values.

use std::sync::Arc;

use super::super::notes::Notes;
use crate::annotations::{AnnotationKind, HistogramOperation};
use crate::histogram::{Addition, CounterResetHint, FloatHistogram, IncompatibleSchemas, TrimSide};
use crate::operator::BinaryOp;
use crate::position::PositionRange;
use crate::sample::SampleValue;

/// What comes of an operation.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub value: SampleValue,
    /// False: a comparison that does not hold.
    pub holds: bool,
}

/// An operator at its place in the query.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub op: BinaryOp,
    pub position: PositionRange,
}

/// The result of an arithmetic operator on floats; None for other operators.
#[inline]
pub fn arithmetic(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => return None,
    })
}

/// Whether a comparison holds; None for other operators.
#[inline]
pub fn comparison(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterOrEqual => left >= right,
        BinaryOp::Less => left < right,
        BinaryOp::LessOrEqual => left <= right,
        _ => return None,
    })
}

/// An operation on two scalars: comparisons give 0 or 1.
pub fn of_scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    let compared = || comparison(op, left, right).map(|holds| f64::from(u8::from(holds)));
    arithmetic(op, left, right).or_else(compared).unwrap_or(f64::NAN)
}

impl Operation {
    /// An operation on two floats. None when the operator does not take two floats.
    #[inline]
    pub fn of_floats(&self, left: f64, right: f64, notes: &mut Notes) -> Option<(f64, bool)> {
        if let Some(value) = arithmetic(self.op, left, right) {
            return Some((value, true));
        }
        if let Some(holds) = comparison(self.op, left, right) {
            return Some((left, holds));
        }
        self.note_incompatible("float", "float", notes);
        None
    }

    /// An operation on two values of a vector. None when there is no result.
    pub fn of_values(&self, left: &SampleValue, right: &SampleValue, notes: &mut Notes) -> Option<Outcome> {
        match (left, right) {
            (SampleValue::Float(left), SampleValue::Float(right)) => {
                let (value, holds) = self.of_floats(*left, *right, notes)?;
                Some(Outcome { value: SampleValue::Float(value), holds })
            }
            (SampleValue::Float(left), SampleValue::Histogram(right)) if self.op == BinaryOp::Mul => {
                Some(changed(right, |histogram| histogram.mul(*left)))
            }
            (SampleValue::Float(_), SampleValue::Histogram(_)) => {
                self.note_incompatible("float", "histogram", notes);
                None
            }
            (SampleValue::Histogram(left), SampleValue::Float(right)) => self.of_histogram_and_float(left, *right, notes),
            (SampleValue::Histogram(left), SampleValue::Histogram(right)) => self.of_histograms(left, right, notes),
        }
    }

    fn of_histogram_and_float(&self, left: &FloatHistogram, right: f64, notes: &mut Notes) -> Option<Outcome> {
        match self.op {
            BinaryOp::Mul => Some(changed(left, |histogram| histogram.mul(right))),
            BinaryOp::Div => Some(changed(left, |histogram| histogram.div(right))),
            BinaryOp::TrimUpper => Some(trimmed(left, right, TrimSide::Upper)),
            BinaryOp::TrimLower => Some(trimmed(left, right, TrimSide::Lower)),
            _ => {
                self.note_incompatible("histogram", "float", notes);
                None
            }
        }
    }

    fn of_histograms(&self, left: &Arc<FloatHistogram>, right: &FloatHistogram, notes: &mut Notes) -> Option<Outcome> {
        let compared = |holds| Some(Outcome { value: SampleValue::Histogram(Arc::clone(left)), holds });
        let mut result = FloatHistogram::clone(left);
        match self.op {
            BinaryOp::Equal => return compared(left.same_data(right)),
            BinaryOp::NotEqual => return compared(!left.same_data(right)),
            BinaryOp::Add => self.note_addition(result.add(right), HistogramOperation::Addition, notes)?,
            BinaryOp::Sub => {
                self.note_addition(result.sub(right), HistogramOperation::Subtraction, notes)?;
                result.counter_reset_hint = CounterResetHint::Gauge;
            }
            _ => {
                self.note_incompatible("histogram", "histogram", notes);
                return None;
            }
        }
        result.compact(0);
        Some(Outcome { value: SampleValue::Histogram(Arc::new(result)), holds: true })
    }

    /// None: there is no result. (That a collision of reset hints has none is Prometheus' decision.)
    fn note_addition(
        &self,
        outcome: Result<Addition, IncompatibleSchemas>,
        operation: HistogramOperation,
        notes: &mut Notes,
    ) -> Option<()> {
        let Ok(addition) = outcome else {
            notes.push(AnnotationKind::IncompatibleBucketLayout { operator: self.op.as_str().to_owned() }, self.position);
            return None;
        };
        if addition.counter_reset_collision {
            notes.push(AnnotationKind::HistogramCounterResetCollision { operation }, self.position);
            return None;
        }
        if addition.bounds_reconciled {
            notes.push(AnnotationKind::MismatchedCustomBuckets { operation }, self.position);
        }
        Some(())
    }

    fn note_incompatible(&self, left: &str, right: &str, notes: &mut Notes) {
        let kind =
            AnnotationKind::IncompatibleTypes { left: left.to_owned(), operator: self.op.as_str().to_owned(), right: right.to_owned() };
        notes.push(kind, self.position);
    }
}

fn changed(histogram: &FloatHistogram, change: impl Fn(&mut FloatHistogram)) -> Outcome {
    let mut result = histogram.clone();
    change(&mut result);
    result.compact(0);
    Outcome { value: SampleValue::Histogram(Arc::new(result)), holds: true }
}

fn trimmed(histogram: &FloatHistogram, value: f64, side: TrimSide) -> Outcome {
    let mut result = histogram.clone();
    result.trim(value, side);
    Outcome { value: SampleValue::Histogram(Arc::new(result)), holds: true }
}

/// Whether the result is no longer a sample of the metric it was calculated from.
pub fn changes_meaning(op: BinaryOp) -> bool {
    arithmetic(op, 0.0, 0.0).is_some()
}
