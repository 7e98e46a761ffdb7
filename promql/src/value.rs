//! What a query answers.

use std::sync::Arc;

use crate::histogram::FloatHistogram;
use crate::labels::Labels;
use crate::sample::SampleValue;
use crate::value_type::ValueType;

/// The answer of a query; which kind depends on the type of its expression and on whether it ran over a range.
#[derive(Clone, Debug)]
pub enum Value {
    Scalar {
        time_ms: i64,
        value: f64,
    },
    String {
        time_ms: i64,
        value: Arc<str>,
    },
    /// One sample a series, all of the same time, in the order that sorting functions gave them.
    Vector(Vec<Sample>),
    /// Many samples a series; sorted by labels.
    Matrix(Vec<Series>),
}

/// One element of an instant vector.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: Labels,
    pub time_ms: i64,
    pub value: SampleValue,
}

/// One series of a matrix. Both lists are in ascending order of time, and no time is in both.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub labels: Labels,
    pub floats: Vec<(i64, f64)>,
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

impl Value {
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::Scalar { .. } => ValueType::Scalar,
            Value::String { .. } => ValueType::String,
            Value::Vector(_) => ValueType::Vector,
            Value::Matrix(_) => ValueType::Matrix,
        }
    }
}
