//! What a database answered to a query, in a form that can be compared.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;
use tern_jepsen::client::{Answer as HttpAnswer, parse_sample, parse_samples};

/// Rounding: the order of adding, and libraries of mathematics, may show in the last digits.
const RELATIVE_ERROR_MAX: f64 = 1e-9;
const ABSOLUTE_ERROR_MAX: f64 = 1e-12;

type Samples = Vec<(i64, f64)>;

/// The answer to a query.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Series in the order of the answer: labels as JSON, which has them sorted, and samples.
    Series {
        kind: String,
        series: Vec<(String, Samples)>,
    },
    Scalar(i64, f64),
    Text(String),
    /// Its `errorType`, and the message for people.
    Error {
        kind: String,
        message: String,
    },
}

impl Answer {
    pub fn read(answer: &HttpAnswer) -> anyhow::Result<Answer> {
        let body = answer.json()?;
        if body["status"] == "error" {
            let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            return Ok(Answer::Error { kind: text("errorType"), message: text("error") });
        }
        let data = &body["data"];
        let kind = data["resultType"].as_str().context("no resultType")?;
        match kind {
            "scalar" => parse_sample(&data["result"]).map(|(time, value)| Answer::Scalar(time, value)),
            "string" => Ok(Answer::Text(data["result"].to_string())),
            "vector" | "matrix" => {
                let series = data["result"].as_array().context("result is not a list")?.iter().map(read_series);
                Ok(Answer::Series { kind: kind.to_owned(), series: series.collect::<anyhow::Result<_>>()? })
            }
            other => bail!("result type {other}"),
        }
    }

    /// Whether both say the same, whatever the order of the series.
    pub fn agrees(&self, other: &Answer) -> bool {
        self.agrees_by(other, near)
    }

    /// The same with another notion of equal values.
    pub fn agrees_by(&self, other: &Answer, equal: fn(f64, f64) -> bool) -> bool {
        match (self, other) {
            (Answer::Error { kind, .. }, Answer::Error { kind: other, .. }) => kind == other,
            (Answer::Scalar(time, value), Answer::Scalar(other_time, other)) => time == other_time && equal(*value, *other),
            (Answer::Text(text), Answer::Text(other)) => text == other,
            (Answer::Series { kind, series }, Answer::Series { kind: other_kind, series: other }) => {
                kind == other_kind && same_series(series, other, equal)
            }
            _ => false,
        }
    }

    /// Whether the values of the series come in the same order. Series with equal values may change places.
    pub fn has_order_of(&self, other: &Answer) -> bool {
        match (self, other) {
            (Answer::Series { series, .. }, Answer::Series { series: other, .. }) => {
                series.iter().zip(other).all(|((_, one), (_, other))| same_samples(one, other, near))
            }
            _ => true,
        }
    }

    /// The same answer without the names of metrics.
    pub fn without_names(&self) -> Answer {
        self.map_series(|(labels, samples)| {
            let mut labels: Value = serde_json::from_str(labels).unwrap_or_default();
            labels.as_object_mut().map(|labels| labels.remove("__name__"));
            (labels.to_string(), samples.clone())
        })
    }

    /// Of each series only the first sample.
    pub fn first_samples(&self) -> Answer {
        self.map_series(|(labels, samples)| (labels.clone(), samples.iter().take(1).copied().collect()))
    }

    fn map_series(&self, change: impl Fn(&(String, Samples)) -> (String, Samples)) -> Answer {
        match self {
            Answer::Series { kind, series } => Answer::Series { kind: kind.clone(), series: series.iter().map(change).collect() },
            other => other.clone(),
        }
    }

    /// How many series, for the account at the end.
    pub fn series_count(&self) -> usize {
        if let Answer::Series { series, .. } = self { series.len() } else { 0 }
    }
}

fn read_series(one: &Value) -> anyhow::Result<(String, Samples)> {
    let samples = if one["values"].is_null() { vec![parse_sample(&one["value"])?] } else { parse_samples(&one["values"])? };
    Ok((one["metric"].to_string(), samples))
}

fn same_series(one: &[(String, Samples)], other: &[(String, Samples)], equal: fn(f64, f64) -> bool) -> bool {
    let by_labels = |series: &'_ [(String, Samples)]| -> BTreeMap<String, Samples> { series.iter().cloned().collect() };
    let (mine, theirs) = (by_labels(one), by_labels(other));
    // A map would hide a series that comes twice.
    (mine.len(), theirs.len()) == (one.len(), other.len())
        && mine.len() == theirs.len()
        && mine.iter().all(|(labels, samples)| theirs.get(labels).is_some_and(|other| same_samples(samples, other, equal)))
}

fn same_samples(one: &[(i64, f64)], other: &[(i64, f64)], equal: fn(f64, f64) -> bool) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && equal(one.1, other.1))
}

/// Equal but for rounding.
pub fn near(one: f64, other: f64) -> bool {
    if one == other || one.is_nan() && other.is_nan() {
        return true;
    }
    if one.is_infinite() || other.is_infinite() {
        // Their distance is no measure.
        return false;
    }
    let error = (one - other).abs();
    error <= ABSOLUTE_ERROR_MAX || error <= RELATIVE_ERROR_MAX * one.abs().max(other.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[(&str, f64)]) -> Answer {
        let series = values.iter().map(|(labels, value)| ((*labels).to_owned(), vec![(1, *value)])).collect();
        Answer::Series { kind: "vector".to_owned(), series }
    }

    #[test]
    fn differences_are_seen() {
        let one = vector(&[("a", 1.0), ("b", f64::NAN)]);
        let reversed = vector(&[("b", f64::NAN), ("a", 1.0 + 1e-12)]);
        assert!(one.agrees(&reversed) && !one.has_order_of(&reversed));
        for other in
            [vector(&[("a", 1.0)]), vector(&[("a", 1.0), ("a", 1.0)]), vector(&[("a", 1.1), ("b", f64::NAN)]), Answer::Scalar(1, 1.0)]
        {
            assert!(!one.agrees(&other) && !other.agrees(&one), "{other:?}");
        }
        assert!(!near(f64::INFINITY, f64::NEG_INFINITY) && !near(f64::INFINITY, 1e308) && !near(1e-150, 2e-150 + 1e-9));
    }
}
