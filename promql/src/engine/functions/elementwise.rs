//! Functions that look at each value of each series on its own.

use super::super::column::{ABSENT, Column, is_absent};
use super::super::grid::Grid;
use super::super::plan::{max_of, min_of};
use super::civil_time::part_of;
use crate::function_signatures::Function;
use crate::histogram::FloatHistogram;
use crate::labels::Labels;

/// Whether `apply` knows the function.
pub fn is_elementwise(function: Function) -> bool {
    math(function).is_some()
        || of_histogram(function).is_some()
        || part_of(function, 0).is_some()
        || matches!(function, Function::Clamp | Function::ClampMin | Function::ClampMax | Function::Round)
}

/// Applies a function to all values of a series. `scalars` are the other arguments, one value a step each.
pub fn apply(function: Function, column: &mut Column, scalars: &[Vec<f64>]) {
    if let Some(math) = math(function) {
        return column.map_floats(math);
    }
    if let Some(of_histogram) = of_histogram(function) {
        return apply_to_histograms(column, of_histogram);
    }
    if part_of(function, 0).is_some() {
        return column.map_floats(|value| part_of(function, value as i64).unwrap_or(f64::NAN));
    }
    column.histograms.clear();
    for (step, value) in column.floats.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
        let scalar = |position: usize| scalars.get(position).map(|scalar| scalar[step]);
        *value = match function {
            Function::Round => round(*value, scalar(0).unwrap_or(1.0)),
            Function::ClampMin => clamp(*value, scalar(0).unwrap_or(f64::NAN), f64::INFINITY),
            Function::ClampMax => clamp(*value, f64::NEG_INFINITY, scalar(0).unwrap_or(f64::NAN)),
            _ => clamp(*value, scalar(0).unwrap_or(f64::NAN), scalar(1).unwrap_or(f64::NAN)),
        };
    }
}

/// A date function without an argument: of the time of each step.
pub fn part_of_step_times(function: Function, grid: &Grid) -> Column {
    let mut column = Column::empty(Labels::empty(), grid.steps);
    for (value, time_ms) in column.floats.iter_mut().zip(grid.times_ms()) {
        *value = part_of(function, time_ms / 1000).unwrap_or(f64::NAN);
    }
    column
}

fn apply_to_histograms(column: &mut Column, function: fn(&FloatHistogram) -> f64) {
    column.floats.fill(ABSENT);
    for (value, histogram) in column.floats.iter_mut().zip(column.histograms.drain(..)) {
        if let Some(histogram) = histogram {
            *value = function(&histogram);
        }
    }
}

fn round(value: f64, to_nearest: f64) -> f64 {
    // The inverse has fewer problems with accuracy.
    let inverse = 1.0 / to_nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// Nothing when the bounds are the wrong way round.
fn clamp(value: f64, min: f64, max: f64) -> f64 {
    if max < min { ABSENT } else { max_of(min, min_of(max, value)) }
}

fn math(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Ceil => f64::ceil,
        Function::Floor => f64::floor,
        Function::Exp => f64::exp,
        Function::Sqrt => f64::sqrt,
        Function::Ln => f64::ln,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Sin => f64::sin,
        Function::Cos => f64::cos,
        Function::Tan => f64::tan,
        Function::Asin => f64::asin,
        Function::Acos => f64::acos,
        Function::Atan => f64::atan,
        Function::Sinh => f64::sinh,
        Function::Cosh => f64::cosh,
        Function::Tanh => f64::tanh,
        Function::Asinh => f64::asinh,
        Function::Acosh => f64::acosh,
        Function::Atanh => f64::atanh,
        Function::Rad => |value| value * std::f64::consts::PI / 180.0,
        Function::Deg => |value| value * 180.0 / std::f64::consts::PI,
        Function::Sgn => |value| if value.is_nan() || value == 0.0 { value } else { value.signum() },
        _ => return None,
    })
}

fn of_histogram(function: Function) -> Option<fn(&FloatHistogram) -> f64> {
    Some(match function {
        Function::HistogramCount => |histogram| histogram.count,
        Function::HistogramSum => |histogram| histogram.sum,
        Function::HistogramAvg => |histogram| histogram.sum / histogram.count,
        Function::HistogramStdvar => FloatHistogram::variance,
        Function::HistogramStddev => |histogram| histogram.variance().sqrt(),
        _ => return None,
    })
}
